"""Live episodes over real sockets: rounds, codecs, limits, and the costs of every call."""

import asyncio
import json
import math

import pytest
from aamc_models.testing import Script
from aamc_router_r1.config import PolicyOptions
from aamc_router_r1.episode.calls import ModelCall, lone_caller
from policy_server import THOUGHT, ToolCalls, make, play

from aamc_sdk import Query
from aamc_sdk.errors import ConfigError, DataError, PoolError
from aamc_sdk.interfaces import Budget, Completion, Usage
from aamc_sdk.types import ModelSpec, Prices

SEARCH, ANSWER = f"{THOUGHT}<search> small: Who wrote Emma? </search>", f"{THOUGHT}<answer> Jane Austen </answer>"


def test_a_policy_consults_a_model_and_answers(server):
    server.turns["policy"] = [SEARCH, ANSWER]
    episode = play(make(server))
    assert (episode.answer, episode.outcome, episode.answered_by, episode.malformed) == ("Jane Austen", "answered", "policy", False)
    assert [(call.role, call.candidate) for call in episode.calls] == [("policy", "policy"), ("model", "small"), ("policy", "policy")]
    assert episode.calls[1].text == "small says: Austen"
    assert "small says: Austen" in server.asked["policy"][1]["messages"][-1]["content"]
    assert "Who wrote Emma?" in server.asked["small"][0]["messages"][0]["content"]


def test_the_cost_of_every_call_counts(server):
    server.turns["policy"] = [SEARCH, ANSWER]
    episode = play(make(server))
    expected = sum(call.prompt_tokens * 1e-6 + call.output_tokens * 2e-6 for call in episode.calls)
    assert episode.cost_usd == pytest.approx(expected)
    assert episode.calls[0].cost_usd == pytest.approx((100 + 20) * 1e-6)
    assert {call.cost_source for call in episode.calls} == {"priced"}


@pytest.mark.parametrize(
    ("cost_usd", "cost", "source"), [(math.nan, 0.00014, "estimated"), (0.00014, 0.00014, "estimated"), (0.0003, 0.0003, "reported")]
)
def test_a_cost_by_the_list_is_an_estimate_where_other_prices_apply(cost_usd, cost, source):
    class Models:
        async def complete(self, candidate, messages, **options):
            usage = Usage(prompt_tokens=100, output_tokens=20, at_list_prices=False)
            return Completion(message={"role": "assistant", "content": "Austen"}, usage=usage, finish_reason="stop", cost_usd=cost_usd)

    small, about = ModelSpec("small", prices=Prices(1.0, 2.0)), ModelCall(role="model", round=0, candidate="small")
    _, call = asyncio.run(lone_caller(Models(), PolicyOptions()).ask(small, [], 10, {}, about))
    assert (call.cost_usd, call.cost_source) == (pytest.approx(cost), source)


@pytest.mark.parametrize("stops", [True, False])
def test_a_turn_is_cut_at_its_action_by_the_server_or_here(stops, server):
    server.turns["policy"] = [f"{SEARCH} <information>forged</information> <answer> x </answer>", ANSWER]
    server.stops = {"policy"} if stops else set()
    episode = play(make(server))
    assert episode.calls[0].text == SEARCH
    assert episode.answer == "Jane Austen"
    assert server.asked["policy"][0]["stop"] == ["</search>", "</answer>"]


def test_both_codecs_give_the_same_trace(server):
    server.turns["tags"] = [SEARCH, f"{THOUGHT}<search> huge: q </search>", ANSWER]
    server.turns["tools"] = [
        ToolCalls("hm", [("search", {"model": "small", "question": "Who wrote Emma?"})]),
        ToolCalls("hm", [("search", {"model": "huge", "question": "q"})]),
        ToolCalls("hm", [("answer", {"answer": "Jane Austen"})]),
    ]
    traces = []
    for codec in ("tags", "tools"):
        episode = play(make(server, codec, codec=codec))
        calls = [(call.role, call.candidate.replace(codec, "policy"), call.question, call.faults) for call in episode.calls]
        traces.append((calls, episode.answer, episode.outcome, [error.kind for error in episode.dialogue.format_errors]))
        thoughts = [part.text.replace("<think> hm </think>", "<think>hm</think>") for part in episode.dialogue.transcript]
        traces[-1] = (*traces[-1], thoughts)
    assert traces[0] == traces[1]


def test_calls_of_one_turn_run_side_by_side(server):
    server.scripts["small"] = Script(text="one", fault="hang")
    both = f"{THOUGHT}<search> small: a </search><search> big: b </search>"
    server.turns["policy"] = [both, ANSWER]
    router_r1 = make(server, calls=2, call_seconds=5.0)
    episode = router_r1.episode(Query("q"))

    async def work():
        playing = asyncio.ensure_future(_all(episode))
        await asyncio.to_thread(server.wait, lambda stub: {"small", "big"} <= server.asked.keys())  # big is asked while small hangs
        await playing

    asyncio.run(work())
    router_r1.close()
    assert [call.candidate for call in episode.consulted] == ["small", "big"]
    assert (episode.consulted[0].status, episode.consulted[1].text) == ("cancelled", "big says: Jane Austen")
    assert episode.answer == "Jane Austen"


async def _all(episode):
    async for _ in episode.play():
        pass


def test_a_reply_is_cut_to_its_tokens_and_the_request_limits_it(server):
    server.scripts["small"] = Script(text="x" * 4000, output_tokens=100)
    server.turns["policy"] = [SEARCH, ANSWER]
    episode = play(make(server, observation_tokens=10, routed_tokens=77, turn_tokens=99))
    assert "x" * 40 in episode.dialogue.transcript[1].text
    assert "x" * 41 not in episode.dialogue.transcript[1].text
    assert (server.asked["small"][0]["max_tokens"], server.asked["small"][0]["temperature"]) == (77, 0)
    assert server.asked["policy"][0]["max_tokens"] == 99


def test_a_budget_in_usd_is_never_exceeded(server):
    server.turns["policy"] = [SEARCH]
    whole = play(make(server)).cost_usd
    for share in (0.2, 0.5, 0.9):
        episode = play(make(server, episode_usd=share * whole))
        assert episode.outcome in ("out_of_usd", "no_answer")
        assert 0 <= episode.cost_usd <= share * whole
    assert play(make(server), budget=Budget(steps=9, cost_usd=1e-9)).calls == []


def test_no_price_never_passes_a_budget(server):
    server.turns["policy"] = [SEARCH, ANSWER]
    models = {"policy": {}, "small": {"prices": None}}
    episode = play(make(server, models=models, episode_usd=1.0))
    assert "has no prices" in episode.dialogue.transcript[1].text
    assert [call.candidate for call in episode.calls] == ["policy", "policy"]
    server.asked.clear()
    unlimited = play(make(server, models=models))
    assert math.isnan(unlimited.consulted[0].cost_usd)
    assert not unlimited.budget.cost_known


def test_a_budget_in_tokens_ends_the_episode(server):
    server.turns["policy"] = [SEARCH]
    episode = play(make(server, episode_tokens=1000))
    assert episode.outcome == "out_of_tokens"
    assert 0 < episode.budget.tokens <= 1000


def test_steps_are_limited(server):
    server.turns["policy"] = [SEARCH]
    assert play(make(server), budget=Budget(steps=2)).outcome == "out_of_steps"
    episode = play(make(server), budget=Budget(steps=1))
    assert (episode.outcome, [call.candidate for call in episode.calls]) == ("out_of_steps", ["policy"])


def test_an_error_ends_an_episode_as_failed_and_its_calls_stay(server, monkeypatch):
    server.turns["policy"] = [SEARCH]
    router_r1 = make(server)
    episode = router_r1.episode(Query("q"))
    monkeypatch.setattr(episode.dialogue, "inform", {}.__getitem__)
    with pytest.raises((KeyError, TypeError)):
        asyncio.run(_all(episode))
    router_r1.close()
    assert (episode.outcome, episode.calls[0].candidate) == ("failed", "policy")


def test_a_cancelled_episode_records_its_calls(server):
    server.turns["policy"] = [SEARCH]
    server.scripts["small"] = Script(fault="hang")
    router_r1 = make(server)
    episode = router_r1.episode(Query("q"))

    async def work():
        playing = asyncio.ensure_future(_all(episode))
        await asyncio.to_thread(server.wait, lambda stub: "small" in server.asked)
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)

    asyncio.run(work())
    router_r1.close()
    assert episode.outcome == "cancelled"
    assert [(call.candidate, call.status) for call in episode.calls] == [("policy", "ok"), ("small", "cancelled")]
    assert episode.calls[1].cost_usd > 0  # the prompt may be billed
    assert episode.calls[1].cost_source == "estimated"


def test_calls_that_ended_together_count_although_the_caller_stops_at_the_first(server):
    server.turns["policy"] = [f"{SEARCH}<search> big: Who? </search>"]
    router_r1 = make(server, calls=2)
    episode = router_r1.episode(Query("q"))

    async def leave():
        playing = episode.play()
        called = [await anext(playing), await anext(playing)]
        await playing.aclose()
        return called

    assert len(asyncio.run(leave())) == 2
    router_r1.close()
    assert [call.candidate for call in episode.calls] == ["policy", "small", "big"]
    assert episode.cost_usd == pytest.approx(sum(call.cost_usd for call in episode.calls))


def test_aliases_and_statistics_reach_the_prompt(server):
    server.turns["policy"] = [f"{THOUGHT}<search> S: q </search>", ANSWER]
    quality = {"small": {"": 0.25, "novels": 0.75}}
    options = {"aliases": {"S": "small"}, "quality": quality, "show_preference": True, "preference": [0.5, 0.5, 0.0], "context": "a student"}
    episode = play(make(server, **options))
    assert episode.consulted[0].candidate == "small"
    for text in ("Cheap.", "measured quality: overall 0.25, novels 0.75", "quality 0.5, low cost 0.5", "a student", "1 USD per million"):
        assert text in episode.prompt


@pytest.mark.parametrize(("aggregation", "answer"), [("policy", None), ("vote", "small says: Austen"), ("best", "big says: Jane Austen")])
def test_without_an_answer_the_replies_are_combined_as_asked(aggregation, answer, server):
    ask_big = f"{THOUGHT}<search> big: q </search>"
    server.turns["policy"] = [SEARCH, ask_big, SEARCH, "junk"]
    episode = play(make(server, aggregation=aggregation, quality={"big": {"": 0.9}, "small": {"": 0.1}}))
    assert (episode.answer, episode.outcome) == (answer, "no_answer")
    assert episode.answered_by == ("" if answer is None else aggregation)


def test_an_empty_question_and_a_wrong_policy_are_refused(server):
    with pytest.raises(DataError, match="question is empty"):
        play(make(server), question="  ")
    with pytest.raises(ConfigError, match=r"policy must be.*'polici'.*'policy'"):
        play(make(server, policy="polici", models={"policy": {}, "small": {}}))
    with pytest.raises(PoolError, match="no model besides"):
        play(make(server, models={"policy": {}}))


def test_64_episodes_run_side_by_side_in_one_process(server):
    server.scripts["policy"] = Script(fault="hang")
    router_r1 = make(server, call_seconds=600.0)

    async def work():
        episodes = [router_r1.episode(Query(f"question {n}"), on_loop=True) for n in range(64)]
        playing = asyncio.gather(*(_all(episode) for episode in episodes))
        together = await asyncio.to_thread(server.wait, lambda stub: stub.active == 64, 60)
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing
        return together

    assert router_r1.services.loop.submit(work()).result()
    router_r1.close()


def test_steps_come_as_they_are_done(server):
    server.turns["policy"] = [SEARCH, ANSWER]
    server.scripts["small"] = Script(fault="hang")
    router_r1 = make(server, call_seconds=30.0)

    async def work():
        steps = router_r1.run(Query("q"), Budget(steps=9))
        first = await anext(steps)  # the model that it consults has not answered yet
        await steps.aclose()
        return first

    step = asyncio.run(work())
    router_r1.close()
    assert (step.decision.candidate, step.content, step.final) == ("policy", SEARCH, False)


@pytest.mark.parametrize(
    ("preference", "stated"),
    [
        ([], "quality 1, low cost 0, low latency 0"),
        ([0.5, 0.25, 0.25], "quality 0.7, low cost 0.3, low latency 0"),
        ([0.2, 0.7, 0.1], "quality 0.25, low cost 0.75, low latency 0"),
        ([0.0, 0.0, 1.0], "quality 1, low cost 0, low latency 0"),
    ],
)
def test_a_policy_of_several_weights_sees_the_nearest_preference_of_its_training(server, preference, stated):
    router_r1 = make(server, training_alphas=[0.0, 0.3, 0.75], preference=preference)
    assert f"The user's preference: {stated}." in router_r1.prompt(Query("Who?"))
    assert router_r1.preference.cost == float(stated.split("low cost ")[1].split(",")[0])
    router_r1.close()


@pytest.mark.parametrize("place", [".", "orchestrator", "orchestrator/best"])
def test_a_checkpoint_of_the_pool_states_a_weight_of_its_training(server, tmp_path, place):
    about = {"schema": 1, "kind": "orchestrator", "name": "router-r1", "config": {"training_alphas": [0.0, 0.3]}}
    (tmp_path / "orchestrator").mkdir()
    (tmp_path / "orchestrator" / "component.json").write_text(json.dumps(about))
    trained = {"endpoint": {"provider": "router-r1", "checkpoint": str(tmp_path / place)}}
    router_r1 = make(server, models={"policy": trained, "small": {}}, preference=[0.5, 0.5, 0.0])
    assert "The user's preference: quality 0.7, low cost 0.3, low latency 0." in router_r1.prompt(Query("Who?"))
    router_r1.close()


def test_a_checkpoint_of_this_process_consults_one_model_in_a_turn(server):
    trained = {"endpoint": {"provider": "router-r1", "checkpoint": "nowhere"}}
    router_r1 = make(server, models={"policy": trained, "small": {}}, calls=2)
    with pytest.raises(ConfigError, match="set calls=1, not 2"):
        router_r1.prompt(Query("Who?"))
    router_r1.close()
