"""``aamc complete``: routes, calls with fallback, prints and logs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from aamc_experiments import plugin as experiments
from tiny import Tiny, TinyRouter

from aamc_sdk import Component, Scores, builtin, hookimpl
from aamc_sdk.errors import ProviderError
from aamc_sdk.interfaces import Provider, Router
from aamc_sdk.log import open_store
from aamc_sdk.log.memory import MemoryStore
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import pool_to_dict
from aamc_sdk.testing import POOL as POOL_OF_THE_KIT
from aamc_sdk.testing import run_command

Aamc = Callable[..., tuple[int, str, str]]
POOL = """
candidates:
  - name: small
    prices: {input: 0.1, output: 0.4}
    endpoint: {provider: echo%s}
  - name: large
    prices: {input: 10, output: 20}
    endpoint: {provider: echo, reply: "from the large one"}
"""


class First(Router):
    """Prefers the candidates in the pool's order."""

    def score(self, request):
        import numpy as np

        return Scores(utility=np.tile(-np.arange(len(request.pool), dtype=float), (len(request), 1)))


class Refusing(Provider):
    """Refuses every request."""

    async def complete(self, candidate, messages, **options):
        raise ProviderError("refused: unknown parameter", kind="request", status=400)

    async def stream(self, candidate, messages, **options):
        await self.complete(candidate, messages, **options)
        yield  # pragma: no cover


class Faulty(Refusing):
    """Has a fault of its own."""

    async def complete(self, candidate, messages, **options):
        return {}["choices"]


class Lasting(MemoryStore):
    """Stands for a log on a server."""

    persistent = True


class Parts:
    @hookimpl
    def aamc_routers(self) -> list[Component]:
        return [Component("first", f"{__name__}:First", "")]

    @hookimpl
    def aamc_providers(self) -> list[Component]:
        return [Component(name, f"{__name__}:{name.title()}", "") for name in ("refusing", "faulty")]

    @hookimpl
    def aamc_stores(self) -> list[Component]:
        return [Component("brief", "aamc_sdk.log.memory:MemoryStore", ""), Component("lasting", f"{__name__}:Lasting", "")]


@pytest.fixture
def aamc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Aamc:
    """Run the command line in a folder with a pool file whose first candidate echoes, and one whose first candidate fails."""
    monkeypatch.chdir(tmp_path)
    Path("pool.yaml").write_text(POOL % "")
    Path("failing.yaml").write_text(POOL % ", error: overloaded")
    plugins = {"core": builtin, "experiments": experiments, "tiny": Tiny(), "parts": Parts()}
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins(plugins, discover=False))
    return run_command


def test_the_answer_goes_to_standard_output_and_its_figures_to_standard_error(aamc: Aamc) -> None:
    status, out, err = aamc(
        "complete", "What is 6 x 7?", "--pool", "pool.yaml", "--router", "first", "--store", "sqlite:state.db?retention={days: 30}"
    )
    assert (status, out) == (0, "What is 6 x 7?\n"), err
    assert "small: cost 2e-06 USD, latency" in err
    assert "aamc feedback add" in err
    assert "--store 'sqlite:state.db?retention={days: 30}'" in err


def test_the_command_for_feedback_has_no_password(aamc: Aamc) -> None:
    store = "lasting://ann:secret@host/log?prefix=a&password=secret"
    status, _, err = aamc("complete", "hello", "--pool", "pool.yaml", "--router", "first", "--store", store)
    assert status == 0, err
    assert "--store 'lasting://host/log?prefix=a'" in err
    assert "secret" not in err


@pytest.mark.parametrize("store", [[], ["--store", "memory:"], ["--store", "brief:"]])
def test_no_feedback_is_proposed_on_a_decision_that_ends_with_the_process(aamc: Aamc, store: list[str]) -> None:
    status, _, err = aamc("complete", "hello", "--pool", "pool.yaml", "--router", "first", *store)
    assert status == 0, err
    assert "aamc feedback add" not in err


def test_the_document_has_the_answer_and_every_attempt(aamc: Aamc) -> None:
    status, out, err = aamc("complete", "Hello", "--pool", "failing.yaml", "--router", "first", "--store", "sqlite:state.db", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert (document["schema"], document["candidate"], document["text"]) == (1, "large", "from the large one")
    assert document["cost_usd"] == pytest.approx((2 * 10 + 5 * 20) / 1e6)
    assert document["usage"]["output_tokens"] == 5
    assert document["latency_ms"] > 0
    failed, served = document["attempts"]
    assert (failed["candidate"], failed["status"], failed["error"]) == ("small", "error", "calling 'small' failed: overloaded")
    assert (served["candidate"], served["status"], served["cost_usd"]) == ("large", "ok", document["cost_usd"])
    assert served["cost_source"] == "priced"
    judged = json.loads(aamc("feedback", "add", document["id"], "--quality", "1", "--store", "sqlite:state.db", "--json")[1])
    assert judged["new"]


def test_a_stream_prints_the_same_text_and_is_logged(aamc: Aamc) -> None:
    status, out, err = aamc("complete", "Hi there", "--pool", "failing.yaml", "--router", "first", "--store", "sqlite:state.db", "--stream")
    assert (status, out) == (0, "from the large one\n"), err
    assert "small failed: calling 'small' failed: overloaded" in err
    assert "large: cost 0.00012 USD" in err


@pytest.mark.parametrize("stream", [[], ["--stream"]])
@pytest.mark.parametrize(("second", "expected"), [("echo", ["error", "ok"]), ("refusing", ["refused", "refused"])])
def test_a_refusal_is_a_failure_if_another_model_answers(aamc: Aamc, second: str, expected: list[str], stream: list[str]) -> None:
    names = {"a": "refusing", "b": second}
    Path("refused.yaml").write_text(yaml.safe_dump({"candidates": [{"name": name, "endpoint": {"provider": kind}} for name, kind in names.items()]}))
    aamc("complete", "Hello", "--pool", "refused.yaml", "--router", "first", "--store", "sqlite:state.db", *stream)
    with closing(open_store("sqlite:state.db", Plugins({"core": builtin}, discover=False))) as store:
        assert expected == [attempt.status for attempt in store.experience(0).attempts]


def test_the_pseudonym_of_a_user_is_logged_where_the_key_is_given(aamc: Aamc) -> None:
    Path("key").write_text("a long random text")
    Path("mine.yaml").write_text("candidates: [{name: a, endpoint: {provider: echo}}]")
    store, user = ("--store", "sqlite:mine.db"), ("--user", "anna")
    status, _, err = aamc("complete", "Hello", "--pool", "mine.yaml", "--router", "first", *user, "--user-key-file", "key", *store)
    assert status == 0, err
    assert json.loads(aamc("feedback", "forget", *user, *store, "--json")[1])["decisions"] == 0
    assert json.loads(aamc("feedback", "forget", *user, "--user-key-file", "key", *store, "--json")[1])["decisions"] == 1


def test_names_of_candidates_steer_no_terminal(aamc: Aamc) -> None:
    names = [f'{{name: "{name}\\e]0;owned\\a", endpoint: {{provider: echo{more}}}}}' for name, more in (("bad", ", error: overloaded"), ("good", ""))]
    Path("evil.yaml").write_text(f"candidates: [{', '.join(names)}]")
    status, _, err = aamc("complete", "Hello", "--pool", "evil.yaml", "--router", "first")
    assert status == 0
    assert "bad\ufffd]0;owned\ufffd failed" in err
    assert "good\ufffd]0;owned\ufffd: cost" in err
    assert "\x1b" not in err


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_it_says_so_when_every_candidate_fails(aamc: Aamc, stream: list[str]) -> None:
    Path("broken.yaml").write_text("candidates: [{name: a, endpoint: {provider: echo, error: overloaded}}]")
    status, out, err = aamc("complete", "Hello", "--pool", "broken.yaml", "--router", "first", *stream)
    assert (status, out) == (1, "")
    assert "no candidate answered: calling 'a' failed: overloaded" in err


def test_a_list_of_failures_is_no_hint(aamc: Aamc) -> None:
    Path("broken.yaml").write_text(
        "candidates: [{name: a, endpoint: {provider: echo, error: overloaded}}, {name: b, endpoint: {provider: echo, error: busy}}]"
    )
    status, out, _ = aamc("complete", "Hello", "--pool", "broken.yaml", "--router", "first", "--json")
    message = "no candidate answered (calling 'a' failed: overloaded; calling 'b' failed: busy)"
    assert (status, json.loads(out)["error"]) == (1, {"type": "ProviderError", "message": message, "hint": ""})


def test_debug_shows_where_a_provider_failed(aamc: Aamc) -> None:
    Path("faulty.yaml").write_text("candidates: [{name: a, endpoint: {provider: faulty}}]")
    status, _, err = aamc("--debug", "complete", "Hello", "--pool", "faulty.yaml", "--router", "first", "--store", "sqlite:log.db")
    assert (status, "no candidate answered: calling 'a' failed: KeyError: 'choices'" in err) == (1, True)
    assert 'return {}["choices"]' in err
    with closing(open_store("sqlite:log.db", Plugins({"core": builtin}, discover=False))) as log:
        assert [attempt.error for attempt in log.experience().attempts] == ["KeyError: 'choices'"]


def test_a_runs_own_router_and_pool_serve(aamc: Aamc, monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = [entry | {"endpoint": {"provider": "echo", "reply": f"by {entry['name']}"}} for entry in pool_to_dict(POOL_OF_THE_KIT)["candidates"]]
    Path("tiny.yaml").write_text(yaml.safe_dump({"candidates": candidates}))
    run = ["run", "--router", "favourite", "--estimator", "means", "--environment", "table", "--dataset", "tiny:200", "--routers", "best-expected"]
    status, _, err = aamc(*run, "--pool", "tiny.yaml", "--out", "here")
    assert status == 0, err
    status, out, err = aamc("complete", "Hello", "--run", "here", "--user", "anna")
    assert status == 0, err
    assert json.loads(aamc("feedback", "forget", "--run", "here", "--user", "anna", "--json")[1])["decisions"] == 1
    assert out.startswith("by ")
    assert f"--store sqlite:{Path('here/log.db').resolve()}" in err
    assert Path("here/log.db").exists()
    untrained = ["--pool", "tiny.yaml", "--router", "first"]
    assert aamc("complete", "Hello", *untrained, "--estimator", "here/estimator")[0] == 0
    status, _, err = aamc("complete", "Hello", *untrained, "--estimator", "./here")
    assert status == 0, err
    status, _, err = aamc("complete", "Hello", *untrained, "--estimator", "./nowhere")
    assert (status, "./nowhere holds no estimator checkpoint" in err) == (1, True)
    Path("moved.yaml").write_text(Path("tiny.yaml").read_text().replace("reply: by ", "reply: moved "))
    seen: list[object] = []
    with monkeypatch.context() as patched:
        patched.setattr(TinyRouter, "load", lambda self, folder: seen.extend(candidate.endpoint for candidate in self.services.pool))
        status, out, err = aamc("complete", "Hello", "--run", "here", "--pool", "moved.yaml")
    assert len(seen) == len(candidates)
    assert all("moved" in str(endpoint) for endpoint in seen)  # a router that calls models finds them where they are now
    assert (status, out.startswith("moved "), "aamc feedback add" in err) == (0, True, True), err
    Path("wrong.yaml").write_text(Path("tiny.yaml").read_text().replace("reply: by ", "replies: by "))
    status, _, err = aamc("complete", "Hello", "--run", "here", "--pool", "wrong.yaml")
    assert status == 2
    assert "the endpoint of candidate 'SLM-Tiny' (echo) has no option 'replies'" in err
    status, _, err = aamc("complete", "Hello", "--run", "here", "--pool", "pool.yaml")
    assert status == 1
    assert "among which the run chooses; add them to the pool file" in err


NO_PARAMETERS = ("nan", ".nan", "-inf", "[1, .inf]", "2026-11-21")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["  "], "TEXT must not be empty"),
        (["Hi", "--pool", "pool.yaml", "--stream", "--json"], "leave one of them out"),
        (["Hi", "--pool", "pool.yaml", "--option", "temperature"], "--option must be KEY=VALUE such as temperature=0, not 'temperature'"),
        *((["Hi", "--pool", "pool.yaml", "--option", f"temperature={value}"], f"--option temperature={value}: ") for value in NO_PARAMETERS),
        *(
            (["Hi", "--pool", "pool.yaml", "--option", f"{name}=x"], f"--option {name} is set by the call itself")
            for name in ("messages", "model", "candidate", "decision_id", "stream")
        ),
    ],
)
def test_wrong_usage_is_named(aamc: Aamc, arguments: list[str], message: str) -> None:
    status, _, err = aamc("complete", *arguments)
    assert status == 2
    assert message in err


def test_without_a_run_the_error_says_which_command_makes_one(aamc: Aamc) -> None:
    status, out, _ = aamc("complete", "Hello", "--json")
    assert status == 1
    assert "aamc run" in json.loads(out)["error"]["hint"] + json.loads(out)["error"]["message"]


def test_a_pool_without_endpoints_cannot_be_called(aamc: Aamc) -> None:
    Path("bare.yaml").write_text("candidates: [{name: a}]")
    for stream in ([], ["--stream"]):
        status, _, err = aamc("complete", "Hello", "--pool", "bare.yaml", "--router", "first", *stream)
        assert status == 1
        assert "add endpoints to the pool file" in err
