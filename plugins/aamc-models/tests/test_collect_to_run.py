"""From a user's own models to a router that serves them: collect, run, complete."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aamc_models.testing import Script, StubServer

from aamc_sdk.testing import run_command

COLLECT = ("data", "collect", "--pool", "models.yaml", "--prompts", "questions.csv", "--judge", "exact", "--out", "outcomes.jsonl")
RUN = ("run", "--router", "greedy", "--estimator", "lexical", "--routers", "best-single,oracle", "--dataset", "outcomes:outcomes.jsonl", "--json")


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer({"cheap": Script(text="yes"), "good": Script(text="Paris")}) as stub:
        yield stub


def test_echo_models_are_collected_trained_on_and_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _check_path(
        tmp_path,
        monkeypatch,
        "  - {name: cheap, prices: {input: 0.1, output: 0.4}, endpoint: {provider: echo, reply: 'Yes.'}}\n"
        "  - {name: good, prices: {input: 3, output: 15}, endpoint: {provider: echo, reply: Paris}}\n",
    )


def test_models_of_a_server_are_collected_trained_on_and_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stub: StubServer) -> None:
    openai, anthropic = (f"provider: {name}, base_url: '{stub.url}{end}'" for name, end in (("openai", "/v1"), ("anthropic", "")))
    _check_path(
        tmp_path,
        monkeypatch,
        f"  - {{name: cheap, prices: {{input: 0.1, output: 0.4}}, endpoint: {{{openai}}}}}\n"
        f"  - {{name: good, prices: {{input: 3, output: 15}}, endpoint: {{{anthropic}}}}}\n",
    )
    assert stub.counts("cheap").calls + stub.counts("good").calls == 2 * 120 + 1


def _check_path(folder: Path, monkeypatch: pytest.MonkeyPatch, candidates: str) -> None:
    monkeypatch.chdir(folder)
    Path("models.yaml").write_text("candidates:\n" + candidates)
    rows = [f"Is {n} a number? Say yes or no.,yes" if n % 2 else f"Name the capital of country {n} in Europe.,Paris" for n in range(120)]
    Path("questions.csv").write_text("\n".join(["question,answer", *rows]))
    status, _, err = run_command(*COLLECT)
    assert status == 0, err
    assert "aamc run --router greedy --estimator lexical --dataset outcomes:outcomes.jsonl" in err
    status, out, err = run_command(*RUN)
    assert status == 0, err
    figures = json.loads(out)["routers"]
    assert figures["greedy"]["mean_quality"] > figures["best-single"]["mean_quality"]
    status, out, err = run_command("complete", "Name the capital of country 17 in Europe.", "--json")
    assert status == 0, err
    answer = json.loads(out)
    assert (answer["candidate"], answer["text"]) == ("good", "Paris")
