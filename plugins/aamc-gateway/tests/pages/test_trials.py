"""Canary and shadow by configuration, and files of vLLM Semantic Router, served."""

from __future__ import annotations

import time

import pytest
from aamc_models.testing import StubServer
from pages.conftest import Serve, chat, http, logged


@pytest.mark.parametrize("kind", ["canary", "shadow"])
def test_a_trial_is_served_and_its_state_is_on_the_dashboard(serve: Serve, kind):
    share = {"share": 0.5} if kind == "canary" else {}
    gateway = serve(router={"name": kind, "stable": "epsilon-greedy", "candidate": "thompson", **share})
    for n in range(10):
        answer = http(f"{gateway.url}/v1/chat/completions", chat(text=f"Question {n}"))
        assert answer.status == 200
        http(f"{gateway.url}/v1/feedback", {"decision_id": answer.headers["x-aamc-decision-id"], "quality": n % 2})
    found = http(f"{gateway.url}/admin/trials").json
    assert (kind, None) == (found["serving"]["kind"], found["serving"]["ended"])
    (trial,) = found["trials"]
    assert (sum(trial["served"].values()), trial["judged"], trial["verdict"]) == (10, 10, "no difference yet")
    roles = [each["role"] for each in http(f"{gateway.url}/admin/posteriors").json["routers"]]
    assert roles == ["stable", "candidate"]


def test_metrics_tell_that_a_trial_has_ended(serve: Serve, stub: StubServer):
    gateway = serve(router={"name": "canary", "stable": "epsilon-greedy", "candidate": "thompson", "share": 0.5, "max_cost_ratio": 1e-6})
    assert "\naamc_trial_ended 0.0\n" in http(f"{gateway.url}/metrics").body.decode()
    for n in range(80):  # the limit counts from 20 calls of each router on
        assert http(f"{gateway.url}/v1/chat/completions", chat(text=f"Question {n}")).status == 200
    end = time.monotonic() + 60
    while "\naamc_trial_ended 1.0\n" not in http(f"{gateway.url}/metrics").body.decode():
        assert time.monotonic() < end
        time.sleep(0.1)


def file(stub: StubServer, algorithm: dict) -> dict:
    host, _, port = stub.url.removeprefix("http://").partition(":")
    return {
        "vllm_endpoints": [{"name": "one", "address": host, "port": int(port), "weight": 1}],
        "model_config": {
            "small": {"preferred_endpoints": ["one"], "pricing": {"prompt_per_1m": 1.0, "completion_per_1m": 2.0}},
            "large": {"preferred_endpoints": ["one"], "pricing": {"prompt_per_1m": 10.0, "completion_per_1m": 20.0}},
        },
        "decisions": [{"name": "all", "modelRefs": [{"model": "small"}, {"model": "large"}], "algorithm": algorithm}],
    }


def test_a_file_of_vllm_semantic_router_is_served_unchanged(serve: Serve, stub: StubServer):
    gateway = serve(file=file(stub, {"type": "rl_driven", "rl_driven": {"exploration_rate": 0.3}}))
    found = http(f"{gateway.url}/v1/chat/completions", chat())
    assert f"Answer of {found.headers['x-aamc-model']}." == found.json["choices"][0]["message"]["content"]
    assert found.headers["x-aamc-model"] in ("small", "large")


def test_concurrent_asks_all_models_of_the_file(serve: Serve, stub: StubServer):
    gateway = serve(file=file(stub, {"type": "concurrent", "concurrent": {"max_concurrent": 2}, "on_error": "skip"}))
    found = http(f"{gateway.url}/v1/chat/completions", chat())
    assert (found.status, [stub.counts(name).calls for name in ("small", "large")]) == (200, [1, 1])
    assert len(http(gateway.url + found.headers["x-aamc-vote"]).json["answers"]) == 2
    streamed = http(f"{gateway.url}/v1/chat/completions", chat(stream=True))
    assert "vote" in streamed.events[-1]["aamc"]
    gateway.stop()
    assert len(logged(gateway).attempts) == 4
    assert "without effect: algorithm.concurrent" not in gateway.output
