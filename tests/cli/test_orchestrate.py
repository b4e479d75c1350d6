"""``aamc orchestrate`` with orchestrators of other packages: one that only yields steps."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from aamc_experiments import plugin as experiments
from tiny import Tiny

from aamc_sdk import Attempt, Component, Decision, Orchestrator, Preference, Query, builtin, hookimpl, option
from aamc_sdk.errors import OutputError
from aamc_sdk.interfaces import Budget, NoOptions, Step, Training
from aamc_sdk.log import MemoryStore, StoreOptions, open_store
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving import LoggedOrchestrator, Orchestration
from aamc_sdk.storage import read_json, write_json
from aamc_sdk.testing import run_command

Aamc = Callable[..., tuple[int, str, str]]


@attrs.frozen(kw_only=True)
class ShouterOptions:
    mark: str = option("!", "Ends the answer.")


class Shouter(Orchestrator):
    """Takes all allowed steps, then answers with the task in capitals."""

    Config = ShouterOptions
    default_dataset = "tiny:50"

    async def run(self, task: Query, budget: Budget):
        for number in range(min(budget.steps, 2)):
            decision = Decision(id=f"d{number}", candidate="thinker", propensity=1.0, preference=Preference())
            yield Step(decision=decision, content=f"thought {number}", cost_usd=0.25, tokens=7)
        if budget.steps > 2:
            yield Step(decision=None, content=task.text.upper() + self.config.mark, final=True)

    def train(self, training: Training) -> dict[str, float]:
        return {}

    def save(self, folder: Path) -> None:
        write_json(folder / "mark.json", self.config.mark)

    def load(self, folder: Path) -> None:
        assert read_json(folder / "mark.json") == self.config.mark


class Billed(Shouter):
    """Decides once; a second step without a decision and an answer costs something too."""

    async def run(self, task: Query, budget: Budget):
        yield Step(decision=Decision(id="d0", candidate="thinker", propensity=1.0, preference=Preference()), content="a thought", cost_usd=0.25)
        yield Step(decision=None, content="", cost_usd=0.125)


class Silent(Shouter):
    """Does nothing."""

    async def run(self, task: Query, budget: Budget):
        return
        yield


class Endless(Shouter):
    """Looks at no budget."""

    async def run(self, task: Query, budget: Budget):
        while True:
            await asyncio.sleep(0.01)
            yield Step(decision=None, content="again", cost_usd=0.25)


class Broken(Shouter):
    """Fails at its first step."""

    async def run(self, task: Query, budget: Budget):
        yield Step(decision=None, content={}[task.text], cost_usd=0.25)


class Breaking(Shouter):
    """Fails at its third step, after two steps that cost something."""

    async def run(self, task: Query, budget: Budget):
        yield Step(decision=Decision(id="d0", candidate="thinker", propensity=1.0, preference=Preference()), content="a thought", cost_usd=0.25)
        yield Step(decision=None, content="another", cost_usd=0.125)
        raise KeyError(task.text)


class Unpriced(Shouter):
    """Does not know what a step cost, or yields another thing, by the task."""

    async def run(self, task: Query, budget: Budget):
        changes: dict[str, Any] = {
            "nan": {"cost_usd": math.nan},
            "none": {"cost_usd": None},
            "less": {"cost_usd": -0.25},
            "number": {"content": 4},
            "name": {"decision": "a"},
            "tokens": {"tokens": -1},
            "words": {"tokens": "7"},
            "prompts": {"tokens": 7, "prompt_tokens": 8},
        }
        yield Step(**{"decision": None, "content": "thought", **changes[task.text]}) if task.text in changes else "thought"


class Talkative(Shouter):
    """Calls each of its steps the last one."""

    async def run(self, task: Query, budget: Budget):
        try:
            for _ in range(50):
                yield Step(decision=None, content="again", cost_usd=1.0, final=True)
        finally:
            Path("closed").touch()


class Hanging(Shouter):
    """Waits for ever in its second step, as the task says: in its event loop, in a thread, in a pool of its own, or blocking everything."""

    async def run(self, task: Query, budget: Budget):
        decision = Decision(id="d0", candidate="thinker", propensity=1.0, preference=Preference())
        yield Step(decision=decision, content="first", cost_usd=0.25)
        if task.text == "awaits":
            await asyncio.Event().wait()
        elif task.text == "in a thread":
            await asyncio.to_thread(threading.Event().wait)
        elif task.text == "in a pool":
            await asyncio.wrap_future(ThreadPoolExecutor(1).submit(threading.Event().wait))
        else:
            threading.Event().wait()
        yield Step(decision=None, content="never", final=True)


class PlainStore(MemoryStore):
    """Has no options."""

    Config = NoOptions

    def __init__(self, url: str, config: NoOptions) -> None:
        super().__init__("memory:", StoreOptions())


class HangingLogged(LoggedOrchestrator, Hanging):
    """Has orchestrations of its own."""

    default_steps = 4

    def orchestration(self, task: Query, budget: Budget) -> Orchestration:
        return Orchestration(self, task, budget)


class Orchestrators:
    @hookimpl
    def aamc_stores(self) -> list[Component]:
        return [Component("plain", f"{__name__}:PlainStore", "")]

    @hookimpl
    def aamc_orchestrators(self) -> list[Component]:
        classes = (Shouter, Billed, Silent, Endless, Broken, Breaking, Unpriced, Talkative, Hanging, HangingLogged)
        return [Component(found.__name__.lower(), f"{__name__}:{found.__name__}", "") for found in classes]


@pytest.fixture
def aamc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Aamc:
    """Run the command line in an empty folder; return exit status, standard output and standard error."""
    found = Plugins({"core": builtin, "experiments": experiments, "tiny": Tiny(), "orchestrators": Orchestrators()}, discover=False)
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: found)
    monkeypatch.chdir(tmp_path)
    return run_command


def test_a_step_steers_no_terminal(aamc: Aamc) -> None:
    status, out, err = aamc("orchestrate", "hi \x1b]0;owned\x07", "--orchestrator", "shouter")
    assert status == 0, err
    assert "OWNED" in out
    assert "OWNED" in err
    assert "\x1b" not in out + err


def test_the_command_is_the_cores() -> None:
    assert "orchestrate" in run_command("--help")[1]


def test_an_untrained_one_works_by_name(aamc: Aamc) -> None:
    status, out, err = aamc("orchestrate", "hello", "--orchestrator", "shouter")
    assert (status, out) == (0, "HELLO!\n"), err
    assert "thinker  thought 0  0.25 USD" in err
    assert "answered after 3 steps, 0.5 USD" in err


def test_the_json_has_the_same_keys_for_each_orchestrator(aamc: Aamc) -> None:
    _, out, _ = aamc("orchestrate", "hello", "--orchestrator", "shouter", "--json")
    document: dict[str, Any] = json.loads(out)
    assert document.keys() == {"schema", "task", "answer", "stop", "cost_usd", "run", "seconds", "trajectory", "steps"}
    assert (document["answer"], document["stop"], document["cost_usd"], document["run"]) == ("HELLO!", "answered", 0.5, None)
    assert [step["agent"] for step in document["steps"]] == ["thinker", "thinker", None]
    assert document["steps"][0]["output"] == {"content": "thought 0", "cost": 0.25, "metadata": {"tokens": 7}}
    path = Path(document["trajectory"])
    (kept,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert kept["steps"] == document["steps"]
    path.write_text(path.read_text() + path.read_text()[:40])  # a killed process left a part of a line
    assert aamc("orchestrate", "hello", "--orchestrator", "shouter")[0] == 0
    assert json.loads(path.read_text().splitlines()[-1])["steps"] == document["steps"]


@pytest.mark.parametrize(
    ("options", "stop"),
    [
        (["--steps", "2"], "truncated"),
        (["--steps", "2", "--budget-usd", "0.5"], "out_of_budget"),
        (["--steps", "2", "--budget", "0.5"], "out_of_budget"),
        (["--steps", "2", "--budget-usd", "0.5", "--budget", "9"], "out_of_budget"),
    ],
)
def test_the_budget_is_reported_as_the_reason(aamc: Aamc, options: list[str], stop: str) -> None:
    _, out, _ = aamc("orchestrate", "hello", "--orchestrator", "shouter", "--json", *options)
    assert (json.loads(out)["stop"], json.loads(out)["answer"]) == (stop, "thought 1")


@pytest.mark.parametrize(
    ("options", "stop", "counts"),
    [
        (["--steps", "3"], "truncated", {3}),
        (["--steps", "1000", "--budget", "0.6"], "out_of_budget", {3}),
        (["--steps", "1000", "--seconds", "0.2"], "out_of_budget", set(range(1, 22))),
    ],
)
def test_the_work_ends_at_the_budget_whether_the_orchestrator_looks_at_it_or_not(aamc: Aamc, options: list[str], stop: str, counts: set[int]) -> None:
    status, out, err = aamc("orchestrate", "hello", "--orchestrator", "endless", "--json", *options)
    assert status == 0, err
    assert (json.loads(out)["stop"], json.loads(out)["answer"]) == (stop, "again")
    assert len(json.loads(out)["steps"]) in counts


def program(*options: str, before: str = "") -> list[str]:
    """Return the command of ``aamc orchestrate`` in a process of its own, which has to end although a thread of it hangs."""
    text = f"""
import signal, sys, threading; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
import aamc_sdk.plugins, aamc_sdk.cli.commands.orchestrate, aamc_sdk.cli.main, test_orchestrate as test
aamc_sdk.plugins.get_plugin_manager = lambda: test.Plugins({{"core": test.builtin, "orchestrators": test.Orchestrators()}}, discover=False)
sys.modules["aamc_sdk.cli.commands.orchestrate"].GRACE_S = 0.5
{before}
sys.argv = ["aamc", "orchestrate", *{options!r}, "--json"]
sys.modules["aamc_sdk.cli.main"].main()
"""
    return [sys.executable, "-c", text]


SLOW_START = """
import time
from aamc_sdk.concurrency import EventLoopThread

submit = EventLoopThread.submit
EventLoopThread.submit = lambda self, work: (submit(self, work), [time.sleep(0.05) for _ in range(1000)])[0]
"""
"""The thread of the work is quicker than the main thread, which has started it, as on a busy machine."""


def logged_attempts(path: Path) -> Sequence[Attempt]:
    """Return the attempts of a log."""
    with closing(open_store(f"sqlite:{path}", Plugins({"core": builtin}, discover=False))) as store:
        return store.experience().attempts


def hang(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = program(*options, "--seconds", "0.3")
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("task", ["awaits", "in a thread", "in a pool", "blocks"])
def test_a_step_in_progress_is_broken_off_at_the_time_limit(tmp_path: Path, task: str) -> None:
    done = hang(tmp_path, task, "--orchestrator", "hanging")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["stop"], document["answer"], document["cost_usd"], len(document["steps"])) == ("out_of_budget", "first", 0.25, 1)
    assert json.loads((tmp_path / "trajectories.jsonl").read_text())["stop"] == "out_of_budget"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot interrupt another process like Ctrl-C")
@pytest.mark.parametrize("task", ["awaits", "in a thread", "in a pool", "blocks"])
@pytest.mark.parametrize("start", ["", SLOW_START])
def test_an_interrupt_ends_the_work_and_keeps_the_steps_before_it(tmp_path: Path, task: str, start: str) -> None:
    store = ("--store", f"sqlite:{tmp_path / 'log.db'}")
    command = program(task, "--orchestrator", "hanging", *store, before=f"signal.signal(signal.SIGINT, signal.default_int_handler)\n{start}")
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        shown = next(line for line in process.stderr if "first" in line)
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()  # else leaving the block would wait for it
    assert process.returncode == 1
    assert "interrupted" in err
    assert json.loads(out)["error"]["message"] == "interrupted", shown
    kept = json.loads((tmp_path / "trajectories.jsonl").read_text())
    assert (kept["stop"], kept["cost_usd"], len(kept["steps"])) == ("interrupted", 0.25, 1)
    (attempt,) = logged_attempts(tmp_path / "log.db")
    assert (attempt.decision_id, attempt.cost_usd, attempt.error) == ("d0", 0.25, None)


def test_the_decisions_of_steps_are_logged_with_their_costs(aamc: Aamc) -> None:
    status, out, err = aamc("orchestrate", "hello", "--orchestrator", "shouter", "--store", "sqlite:log.db", "--json")
    assert (status, json.loads(out)["id"]) == (0, "d1"), err
    with closing(open_store("sqlite:log.db", Plugins({"core": builtin}, discover=False))) as store:
        experience = store.experience()
    assert [decision.candidate for decision in experience.decisions] == ["thinker", "thinker"]
    assert [(attempt.decision_id, attempt.cost_usd) for attempt in experience.attempts] == [("d0", 0.25), ("d1", 0.25)]
    assert "Nothing was logged: orchestrator 'silent'" in aamc("orchestrate", "hello", "--orchestrator", "silent", "--store", "sqlite:log.db")[2]


def test_a_store_without_options_logs_too(aamc: Aamc) -> None:
    status, out, err = aamc("orchestrate", "hello", "--orchestrator", "shouter", "--store", "plain:x", "--json")
    assert (status, json.loads(out)["id"]) == (0, "d1"), err


def test_costs_without_a_decision_and_the_missing_answer_are_logged_with_the_last_decision(aamc: Aamc) -> None:
    assert aamc("orchestrate", "hello", "--orchestrator", "billed", "--store", "sqlite:log.db")[0] == 1
    (attempt,) = logged_attempts(Path("log.db"))
    assert (attempt.decision_id, attempt.cost_usd, attempt.status) == ("d0", 0.375, "error")
    assert attempt.error.startswith("no answer")


def test_the_steps_before_a_failure_are_logged_with_their_costs_and_kept(aamc: Aamc) -> None:
    status, out, err = aamc("orchestrate", "hello", "--orchestrator", "breaking", "--store", "sqlite:log.db", "--json")
    assert (status, json.loads(out)["error"]["message"]) == (1, "orchestrator 'breaking' failed: KeyError: 'hello'")
    assert "The episode so far is in trajectories.jsonl" in err
    (attempt,) = logged_attempts(Path("log.db"))
    assert (attempt.decision_id, attempt.cost_usd, attempt.error) == ("d0", 0.375, "no answer: failed")
    kept = json.loads(Path("trajectories.jsonl").read_text())
    assert (kept["stop"], kept["answer"], kept["cost_usd"], len(kept["steps"])) == ("failed", None, 0.375, 2)


def test_a_failure_is_reported_even_if_its_steps_cannot_be_kept(aamc: Aamc, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(orchestration: Orchestration, path: Path) -> None:
        raise OutputError(f"cannot write {path}: no space left on device")

    monkeypatch.setattr(Orchestration, "keep", full)
    status, out, err = aamc("orchestrate", "hello", "--orchestrator", "breaking", "--json")
    assert (status, json.loads(out)["error"]["message"]) == (1, "orchestrator 'breaking' failed: KeyError: 'hello'")
    assert "aamc: cannot write trajectories.jsonl: no space left on device" in err


def test_a_store_is_opened_before_the_work(aamc: Aamc) -> None:
    status, out, err = aamc("orchestrate", "hello", "--orchestrator", "shouter", "--store", "nope:x", "--json")
    assert status == 2
    assert json.loads(out).keys() == {"schema", "error"}
    assert "thought" not in err


def test_a_result_that_cannot_be_kept_is_printed_as_one_document(aamc: Aamc, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(orchestration: Orchestration, path: Path) -> None:
        raise OutputError(f"cannot write {path}: no space left on device")

    monkeypatch.setattr(Orchestration, "keep", full)
    status, out, err = aamc("orchestrate", "hello", "--orchestrator", "shouter", "--json")
    assert (status, json.loads(out)["answer"]) == (1, "HELLO!")
    assert "aamc: cannot write trajectories.jsonl: no space left on device" in err


@pytest.mark.parametrize("content", ['{"schema": 1, "task": {"text": "hello"}, "activations": []}\n', "a note\n", "[1]\n"])
def test_a_file_of_something_else_is_refused_before_the_first_step(aamc: Aamc, content: str) -> None:
    Path("trajectories.jsonl").write_text(content)
    status, _, err = aamc("orchestrate", "hello", "--orchestrator", "shouter")
    assert (status, "thought" in err) == (1, False)
    assert "trajectories.jsonl holds something other than episodes of orchestrator 'shouter'; choose another file with --trajectory" in err
    assert Path("trajectories.jsonl").read_text() == content


@pytest.mark.parametrize("length", [1, 30])
def test_a_first_line_that_a_killed_process_left_half_written_is_followed_by_episodes(aamc: Aamc, length: int) -> None:
    path = Path("trajectories.jsonl")
    assert aamc("orchestrate", "hello", "--orchestrator", "shouter")[0] == 0
    path.write_text(path.read_text()[:length])
    for count in (1, 2):
        assert aamc("orchestrate", "hello", "--orchestrator", "shouter")[0] == 0
        assert [json.loads(line)["task"] for line in path.read_text().splitlines()[1:]] == ["hello"] * count


def test_an_episode_follows_earlier_ones(aamc: Aamc) -> None:
    Path("trajectories.jsonl").touch()
    for count in (1, 2):
        assert aamc("orchestrate", "hello", "--orchestrator", "shouter")[0] == 0
        assert [json.loads(line)["task"] for line in Path("trajectories.jsonl").read_text().splitlines()] == ["hello"] * count


def test_decisions_are_logged_where_the_episode_cannot_be_kept(aamc: Aamc, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(orchestration: Orchestration, path: Path) -> None:
        raise OutputError(f"cannot write {path}: no space left on device")

    monkeypatch.setattr(Orchestration, "keep", full)
    assert aamc("orchestrate", "hello", "--orchestrator", "shouter", "--store", "sqlite:log.db")[0] == 1
    assert [(attempt.decision_id, attempt.cost_usd) for attempt in logged_attempts(Path("log.db"))] == [("d0", 0.25), ("d1", 0.25)]


def test_a_damaged_training_does_not_hide_the_others(aamc: Aamc) -> None:
    aamc("train", "--orchestrator", "shouter", "--out", "runs/good")
    broken = Path("runs/broken/orchestrator/component.json")
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    for options in ((), ("--orchestrator", "shouter")):
        status, out, err = aamc("orchestrate", "hello", *options, "--json")
        assert (status, json.loads(out)["run"]) == (0, "runs/good"), err


def test_the_ending_says_that_a_step_was_broken_off(aamc: Aamc) -> None:
    _, _, err = aamc("orchestrate", "awaits", "--orchestrator", "hanging", "--seconds", "0.2")
    assert "out of budget: a step was broken off at 0.2 s, and its unfinished calls count their prompts, after 1 step, 0.25 USD" in " ".join(
        err.split()
    )


def test_an_orchestration_of_another_package_that_does_not_end_is_an_error(tmp_path: Path) -> None:
    done = hang(tmp_path, "blocks", "--orchestrator", "hanginglogged")
    assert done.returncode == 1
    assert "orchestrator 'hanginglogged' did not end at its time limit of 0.3 s" in json.loads(done.stdout)["error"]["message"]


def test_nothing_comes_after_the_final_step(aamc: Aamc) -> None:
    _, out, _ = aamc("orchestrate", "hello", "--orchestrator", "talkative", "--json", "--budget", "2")
    assert (json.loads(out)["stop"], len(json.loads(out)["steps"])) == ("answered", 1)
    assert Path("closed").exists()


@pytest.mark.parametrize("cost", ["nan", "none", "less"])
def test_a_step_of_unknown_cost_is_refused_since_no_budget_could_stop_the_work(aamc: Aamc, cost: str) -> None:
    status, _, err = aamc("orchestrate", cost, "--orchestrator", "unpriced")
    assert status == 1
    assert "orchestrator 'unpriced' must yield steps with a cost in USD of at least 0" in " ".join(err.split())


@pytest.mark.parametrize(
    ("task", "found"),
    [
        ("text", "aamc_sdk.Step objects, not 'thought'"),
        ("number", "steps whose content is a text, not 4"),
        ("name", "steps whose decision is an aamc_sdk.Decision or None, not 'a'"),
        ("tokens", "steps whose tokens are a whole number of at least 0, not -1"),
        ("words", "steps whose tokens are a whole number of at least 0, not '7'"),
        ("prompts", "steps whose prompt_tokens are a part of their 7 tokens, not 8"),
    ],
)
def test_a_step_of_another_type_is_refused(aamc: Aamc, task: str, found: str) -> None:
    status, _, err = aamc("orchestrate", task, "--orchestrator", "unpriced")
    assert (status, f"orchestrator 'unpriced' must yield {found}" in " ".join(err.split())) == (1, True)


def test_an_orchestrator_that_fails_is_named(aamc: Aamc) -> None:
    status, _, err = aamc("orchestrate", "hello", "--orchestrator", "broken")
    assert status == 1
    assert "aamc: orchestrator 'broken' failed: KeyError: 'hello'" in " ".join(err.split())


def test_no_step_is_no_answer(aamc: Aamc) -> None:
    status, out, err = aamc("orchestrate", "hello", "--orchestrator", "silent")
    assert (status, out) == (1, "")
    assert "ended without a final step after 0 steps" in err


def test_a_trained_one_is_found_by_its_name(aamc: Aamc) -> None:
    for name in ("shouter", "silent", "endless", "unpriced"):
        status, _, err = aamc("train", "--orchestrator", name, *(["--set", "orchestrator.mark=ho"] if name == "shouter" else []))
        assert status == 0, err
    assert aamc("orchestrate", "hello", "--orchestrator", "shouter")[1] == "HELLOho\n"
    status, _, err = aamc("orchestrate", "hello", "--orchestrator", "silent", "--run", str(next(Path("runs").glob("*-shouter"))))
    assert status == 1
    assert "has the orchestrator 'shouter', not 'silent'" in err


def test_without_a_name_the_newest_works(aamc: Aamc) -> None:
    aamc("train", "--orchestrator", "shouter")
    assert aamc("orchestrate", "hello")[1] == "HELLO!\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--agents", "calculator"], "has no option --agents"),
        (["--paths", "2"], "has no option --paths"),
        (["--set", "agent_options.calculator.billed_seconds=4"], "has no option agent_options"),
        (["--documents", "documents.txt"], "passes no files to agents"),
        (["--graph", "graph.png"], "draws no graph"),
        (["--orchestrator", "shoutr"], "did you mean 'shouter'"),
    ],
)
def test_an_option_that_it_does_not_have_is_refused_before_it_works(aamc: Aamc, options: list[str], words: str) -> None:
    Path("documents.txt").write_text("one\n")
    status, out, err = aamc("orchestrate", "hello", "--orchestrator", "shouter", *options)
    assert (status, out) == (2, "")
    assert words in err
    assert "thought" not in err


def test_an_unknown_folder_is_reported(aamc: Aamc) -> None:
    status, _, err = aamc("orchestrate", "hello", "--run", "none")
    assert (status, "holds no trained orchestrator" in err) == (1, True)
    _, _, err = aamc("orchestrate", "hello", "--run", "none", "--orchestrator", "router-r1")
    assert "train one with: aamc train --orchestrator router-r1" in err
