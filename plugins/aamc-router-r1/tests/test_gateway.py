"""``aamc/router-r1`` at the gateway, which runs in a process of its own: whole and streamed answers, costs and the log."""

import json
from contextlib import closing

import httpx
import pytest
from aamc_experiments.off_policy import read_outcome_columns
from aamc_gateway.testing import GatewayProcess
from aamc_models.testing import Script
from policy_server import THOUGHT, pool_of

from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager

SETTINGS = {"orchestrators": {"router-r1": {"pool": "pool.yaml", "options": {"policy": "policy"}}}}


@pytest.fixture
def gateway(server, tmp_path):
    server.turns["policy"] = [f"{THOUGHT}<search> small: Who? </search>", f"{THOUGHT}<answer> Jane Austen </answer>"]
    candidates = pool_of(server, policy={}, small={})["candidates"]
    with GatewayProcess(tmp_path, candidates, settings=SETTINGS, router="random") as process:
        yield process


def body(**more):
    return {"model": "aamc/router-r1", "messages": [{"role": "user", "content": "Who wrote Emma?"}], **more}


def test_router_r1_answers_whole_and_streamed(gateway, server, tmp_path):
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        whole = client.post("/v1/chat/completions", json=body())
        assert whole.status_code == 200, whole.text
        assert whole.json()["choices"][0]["message"]["content"] == "Jane Austen"
        assert "small says: Austen" in whole.json()["choices"][0]["message"]["reasoning_content"]
        assert float(whole.headers["x-aamc-cost-usd"]) > 0
        usage = whole.json()["usage"]
        assert 0 < usage["prompt_tokens"] == usage["total_tokens"] - usage["completion_tokens"] < usage["total_tokens"]
        server.asked.clear()
        streamed = client.post("/v1/chat/completions", json=body(stream=True))
    events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    assert "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"]) == "Jane Austen"
    assert events[-1]["aamc"]["cost_usd"] > 0
    gateway.stop()
    with closing(open_store(f"sqlite:{tmp_path / 'state.db'}", get_plugin_manager(), existing=True)) as store:
        logged = read_outcome_columns(store, ["router"])
    assert list(logged.outcomes.candidates) == ["policy", "small", "policy"] * 2
    assert set(logged["router"]) == {"router-r1"}


def test_the_policy_reads_all_messages_of_the_user(gateway, server):
    said = [f"Message {n}." for n in range(6)]
    asked = body(messages=[{"role": "user", "content": text} for text in said])
    assert httpx.post(f"{gateway.url}/v1/chat/completions", json=asked, timeout=30).status_code == 200
    assert [text for text in said if text not in str(server.asked["policy"][0])] == []


def test_an_episode_without_an_answer_is_an_error_and_its_calls_are_logged(gateway, server, tmp_path):
    server.turns["policy"] = ["never"]
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        answer = client.post("/v1/chat/completions", json=body())
    assert answer.status_code == 502
    assert "no answer" in answer.text
    gateway.stop()
    with closing(open_store(f"sqlite:{tmp_path / 'state.db'}", get_plugin_manager(), existing=True)) as store:
        assert len(store.outcomes().candidates) == 5


@pytest.mark.parametrize("failing", ["policy", "small"])
def test_a_failed_call_names_neither_address_nor_upstream_text_to_clients(failing, gateway, server):
    server.scripts[failing] = Script(fault="status")
    server.turns.pop(failing, None)
    for more in ({}, {"stream": True}):
        server.asked.clear()
        answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body(**more), timeout=30)
        assert f"model '{failing}' failed (500" in answer.text
        assert server.url not in answer.text
        assert not any(server.url in str(asked) for asked in server.asked.get("policy", ()))  # the policy's server may be a third party's


@pytest.mark.parametrize(
    ("script", "status"),
    [(Script(fault="status", status=429, retry_after_s=7.0), 429), (Script(fault="hang"), 504), (Script(fault="status", status=503), 502)],
)
def test_a_failed_policy_gives_the_status_of_its_failure(script, status, server, tmp_path):
    server.scripts["policy"] = script
    endpoint = {"provider": "openai", "base_url": f"{server.url}/v1", "retries": 0, "timeout_seconds": 2.0}
    candidates = pool_of(server, policy={"endpoint": endpoint}, small={})["candidates"]
    with GatewayProcess(tmp_path, candidates, settings=SETTINGS, router="random") as process:
        answer = httpx.post(f"{process.url}/v1/chat/completions", json=body(), timeout=30)
    assert answer.status_code == status, answer.text
    assert "the orchestrator 'router-r1' gave no answer (policy failed (the policy 'policy': " in answer.json()["error"]["message"]
    assert ("retry-after" in answer.headers) == (status == 429)


@pytest.mark.parametrize("limits", [{"options": {"policy": "policy", "call_seconds": 0.5}}, {"seconds": 0.5}], ids=["call", "episode"])
def test_a_time_limit_without_an_answer_is_a_timeout(limits, server, tmp_path):
    server.scripts["policy"] = Script(fault="hang")
    settings = {"orchestrators": {"router-r1": {**SETTINGS["orchestrators"]["router-r1"], **limits}}}
    with GatewayProcess(tmp_path, pool_of(server, policy={}, small={})["candidates"], settings=settings, router="random") as process:
        answer = httpx.post(f"{process.url}/v1/chat/completions", json=body(), timeout=30)
    assert answer.status_code == 504, answer.text
    assert "the orchestrator 'router-r1' gave no answer (" in answer.json()["error"]["message"]


def test_the_gateway_routes_by_the_policys_first_call(server, tmp_path):
    server.turns["policy"] = [f"{THOUGHT}<search> small: Who? </search>"]
    candidates = pool_of(server, policy={}, small={}, big={})["candidates"]
    with GatewayProcess(tmp_path, candidates, settings={}, router={"name": "router-r1", "policy": "policy"}) as process:
        answer = httpx.post(f"{process.url}/v1/chat/completions", json=body(model="aamc/auto"), timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "small says: Austen"
