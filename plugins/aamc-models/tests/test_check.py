"""``aamc models check``: calls every candidate once, and says what to fix."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aamc_models.testing import Script, StubServer

from aamc_sdk.testing import run_command

SCRIPTS = {
    "good": Script(text="ready", prompt_tokens=10, output_tokens=4),
    "locked": Script(fault="status", status=401),
    "gone": Script(fault="status", status=404),
    "silent": Script(fault="hang"),
    "page": Script(fault="html", status=200),
    "impatient": Script(pace_ms=2000),
}


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer(SCRIPTS) as stub:
        yield stub


@pytest.fixture
def pool(stub: StubServer, tmp_path: Path) -> Path:
    """A pool of a good model, one without prices, and others that fail, each in its own way."""
    endpoint = f"provider: openai, base_url: '{stub.url}/v1', retries: 0"
    path = tmp_path / "pool.yaml"
    path.write_text(
        f"""candidates:
  - {{name: good, prices: {{input: 10, output: 20}}, endpoint: {{{endpoint}}}}}
  - {{name: unpriced, endpoint: {{{endpoint}, model: good}}}}
  - {{name: locked, endpoint: {{{endpoint}, api_key_env: AAMC_TEST_KEY}}}}
  - {{name: gone, endpoint: {{{endpoint}}}}}
  - {{name: silent, endpoint: {{{endpoint}}}}}
  - {{name: page, endpoint: {{{endpoint}}}}}
  - {{name: impatient, endpoint: {{{endpoint}, idle_timeout_s: 0.2}}}}
  - {{name: refused, endpoint: {{provider: openai, base_url: "http://127.0.0.1:9/v1", retries: 0}}}}
  - {{name: mistyped, endpoint: {{provider: openai, base_ulr: x}}}}
  - {{name: bare}}
"""
    )
    return path


def test_each_candidate_is_called_once_and_errors_say_what_to_mend(stub: StubServer, pool: Path) -> None:
    status, out, err = run_command("models", "check", "--pool", str(pool), "--timeout", "5", "--json")
    assert status == 1, err
    document = json.loads(out)
    assert (document["schema"], document["ok"]) == (1, False)
    rows = {row["candidate"]: row for row in document["models"]}
    good = rows["good"]
    assert (good["ok"], good["text"], good["prompt_tokens"], good["output_tokens"], good["advice"]) == (True, "ready", 10, 4, "")
    assert good["cost_usd"] == pytest.approx((10 * 10 + 4 * 20) / 1e6)
    assert 0 < good["first_token_ms"] <= good["latency_ms"]
    assert rows["unpriced"]["ok"]
    assert "add prices, as aamc models prices does" in rows["unpriced"]["advice"]
    assert "set $AAMC_TEST_KEY to your API key" in rows["locked"]["advice"]
    assert "check the endpoint's model" in rows["gone"]["advice"]
    assert rows["gone"]["kind"] == "configuration"
    assert rows["silent"]["kind"] == "timeout"
    assert (rows["silent"]["error"], "--timeout" in rows["silent"]["advice"]) == ("no whole answer in 5 s", True)
    assert "stopped in the middle of its answer: no byte in 0.2 s" in rows["impatient"]["error"]
    assert "raise the endpoint's limits of time" in rows["impatient"]["advice"]
    assert "did not answer with a stream of events" in rows["page"]["error"]
    assert "base_url" not in rows["page"]["error"]
    assert rows["page"]["advice"] == "check the end of base_url, usually /v1"
    assert "check that the server runs" in rows["refused"]["advice"]
    assert "base_ulr" in rows["mistyped"]["error"]
    assert "add an endpoint" in rows["bare"]["advice"]
    assert stub.counts("locked").calls == stub.counts("gone").calls == 1
    assert stub.counts("good").calls == 2


def test_an_error_too_long_for_the_table_ends_in_dots(tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text("candidates: [{name: mistyped, endpoint: {provider: openai, timeout_s: 3}}]")
    status, out, err = run_command("models", "check", "--pool", str(path))
    assert status == 1, err
    assert "...; correct the pool file" in " ".join(out.split())


def test_a_pool_whose_models_all_answer_is_fine(stub: StubServer, tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(f"candidates: [{{name: good, prices: {{input: 1, output: 2}}, endpoint: {{provider: openai, base_url: '{stub.url}/v1'}}}}]")
    status, out, err = run_command("models", "check", "--pool", str(path))
    assert status == 0, err
    assert "good" in out
    assert "ok" in out
    assert "1 of 1 answered" in err


def test_each_deployment_is_called(stub: StubServer, tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    deployments = f"[{{model: good}}, {{base_url: '{stub.url}/v1', model: locked}}, {{base_url: 'http://127.0.0.1:9/v1', model: good}}]"
    endpoint = f"{{provider: openai, base_url: '{stub.url}/v1', retries: 0, deployments: {deployments}}}"
    path.write_text(f"candidates:\n  - {{name: spread, prices: {{input: 1, output: 2}}, endpoint: {endpoint}}}\n")
    status, out, _ = run_command("models", "check", "--pool", str(path), "--timeout", "5", "--json")
    rows = json.loads(out)["models"]
    assert status == 1
    assert [(row["candidate"], row["deployment"], row["model"], row["ok"]) for row in rows] == [
        ("spread", 1, "good", True),
        ("spread", 2, "locked", False),
        ("spread", 3, "good", False),
    ]
    assert len(stub.requests) == 2
    assert "spread, deployment 3" in run_command("models", "check", "--pool", str(path), "--timeout", "5")[1]


def test_an_answer_without_text_is_told(stub: StubServer, tmp_path: Path) -> None:
    stub.scripts["good"] = Script(text="", output_tokens=0)
    path = tmp_path / "pool.yaml"
    path.write_text(f"candidates: [{{name: good, prices: {{input: 1, output: 2}}, endpoint: {{provider: openai, base_url: '{stub.url}/v1'}}}}]")
    _, out, _ = run_command("models", "check", "--pool", str(path), "--json")
    assert json.loads(out)["models"][0]["advice"] == "its answer has no text"


def test_an_answer_without_a_key_names_the_variable_that_is_not_set(stub: StubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AAMC_TEST_KEY", raising=False)
    path = tmp_path / "pool.yaml"
    endpoint = f"{{provider: openai, base_url: '{stub.url}/v1', api_key_env: AAMC_TEST_KEY}}"
    path.write_text(f"candidates: [{{name: good, prices: {{input: 1, output: 2}}, endpoint: {endpoint}}}]")
    status, out, err = run_command("models", "check", "--pool", str(path), "--json")
    assert status == 0, err
    (row,) = json.loads(out)["models"]
    assert row["advice"] == '$AAMC_TEST_KEY is not set, and the server answered without a key: set it, or write api_key_env: ""'


def test_a_provider_that_fails_to_name_its_unset_keys_is_a_failure_of_its_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_sdk.serving.models.echo.Echo.unset_keys", lambda _: {}["key"])
    path = tmp_path / "pool.yaml"
    path.write_text("candidates: [{name: good, endpoint: {provider: echo}}]")
    status, out, _ = run_command("models", "check", "--pool", str(path), "--json")
    assert status == 1
    assert json.loads(out)["models"][0]["error"] == "the provider of 'good' failed to return its unset keys: KeyError: 'key'"


def test_a_plugin_that_fails_is_no_error_of_the_pool_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_sdk.serving.models.echo.Echo.__init__", lambda *_: {}["key"])
    path = tmp_path / "pool.yaml"
    path.write_text("candidates: [{name: good, endpoint: {provider: echo}}, {name: bad, endpoint: {provider: ecco}}]")
    broken, misspelt = json.loads(run_command("models", "check", "--pool", str(path), "--json")[1])["models"]
    assert "cannot be made: KeyError: 'key'" in broken["error"]
    assert (broken["advice"], misspelt["advice"]) == ("", "correct the pool file")


def test_a_provider_that_streams_something_else_than_chunks_is_named_with_its_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stream(*_: object) -> AsyncIterator[str]:
        yield "hello"

    monkeypatch.setattr("aamc_sdk.serving.models.echo.Echo.stream", stream)
    path = tmp_path / "pool.yaml"
    path.write_text("candidates: [{name: bad, endpoint: {provider: echo}}]")
    (row,) = json.loads(run_command("models", "check", "--pool", str(path), "--json")[1])["models"]
    assert row["error"].endswith("stream must yield aamc_sdk.interfaces.Chunk objects, not 'hello'")


def test_a_server_that_cannot_be_reached_hides_no_missing_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AAMC_TEST_KEY", raising=False)
    path = tmp_path / "pool.yaml"
    endpoint = "{provider: openai, base_url: 'http://127.0.0.1:9/v1', api_key_env: AAMC_TEST_KEY, retries: 0}"
    path.write_text(f"candidates: [{{name: away, endpoint: {endpoint}}}]")
    (row,) = json.loads(run_command("models", "check", "--pool", str(path), "--json")[1])["models"]
    assert row["advice"] == "check that the server runs, and base_url; set $AAMC_TEST_KEY to your API key"
