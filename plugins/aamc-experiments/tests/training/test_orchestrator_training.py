"""Training orchestrators through the command line, with one that counts tasks."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
import yaml
from aamc_experiments import plugin
from tiny import Tiny, TinyFormat

from aamc_sdk import Component, Orchestrator, Query, builtin, hookimpl, option
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import Budget, EvaluatedOrchestrator, Step
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving import Run
from aamc_sdk.serving.orchestration.orchestrators import load_orchestrator, newest_orchestrator
from aamc_sdk.storage import read_json, write_json
from aamc_sdk.testing import make_dataset, run_command


@attrs.frozen(kw_only=True)
class CounterOptions:
    start: int = option(0, "Where counting begins.", at_least=0)
    stop_at: int = option(0, "Stop the first training after so many tasks; 0 never.", at_least=0)


class Counter(Orchestrator):
    """Counts the tasks that it was trained on, and answers with their number."""

    Config = CounterOptions
    default_dataset = "tiny:50"
    count = 0

    async def run(self, task: Query, budget: Budget):
        yield Step(decision=None, content=str(self.count), final=True)

    def train(self, training):
        training.progress.say("counting")
        marks = training.folder / "marks"
        if self.config.stop_at and not training.resume:
            marks.mkdir(parents=True)
            raise KeyboardInterrupt
        self.count = self.config.start + len(training.dataset)
        return {"steps": self.count, "resumed": training.resume, "validation": len(training.validation), "curve": [{"step": 1}]}

    def save(self, folder: Path) -> None:
        write_json(folder / "count.json", self.count)

    def load(self, folder: Path) -> None:
        self.count = read_json(folder / "count.json")


class Untaught(Counter):
    """One that cannot know what to practise on."""

    default_dataset = None


class Fixed(Orchestrator):
    """One without a training."""

    async def run(self, task: Query, budget: Budget):
        yield Step(decision=None, content="7", final=True)


class Scored(Counter, EvaluatedOrchestrator):
    """One whose evaluation lists its tasks."""

    def evaluate(self, dataset, routers, folder, progress):
        return {"tasks": [query.text for query in dataset.queries]}

    def table(self, document):
        return str(document)


class Orchestrators:
    @hookimpl
    def aamc_orchestrators(self):
        return [Component(name, f"{__name__}:{name.title()}", "") for name in ("counter", "untaught", "scored", "fixed")]


@pytest.fixture
def plugins(monkeypatch) -> Plugins:
    found = Plugins({"core": builtin, "experiments": plugin, "tiny": Tiny(), "orchestrators": Orchestrators()}, discover=False)
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: found)
    return found


@pytest.fixture
def aamc(plugins, tmp_path, monkeypatch):
    """Run the command line in an empty folder; return exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        return run_command("train", *arguments)

    return call


def test_a_training_leaves_a_folder_from_which_the_orchestrator_comes_back(aamc, plugins) -> None:
    status, out, err = aamc("--orchestrator", "counter", "--dataset", "tiny:100", "--set", "orchestrator.start=1000", "--out", "made", "--json")
    assert status == 0, err
    document = json.loads(out)
    trained = Run(Path("made")).content["splits"]["train"]["queries"]
    assert (document["schema"], document["out"], document["steps"]) == (1, "made", 1000 + trained)
    assert document["metrics"] == {"steps": 1000 + trained, "resumed": False, "validation": document["metrics"]["validation"]}
    assert load_orchestrator(Path("made"), plugins).count == 1000 + trained


def test_what_it_was_made_from_stands_in_its_folder(aamc) -> None:
    aamc("--orchestrator", "counter", "--seed", "7", "--preset", "full", "--out", "made")
    content = yaml.safe_load(Path("made/run.yaml").read_text())
    assert (content["goal"], content["orchestrator"], content["settings"]["seed"]) == ("orchestrator", "counter", 7)
    assert content["resolved"] == {"orchestrator": {"start": 0, "stop_at": 0}}
    assert sum(split["queries"] for split in content["splits"].values()) == 50
    assert content["settings"]["dataset"]["path"] == "50"
    assert content["settings"].keys() == {"dataset", "pool", "preset", "seed", "device", "orchestrator"}
    assert {path.name for path in Path("made").iterdir()} == {"run.yaml", "orchestrator", "fingerprints"}


def test_an_orchestrator_without_a_training_is_not_trained(aamc) -> None:
    status, _, err = aamc("--orchestrator", "fixed", "--dataset", "tiny:50")
    assert (status, "orchestrator 'fixed' has no training; use it without: aamc orchestrate TASK --orchestrator fixed" in err) == (2, True)
    assert not Path("runs").exists()


@pytest.mark.parametrize("method", ["prepare", "train"])
def test_an_orchestrator_that_fails_is_named(aamc, monkeypatch, method) -> None:
    monkeypatch.setattr(Counter, method, lambda *_: {}["weights"])
    status, _, err = aamc("--orchestrator", "counter")
    assert status == 1
    assert "aamc: orchestrator 'counter' failed: KeyError: 'weights'" in " ".join(err.split())


def test_a_dataset_that_fails_is_named(aamc, monkeypatch) -> None:
    monkeypatch.setattr(TinyFormat, "read", lambda *_: {}["rows"])
    _, _, err = aamc("--orchestrator", "counter")
    assert "dataset format 'tiny' failed: KeyError: 'rows'" in " ".join(err.split())


@pytest.mark.parametrize("name", [[], ["--orchestrator", "scored"]])
def test_an_orchestrator_is_evaluated_with_the_models_of_a_pool(aamc, monkeypatch, name) -> None:
    aamc("--orchestrator", "scored", "--out", "made")
    monkeypatch.setattr(Scored, "evaluate", lambda self, *_: {"pool": list(self.services.pool.names)})
    Path("pool.yaml").write_text("candidates: [{name: mine}]\n")
    status, out, err = run_command("evaluate", "made", *name, "--pool", "pool.yaml", "--json")
    assert status == 0, err
    assert json.loads(out) == {"pool": ["mine"]}
    status, _, err = run_command("evaluate", "--estimator", "made", "--pool", "pool.yaml")
    assert (status, "--pool belongs to an orchestrator, or to --logs without RUN" in err) == (2, True)


def test_an_evaluation_that_fails_names_the_orchestrator(aamc, plugins, monkeypatch) -> None:
    aamc("--orchestrator", "scored", "--out", "made")
    monkeypatch.setattr(Scored, "evaluate", lambda *_: {}["tasks"])
    _, _, err = run_command("evaluate", "made")
    assert "orchestrator 'scored' failed: KeyError: 'tasks'" in " ".join(err.split())


def test_a_pool_that_was_named_is_kept_with_it(aamc, plugins) -> None:
    Path("pool.yaml").write_text("candidates: [{name: mine}]")
    status, _, err = aamc("--orchestrator", "counter", "--pool", "pool.yaml", "--out", "made")
    assert status == 0, err
    Path("pool.yaml").unlink()
    assert load_orchestrator(Path("made"), plugins).services.pool.names == ("mine",)


def test_a_folder_that_lacks_what_it_was_made_from_is_told_how_to_train_one(aamc, plugins) -> None:
    aamc("--orchestrator", "counter", "--out", "made")
    Path("made/run.yaml").unlink()
    with pytest.raises(CheckpointError, match="aamc train --orchestrator puppeteer"):
        load_orchestrator(Path("made"), plugins)


def test_without_a_dataset_it_practises_on_its_own(aamc) -> None:
    _, out, _ = aamc("--orchestrator", "counter", "--json")
    assert 0 < json.loads(out)["steps"] < 50


def test_options_of_a_dataset_that_nobody_named_are_those_of_its_own(aamc) -> None:
    status, _, err = aamc("--orchestrator", "counter", "--set", "dataset.first=7", "--out", "made")
    assert status == 0, err
    dataset = yaml.safe_load(Path("made/run.yaml").read_text())["settings"]["dataset"]
    assert dataset == {"name": "tiny", "path": "50", "first": 7}


def test_one_without_its_own_dataset_asks_for_one(aamc) -> None:
    status, _, err = aamc("--orchestrator", "untaught")
    assert status == 2
    assert "--dataset FORMAT:PATH" in err


def test_a_configuration_file_may_name_it(aamc) -> None:
    Path("counter.yaml").write_text("orchestrator: {name: counter, start: 500}\ndataset: tiny:60\n")
    status, out, err = aamc("--config", "counter.yaml", "--json")
    assert status == 0, err
    assert json.loads(out)["steps"] > 500


def test_a_stopped_training_goes_on(aamc) -> None:
    status, _, err = aamc("--orchestrator", "counter", "--set", "orchestrator.stop_at=3", "--out", "made")
    assert status == 1
    assert "aamc train --resume" in err
    status, out, err = aamc("--resume", "made", "--json")
    assert status == 0, err
    assert json.loads(out)["metrics"]["resumed"]
    assert not Path("made/orchestrator/resume").exists()


def test_a_resumed_training_keeps_its_models(aamc, plugins) -> None:
    Path("pool.yaml").write_text("candidates: [{name: mine}]")
    aamc("--orchestrator", "counter", "--set", "orchestrator.stop_at=3", "--pool", "pool.yaml", "--out", "made")
    Path("pool.yaml").write_text("candidates: [{name: other}]")
    assert aamc("--resume", "made")[0] == 0
    assert load_orchestrator(Path("made"), plugins).services.pool.names == ("mine",)


def test_a_training_whose_right_answers_changed_does_not_go_on(aamc, monkeypatch) -> None:
    for answer in ("first", "changed"):
        rows = attrs.evolve(make_dataset(50), references=[answer] * 50)
        monkeypatch.setattr("tiny.TinyFormat.read", lambda self, path, rows=rows: rows)
        if answer == "first":
            aamc("--orchestrator", "counter", "--set", "orchestrator.stop_at=3", "--out", "made")
    status, _, err = aamc("--resume", "made")
    assert status == 1
    assert "rows have other right answers" in err


def test_a_training_that_could_not_be_saved_goes_on(aamc, plugins, monkeypatch) -> None:
    with monkeypatch.context() as failing:
        failing.setattr(Counter, "save", lambda self, folder: {}["count"])
        status, _, err = aamc("--orchestrator", "counter", "--out", "made")
    assert (status, "orchestrator 'counter' cannot be saved: KeyError: 'count'" in err) == (1, True)
    with pytest.raises(CheckpointError, match="its training is unfinished; continue it with: aamc train --resume made"):
        load_orchestrator(Path("made"), plugins)
    assert aamc("--resume", "made")[0] == 0
    assert load_orchestrator(Path("made"), plugins).count > 0


def test_one_without_an_evaluation_is_told_how_to_have_one(aamc) -> None:
    aamc("--orchestrator", "counter", "--out", "made")
    status, _, err = run_command("evaluate", "made")
    assert status == 2
    assert "orchestrator 'counter' has no evaluation of its own; derive its class from EvaluatedOrchestrator" in " ".join(err.split())


def test_a_finished_training_is_not_done_again(aamc) -> None:
    _, first, _ = aamc("--orchestrator", "counter", "--out", "made", "--json")
    _, again, err = aamc("--resume", "made", "--json")
    assert "counting" not in err
    assert json.loads(first)["metrics"] == json.loads(again)["metrics"]


def test_a_folder_with_something_in_it_is_refused(aamc) -> None:
    aamc("--orchestrator", "counter", "--out", "made")
    status, _, err = aamc("--orchestrator", "counter", "--out", "made")
    assert status == 1
    assert "--resume" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--orchestrator", "conter"], "did you mean 'counter'"),
        (["--orchestrator", "counter", "--set", "orchestrator.strt=1"], "did you mean 'start'"),
        (["--orchestrator", "counter", "--router", "favourite"], "trained without --router"),
        (["--orchestrator", "counter", "--test-dataset", "tiny:5"], "trained without --test-dataset"),
        (["--orchestrator", "counter", "--export", "onnx"], "trained without --export"),
        ([], "--orchestrator NAME"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_written(aamc, arguments: list[str], words: str) -> None:
    status, _, err = aamc(*arguments)
    assert status == 2
    assert words in err
    assert not list(Path().iterdir())


def test_going_on_takes_no_other_options(aamc) -> None:
    aamc("--orchestrator", "counter", "--out", "made")
    status, _, err = aamc("--resume", "made", "--seed", "3")
    assert status == 2
    assert "leave the other options out" in err


def test_it_is_no_router(aamc, plugins) -> None:
    aamc("--orchestrator", "counter", "--out", "made")
    with pytest.raises(CheckpointError, match="aamc orchestrate TASK --run"):
        Run.open("made").services(plugins)


class TestEvaluation:
    """``aamc evaluate`` plays tasks that the orchestrator was not trained on."""

    @pytest.fixture
    def tasks(self, aamc):
        """Train one; return the tasks of an evaluation, and its messages."""
        assert aamc("--orchestrator", "scored", "--dataset", "tiny:50", "--out", "made")[0] == 0

        def call(*arguments: str) -> tuple[list[str], str]:
            status, out, err = run_command("evaluate", *arguments, "--json")
            return (json.loads(out)["tasks"] if status == 0 else []), err

        return call

    def test_the_tasks_are_the_test_tasks_of_the_training(self, tasks) -> None:
        found, _ = tasks("made")
        assert len(found) == Run(Path("made")).content["splits"]["test"]["queries"]
        assert tasks("made", "--orchestrator", "scored")[0] == found

    def test_tasks_of_the_training_are_left_out_of_other_data(self, tasks, caplog) -> None:
        own, _ = tasks("made")
        found, _ = tasks("made", "--orchestrator", "scored", "--dataset", "tiny:60")
        assert set(own) < set(found)
        assert len(found) == len(own) + 10
        assert f"{60 - len(found)} of 60 rows of aamc_sdk.testing were trained on, such as" in caplog.text
        assert "none is left to evaluate" in tasks("made", "--dataset", "tiny:1")[1]

    def test_a_training_that_took_over_another_knows_its_tasks(self, tasks, aamc) -> None:
        assert aamc("--from", "made", "--dataset", "tiny:60", "--set", "dataset.first=100", "--out", "second")[0] == 0
        own, _ = tasks("made")
        assert tasks("second", "--dataset", "tiny:50")[0] == own

    def test_a_run_of_an_older_version_divides_its_tasks_again(self, tasks, caplog) -> None:
        own, _ = tasks("made")
        content = yaml.safe_load(Path("made/run.yaml").read_text())
        Path("made/run.yaml").write_text(yaml.safe_dump({**content, "fingerprints": []}))
        assert tasks("made")[0] == own
        assert not caplog.text
        assert len(tasks("made", "--dataset", "tiny:50")[0]) == 50
        assert "made by another version and does not say" in caplog.text

    def test_test_tasks_that_changed_are_refused(self, tasks) -> None:
        content = Path("made/run.yaml").read_text().replace("path: '50'", "path: '60'")
        Path("made/run.yaml").write_text(content)
        assert "is not what it was when the run began" in tasks("made")[1]

    def test_an_untrained_one_needs_tasks(self, tasks) -> None:
        assert "--dataset FORMAT:PATH" in tasks("--orchestrator", "scored")[1]


class TestFinding:
    def test_the_newest_is_found(self, aamc) -> None:
        import os

        for n, name in enumerate(("one", "two")):
            aamc("--orchestrator", "counter", "--out", f"runs/{name}")
            os.utime(f"runs/{name}/orchestrator/component.json", (n, n))
        assert newest_orchestrator() == Path("runs/two")

    def test_in_an_empty_folder_there_is_none(self, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert newest_orchestrator() is None

    def test_an_unfinished_one_is_none(self, aamc, plugins) -> None:
        aamc("--orchestrator", "counter", "--set", "orchestrator.stop_at=3", "--out", "made")
        with pytest.raises(CheckpointError, match="holds no trained orchestrator"):
            load_orchestrator(Path("made"), plugins)
