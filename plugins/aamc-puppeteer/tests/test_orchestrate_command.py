"""``aamc orchestrate``, and what ``aamc train --orchestrator puppeteer`` leaves behind."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from aamc_puppeteer.episodes.trajectory import Stop, Trajectory, read_trajectories
from aamc_puppeteer.training import training_record
from matplotlib.image import imread

from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import run_command

AGENTS = "orchestrator.agents=[calculator, parser, strings]"
SHORT = ["--set", AGENTS, "--set", "orchestrator.updates=3", "--set", "orchestrator.episodes=4", "--dataset", "tasks:arithmetic"]
Aamc = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aamc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Aamc:
    """Run the command line in an empty folder; return exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    return run_command


class TestBeforeTraining:
    def test_agents_work_in_the_order_given(self, aamc: Aamc) -> None:
        status, out, err = aamc("orchestrate", "12 * (3 + 4)", "--agents", "calculator")
        assert (status, out) == (0, "84\n"), err
        assert "calculator  84" in err
        assert "stopped after 1 step, " in err

    def test_the_json_is_one_document(self, aamc: Aamc) -> None:
        status, out, _ = aamc("orchestrate", "12 * (3 + 4)", "--agents", "parser,calculator", "--json")
        document = json.loads(out)
        assert status == 0
        assert document.keys() == {"schema", "task", "answer", "stop", "cost_usd", "run", "seconds", "trajectory", "steps"}
        assert (document["answer"], document["stop"], document["run"]) == ("84", "stopped", None)
        assert [(step["agent"], step["fault"]) for step in document["steps"]] == [("parser", "raised"), ("calculator", None)]
        assert document["cost_usd"] == pytest.approx(sum(step["cost"] for step in document["steps"]))

    def test_episodes_are_added_to_a_file(self, aamc: Aamc) -> None:
        Path("kept").mkdir()
        for task in ("1 + 1", "2 + 2"):
            aamc("orchestrate", task, "--agents", "calculator", "--trajectory", "kept/episodes.jsonl")
        assert [trajectory.state.task.text for trajectory in read_trajectories(Path("kept/episodes.jsonl"))] == ["1 + 1", "2 + 2"]

    def test_an_episode_can_be_drawn(self, aamc: Aamc) -> None:
        aamc("orchestrate", "1 + 1", "--agents", "calculator", "--graph", "graph.png")
        assert imread("graph.png").shape[2] == 4

    @pytest.mark.parametrize(("option", "stop"), [("--steps=1", Stop.TRUNCATED), ("--budget=0", Stop.OUT_OF_BUDGET), ("--steps=0", Stop.TRUNCATED)])
    def test_limits_end_it(self, aamc: Aamc, option: str, stop: Stop) -> None:
        _, out, _ = aamc("orchestrate", "1 + 1", "--agents", "parser,calculator", option, "--json")
        assert json.loads(out)["stop"] == stop.value

    def test_two_files_of_one_name_are_refused(self, aamc: Aamc) -> None:
        for folder in ("one", "two"):
            Path(folder).mkdir()
            Path(folder, "a.txt").write_text(folder)
        status, _, err = aamc("orchestrate", "Read a.txt", "--agents", "file-reader", "--file", "one/a.txt", "--file", "two/a.txt")
        assert status == 2
        assert "--file one/a.txt and two/a.txt have the same one" in " ".join(err.split())

    def test_an_order_of_many_agents_is_followed_to_its_end(self, aamc: Aamc) -> None:
        names = ["calculator", "checker", "extractor", "parser", "python", "retriever", "reviser", "strings", "table"]
        _, out, _ = aamc("orchestrate", "1 + 1", "--agents", ",".join(names), "--json")
        document = json.loads(out)
        assert [step["agent"] for step in document["steps"]] == names
        assert document["stop"] == "stopped"

    def test_no_answer_is_a_failure(self, aamc: Aamc) -> None:
        status, out, err = aamc("orchestrate", "Sing.", "--agents", "calculator")
        assert (status, out) == (1, "")
        assert "calculator" in err

    def test_without_agents_the_command_that_trains_is_told(self, aamc: Aamc) -> None:
        status, _, err = aamc("orchestrate", "1 + 1")
        assert status == 1
        assert "aamc train --orchestrator puppeteer" in err
        assert "--agents calculator,python" in err

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["  "], "must not be empty"),
            (["1 + 1", "--agents", "calculater"], "did you mean 'calculator'"),
            (["1 + 1", "--agents", "calculator,calculator"], "twice"),
            (["1 + 1", "--agents", "calculator", "--paths", "2"], "need a policy"),
            (["1 + 1", "--agents", "calculator", "--set", "orchestrator.paths=2"], "need a policy"),
            (["1 + 1", "--agents", "calculator", "--steps", "-1"], "--steps must be at least 0, not -1"),
            (["1 + 1", "--agents", "calculator", "--budget", "nan"], "--budget must be a number of at least 0, not 'nan'"),
            (["1 + 1", "--agents", "calculator", "--seconds", "nan"], "--seconds must be a number of at least 0, not 'nan'"),
            (["1 + 1", "--agents", "calculator", "--graph", "graph.txt"], "name a file that ends in .png"),
            (["1 + 1", "--agents", "calculator", "--set", "agent_optins.calculator={}"], "did you mean 'agent_options'"),
            (["1 + 1", "--agents", "calculator", "--set", "agent_options.calculater.usd_per_second=1"], "did you mean 'calculator'"),
            (["1 + 1", "--agents", "calculator", "--set", "agent_options.calculator.usd_per_secund=1"], "did you mean 'usd_per_second'"),
        ],
    )
    def test_wrong_usage_is_told(self, aamc: Aamc, arguments: list[str], words: str) -> None:
        status, _, err = aamc("orchestrate", *arguments)
        assert status == 2
        assert words in err

    def test_a_missing_file_is_an_error(self, aamc: Aamc) -> None:
        status, _, err = aamc("orchestrate", "1 + 1", "--agents", "calculator", "--file", "none.csv")
        assert status == 1
        assert "none.csv" in err

    @pytest.mark.parametrize("option", ["--trajectory=.", "--trajectory=gone/episodes.jsonl", "--graph=gone/graph.png"])
    def test_a_place_that_cannot_be_written_is_told_before_an_agent_works(self, aamc: Aamc, option: str) -> None:
        status, out, err = aamc("orchestrate", "1 + 1", "--agents", "calculator", option)
        assert (status, out) == (1, "")
        assert "cannot write" in err
        assert "calculator" not in err

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
    def test_the_answer_is_told_even_where_its_record_is_lost(self, aamc: Aamc) -> None:
        status, out, err = aamc("orchestrate", "1 + 1", "--agents", "calculator", "--trajectory", "/dev/full")
        assert (status, out) == (1, "2\n")
        assert "cannot write /dev/full" in err

    def test_agents_have_options_of_a_file_and_of_the_command_line(self, aamc: Aamc) -> None:
        Path("options.yaml").write_text("agent_options: {calculator: {usd_per_second: 0.5, billed_seconds: 3}}")
        given = ["--config", "options.yaml", "--set", "agent_options.calculator.billed_seconds=4"]
        _, out, err = aamc("orchestrate", "1 + 1", "--agents", "calculator", *given, "--json")
        assert json.loads(out)["cost_usd"] == 2.0, err

    def test_an_answer_does_not_steer_the_terminal(self, aamc: Aamc) -> None:
        Path("page.txt").write_text("one\n\ttwo\x1b]0;title\x07\x9b1m")
        _, out, _ = aamc("orchestrate", "Read page.txt", "--agents", "file-reader", "--file", "page.txt")
        assert out == "one\n\ttwo\ufffd]0;title\ufffd\ufffd1m\n"

    def test_a_file_that_is_no_text_is_told(self, aamc: Aamc) -> None:
        Path("binary.csv").write_bytes(b"\xff\xfe\x00")
        status, _, err = aamc("orchestrate", "1 + 1", "--agents", "calculator", "--file", "binary.csv")
        assert status == 1
        assert "binary.csv" in err


def test_documents_can_be_searched(aamc: Aamc) -> None:
    Path("documents.txt").write_text("The ferry leaves at nine.\n\nBread is baked at dawn.\n")
    _, out, _ = aamc("orchestrate", "When does the ferry leave?", "--agents", "retriever", "--documents", "documents.txt")
    assert "nine" in out


def test_a_file_of_another_orchestrators_episodes_is_refused_before_the_first_step(aamc: Aamc) -> None:
    Path("trajectories.jsonl").write_text('{"schema": 1, "task": "6 * 7", "answer": "42", "cost_usd": 0.0, "stop": "answered", "steps": []}\n')
    status, out, err = aamc("orchestrate", "6 * 7", "--agents", "calculator")
    assert (status, out) == (1, "")
    assert "trajectories.jsonl holds something other than episodes" in err


class TestAfterTraining:
    def test_the_orchestrator_trained_last_works(self, aamc: Aamc) -> None:
        status, out, err = aamc("train", "--orchestrator", "puppeteer", *SHORT, "--json")
        assert status == 0, err
        trained = json.loads(out)
        folder = Path(trained["out"])
        assert trained["metrics"]["episodes"] == 12
        assert trained["metrics"]["validation"]["episodes"] > 0
        assert trained["steps"] == sum(len(trajectory.state.history) for trajectory in read_trajectories(folder / "orchestrator" / "episodes.jsonl"))

        status, out, err = aamc("orchestrate", "12 * (3 + 4)", "--json")
        document = json.loads(out)
        assert Path(document["run"]).resolve() == folder.resolve()
        (kept,) = read_trajectories(folder / "trajectories.jsonl")
        assert [step["agent"] for step in document["steps"]] == [activation.agent for activation in kept.state.history]
        assert {step["agent"] for step in document["steps"]} <= {"calculator", "parser", "strings"}

        status, out, err = aamc("orchestrate", "12 * (3 + 4)", "--paths", "2", "--graph", "graph.png", "--json")
        forked = json.loads(out)
        assert status == 0, err
        assert len(forked["paths"]) == 2
        assert len(list(read_trajectories(folder / "trajectories.jsonl"))) == 3
        assert forked["answer"]

        _, out, _ = aamc("orchestrate", "12 * (3 + 4)", "--agents", "calculator,python", "--json")
        assert {step["agent"] for step in json.loads(out)["steps"]} <= {"calculator", "python"}

        billed = [part for name in ("calculator", "parser", "strings") for part in ("--set", f"agent_options.{name}.billed_seconds=1000")]
        _, out, _ = aamc("orchestrate", "12 * (3 + 4)", "--steps", "1", *billed, "--json")
        document = json.loads(out)
        assert [step["cost"] for step in document["steps"]] == [1.0] * len(document["steps"]) != []

    def test_by_default_it_may_take_as_many_steps_as_in_training(self, aamc: Aamc) -> None:
        aamc("train", "--orchestrator", "puppeteer", *SHORT, "--set", "orchestrator.updates=0", "--set", "orchestrator.max_steps=2")
        for steps, arguments in ((2, []), (3, ["--steps", "3"])):
            _, out, _ = aamc("orchestrate", "Sing.", "--json", *arguments)
            document = json.loads(out)
            assert (len(document["steps"]), document["stop"]) == (steps, "truncated")

    def test_its_episodes_are_paid_as_in_training(self, aamc: Aamc) -> None:
        paid = ("updates=0", "max_steps=2", "cost_weight=100")
        aamc("train", "--orchestrator", "puppeteer", *SHORT, *(part for option in paid for part in ("--set", f"orchestrator.{option}")))
        aamc("orchestrate", "Sing.", "--trajectory", "kept.jsonl")
        (kept,) = read_trajectories(Path("kept.jsonl"))
        first, _ = (activation.cost for activation in kept.state.history)
        assert kept.rewards == pytest.approx([-100 * first, math.nan], nan_ok=True)  # nobody judges the answer

    def test_its_episodes_are_kept_and_drawn_and_it_is_no_router(self, aamc: Aamc) -> None:
        aamc("train", "--orchestrator", "puppeteer", *SHORT, "--out", "made")
        folder = Path("made/orchestrator")
        assert len(list(read_trajectories(folder / "episodes.jsonl"))) == 12
        assert {path.name for path in (folder / "figures").iterdir()} == {"training.png", "graph-first.png", "graph-last.png"}
        metrics = json.loads((folder / "training.json").read_text())
        assert len(metrics["topology"]) == 12
        assert metrics["topology"][-1]["episode"] == 12
        status, _, err = aamc("route", "hello", "--run", "made")
        assert status == 1
        assert "aamc orchestrate TASK --run" in err


def test_a_folder_without_one_is_told(aamc: Aamc) -> None:
    status, _, err = aamc("orchestrate", "hello", "--run", "none")
    assert status == 1
    assert "holds no trained orchestrator" in err


def test_an_unfinished_training_is_to_be_resumed(aamc: Aamc, tmp_path: Path) -> None:
    (tmp_path / "stopped" / "orchestrator" / "resume").mkdir(parents=True)
    (tmp_path / "stopped" / "run.yaml").touch()
    status, _, err = aamc("orchestrate", "hello", "--run", str(tmp_path / "stopped"))
    assert status == 1
    assert f"unfinished; continue it with: aamc train --resume {tmp_path / 'stopped'}" in err


def test_a_training_that_was_stopped_comes_to_the_same_and_keeps_each_episode_once(aamc: Aamc, monkeypatch: pytest.MonkeyPatch) -> None:
    often = [*SHORT, "--set", "orchestrator.checkpoint_every=1"]
    status, _, err = aamc("train", "--orchestrator", "puppeteer", *often, "--out", "whole")
    assert status == 0, err
    keep, calls = training_record.append_trajectories, []

    def stop_in_the_third(path: Path, trajectories: Sequence[Trajectory]) -> None:
        keep(path, trajectories)
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(training_record, "append_trajectories", stop_in_the_third)
    status, _, err = aamc("train", "--orchestrator", "puppeteer", *often, "--out", "stopped")
    assert status == 1
    assert "continue with: aamc train --resume" in err
    status, _, err = aamc("train", "--resume", "stopped")
    assert status == 0, err

    whole, resumed = (list(read_trajectories(Path(name, "orchestrator", "episodes.jsonl"))) for name in ("whole", "stopped"))
    assert [trajectory.probabilities for trajectory in whole] == [trajectory.probabilities for trajectory in resumed]
    assert [trajectory.rewards for trajectory in whole] == [trajectory.rewards for trajectory in resumed]
    curves = [json.loads(Path(name, "orchestrator", "training.json").read_text())["curve"] for name in ("whole", "stopped")]
    assert curves[0] == curves[1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        status, _, err = run_command("train", "--orchestrator", "puppeteer", *SHORT, "--set", "orchestrator.sample=true", "--out", "made")
    assert status == 0, err
    return folder / "made"


class TestFurtherTraining:
    @pytest.fixture
    def made(self, aamc: Aamc, trained: Path) -> Path:
        shutil.copytree(trained, "made")
        return Path("made")

    def test_it_continues_from_what_is_there(self, aamc: Aamc, made: Path) -> None:
        status, _, err = aamc("train", "--from", "made", "--dataset", "tasks:tables", "--set", "orchestrator.updates=0", "--out", "same")
        assert status == 0, err
        assert Path("same/orchestrator/policy.npz").read_bytes() == Path("made/orchestrator/policy.npz").read_bytes()
        status, _, err = aamc("train", "--orchestrator", "puppeteer", "--from", "made", "--dataset", "tasks:tables", "--out", "more")
        assert status == 0, err
        before, after = (json.loads(Path(name, "orchestrator/component.json").read_text())["config"] for name in ("made", "more"))
        assert before == after
        assert json.loads(Path("more/orchestrator/policy.json").read_text())["updates"] == 6

    def test_served_episodes_with_feedback_teach_it(self, aamc: Aamc, made: Path) -> None:
        shown = []
        for task, quality in (("12 * (3 + 4)", "1"), ("2 + 2", "0"), ("3 + 3", None)):
            status, out, err = aamc("orchestrate", task, "--run", "made", "--json")
            shown.append(json.loads(out)["id"])
            assert f"aamc feedback add {shown[-1]} --quality Q --store sqlite:made/log.db" in err
            if quality is not None:
                status, _, err = aamc("feedback", "add", shown[-1], "--quality", quality, "--run", "made")
                assert status == 0, err
        status, out, err = aamc(
            "train", "--orchestrator", "puppeteer", "--from", "made", "--dataset", "log:sqlite:made/log.db", "--out", "taught", "--json"
        )
        assert status == 0, err
        metrics = json.loads(out)["metrics"]
        assert (metrics["logged_episodes"], metrics["left_out"], metrics["mean_quality"]) == (2, 1, 0.5)
        assert Path("taught/orchestrator/policy.npz").read_bytes() != Path("made/orchestrator/policy.npz").read_bytes()
        status, _, err = aamc("orchestrate", "2 + 2", "--run", "taught", "--json")
        assert "taught/log.db" in err

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--orchestrator", "router-r1", "--from", "made"], "holds the orchestrator 'puppeteer', not 'router-r1'"),
            (["--from", "nowhere"], "holds no trained orchestrator"),
            (["--from", "made", "--preset", "full"], "without --preset"),
            (["--from", "made", "--set", "orchestrator.hidden=7"], "should have shape (7,) and has (64,)"),
            (["--from", "made", "--dataset", "log:sqlite:made/log.db"], "there is no store"),
            (["--router", "random", "--budget-usd", "1"], "belong to the training of an orchestrator"),
        ],
    )
    def test_a_start_that_cannot_be_used_is_an_error(self, aamc: Aamc, made: Path, arguments: list[str], words: str) -> None:
        status, _, err = aamc("train", *arguments, "--out", "other")
        assert status != 0
        assert words in err
        assert "Traceback" not in err

    def test_several_paths_are_not_logged_and_it_says_so(self, aamc: Aamc, made: Path) -> None:
        _, out, err = aamc("orchestrate", "2 + 2", "--run", "made", "--paths", "2", "--store", "sqlite:other.db", "--json")
        assert "Nothing was logged" in err
        assert "id" not in json.loads(out)
        with closing(open_store("sqlite:other.db", get_plugin_manager())) as store:
            assert store.position() == 0

    def test_an_untrained_one_learns_from_no_log(self, aamc: Aamc, made: Path) -> None:
        aamc("orchestrate", "2 + 2", "--run", "made")
        status, _, err = aamc("train", "--orchestrator", "puppeteer", "--dataset", "log:sqlite:made/log.db", "--out", "other")
        assert status == 1
        assert "--from RUN" in err
        assert not Path("other").exists()
        status, _, err = aamc("train", "--from", "made", "--dataset", "log:sqlite:made/log.db", "--out", "other")
        assert status == 1
        assert "none of the log's 1 episodes has feedback" in err

    def test_a_log_without_texts_says_so(self, aamc: Aamc, made: Path) -> None:
        for task in ("2 + 2", "3 + 3", "4 + 4"):
            aamc("orchestrate", task, "--run", "made", "--store", "sqlite:bare.db?store_text=false")
        status, _, err = aamc("train", "--from", "made", "--dataset", "log:sqlite:bare.db", "--out", "other")
        assert status == 1
        assert "store_text=true" in err


def test_a_budget_for_less_than_an_update_is_an_error_and_leaves_nothing_to_serve(aamc: Aamc) -> None:
    given = ["--orchestrator", "puppeteer", "--dataset", "tasks:arithmetic", "--set", "orchestrator.agents=[parser, strings]"]
    status, _, err = aamc("train", *given, "--budget-usd", "0.01", "--out", "made")
    assert status == 1
    assert "the budget of 0.01 USD" in err.splitlines()[-1]
    assert "before its first update" in err.splitlines()[-1]
    assert "--budget-usd" in err.splitlines()[-1]
    status, _, err = aamc("orchestrate", "2 + 2", "--run", "made")
    assert status == 1
    assert "Traceback" not in err


def test_a_budget_in_money_ends_a_training_which_continues_later(aamc: Aamc) -> None:
    short = ("agents=[parser, strings]", "episodes=4", "max_steps=2")
    given = ["--orchestrator", "puppeteer", "--dataset", "tasks:arithmetic", *(part for name in short for part in ("--set", f"orchestrator.{name}"))]
    priced = ["--set", "orchestrator.agent_options={parser: {billed_seconds: 1000}, strings: {billed_seconds: 3000}}"]
    status, out, err = aamc("train", *given, *priced, "--budget-usd", "100", "--out", "made", "--json")
    assert status == 0, err
    free = "16,492.00 USD of it for tools' time at usd_per_second, which nobody bills"
    assert f"at most 8,246 turns of agents: 16,492.00 USD in equal shares ({free}), 24,738.00 USD at most; the training ends at 100 USD" in err
    metrics = json.loads(out)["metrics"]
    assert 97 < metrics["spent_usd"] <= 100
    assert 0 < metrics["updates"] < 1000
    assert metrics["estimate"] == {"turns": 8246, "mean_usd": 16492.0, "maximum_usd": 24738.0, "tools_usd": 16492.0, "unpriced": []}
    assert f"after {metrics['updates']} of 1000 updates" in err
    status, _, err = aamc("train", "--from", "made", "--dataset", "tasks:arithmetic", "--set", "orchestrator.updates=1", "--out", "more")
    assert status == 0, err


def test_estimate_and_spending_of_a_training_cover_its_validation(aamc: Aamc) -> None:
    options = ("agents=[parser, strings]", "updates=2", "episodes=4", "max_steps=2")
    priced = "orchestrator.agent_options={parser: {billed_seconds: 1000}, strings: {billed_seconds: 1000}}"
    given = [*(part for name in options for part in ("--set", f"orchestrator.{name}")), "--set", priced]
    status, out, err = aamc("train", "--orchestrator", "puppeteer", "--dataset", "tasks:arithmetic", *given, "--out", "made", "--json")
    assert status == 0, err
    metrics = json.loads(out)["metrics"]
    trained = sum(turn.cost for line in read_trajectories(Path("made/orchestrator/episodes.jsonl")) for turn in line.state.history)
    validation, tasks = metrics["validation"], metrics["validation"]["episodes"]
    policies = (validation, *validation["baselines"].values())
    assert (
        trained + tasks * validation["mean_cost_usd"]
        < metrics["spent_usd"]
        <= trained + tasks * (1 + sum(each["mean_cost_usd"] for each in policies))
    )
    assert metrics["estimate"]["turns"] == 2 * 2 * 4 + tasks * (2 * 2 + 2)


class TestEvaluation:
    def test_a_trained_one_and_baselines_play_its_test_tasks(self, aamc: Aamc) -> None:
        _, out, _ = aamc("train", "--orchestrator", "puppeteer", *SHORT, "--out", "made", "--json")
        status, out, err = aamc("evaluate", "made", "--json", "--out", "results")
        assert status == 0, err
        document = json.loads(out)
        episodes = list(read_trajectories(Path("results/episodes.jsonl")))
        test_tasks = yaml.safe_load(Path("made/run.yaml").read_text())["splits"]["test"]["queries"]
        systems, played = document["systems"], document["data"]["tasks"]
        assert list(systems) == ["puppeteer", "random", "best-single"]
        assert played == len(episodes) == test_tasks
        assert systems["puppeteer"]["mean_reward"] == pytest.approx(sum(episode.total_reward for episode in episodes) / played)
        assert systems["random"]["gain"]["mean_reward"] == pytest.approx(systems["puppeteer"]["mean_reward"] - systems["random"]["mean_reward"])
        assert json.loads(Path("results/results.json").read_text()) == document
        _, table, _ = aamc("evaluate", "made", "--dataset", "tasks:strings")
        assert "tasks:strings: 300 tasks" in table
        assert "best-single (strings)" in table
        status, _, err = aamc("evaluate", "made", "--routers", "random")
        assert (status, "leave --routers out" in " ".join(err.split())) == (2, True)

    def test_an_untrained_one_is_refused(self, aamc: Aamc) -> None:
        status, _, err = aamc("evaluate", "--orchestrator", "puppeteer", "--dataset", "tasks:arithmetic", "--set", AGENTS)
        assert status == 1
        assert "there is no trained orchestrator under runs; train one with: aamc train --orchestrator puppeteer" in " ".join(err.split())


def test_the_name_of_an_orchestrator_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_AAMC_COMPLETE", "bash_complete"), ("COMP_WORDS", "aamc train --orchestrator pup"), ("COMP_CWORD", "3")):
        monkeypatch.setenv(name, value)
    assert run_command()[1].split() == ["plain,puppeteer"]
