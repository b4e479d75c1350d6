"""The choice of the replies of consulted models, and live replies in training."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aamc_models.testing import Script
from aamc_router_r1.config import RouterR1Config
from aamc_router_r1.data import RoutingTask, as_dataset, parse_record
from aamc_router_r1.orchestrator import RouterR1
from aamc_router_r1.protocol import SubQuestion, information
from aamc_router_r1.training.job import replies_of
from aamc_router_r1.training.replies import LiveReplies, RecordedReplies, Replies, SimulatedReplies
from policy_server import PolicyServer, make, play, pool_of

from aamc_sdk import get_plugin_manager
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.routing import pool_from_dict
from aamc_sdk.serving import make_services

MODELS = [{"name": "small", "cost": 1.0, "latency": 0.1}, {"name": "large", "cost": 9.0, "latency": 0.1}]
ECHO = {"candidates": [{"name": name, "endpoint": {"provider": "echo", "reply": "Austen"}} for name in ("small", "large")]}


def record(**more: Any) -> RoutingTask:
    return parse_record({"query": "Who wrote Emma?", "candidate_models": MODELS, "ground_truth": "Jane Austen", **more})


def chosen(*tasks: RoutingTask, pool: Mapping[str, Any] = ECHO, **options: Any) -> Replies:
    services = make_services(pool_from_dict(pool, "test"), get_plugin_manager())
    training: Any = SimpleNamespace(dataset=as_dataset(tasks, "records.jsonl"), validation=None, folder=None)
    return replies_of(RouterR1Config(**options), services, training)


def test_records_are_simulated_if_each_says_what_its_models_would_reply() -> None:
    measured = record(candidate_models=[{**model, "quality": {"": 0.5}} for model in MODELS])
    demonstrated = record(optimal_model="small")
    assert isinstance(chosen(measured, demonstrated), SimulatedReplies)
    half = record(candidate_models=[{**MODELS[0], "quality": {"": 0.5}}, MODELS[1]])
    for unknown in (record(), half):
        assert isinstance(chosen(demonstrated, unknown), LiveReplies)
        with pytest.raises(DataError, match="'Who wrote Emma\\?'; add 'optimal_model'"):
            chosen(demonstrated, unknown, replies="simulated")


def test_live_replies_need_an_endpoint_of_each_model() -> None:
    with pytest.raises(ConfigError, match="'large' is to reply to 'Who wrote Emma\\?' and has no endpoint"):
        chosen(record(), pool={"candidates": ECHO["candidates"][:1]})


def test_records_are_answered_by_the_endpoints_of_the_pool() -> None:
    (reply,) = chosen(record())([(record(), SubQuestion("large", "Who?"))])
    assert reply.text == "Austen"


QUESTION = SubQuestion("small", "Who?")


def live(server: PolicyServer, record: Path | None = None, **small: Any) -> tuple[LiveReplies, RoutingTask]:
    services = make_services(pool_from_dict(pool_of(server, small=small), "test"), get_plugin_manager())
    return LiveReplies(services, RouterR1Config(routed_tokens=10, call_seconds=5.0), record), parse_record(
        {"query": "Who?", "candidate_models": MODELS[:1], "ground_truth": "Jane Austen"}
    )


def completion(text: str) -> bytes:
    """Return the body of a chat completion without usage."""
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}).encode()


def test_a_live_reply_costs_what_it_costs_in_service() -> None:
    turns = ["<think> hm </think><search> small: Who? </search>", "<think> hm </think><answer> x </answer>"]
    with PolicyServer({"small": [completion("Jane Austen")], "policy": turns}) as server:
        replies, task = live(server)
        (reply,) = replies([(task, QUESTION)])
        (served,) = play(make(server, models={"policy": {}, "small": {}})).consulted
    assert (reply.cost_usd, reply.output_tokens) == (served.cost_usd, served.output_tokens)
    assert reply.cost_usd > 0


def test_a_live_reply_shows_the_policy_what_service_shows_it() -> None:
    for body in (completion("word " * 40), b'{"error": "no disk on 10.0.0.1"}'):
        turns = ["<think> hm </think><search> small: Who? </search>", "<think> hm </think><answer> x </answer>"]
        with PolicyServer({"small": [body], "policy": turns}) as server:
            replies, task = live(server)
            (reply,) = replies([(task, QUESTION)])
            play(make(server, models={"policy": {}, "small": {}}, routed_tokens=10))
            shown = server.asked["policy"][1]["messages"][-1]["content"]
        assert shown == information(reply.text, 600).strip()


def test_a_live_request_limits_the_tokens_under_the_name_that_the_model_uses() -> None:
    with PolicyServer({"small": [completion("Jane Austen")]}) as server:
        replies, task = live(server, parameters={"max_completion_tokens": 8, "temperature": 1.0})
        replies([(task, QUESTION)])
        (body,) = server.asked["small"]
    assert (body["temperature"], "max_tokens" in body, "max_completion_tokens" in body) == (1.0, False, True)


def test_a_failed_call_costs_nothing_and_is_no_recorded_reply(tmp_path: Path) -> None:
    file = tmp_path / "replies.jsonl"
    with PolicyServer({"small": [completion(" "), completion("Jane \ud83d Austen")]}) as server:
        replies, task = live(server, file)
        (failed,) = replies([(task, QUESTION)])
        assert failed.text == "No reply of small: the reply is empty"
        (reply,) = replies([(task, QUESTION)])
    assert reply.text == "Jane ? Austen"
    assert [json.loads(line)["reply"] for line in file.read_text().splitlines()] == ["Jane ? Austen"]
    assert RecordedReplies(str(file))([(task, QUESTION)])[0].text == "Jane ? Austen"
    with PolicyServer({}, {"small": Script(fault="status")}) as server:
        replies, task = live(server, tmp_path / "none.jsonl")
        (failed,) = replies([(task, QUESTION)])
    assert failed.text.startswith("No reply of small: ")
    assert failed.cost_usd == 0
    assert not (tmp_path / "none.jsonl").exists() or not (tmp_path / "none.jsonl").read_text()


def test_a_saved_policy_keeps_the_replies_that_its_training_paid_for(tmp_path: Path) -> None:
    services = make_services(pool_from_dict(ECHO, "test"), get_plugin_manager())
    router_r1, resume = RouterR1(RouterR1Config(), services), tmp_path / "resume"  # removed at the end of a training
    resume.mkdir()
    (resume / "replies.jsonl").write_text("{}\n")
    router_r1.checkpoint = resume
    router_r1.save(tmp_path)
    assert (tmp_path / "replies.jsonl").read_text() == "{}\n"
