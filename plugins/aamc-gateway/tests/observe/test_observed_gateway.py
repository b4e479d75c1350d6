"""What can be seen of a real gateway, and what cannot: keys and prompts."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from aamc_gateway.testing import GatewayProcess, stub_candidate
from aamc_models.testing import Script, StubServer
from click.testing import CliRunner
from forked_gateway import ForkedGateway
from observe.collector import Collector, attributes
from prometheus_client.parser import text_string_to_metric_families

from aamc_sdk.cli import aamc
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager

pytestmark = pytest.mark.one_python

ADMIN = "admin-key-of-the-environment-3f9a6c"
UPSTREAM = "sk-upstream-8d7f6a5b4c3d2e1f0a9b8c7d"
PROMPT = "My diary of the third of May"
REQUEST = {"model": "aamc/auto", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 20}


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as running:
        yield running


def candidates(stub: StubServer, **fields: Any) -> list[dict[str, Any]]:
    return [stub_candidate(name, f"{stub.url}/v1", api_key_env="UPSTREAM_KEY", **fields) for name in ("good", "bad")]


def add_key(folder: Path, name: str) -> str:
    store = f"sqlite:{folder / 'state.db'}"
    result = CliRunner().invoke(aamc, ["keys", "add", name, "--tenant", "acme", "--store", store], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout.strip()


def totals(gateway: GatewayProcess, key: str = "") -> dict[str, float]:
    answer = httpx.get(f"{gateway.url}/metrics", headers={"authorization": f"Bearer {key}"} if key else {}, timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def wait_for(true: Any) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_keys_and_prompts_are_in_no_log_error_file_span_or_metric(stub: StubServer, tmp_path: Path) -> None:
    stub.scripts["bad"] = Script(fault="status", status=401)
    key = add_key(tmp_path, "ci")
    with Collector() as collector:
        tracing = {"enabled": True, "endpoint": collector.endpoint, "sample_ratio": 1.0}
        settings = {"observe": {"logs": {"format": "json"}, "tracing": tracing}}
        environment = {"AAMC_ADMIN_KEY": ADMIN, "UPSTREAM_KEY": UPSTREAM}
        with ForkedGateway(tmp_path, candidates(stub), settings=settings, environment=environment) as gateway:
            seen = []
            for model in ("aamc/auto", "good", "bad", "unknown"):
                for stream in (False, True):
                    body = {**REQUEST, "model": model, "stream": stream}
                    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}, timeout=60)
                    seen.append(answer.text.replace(PROMPT, "") if answer.status_code == 200 else answer.text)
            for wrong in (key[:-1] + "x", ADMIN[:-1], ""):
                answer = httpx.post(f"{gateway.url}/v1/messages", json=REQUEST, headers={"x-api-key": wrong}, timeout=60)
                assert answer.status_code == 401
                seen.append(answer.text)
            assert httpx.get(f"{gateway.url}/metrics", headers={"authorization": f"Bearer {key}"}, timeout=60).status_code == 403
            seen.append(httpx.get(f"{gateway.url}/metrics", headers={"authorization": f"Bearer {ADMIN}"}, timeout=60).text)
        lines = [json.loads(line) for line in gateway.output.splitlines()]
        assert lines[0]["message"].startswith("Serving")
        requests = [line for line in lines if line["logger"] == "aamc_gateway.requests"]
        spans = b"".join(collector.raw)
    for text in (*seen, gateway.output):
        assert PROMPT not in text
    assert PROMPT.encode() not in spans
    for secret in (key, key[-30:], ADMIN, UPSTREAM):
        assert not any(secret in text for text in (*seen, gateway.output))
        assert secret.encode() not in spans
        assert not any(secret.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert len(requests) >= 6
    served = next(line for line in requests if line["model"] == "good" and line["status"] == 200)
    assert re.fullmatch("[0-9a-f]{32}", served["decision_id"])
    assert (served["tenant"], served["key_id"]) == ("acme", key[8:20])
    assert served["ms"] > 0
    assert served["cost_usd"] > 0
    assert b"gen_ai.request.model" in spans


def test_requests_of_the_arena_and_answers_from_the_cache_continue_the_client_s_trace(stub: StubServer, tmp_path: Path) -> None:
    traces = {model: f"{number:032x}" for number, model in enumerate(("aamc/arena", "good", "good "), 1)}
    with Collector() as collector:
        settings = {"observe": {"tracing": {"enabled": True, "endpoint": collector.endpoint, "sample_ratio": 0.0}}, "cache": {"enabled": True}}
        with ForkedGateway(tmp_path, candidates(stub), settings=settings) as gateway:
            for model, trace in traces.items():
                headers = {"traceparent": f"00-{trace}-{1:016x}-01"}
                body = {**REQUEST, "model": model.strip(), "temperature": 0}
                answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=60)
                assert answer.headers.get("x-aamc-cache") == ("hit" if model == "good " else None)
        spans = b"".join(collector.raw)
    assert [trace for trace in traces.values() if bytes.fromhex(trace) not in spans] == []


@pytest.mark.parametrize("stream", [False, True])
def test_each_call_of_a_request_has_its_own_usage_and_finish_reason_in_its_span(stub: StubServer, tmp_path: Path, stream: bool) -> None:
    stub.scripts.update(good=Script(prompt_tokens=11, output_tokens=1), bad=Script(prompt_tokens=22, output_tokens=40))
    with Collector() as collector:
        settings = {"observe": {"tracing": {"enabled": True, "endpoint": collector.endpoint, "sample_ratio": 1.0}}}
        with ForkedGateway(tmp_path, candidates(stub), settings=settings) as gateway:
            for model in ("aamc/arena", "good"):
                answer = httpx.post(f"{gateway.url}/v1/chat/completions", json={**REQUEST, "model": model, "stream": stream}, timeout=60)
                assert answer.status_code == 200
        calls = [attributes(span) for _, span in collector.spans() if span.name.startswith("chat ")]
    told = ("aamc.model", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.response.finish_reasons")
    found = sorted(tuple(call[name] for name in told) for call in calls)
    assert found == [("bad", 22, 20, ["length"]), ("good", 11, 1, ["stop"]), ("good", 11, 1, ["stop"])]


def test_readyz_tells_that_no_candidate_can_be_called_and_healthz_that_the_process_lives(stub: StubServer, tmp_path: Path) -> None:
    with ForkedGateway(tmp_path, candidates(stub, retries=0, breaker_failures=1, breaker_rest_s=600.0)) as gateway:
        assert httpx.get(f"{gateway.url}/readyz", timeout=60).json() == {"status": "ready", "problems": []}
        for name in ("good", "bad"):
            stub.scripts[name] = Script(fault="status", status=500)
            httpx.post(f"{gateway.url}/v1/chat/completions", json={**REQUEST, "model": name}, timeout=60)
        answer = httpx.get(f"{gateway.url}/readyz", timeout=60)
        assert answer.status_code == 503
        assert answer.json()["problems"] == ["no candidate can be called: all circuit breakers are open, after failures"]
        assert httpx.get(f"{gateway.url}/healthz", timeout=60).json() == {"status": "ok"}
        assert totals(gateway)["aamc_breaker_open"] == 2


def test_calls_beyond_an_endpoint_s_concurrency_are_its_queue(stub: StubServer, tmp_path: Path) -> None:
    stub.scripts["good"] = Script(first_ms=60_000)
    with ForkedGateway(tmp_path, candidates(stub, concurrency=2)) as gateway, ThreadPoolExecutor(3) as threads:
        clients = [httpx.Client() for _ in range(3)]
        for client in clients:
            threads.submit(client.post, f"{gateway.url}/v1/chat/completions", json={**REQUEST, "model": "good"}, timeout=60)
        wait_for(lambda: totals(gateway)["aamc_calls_in_flight"] == 3)
        found = totals(gateway)
        assert (found["aamc_in_flight"], found["aamc_queue_depth"]) == (3, 1)
        gateway.kill()  # the clients end with it


def test_what_a_stream_that_was_cut_cost_is_counted_as_the_log_has_it(stub: StubServer, tmp_path: Path) -> None:
    stub.scripts["good"] = Script(fault="late_error", text="word " * 400)
    with ForkedGateway(tmp_path, candidates(stub)) as gateway:
        answer = httpx.post(f"{gateway.url}/v1/chat/completions", json={**REQUEST, "model": "good", "stream": True, "max_tokens": 500}, timeout=60)
        assert "error" in answer.text
        wait_for(lambda: totals(gateway).get("aamc_requests_total") == 1)
        counted = totals(gateway)
        gateway.stop()
    with closing(open_store(f"sqlite:{tmp_path / 'state.db'}", get_plugin_manager(), existing=True)) as store:
        (cut,) = store.experience().attempts
    assert counted["aamc_cost_usd_total"] == pytest.approx(cut.cost_usd)
    assert counted["aamc_tokens_total"] > 100


@pytest.mark.parametrize("stream", [False, True])
def test_the_saving_counts_what_the_arena_pays_for_answers_that_are_not_served(stub: StubServer, tmp_path: Path, stream: bool) -> None:
    script = Script(prompt_tokens=100, output_tokens=10)
    stub.scripts.update(good=script, bad=script)
    with ForkedGateway(tmp_path, candidates(stub), environment={"UPSTREAM_KEY": UPSTREAM}) as gateway:
        body = {**REQUEST, "model": "aamc/arena", "stream": stream}
        assert httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=60).status_code == 200
        wait_for(lambda: totals(gateway).get("aamc_requests_total") == 1)
        assert totals(gateway)["aamc_saved_usd"] == pytest.approx(-(100 * 1 + 10 * 2) / 1e6)


def test_the_saving_is_against_the_model_for_which_the_tokens_cost_most(stub: StubServer, tmp_path: Path) -> None:
    stub.scripts["search"] = Script(prompt_tokens=100, output_tokens=10)
    prices = {"search": {"input_price": 1.0, "output_price": 1.0, "request_price": 0.01}, "large": {"input_price": 5.0, "output_price": 5.0}}
    pool = [stub_candidate(name, f"{stub.url}/v1", **each) for name, each in prices.items()]
    with ForkedGateway(tmp_path, pool, router="random") as gateway:
        assert httpx.post(f"{gateway.url}/v1/chat/completions", json={**REQUEST, "model": "search"}, timeout=60).status_code == 200
        wait_for(lambda: totals(gateway).get("aamc_requests_total") == 1)
        assert totals(gateway)["aamc_saved_usd"] == pytest.approx(0.0)


def test_the_saving_is_not_against_a_model_that_gives_no_such_answer(stub: StubServer, tmp_path: Path) -> None:
    stub.scripts["small"] = Script(prompt_tokens=100, output_tokens=10)
    image = stub_candidate("image", f"{stub.url}/v1", input_price=5.0, output_price=40.0, request_price=0.04, apis=["embeddings"])
    with ForkedGateway(tmp_path, [stub_candidate("small", f"{stub.url}/v1"), image], router="random") as gateway:
        assert httpx.post(f"{gateway.url}/v1/chat/completions", json={**REQUEST, "model": "small"}, timeout=60).status_code == 200
        wait_for(lambda: totals(gateway).get("aamc_requests_total") == 1)
        assert totals(gateway)["aamc_saved_usd"] == pytest.approx(0.0)
        assert httpx.get(f"{gateway.url}/admin/overview", timeout=60).json()["baselines"] == ["small"]


def test_several_images_of_the_most_expensive_model_save_nothing(stub: StubServer, tmp_path: Path) -> None:
    stub.scripts["good"] = Script()
    pool = [stub_candidate("good", f"{stub.url}/v1", request_price=0.04), stub_candidate("bad", f"{stub.url}/v1", request_price=0.01)]
    with ForkedGateway(tmp_path, pool) as gateway:
        body = {"model": "good", "prompt": "a cat", "n": 3}
        made = httpx.post(f"{gateway.url}/v1/images/generations", json=body, timeout=60)
        assert (made.status_code, float(made.headers["x-aamc-cost-usd"])) == (200, pytest.approx(0.12, abs=0.001))
        wait_for(lambda: totals(gateway).get("aamc_requests_total") == 1)
        assert totals(gateway)["aamc_saved_usd"] == pytest.approx(0.0)


def test_an_embedding_saves_nothing_against_a_model_of_chat(stub: StubServer, tmp_path: Path) -> None:
    pool = [stub_candidate(name, f"{stub.url}/v1", input_price=price) for name, price in (("small", 0.02), ("large", 3.0))]
    with ForkedGateway(tmp_path, pool) as gateway:
        made = httpx.post(f"{gateway.url}/v1/embeddings", json={"model": "small", "input": "a cat"}, timeout=60)
        wait_for(lambda: totals(gateway).get("aamc_requests_total") == 1)
        assert (made.status_code, totals(gateway)["aamc_saved_usd"]) == (200, 0.0)


def test_two_workers_add_up_what_they_served(stub: StubServer, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, candidates(stub), router="thompson", options=["--workers", "2"]) as gateway:
        for _ in range(20):  # each on a connection of its own, so that both workers get some
            assert httpx.post(f"{gateway.url}/v1/chat/completions", json={**REQUEST, "model": "good"}, timeout=60).status_code == 200
        wait_for(lambda: totals(gateway)["aamc_requests_total"] == 20)
        found = totals(gateway)
        assert found["aamc_calls_total"] == 20
        assert found["aamc_in_flight"] == 0
        wait_for(lambda: totals(gateway)["aamc_is_learner"] == 2)  # each learns from the file
        assert found["aamc_cost_usd_total"] > 0


def test_metrics_go_on_when_the_configuration_is_reloaded(stub: StubServer, tmp_path: Path) -> None:
    with ForkedGateway(tmp_path, candidates(stub), settings={}) as gateway:
        assert httpx.post(f"{gateway.url}/v1/chat/completions", json=REQUEST, timeout=60).status_code == 200
        (tmp_path / "gateway.yaml").write_text("router: llm-only\ngateway: {workers: 2}\n")
        gateway.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "was reloaded" in gateway.output)
        assert "the reload leaves workers as at the start: restart to change it" in gateway.output
        assert httpx.post(f"{gateway.url}/v1/chat/completions", json=REQUEST, timeout=60).status_code == 200
        wait_for(lambda: totals(gateway)["aamc_requests_total"] == 2)


def test_a_change_of_prices_or_candidates_leaves_the_saving_of_the_past_as_it_was(stub: StubServer, tmp_path: Path) -> None:
    small, large = (stub_candidate(name, f"{stub.url}/v1", input_price=price, output_price=price) for name, price in (("good", 1.0), ("large", 10.0)))
    cheap = stub_candidate("large", f"{stub.url}/v1", input_price=0.1, output_price=0.1)
    request = {**REQUEST, "model": "good"}
    with ForkedGateway(tmp_path, [small, large], router="random") as gateway:

        def saved_usd() -> float:
            found: Any = httpx.get(f"{gateway.url}/admin/overview", timeout=60).json()
            while found["left"]:
                found = httpx.get(f"{gateway.url}/admin/overview", timeout=60).json()
            return float(found["cost"]["saved_usd"])

        assert httpx.post(f"{gateway.url}/v1/chat/completions", json=request, timeout=60).status_code == 200
        wait_for(lambda: totals(gateway)["aamc_saved_usd"] > 0)
        before = totals(gateway)["aamc_saved_usd"]
        assert saved_usd() == pytest.approx(before)
        for reloads, pool in enumerate(([small, cheap], [small]), 1):
            (tmp_path / "pool.yaml").write_text(json.dumps({"candidates": pool}))
            gateway.process.send_signal(signal.SIGHUP)
            wait_for(lambda number=reloads: gateway.output.count("was reloaded") == number)
            assert saved_usd() == pytest.approx(before)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the workers are found in /proc")
def test_all_processes_log_in_the_same_form(stub: StubServer, tmp_path: Path) -> None:
    with ForkedGateway(tmp_path, candidates(stub), settings={"workers": 2, "observe": {"logs": {"format": "json"}}}) as gateway:
        pid = gateway.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        worker = next(int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes())
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: "a worker ended" in gateway.output)
        line = next(line for line in gateway.output.splitlines() if "a worker ended" in line)
    found = json.loads(line)
    assert (found["level"], found["message"]) == ("error", "a worker ended with status -9; another one starts")


def test_metrics_can_be_public_or_off(stub: StubServer, tmp_path: Path) -> None:
    environment = {"AAMC_ADMIN_KEY": ADMIN}
    with ForkedGateway(tmp_path, candidates(stub), settings={"observe": {"metrics_public": True}}, environment=environment) as gateway:
        assert "aamc_in_flight" in totals(gateway)
    with ForkedGateway(tmp_path, candidates(stub), settings={"observe": {"metrics": False}}, environment=environment) as gateway:
        answer = httpx.get(f"{gateway.url}/metrics", headers={"authorization": f"Bearer {ADMIN}"}, timeout=60)
        assert answer.status_code == 404
        assert "gateway.observe.metrics: true" in answer.text
