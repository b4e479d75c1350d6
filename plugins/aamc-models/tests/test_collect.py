"""``aamc data collect``: models answer, a judge scores, the ledger keeps every call."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aamc_agents.sandbox import machine_fences
from aamc_models.collect.judges.model_judge import comparison
from aamc_models.collect.prompts import Prompt
from aamc_models.testing import Script, StubServer

from aamc_sdk.storage import locked
from aamc_sdk.testing import run_command
from aamc_sdk.types import estimated_tokens

PRICES = "prices: {input: 1.0, output: 2.0}"
Collect = Callable[..., tuple[int, str, str]]


@pytest.fixture
def stub() -> Iterator[StubServer]:
    scripts = {
        "right": Script(text="6 x 7 is easy. The answer is 42.", prompt_tokens=100, output_tokens=50),
        "wrong": Script(text="It is 41.", prompt_tokens=100, output_tokens=10),
        "judge": Script(text="The first is right.\nVERDICT: A", prompt_tokens=1000, output_tokens=20),
    }
    with StubServer(scripts) as stub:
        yield stub


@pytest.fixture
def folder(stub: StubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    endpoint = f"endpoint: {{provider: openai, base_url: '{stub.url}/v1', retries: 0}}"
    Path("models.yaml").write_text("candidates:\n" + "".join(f"  - {{name: {name}, {PRICES}, {endpoint}}}\n" for name in ("right", "wrong", "judge")))
    Path("questions.jsonl").write_text(
        "".join(json.dumps({"question": f"What is 6 x 7? ({n})", "answer": 42, "category": "math"}) + "\n" for n in range(8))
    )
    return tmp_path


@pytest.fixture
def collect(folder: Path) -> Collect:
    return lambda *arguments: run_command(
        "data", "collect", "--pool", "models.yaml", "--prompts", "questions.jsonl", "--out", "data/outcomes.jsonl", *arguments
    )


needs_sandbox = pytest.mark.skipif(not machine_fences().fenced_by_kernel, reason="the kernel does not confine programs")
ASKED = ("--candidates", "right,wrong")


def ledger(content: bytes | None = None) -> list[dict[str, Any]]:
    found = Path("data/outcomes.ledger/calls.jsonl").read_bytes() if content is None else content
    return [json.loads(line) for line in found.splitlines()]


def rows(path: str = "data/outcomes.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def abandon(process: subprocess.Popen[str]) -> None:
    """End a collection by two interrupts, and check that it says how to go on."""
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert any("press Ctrl-C again" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.rstrip().endswith("run the same command again to resume")
    assert "Traceback" not in err


def test_every_model_answers_every_prompt_and_the_outcomes_have_all_figures(collect: Collect, stub: StubServer) -> None:
    status, out, err = collect("--judge", "numeric", *ASKED, "--json")
    assert status == 0, err
    found = rows()
    assert len(found) == 8
    assert (found[0]["query"], found[0]["category"], found[0]["reference"]) == ("What is 6 x 7? (0)", "math", "42")
    right = found[0]["outcomes"]["right"]
    assert (right["quality"], right["prompt_tokens"], right["output_tokens"]) == (1.0, 100, 50)
    assert right["cost_usd"] == pytest.approx((100 + 50 * 2) / 1e6)
    assert right["latency_ms"] > 0
    assert right["response"] == "6 x 7 is easy. The answer is 42."
    assert found[0]["outcomes"]["wrong"]["quality"] == 0.0
    document = json.loads(out)
    assert (document["rows"], document["finished"]) == (8, True)
    assert document["cost_usd"] == pytest.approx(8 * (200 + 120) / 1e6)
    assert document["candidates"]["right"]["quality_ci95"][0] == pytest.approx(0.676, abs=0.001)
    assert stub.requests[0].body["max_tokens"] == 4096
    assert "estimated cost: " in err


def test_the_table_has_the_interval_below_each_quality(collect: Collect) -> None:
    status, out, err = collect("--judge", "numeric", *ASKED)
    assert status == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert [line[:3] for line in lines if line[:1] == ["right"]] == [["right", "8", "100.0%"]]
    assert ["67.6%..100.0%"] in lines


def test_the_same_command_again_asks_for_nothing(collect: Collect, stub: StubServer) -> None:
    first = json.loads(collect("--judge", "numeric", *ASKED, "--json")[1])
    again = json.loads(collect("--judge", "numeric", *ASKED, "--json")[1])
    assert stub.counts("right").calls == stub.counts("wrong").calls == 8
    assert again["cost_usd"] == first["cost_usd"]
    assert again["estimate"] == {**again["estimate"], "answers": 0, "known": 16, "answers_usd": 0.0, "maximum_usd": 0.0}
    status, _, err = collect("--judge", "exact", *ASKED)
    assert status == 0, err
    assert stub.counts("right").calls == 8


def test_a_collection_that_was_killed_goes_on_and_pays_for_no_answer_twice(collect: Collect, stub: StubServer, folder: Path) -> None:
    stub.default = Script(text="42", prompt_tokens=100, output_tokens=50, first_ms=30)
    stub.scripts.clear()
    arguments = ["--pool", "models.yaml", "--prompts", "questions.jsonl", "--judge", "numeric", "--out", "data/outcomes.jsonl", "--concurrency", "2"]
    for served in (5, 12):
        process = subprocess.Popen([sys.executable, "-m", "aamc_sdk.cli", "data", "collect", *arguments], cwd=folder, stderr=subprocess.DEVNULL)
        assert stub.wait(lambda stub, served=served: sum(stub.counts(name).calls for name in ("right", "wrong", "judge")) > served)
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = Path("data/outcomes.ledger/calls.jsonl").read_bytes()
    Path("data/outcomes.ledger/calls.jsonl").write_bytes(kept + b'{"key": "cut o')
    known, begun = (sum(line["status"] == status for line in ledger(kept)) for status in ("ok", "begun"))
    before = sum(stub.counts(name).calls for name in ("right", "wrong", "judge"))
    assert known <= before <= begun <= known + 2 * 2  # only the calls under way when it was killed: concurrency 2, twice
    status, out, err = collect("--judge", "numeric", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert document["estimate"]["known"] == known
    assert sum(stub.counts(name).calls for name in ("right", "wrong", "judge")) - before == 24 - known
    assert (document["rows"], document["costs"]["lost"]) == (8, begun - known)
    paid = [line for line in ledger() if line["status"] == "ok"]
    assert len(paid) == len({line["key"] for line in paid}) == 24
    assert document["cost_usd"] == pytest.approx(sum(line["cost_usd"] for line in paid)) == pytest.approx(24 * 200 / 1e6)
    assert document["costs"]["charged"] == pytest.approx(document["cost_usd"] + (begun - known) * (18 + 64 + 4096 * 2) / 1e6)


def test_a_budget_is_never_overspent_and_more_of_it_goes_on(collect: Collect, stub: StubServer) -> None:
    tokens = ("--max-tokens", "50", "--concurrency", "8")
    row_maximum = 2 * (len("What is 6 x 7? (0)") + 64 + 50 * 2) / 1e6
    spent = 200 / 1e6 + 120 / 1e6
    limit = 3 * spent + row_maximum * 0.9
    status, out, _ = collect("--judge", "numeric", *ASKED, *tokens, "--budget-usd", str(limit), "--json")
    assert status == 1
    document = json.loads(out)
    assert "USD are left, less than another prompt may cost: 3 of 8 prompts are judged; raise --budget-usd" in document["error"]["message"]
    assert document["cost_usd"] == pytest.approx(3 * spent)
    assert document["cost_usd"] <= limit
    assert len(rows()) == 3
    assert stub.counts("right").calls == 3
    again = json.loads(collect("--judge", "numeric", *ASKED, *tokens, "--budget-usd", str(limit), "--json")[1])
    assert (stub.counts("right").calls, again["rows"]) == (3, 3)
    status, _, err = collect("--judge", "numeric", *ASKED, *tokens, "--budget-usd", "1")
    assert status == 0, err
    assert stub.counts("right").calls == 8


def test_what_is_known_stays_in_the_result_when_the_budget_is_lowered(collect: Collect, stub: StubServer) -> None:
    collect("--judge", "numeric", *ASKED, "--limit", "5")
    status, out, _ = collect("--judge", "exact", *ASKED, "--budget-usd", "0", "--json")
    document = json.loads(out)
    assert (status, document["rows"], len(rows())) == (1, 5, 5)
    assert "5 of 8 prompts are judged" in document["error"]["message"]
    assert stub.counts("right").calls == 5


@pytest.mark.parametrize("budget", [0.02, 0.05, 0.11])
def test_the_server_itself_counts_no_more_than_the_budget(collect: Collect, stub: StubServer, budget: float) -> None:
    prices = {"input": 1.0, "output": 2.0}
    for name, tokens in (("right", 1000), ("wrong", 300), ("judge", 900)):
        stub.scripts[name] = Script(text=f"from {name}. VERDICT: B", output_tokens=tokens, prices=prices)
    arguments = ("--max-tokens", "1000", "--concurrency", "8", "--budget-usd", str(budget), "--json")
    status, out, _ = collect("--judge", "model:judge,pairwise", *ASKED, *arguments)
    billed = sum(model["cost_usd"] for model in stub.all_counts()["models"].values())
    document = json.loads(out)
    assert status == (document["rows"] < 8)
    assert 0 < billed <= budget
    assert document["cost_usd"] == pytest.approx(billed)
    assert stub.counts("judge").calls == 2 * document["rows"]  # what was asked was judged


TOOL = {"type": "function", "function": {"name": "f", "description": "d" * 2000}}


@pytest.mark.parametrize("option", ["max_tokens=null", "tools=" + json.dumps([TOOL])])
def test_what_an_option_adds_to_a_request_is_part_of_its_maximum_cost(collect: Collect, stub: StubServer, option: str) -> None:
    stub.scripts["right"] = Script(text="42", output_tokens=1000, prices={"input": 1.0, "output": 2.0})
    arguments = ("--max-tokens", "100", "--concurrency", "8", "--budget-usd", "0.005", "--candidates", "right")
    collect("--judge", "numeric", *arguments, "--option", option)
    assert 0 < stub.all_counts()["models"]["right"]["cost_usd"] <= 0.005


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("n=3", "right would be paid for n=3 answers a prompt, of which only the first is judged; leave out the parameter n"),
        ("max_tokens=1.0e+6", "the parameter max_tokens of right must be a whole number of at least 1, not 1000000.0"),
        ("max_completion_tokens=many", "the parameter max_completion_tokens of right must be a whole number of at least 1, not 'many'"),
    ],
)
def test_requests_without_a_maximum_cost_are_refused(collect: Collect, stub: StubServer, option: str, message: str) -> None:
    status, _, err = collect("--judge", "numeric", *ASKED, "--option", option)
    assert (status, stub.counts("right").calls) == (2, 0)
    assert message in err


def test_the_estimate_is_no_more_than_the_maximum(collect: Collect) -> None:
    _, out, _ = collect("--judge", "model:judge", *ASKED, "--max-tokens", "50", "--dry-run", "--json")
    found = json.loads(out)["estimate"]
    assert 0 < found["answers_usd"] + found["judge_usd"] <= found["maximum_usd"]


@pytest.mark.parametrize("fault", [{"fault": "hang"}, {"fault": "refuse"}, {"fault": "status", "status": 504, "retry_after_s": 0.01}])
def test_each_attempt_that_the_server_may_bill_counts_against_the_budget(collect: Collect, stub: StubServer, fault: dict[str, Any]) -> None:
    pool = Path("models.yaml").read_text()
    Path("models.yaml").write_text(pool.replace("retries: 0", "timeout_seconds: 1, max_pause_s: 0, breaker_failures: 99"))
    stub.scripts["right"] = Script(text="42", prompt_tokens=80, output_tokens=50, fault_share=0.5, **fault)
    arguments = ("--max-tokens", "50", "--concurrency", "4", "--budget-usd", "0.0012", "--candidates", "right", "--json")
    _, out, _ = collect("--judge", "numeric", *arguments)
    costs, counts = json.loads(out)["costs"], stub.counts("right")
    assert counts.faults > 0
    assert costs["unknown"] == counts.faults
    assert counts.calls * 180e-6 <= costs["charged"] <= 0.0012  # a server that bills each attempt bills no more than that
    assert json.loads(collect("--judge", "numeric", *arguments)[1])["costs"] == costs


def test_a_retry_that_is_not_made_since_the_server_rests_costs_nothing(collect: Collect, stub: StubServer) -> None:
    pool = Path("models.yaml").read_text()
    Path("models.yaml").write_text(pool.replace("retries: 0", "timeout_seconds: 1, max_pause_s: 0.1, breaker_failures: 1"))
    stub.scripts["right"] = Script(fault="hang")
    _, out, _ = collect("--judge", "numeric", "--candidates", "right", "--limit", "1", "--json")
    assert json.loads(out)["costs"]["unknown"] == stub.counts("right").calls == 1


def test_a_model_that_does_not_answer_is_named_while_it_is_waited_for(collect: Collect, stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_models.collect.collector.SLOW_CALL_S", 0.1)
    Path("models.yaml").write_text(Path("models.yaml").read_text().replace("retries: 0", "retries: 0, timeout_seconds: 1"))
    stub.scripts["wrong"] = Script(fault="hang")
    _, _, err = collect("--judge", "numeric", *ASKED, "--limit", "1")
    assert "wrong has not answered for 0.1 s; its endpoint's timeout_seconds limits the wait" in err


def test_a_call_without_usage_counts_at_its_maximum(collect: Collect, stub: StubServer) -> None:
    stub.scripts["right"] = Script(text="42", usage="never")
    status, out, _ = collect("--judge", "numeric", "--candidates", "right", "--limit", "2", "--json")
    document = json.loads(out)
    assert status == 0
    assert (document["cost_usd"], document["costs"]["unknown"]) == (0, 2)
    assert document["costs"]["charged"] == pytest.approx(2 * (18 + 64 + 4096 * 2) / 1e6)


def test_a_call_that_timed_out_is_told_to_be_of_unknown_cost(collect: Collect, stub: StubServer) -> None:
    Path("models.yaml").write_text(Path("models.yaml").read_text().replace("retries: 0", "retries: 0, timeout_seconds: 0.2"))
    stub.scripts["right"] = Script(fault="hang")
    status, out, _ = collect("--judge", "numeric", "--candidates", "right", "--limit", "1", "--json")
    document = json.loads(out)
    assert status == 1
    assert (document["cost_usd"], document["costs"]["unknown"]) == (0, 1)
    assert document["costs"]["charged"] == pytest.approx((18 + 64 + 4096 * 2) / 1e6)


@pytest.mark.parametrize(
    ("limits", "max_tokens", "calls"),
    [
        ("tokens_per_minute: 3000", "4096", "1 call"),
        ("tokens_per_minute: 3000", "1500", "2 calls"),
        ("tokens_per_minute: 3000", "500", None),
        ("deployments: [{tokens_per_minute: 3000}, {weight: 2.0, tokens_per_minute: 1000}]", "1500", "3 calls"),
        ("deployments: [{tokens_per_minute: 3000}, {weight: 2.0}]", "1500", None),
    ],
)
def test_limits_of_tokens_that_allow_few_calls_at_once_are_named_before_the_start(
    collect: Collect, limits: str, max_tokens: str, calls: str | None
) -> None:
    pool = Path("models.yaml")
    pool.write_text(pool.read_text().replace("retries: 0", f"retries: 0, {limits}", 1))
    _, _, err = collect("--judge", "numeric", *ASKED, "--dry-run", "--max-tokens", max_tokens)
    warnings = [line for line in err.splitlines() if "tokens_per_minute" in line]
    at_once = f"only {calls} of right at once, as each reserves {int(max_tokens):,} tokens until it ends"
    assert warnings == ([] if calls is None else [f"tokens_per_minute allows {at_once}; lower --max-tokens to collect faster"])


def test_the_dry_run_estimates_and_calls_nothing(collect: Collect, stub: StubServer) -> None:
    status, out, err = collect("--judge", "numeric", *ASKED, "--dry-run", "--json")
    assert status == 0, err
    found = json.loads(out)["estimate"]
    assert (found["answers"], found["known"]) == (16, 0)
    assert found["answers_usd"] == pytest.approx(16 * (5 + 256 * 2) / 1e6)
    assert found["maximum_usd"] == pytest.approx(16 * (18 + 64 + 4096 * 2) / 1e6)
    assert len(stub.requests) == 0
    assert not Path("data/outcomes.ledger").exists()


def test_the_estimate_keeps_answers_and_verdicts_of_one_model_apart(collect: Collect, stub: StubServer) -> None:
    stub.scripts["right"] = Script(text="It is 42.", prompt_tokens=100, output_tokens=3000)
    collect("--judge", "numeric", *ASKED)
    found = json.loads(collect("--judge", "model:right,best=wrong", *ASKED, "--dry-run", "--json")[1])["estimate"]
    question = comparison(Prompt(text="What is 6 x 7? (0)", answers=("42",)), "", "")
    assert found["verdicts"] == 32
    assert found["judge_usd"] == pytest.approx(32 * (estimated_tokens(len(question) + 4 * (3000 + 10)) + 100 * 2) / 1e6)


def test_models_without_prices_need_permission(collect: Collect) -> None:
    Path("models.yaml").write_text(Path("models.yaml").read_text().replace(PRICES + ", ", ""))
    status, _, err = collect("--judge", "numeric", *ASKED)
    assert status == 1
    assert "without prices the cost of right, wrong is unknown" in err
    assert "--allow-unknown-cost" in err
    status, out, _ = collect("--judge", "numeric", *ASKED, "--allow-unknown-cost", "--json")
    assert status == 0
    assert json.loads(out)["costs"]["unknown"] == 16
    assert "cost_usd" not in rows()[0]["outcomes"]["right"]


def test_a_model_judge_swaps_positions_and_its_cost_is_in_report_and_ledger(collect: Collect, stub: StubServer) -> None:
    questions = [json.dumps({"prompt": f"Question {n}"}) for n in range(3)]
    Path("questions.jsonl").write_text("\n".join(questions))
    status, out, err = collect("--judge", "model:judge,best=right", *ASKED, "--json")
    assert status == 0, err
    document = json.loads(out)
    assert stub.counts("judge").calls == 6
    cell = rows()[0]["outcomes"]
    assert cell["right"]["quality"] == 1.0
    assert cell["wrong"]["quality"] == 0.5  # the judge prefers what it reads first, so each order says something else
    assert document["judge_cost_usd"] == pytest.approx(6 * (1000 + 20 * 2) / 1e6)
    assert document["cost_usd"] == pytest.approx(document["judge_cost_usd"] + 3 * (200 + 120) / 1e6)
    assert sum(line["kind"] == "verdict" and line["status"] == "ok" for line in ledger()) == 6
    judged = [request.body["messages"][0]["content"] for request in stub.requests if request.body["model"] == "judge"]
    assert sum(text.index("It is 41.") < text.index("The answer is 42.") for text in judged) == 3
    again = json.loads(collect("--judge", "model:judge,best=right", *ASKED, "--json")[1])
    assert stub.counts("judge").calls == 6
    assert again["estimate"]["verdicts"] == 0


def test_pairwise_counts_wins_and_ties(collect: Collect, stub: StubServer) -> None:
    stub.scripts["judge"] = Script(text="verdict: **tie**")
    Path("questions.jsonl").write_text('{"prompt": "Why?"}')
    status, _, err = collect("--judge", "model:judge,pairwise", *ASKED)
    assert status == 0, err
    assert [cell["quality"] for cell in rows()[0]["outcomes"].values()] == [0.5, 0.5]
    assert stub.counts("judge").calls == 2


def test_a_judge_without_a_verdict_leaves_the_quality_unknown(collect: Collect, stub: StubServer) -> None:
    stub.scripts["judge"] = Script(text="I cannot say.")
    Path("questions.jsonl").write_text('{"prompt": "Why?"}')
    status, _, err = collect("--judge", "model:judge,best=right", *ASKED)
    assert status == 1
    assert [cell["quality"] for cell in rows()[0]["outcomes"].values()] == [1.0, None]
    assert "1 quality is unknown, as the judge gave none" in err
    assert "Wrote 1 row." in err
    assert "no prompt has a quality of every answer" in err
    assert "(its last verdict ends: 'I cannot say.'); raise --max-tokens, or name another judge" in err


def test_a_pairwise_judge_needs_two_candidates_before_anything_is_paid(collect: Collect, stub: StubServer) -> None:
    status, _, err = collect("--judge", "model:judge,pairwise", "--candidates", "right")
    assert (status, "compares the answers of at least two candidates, not of 1" in err) == (2, True)
    assert stub.counts("right").calls == 0


def test_prices_of_an_unlikely_unit_are_named(collect: Collect) -> None:
    Path("models.yaml").write_text(Path("models.yaml").read_text().replace(PRICES, "prices: {input: 0.00000015, output: 2}"))
    err = collect("--judge", "exact", "--dry-run")[2]
    assert "right costs 1.5e-07 USD per million tokens; is that price in another unit?" in err


@needs_sandbox
def test_a_program_that_ends_before_its_tests_does_not_pass_them(collect: Collect, stub: StubServer) -> None:
    stub.scripts["right"] = Script(text="```python\nimport sys\nsys.exit(0)\n```")
    stub.scripts["wrong"] = Script(text="I will not write a program.")
    Path("questions.jsonl").write_text(json.dumps({"prompt": "Write double(x).", "tests": "assert double(2) == 4"}))
    status, _, err = collect("--judge", "tests", *ASKED)
    assert status == 0, err
    assert [cell["quality"] for cell in rows()[0]["outcomes"].values()] == [0.0, 0.0]


@needs_sandbox
def test_unit_tests_run_in_the_sandbox(collect: Collect, stub: StubServer) -> None:
    stub.scripts["right"] = Script(text="```python\ndef double(x):\n    return 2 * x\n```")
    stub.scripts["wrong"] = Script(text="def double(x): return x * x")
    Path("questions.jsonl").write_text(json.dumps({"prompt": "Write double(x).", "tests": ["assert double(2) == 4", "assert double(3) == 6"]}))
    status, _, err = collect("--judge", "tests", *ASKED)
    assert status == 0, err
    assert [cell["quality"] for cell in rows()[0]["outcomes"].values()] == [1.0, 0.5]


@needs_sandbox
@pytest.mark.parametrize("test", ["def (", "a\0b", "assert " + "(" * 500])
def test_a_test_that_no_answer_can_pass_is_named_before_the_first_call(collect: Collect, stub: StubServer, test: str) -> None:
    Path("questions.jsonl").write_text(json.dumps({"prompt": "Write f.", "tests": ["assert True", test]}) + "\n")
    status, _, err = collect("--judge", "tests", *ASKED)
    assert (status, len(stub.requests)) == (1, 0)
    assert "questions.jsonl, line 1: the test " in err
    assert "is not Python" in err


def test_a_callback_that_judges_nothing_is_an_error(collect: Collect) -> None:
    Path("no_judge.py").write_text("def score(row, answer):\n    return None\n")
    status, _, err = collect("--judge", "python:no_judge:score", *ASKED)
    assert (status, "no prompt has a quality, so no router can be tested on them; the judge gave none; mend the judge" in err) == (1, True)


def test_a_callback_judges_with_the_whole_row(collect: Collect) -> None:
    Path("my_judge.py").write_text("def score(row, answer):\n    return 0.25 if str(row['answer']) in answer else None\n")
    status, _, err = collect("--judge", "python:my_judge:score", *ASKED)
    assert status == 0, err
    assert [cell["quality"] for cell in rows()[0]["outcomes"].values()] == [0.25, None]


@pytest.mark.parametrize(
    "function",
    [
        "import numpy\ndef score(row, answer):\n    return numpy.float32(0.25)\n",
        "import numpy\ndef score(row, answer):\n    return 0.25 * numpy.bool_(True)\n",
        "async def score(row, answer):\n    return 0.25\n",
        "class Scorer:\n    async def __call__(self, row, answer):\n        return 0.25\nscore = Scorer()\n",
    ],
)
def test_a_callback_of_any_form_judges(collect: Collect, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "judge_form", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    Path("judge_form.py").write_text(function)
    status, _, err = collect("--judge", "python:judge_form:score", *ASKED, "--limit", "1")
    assert status == 0, err
    assert [cell["quality"] for cell in rows()[0]["outcomes"].values()] == [0.25, 0.25]


def test_a_callback_that_exits_is_an_error(collect: Collect) -> None:
    Path("exiting_judge.py").write_text("def score(row, answer):\n    raise SystemExit(3)\n")
    status, _, err = collect("--judge", "python:exiting_judge:score", *ASKED)
    assert status == 1
    assert "exiting_judge:score failed: SystemExit: 3" in err


def test_a_second_interruption_abandons_a_callback_that_hangs(collect: Collect, folder: Path) -> None:
    Path("hanging_judge.py").write_text("import sys, time\ndef score(row, answer):\n    print('begun', file=sys.stderr)\n    time.sleep(1000)\n")
    arguments = [
        "--pool",
        "models.yaml",
        "--prompts",
        "questions.jsonl",
        "--judge",
        "python:hanging_judge:score",
        "--out",
        "data/outcomes.jsonl",
        *ASKED,
    ]
    process = subprocess.Popen([sys.executable, "-m", "aamc_sdk.cli", "data", "collect", *arguments], cwd=folder, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any("begun" in line for line in process.stderr)
    abandon(process)


def test_a_callback_that_fails_keeps_the_answers(collect: Collect, stub: StubServer) -> None:
    Path("failing_judge.py").write_text("def score(row, answer):\n    return 7\n")
    status, _, err = collect("--judge", "python:failing_judge:score", *ASKED, "--concurrency", "1")
    assert status == 1
    assert "failing_judge:score must return a number from 0 to 1, or None, not 7" in err
    assert stub.counts("right").calls == 1
    assert [line["status"] for line in ledger()].count("ok") == 2


def test_a_model_that_fails_is_left_out_named_and_asked_again(collect: Collect, stub: StubServer) -> None:
    good = stub.scripts["wrong"]
    stub.scripts["wrong"] = Script(fault="status", status=401)
    status, out, _ = collect("--judge", "numeric", *ASKED, "--concurrency", "1", "--json")
    document = json.loads(out)
    assert status == 1
    assert stub.counts("wrong").calls == 1
    assert "1 call failed" in document["error"]["message"]
    assert (document["rows"], document["failed"], list(document["given_up"])) == (8, {"wrong": 1}, ["wrong"])
    assert rows()[0]["outcomes"]["wrong"] == {"quality": None}
    stub.scripts["wrong"] = good
    status, _, err = collect("--judge", "numeric", *ASKED)
    assert status == 0, err
    assert (stub.counts("right").calls, stub.counts("wrong").calls) == (8, 9)


def test_failures_that_count_are_outcomes_of_quality_0_until_the_model_answers(collect: Collect, stub: StubServer) -> None:
    good = stub.scripts["right"]
    stub.scripts["right"] = Script(text="42", fault="status", status=500, fault_calls=1)
    status, out, _ = collect("--judge", "numeric", *ASKED, "--concurrency", "1", "--count-failures", "--json")
    figures = json.loads(out)["candidates"]["right"]
    assert (status, figures["n"], figures["quality"], figures["failed"]) == (1, 8, 7 / 8, 1)
    (failed,) = [row["outcomes"]["right"] for row in rows() if row["outcomes"]["right"]["quality"] == 0]
    assert failed["cost_usd"] == 0
    assert failed["latency_ms"] > 0
    stub.scripts["right"] = good
    assert collect("--judge", "numeric", *ASKED, "--count-failures")[0] == 0
    assert {row["outcomes"]["right"]["quality"] for row in rows()} == {1}


def test_counted_failures_stay_counted_when_the_failed_calls_fail_again(collect: Collect, stub: StubServer) -> None:
    """Asked for its failed prompts alone, a model soon fails five times in a row and gets no more calls."""
    stub.scripts["right"] = Script(text="42", fault="status", status=500, fault_calls=1)
    assert collect("--judge", "numeric", *ASKED, "--concurrency", "1")[0] == 1
    stub.scripts["right"] = Script(fault="status", status=401)
    assert collect("--judge", "numeric", *ASKED, "--count-failures")[0] == 1
    assert sorted(row["outcomes"]["right"]["quality"] for row in rows()) == [0] + [1] * 7


def test_a_prompt_on_which_every_model_fails_is_a_row(collect: Collect, stub: StubServer) -> None:
    for name in ("right", "wrong"):
        stub.scripts[name] = Script(text="42", fault="status", status=500, fault_calls=1)
    assert collect("--judge", "numeric", *ASKED, "--concurrency", "1", "--count-failures")[0] == 1
    assert [cell["quality"] for cell in rows()[0]["outcomes"].values()] == [0, 0]
    assert len(rows()) == 8


def test_the_failures_of_a_model_that_is_given_up_stay_unknown(collect: Collect, stub: StubServer) -> None:
    stub.scripts["wrong"] = Script(fault="status", status=401)
    assert collect("--judge", "numeric", *ASKED, "--count-failures")[0] == 1
    assert {row["outcomes"]["wrong"]["quality"] for row in rows()} == {None}


def test_failures_before_an_answer_count_also_if_the_clock_went_back_between(
    collect: Collect, stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = itertools.count(1_800_000_000, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(times)))
    stub.scripts["wrong"] = Script(text="It is 41.", fault="status", status=500, fault_calls=1)
    arguments = ("--judge", "numeric", *ASKED, "--concurrency", "1", "--count-failures")
    collect(*arguments, "--limit", "2")
    assert [row["outcomes"]["wrong"]["quality"] for row in rows()] == [0, 0]
    stub.scripts["wrong"] = Script(fault="status", status=401)
    collect(*arguments)
    assert [row["outcomes"]["wrong"]["quality"] for row in rows()][:2] == [0, 0]


def test_the_last_failure_is_named_and_no_pause_after_it(collect: Collect, stub: StubServer) -> None:
    stub.scripts["wrong"] = Script(text="It is 41.", fault="status", status=500, fault_calls=1)
    stub.scripts["right"] = Script(text="42", fault="status", status=429, retry_after_s=0.01, fault_share=0.5, fault_calls=1)
    status, _, err = collect("--judge", "numeric", *ASKED, "--concurrency", "1")
    assert status == 1
    assert "1 call failed, the last with: model 'wrong' at" in err


def test_the_last_failure_of_each_model_is_named(collect: Collect, stub: StubServer) -> None:
    stub.scripts["wrong"] = Script(fault="status", status=401)
    stub.scripts["right"] = Script(text="42", fault="status", status=404, fault_calls=1)
    status, _, err = collect("--judge", "numeric", *ASKED, "--concurrency", "1")
    assert status == 1
    assert all(f"with: model {name!r} at" in err for name in ("right", "wrong"))


@pytest.mark.parametrize("refusal", [429, 503])
def test_a_server_that_wants_a_pause_gets_it(collect: Collect, stub: StubServer, refusal: int) -> None:
    stub.scripts["right"] = Script(text="42", fault="status", status=refusal, retry_after_s=0.2, fault_calls=2)
    status, out, err = collect("--judge", "numeric", "--candidates", "right", "--limit", "1", "--json")
    assert status == 0, err
    assert (stub.counts("right").calls, json.loads(out)["failed"]) == (3, {})


def test_a_server_that_wants_pauses_without_end_gets_five_and_then_the_call_has_failed(collect: Collect, stub: StubServer) -> None:
    stub.scripts["right"] = Script(fault="status", status=429, retry_after_s=0.01)
    out = collect("--judge", "numeric", "--candidates", "right", "--limit", "1", "--json")[1]
    assert (stub.counts("right").calls, json.loads(out)["failed"]) == (6, {"right": 1})


@pytest.mark.parametrize(
    ("script", "calls", "failed", "given_up"),
    [
        ({"status": 500}, 5, 5, ["wrong"]),
        ({"status": 404}, 1, 1, ["wrong"]),
        ({"status": 500, "fault_share": 0.8}, 8, 6, []),  # four failures after each answer
    ],
    ids=["failures in a row", "no such model", "failures between answers"],
)
def test_a_model_is_given_up_after_five_failures_in_a_row_or_one_that_does_not_pass(
    collect: Collect, stub: StubServer, script: dict[str, Any], calls: int, failed: int, given_up: list[str]
) -> None:
    stub.scripts["wrong"] = Script(fault="status", **script)
    document = json.loads(collect("--judge", "numeric", *ASKED, "--concurrency", "1", "--json")[1])
    assert (stub.counts("wrong").calls, document["failed"], list(document["given_up"])) == (calls, {"wrong": failed}, given_up)


def test_an_interruption_finishes_the_calls_under_way(collect: Collect, stub: StubServer, folder: Path) -> None:
    stub.default = Script(text="42", first_ms=300)
    stub.scripts.clear()
    arguments = ["--pool", "models.yaml", "--prompts", "questions.jsonl", "--judge", "numeric", "--out", "data/outcomes.jsonl", *ASKED]
    command = [sys.executable, "-m", "aamc_sdk.cli", "data", "collect", *arguments, "--concurrency", "2"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    assert stub.wait(lambda stub: stub.active == 2 and stub.counts("right").calls >= 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "run the same command again to resume" in err
    calls = stub.counts("right").calls + stub.counts("wrong").calls
    assert [line["status"] for line in ledger()].count("ok") == calls
    assert stub.counts("right").cancelled == stub.counts("wrong").cancelled == 0


def test_a_second_interruption_abandons_the_calls_under_way_and_says_how_to_resume(collect: Collect, stub: StubServer, folder: Path) -> None:
    stub.default = Script(fault="hang")
    stub.scripts.clear()
    arguments = ["--pool", "models.yaml", "--prompts", "questions.jsonl", "--judge", "numeric", "--out", "data/outcomes.jsonl", *ASKED]
    command = [sys.executable, "-m", "aamc_sdk.cli", "data", "collect", *arguments, "--concurrency", "2"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    assert stub.wait(lambda stub: stub.active == 2)
    abandon(process)
    assert [line["status"] for line in ledger()].count("cancelled") == 2


def test_calls_at_once_are_limited_in_all_and_by_endpoint(collect: Collect, stub: StubServer) -> None:
    stub.default = Script(text="42", first_ms=20)
    stub.scripts.clear()
    most = 0

    def watch(stub: StubServer) -> bool:
        nonlocal most
        most = max(most, stub.active)
        return False

    watcher = threading.Thread(target=stub.wait, args=(watch, 4.0), daemon=True)
    watcher.start()
    status, _, err = collect("--judge", "numeric", *ASKED, "--concurrency", "3")
    assert status == 0, err
    assert 1 < most <= 3


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--judge", "nothing"], 2, "--judge must be exact, numeric, tests"),
        (["--judge", "model:nobody"], 1, "the pool has no candidate 'nobody'"),
        (["--judge", "model:judge,worst"], 2, "--judge must be"),
        (["--judge", "python:no_such_module:f"], 2, "cannot be imported: ModuleNotFoundError"),
        pytest.param(["--judge", "tests"], 1, "line 1 has no 'tests'", marks=needs_sandbox),
        (["--judge", "exact", "--answer-field", "solution"], 1, "line 1 has no right answer"),
        (["--judge", "exact", "--prompt-field", "task"], 1, "line 1 has no prompt (it has: answer, category, question)"),
        (["--judge", "exact", "--candidates", "right,nobody"], 1, "the pool has no candidate 'nobody'"),
        (["--judge", "exact", "--option", "temperature"], 2, "--option must be KEY=VALUE"),
        (["--judge", "exact", "--option", "temperature=nan"], 2, "--option temperature=nan: 'nan' is not a JSON value"),
    ],
)
def test_what_cannot_work_is_named_before_the_first_call(collect: Collect, stub: StubServer, arguments: list[str], status: int, message: str) -> None:
    found, _, err = collect(*arguments)
    assert (found, len(stub.requests)) == (status, 0)
    assert message in err


def test_other_files_are_not_overwritten(collect: Collect, stub: StubServer) -> None:
    Path("data").mkdir()
    Path("data/outcomes.jsonl").write_text("mine")
    status, _, err = collect("--judge", "numeric")
    assert status == 1
    assert "exists, and no collection made it" in err
    Path("data/outcomes.jsonl").unlink()
    Path("data/pool.yaml").write_text("candidates: [{name: other}]")
    status, _, err = collect("--judge", "numeric")
    assert status == 1
    assert "its candidates are not those asked" in err
    assert len(stub.requests) == 0


def test_rows_of_prompts_beyond_the_limit_stay_and_others_are_counted_as_they_go(collect: Collect) -> None:
    status, _, err = collect("--judge", "numeric", *ASKED)
    assert (status, "will go" in err) == (0, False)
    before = Path("data/outcomes.jsonl").read_bytes()
    status, out, err = collect("--judge", "numeric", *ASKED, "--limit", "3", "--json")
    assert (status, "will go" in err) == (0, False)
    assert "5 rows of data/outcomes.jsonl will stay unchanged, as --limit leaves out their prompts" in err
    assert (json.loads(out)["prompts"], json.loads(out)["rows"]) == (3, 3)
    assert Path("data/outcomes.jsonl").read_bytes() == before
    questions = Path("questions.jsonl").read_text().splitlines(keepends=True)
    Path("questions.jsonl").write_text("".join(questions[:4]))
    status, _, err = collect("--judge", "numeric", *ASKED, "--limit", "3")
    assert status == 0
    assert "4 rows of data/outcomes.jsonl will go, as --prompts lacks their prompts; the answers stay in data/outcomes.ledger" in err
    assert len(rows()) == 4


def test_two_collections_cannot_share_a_ledger(collect: Collect) -> None:
    with locked(Path("data/outcomes.ledger")):
        status, _, err = collect("--judge", "numeric")
    assert status == 1
    assert "data/outcomes.ledger" in err


def test_a_damaged_ledger_is_named_by_its_line(collect: Collect) -> None:
    Path("data/outcomes.ledger").mkdir(parents=True)
    Path("data/outcomes.ledger/calls.jsonl").write_text("nonsense\n")
    status, _, err = collect("--judge", "numeric")
    assert status == 1
    assert "calls.jsonl, line 1 is damaged" in err


def test_a_pool_file_beside_the_outcomes_that_stays_is_named(collect: Collect) -> None:
    status, _, err = collect("--judge", "numeric", *ASKED, "--limit", "1")
    assert (status, "differs from --pool" in err) == (0, False)
    status, _, err = collect("--judge", "numeric", *ASKED, "--limit", "1")
    assert (status, "differs from --pool" in err) == (0, False)
    kept = Path("data/pool.yaml").read_text()
    Path("models.yaml").write_text(Path("models.yaml").read_text().replace("output: 2.0", "output: 3.0"))
    status, _, err = collect("--judge", "numeric", *ASKED, "--limit", "1")
    assert (status, "data/pool.yaml differs from --pool and stays" in err) == (0, True)
    assert Path("data/pool.yaml").read_text() == kept


def test_with_another_model_only_its_answers_are_asked_once_the_pool_file_is_deleted(collect: Collect, stub: StubServer) -> None:
    assert collect("--judge", "numeric", "--candidates", "right")[0] == 0
    status, _, err = collect("--judge", "numeric", *ASKED)
    assert status == 1
    assert "its candidates are not those asked (right, wrong); delete it, and it is written again, or change its candidates" in err
    Path("data/pool.yaml").unlink()
    assert collect("--judge", "numeric", *ASKED)[0] == 0
    assert [stub.counts(model).calls for model in ("right", "wrong")] == [8, 8]
    assert "name: wrong" in Path("data/pool.yaml").read_text()
