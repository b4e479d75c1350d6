"""The router: a policy or its server selects, and the fallback decides where they give no usable answer."""

import asyncio
import json
import math
import threading
from contextlib import closing

import attrs
import httpx
import pytest
from aamc_models.testing import Script
from aamc_router_r1.single.policy_calls import FirstCall, ModelSelection
from aamc_router_r1.single.server import DecisionServer
from policy_server import THOUGHT, ToolCalls, make, pool_of

from aamc_sdk import MetaController, OnlineRouter, Preference, Query, get_plugin_manager
from aamc_sdk.errors import AamcError, ConfigError, public_message
from aamc_sdk.routing import pool_from_dict
from aamc_sdk.testing import assert_conforms
from aamc_sdk.types import Turn

MODELS = {"policy": {}, "small": {"description": "Cheap."}, "big": {"description": "Strong."}}
HUGE = {"query": "q", "preference": {"quality": 10**400}}
SELECTS_BIG = f"{THOUGHT}<search> big: Who wrote Emma? </search>"


def controller(server, models=None, **options):
    pool = pool_from_dict(pool_of(server, **(models or MODELS)), "test")
    return closing(MetaController.build(router={"name": "router-r1", **options}, pool=pool, store="memory:", seed=0))


def selected(server, answer):
    """Let the server answer POST /route with a document, or bytes."""
    server.route = answer if isinstance(answer, bytes) else json.dumps(answer).encode()


def test_it_keeps_the_contract_of_routers():
    assert_conforms("router", "router-r1", get_plugin_manager())


def test_without_a_policy_a_warning_says_that_the_fallback_decides(server, caplog):
    with controller(server) as built:
        assert built.route("Who wrote Emma?").notes["fallback"] == "thompson"
    assert [message for message in caplog.messages if "router-r1 asks no policy, so thompson decides each request" in message]
    caplog.clear()
    with controller(server, enable_llm_routing=False), controller(server, policy="policy"):
        assert not caplog.messages
    with pytest.raises(ConfigError, match="no policy is configured"):
        controller(server, llm_routing_fallback="error")


def test_the_model_of_the_first_call_is_selected(server):
    server.turns["policy"] = [SELECTS_BIG]
    with controller(server, policy="policy") as built:
        decision = built.route("Who wrote Emma?", preference=Preference(0.2, 0.7, 0.1))
        assert (decision.candidate, decision.notes["llm_routing"]) == ("big", "selected")
        assert math.isnan(decision.propensity)
        prompt = server.asked["policy"][0]["messages"][0]["content"]
        assert "Question: Who wrote Emma?" in prompt
        assert "quality 0.2" not in prompt


def test_the_preference_counts_only_where_the_prompt_shows_it(server):
    server.turns["policy"] = [SELECTS_BIG]
    with controller(server, policy="policy", show_preference=True) as built:
        built.route("Who wrote Emma?", preference=Preference(0.2, 0.7, 0.1))
        assert "quality 0.2, low cost 0.7" in server.asked["policy"][0]["messages"][0]["content"]
    services = make(server).services
    plugins = get_plugin_manager()
    assert plugins.make("router", "router-r1", services, {"policy": "policy"}).uses_preference is False
    assert plugins.make("router", "router-r1", services, {"policy": "policy", "show_preference": True}).uses_preference is True


@pytest.mark.parametrize("by_pool", [False, True])
def test_a_checkpoint_trained_for_several_weights_of_the_cost_sees_the_nearest_one(server, tmp_path, monkeypatch, by_pool):
    config = {"training_alphas": [0.0, 0.3, 0.75]}
    (tmp_path / "component.json").write_text(json.dumps({"schema": 1, "kind": "orchestrator", "name": "router-r1", "config": config}))
    shown = []

    async def select(self, query, pool, preference):
        shown.append(preference)
        return ModelSelection("big")

    monkeypatch.setattr(FirstCall, "select", select)
    served = {"provider": "router-r1", "checkpoint": str(tmp_path)}
    asked = {"models": {"served": {"endpoint": served}, **MODELS}, "policy": "served"} if by_pool else {"router_model_path": str(tmp_path)}
    with controller(server, **asked) as built:
        assert built.router.uses_preference
        for cost in (0.1, 0.4, 0.8):
            built.route("Who wrote Emma?", preference=Preference(1 - cost, cost, 0.0))
    assert shown == [Preference(1.0, 0.0, 0.0), Preference(0.7, 0.3, 0.0), Preference(0.25, 0.75, 0.0)]
    config["training_alphas"] = []
    (tmp_path / "component.json").write_text(json.dumps({"schema": 1, "kind": "orchestrator", "name": "router-r1", "config": config}))
    with controller(server, **asked) as built:
        built.route("Who wrote Emma?", preference=Preference(0.9, 0.1, 0.0))
    assert shown[3:] == [None]


def test_the_server_sees_query_history_and_candidates(server):
    selected(server, {"selected_model": "small", "thinking": "It is easy.", "full_response": "..."})
    with controller(server, router_r1_server_url=server.url, note_thinking=True) as built:
        decision = built.route(Query("Who wrote Emma?", turns=[Turn("user", "Hello")]))
    assert (decision.candidate, decision.notes["thinking"]) == ("small", "It is easy.")
    body = server.asked["router-r1"][0]
    assert body["query"] == "Who wrote Emma?"
    assert [entry["name"] for entry in body["candidates"]] == list(MODELS)
    assert body["candidates"][2]["description"] == "Strong."
    assert body["history"] == [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("cost", ["9" * 400, "1e308", "-1", "true", '"0.1"'])
def test_an_impossible_cost_is_unknown(cost, server):
    selected(server, f'{{"selected_model": "big", "cost_usd": {cost}}}'.encode())
    with controller(server, router_r1_server_url=server.url) as built:
        decision = built.route("Who wrote Emma?")
    assert (decision.candidate, decision.notes["llm_routing"]) == ("big", "selected")
    assert "spent_usd" not in decision.notes


def test_a_server_of_chat_completions_is_asked_for_a_turn(server):
    server.turns["router-r1"] = [SELECTS_BIG]
    with controller(server, router_r1_server_url=server.url, server_api="chat", consult_policy=True) as built:
        assert built.route("Who wrote Emma?").candidate == "big"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"selected_model": "huge"}, "a model that is not a candidate was selected"),
        ({"selected_model": ""}, "selected_model"),
        ({}, "selected_model"),
        (b"", "not JSON"),
        (b"[1]", "selected_model"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_an_unusable_answer_falls_back_and_the_decision_says_so(answer, reason, server):
    selected(server, answer)
    with controller(server, router_r1_server_url=server.url) as built:
        decision = built.route("Who wrote Emma?")
    assert decision.candidate in MODELS
    assert (decision.notes["llm_routing"], decision.notes["fallback"]) == ("fallback", "thompson")
    assert decision.notes["why"].startswith(f"The policy gave no choice ({decision.notes['reason']}), so the fallback, thompson, decided.")
    assert reason in decision.notes["reason"]
    assert 0 < decision.propensity <= 1  # the fallback's own


@pytest.mark.parametrize("fault", ["hang", "refuse", "status"])
def test_a_server_that_fails_or_is_late_falls_back(fault, server):
    server.turns["router-r1"] = [b""]
    server.fault = fault
    server.scripts["router-r1"] = Script(fault=fault)
    server.route = None
    with controller(server, router_r1_server_url=server.url, server_api="chat", timeout_seconds=0.3, retries=0) as built:
        del server.turns["router-r1"]
        decision = built.route("Who wrote Emma?")
    assert decision.notes["llm_routing"] == "fallback"
    assert decision.notes["reason"]


COST_USD = (100 + 20) * 1e-6
"""Cost of a turn of the policy."""


@pytest.mark.parametrize("turn", ["I would take big.", f"{THOUGHT}<search> nobody: q </search>", f"{THOUGHT}<answer> x </answer>", SELECTS_BIG])
def test_a_policy_without_a_usable_answer_is_paid_and_the_decision_says_so(turn, server):
    server.turns["policy"] = [turn]
    with controller(server, {**MODELS, "tiny": {}}, policy="policy") as built:
        decision = built.route("Who wrote Emma?", unavailable={"big", "policy"})
        assert decision.notes["llm_routing"] == "fallback"
        assert decision.notes["spent_usd"] == pytest.approx(COST_USD)


@pytest.mark.parametrize("answer", [{"selected_model": "huge"}, {}, {"error": {"message": "the policy broke the protocol"}}])
def test_a_server_without_a_usable_answer_says_its_cost(answer, server):
    server.status = 422 if "error" in answer else 200
    selected(server, {**answer, "cost_usd": COST_USD})
    with controller(server, router_r1_server_url=server.url) as built:
        assert built.route("Who wrote Emma?").notes["spent_usd"] == pytest.approx(COST_USD)


def test_a_policy_that_breaks_the_protocol_falls_back(server):
    server.turns["policy"] = ["I would take big."]
    with controller(server, policy="policy") as built:
        assert built.route("Who wrote Emma?").notes["reason"] == "the policy broke the protocol: no_action"


def test_a_candidate_that_is_not_allowed_falls_back(server):
    selected(server, {"selected_model": "big"})
    with controller(server, router_r1_server_url=server.url) as built:
        decision = built.route("Who wrote Emma?", unavailable={"big"})
    assert decision.candidate != "big"
    assert decision.notes["reason"] == "'big' was selected, which is not allowed: unavailable"


def test_a_policy_that_selects_itself_and_is_no_candidate_is_named(server, caplog):
    server.turns["router-r1"] = [f"{THOUGHT}<answer> x </answer>"]
    with controller(server, router_r1_server_url=server.url, server_api="chat") as built:
        reason = built.route("Who wrote Emma?").notes["reason"]
    assert reason == "'router-r1' was selected, which is not a candidate (big, policy, small)"
    assert not [message for message in caplog.messages if "not a candidate" in message]


def test_a_warning_names_the_unknown_candidate_that_a_server_selected(server, caplog):
    selected(server, {"selected_model": "smal"})
    with controller(server, router_r1_server_url=server.url) as built:
        assert "smal'" not in str(built.route("Who wrote Emma?").notes)
    wanted = "'smal' was selected, which is not a candidate; did you mean 'small'? (big, policy, small)"
    assert [message for message in caplog.messages if wanted in message]


def test_the_policy_is_offered_only_the_allowed_candidates(server):
    server.turns["policy"] = [f"{THOUGHT}<search> small: Who? </search>"]
    with controller(server, {**MODELS, "tiny": {}}, policy="policy") as built:
        assert built.route("Who wrote Emma?", unavailable={"big"}).notes["llm_routing"] == "selected"
        assert "Strong." not in server.asked["policy"][0]["messages"][0]["content"]
        assert built.route("Who wrote Emma?").notes["llm_routing"] == "selected"
        assert "Strong." in server.asked["policy"][1]["messages"][0]["content"]  # other candidates, so another decision
        assert built.route("Who wrote Emma?").candidate == "small"
        assert len(server.asked["policy"]) == 2
    selected(server, {"selected_model": "small"})
    with controller(server, router_r1_server_url=server.url) as built:
        built.route("Who wrote Emma?", unavailable={"big"})
    assert [entry["name"] for entry in server.asked["router-r1"][0]["candidates"]] == ["policy", "small"]


def test_the_policy_is_not_paid_to_select_the_only_allowed_candidate(server):
    server.turns["policy"] = [SELECTS_BIG]
    with controller(server, policy="policy", llm_routing_fallback="error", note_thinking=True) as built:
        decision = built.route("Who wrote Emma?", unavailable=["policy", "small"])
    assert (decision.candidate, decision.notes["llm_routing"]) == ("big", "not asked")
    assert decision.notes.keys().isdisjoint(["spent_usd", "thinking"])
    assert "policy" not in server.asked


def test_without_a_policy_the_fallback_decides_about_the_only_allowed_candidate(server):
    with controller(server) as built:
        decision = built.route("Who wrote Emma?", unavailable=["policy", "small"])
    assert (decision.candidate, decision.propensity, decision.notes["llm_routing"]) == ("big", 1.0, "fallback")


def test_the_fallback_may_be_an_error(server):
    selected(server, {})
    with (
        controller(server, router_r1_server_url=server.url, llm_routing_fallback="error") as built,
        pytest.raises(AamcError, match="selected_model"),
    ):
        built.route("Who wrote Emma?")


@pytest.mark.parametrize("asked", ["server", "policy"])
def test_the_public_message_of_that_error_has_no_address(asked, server):
    server.scripts["policy"], server.status, server.route = Script(fault="status"), 500, b"{}"
    options = {"router_r1_server_url": server.url, "retries": 0} if asked == "server" else {"policy": "policy"}
    with controller(server, llm_routing_fallback="error", **options) as built, pytest.raises(AamcError) as raised:
        built.route("Who wrote Emma?")
    assert server.url in str(raised.value)
    assert server.url not in public_message(raised.value)


def test_a_decision_is_remembered(server):
    selected(server, {"selected_model": "big"})
    with controller(server, router_r1_server_url=server.url) as built:
        assert {built.route("Who wrote Emma?").candidate for _ in range(3)} == {"big"}
        assert len(server.asked["router-r1"]) == 1
        built.route("Who wrote Persuasion?")
        assert len(server.asked["router-r1"]) == 2
    with controller(server, router_r1_server_url=server.url, cache_size=0) as built:
        built.route("a"), built.route("a")
        assert len(server.asked["router-r1"]) == 4


def test_after_failures_the_breaker_opens(server):
    selected(server, b"")
    server.status = 500
    with controller(server, router_r1_server_url=server.url, retries=0, breaker_failures=2, breaker_rest_seconds=60.0) as built:
        reasons = [built.route(f"question {n}").notes["reason"] for n in range(4)]
    assert len(server.asked["router-r1"]) == 2
    assert "is not called" in reasons[-1]


def test_the_fallback_learns_from_the_log(server):
    with controller(server, enable_llm_routing=False) as built:
        for n in range(20):
            decision = built.route(f"question {n}")
            for name in built.pool.names:
                built.feedback(decision.id, candidate=name, quality=float(name == "big"), source=f"judge of {name}")
        built.learner.flush()
        assert sum(built.route(f"later {n}").candidate == "big" for n in range(20)) > 15


class Served:
    """``aamc serve-router``'s application on a real socket."""

    def __init__(self, app):
        import uvicorn

        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self):
        serving = asyncio.ensure_future(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self._ready.set()
        await serving

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(60)
        return f"http://127.0.0.1:{self.port}"

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture
def decision_server(server):
    server.turns["policy"] = [SELECTS_BIG]
    router_r1 = make(server)
    app = DecisionServer(router_r1.config, router_r1.setup.policy, router_r1.services.pool, router_r1.client).app()
    with Served(app) as url:
        yield url


@pytest.mark.parametrize("api", ["route", "chat"])
def test_our_router_asks_our_server(api, decision_server, server):
    models = {"small": {"description": "Cheap."}, "big": {"description": "Strong."}}
    with controller(server, models, router_r1_server_url=decision_server, server_api=api) as built:
        decision = built.route("Who wrote Emma?")
    assert (decision.candidate, decision.notes["llm_routing"]) == ("big", "selected")
    assert "thinking" not in decision.notes  # it may quote the request


def test_the_server_answers_as_the_semantic_router_expects(decision_server):
    with httpx.Client(base_url=decision_server) as client:
        answer = client.post("/route", json={"query": "Who wrote Emma?"})
        assert answer.json() | {"cost_usd": 0} == {"selected_model": "big", "thinking": "hm", "full_response": SELECTS_BIG, "cost_usd": 0}
        assert client.get("/health").json()["status"] == "healthy"
        for body in (
            {},
            {"query": " "},
            [1],
            {"query": "q", "candidates": []},
            {"query": "q", "candidates": [{}]},
            {"query": "q", "preference": 1},
            {"query": "q", "preference": {"quality": 0.9, "latncy": 0.1}},
            HUGE,
        ):
            refused = client.post("/route", json=body)
            assert (refused.status_code, bool(refused.json()["error"]["message"])) == (400, True)
        for path in ("/route", "/v1/chat/completions"):
            assert client.post(path, content="[" * 100_000).status_code == 400
        unknown = client.post("/route", json={"query": "q", "candidates": ["small"]})
        assert (unknown.status_code, "big" in unknown.json()["error"]["message"]) == (422, True)


def test_other_machines_and_other_sites_pages_cannot_ask_without_a_key(decision_server, server):
    body = {"messages": [{"role": "user", "content": "spend money"}]}
    for name, value in (("host", "evil.example"), ("origin", "http://evil.example"), ("origin", "null"), ("x-forwarded-for", "10.0.0.1")):
        for path in ("/route", "/v1/chat/completions"):
            refused = httpx.post(f"{decision_server}{path}", content=json.dumps(body), headers={"content-type": "text/plain", name: value})
            assert (refused.status_code, "requests of this machine only" in refused.json()["error"]["message"]) == (403, True)
    assert "policy" not in server.asked
    assert httpx.post(f"{decision_server}/v1/chat/completions", json=body, headers={"origin": "http://localhost:3000"}).status_code == 200


def test_a_server_with_a_key_is_asked_with_it_alone(server, monkeypatch):
    server.turns["policy"] = [SELECTS_BIG]
    router_r1 = make(server)
    decisions = DecisionServer(router_r1.config, router_r1.setup.policy, router_r1.services.pool, router_r1.client, key="open sesame")
    with Served(decisions.app()) as url:
        for headers in ({}, {"authorization": "Bearer other"}):
            assert httpx.post(f"{url}/route", json={"query": "Who?"}, headers=headers).status_code == 401
        assert "policy" not in server.asked
        sent = {"authorization": "Bearer open sesame", "host": "router.example", "origin": "http://app.example"}
        assert httpx.post(f"{url}/route", json={"query": "Who?"}, headers=sent).status_code == 200
        monkeypatch.setenv("AAMC_ROUTER_KEY", "open sesame")
        models = {"small": {"description": "Cheap."}, "big": {"description": "Strong."}}
        with controller(server, models, router_r1_server_url=url, server_key_env="AAMC_ROUTER_KEY") as built:
            assert built.route("Who wrote Emma?").notes["llm_routing"] == "selected"


def test_bodies_and_lists_of_candidates_have_a_maximum(server):
    router_r1 = make(server)
    app = DecisionServer(router_r1.config, router_r1.setup.policy, router_r1.services.pool, router_r1.client).app()

    async def post(body):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            answer = await client.post("/route", json=body)
        return answer.status_code, answer.json()["error"]["message"]

    assert asyncio.run(post({"query": 1_000_000 * "a"})) == (413, "the body is larger than 1 MB; send less")
    many = {"query": "q", "candidates": [f"m{n}" for n in range(1001)]}
    assert asyncio.run(post(many)) == (400, "candidates must be at most 1,000 models, not 1,001")
    assert "policy" not in server.asked


def test_a_policy_trained_with_stated_weights_is_asked_with_one_of_them(server):
    server.turns["policy"] = [SELECTS_BIG]
    router_r1 = make(server, training_alphas=(0.0, 0.5))
    app = DecisionServer(router_r1.config, router_r1.setup.policy, router_r1.services.pool, router_r1.client).app()
    with Served(app) as url:
        for body in ({}, {"preference": {"quality": 0.4, "cost": 0.6, "latency": 0.0}}):
            assert httpx.post(f"{url}/route", json={"query": "Who wrote Emma?", **body}).status_code == 200
    first, second = (asked["messages"][-1]["content"] for asked in server.asked["policy"])
    assert "quality 1, low cost 0, low latency 0" in first
    assert "quality 0.5, low cost 0.5, low latency 0" in second


def test_the_server_states_a_trained_weight_to_a_checkpoint_of_the_pool(server, tmp_path, monkeypatch):
    about = {"schema": 1, "kind": "orchestrator", "name": "router-r1", "config": {"training_alphas": [0.0, 0.3]}}
    (tmp_path / "component.json").write_text(json.dumps(about))
    shown = []

    async def select(self, query, pool, preference):
        shown.append(preference)
        return ModelSelection("big")

    monkeypatch.setattr(FirstCall, "select", select)
    trained = {"endpoint": {"provider": "router-r1", "checkpoint": str(tmp_path)}}
    router_r1 = make(server, models={"policy": trained, "big": {}})
    app = DecisionServer(router_r1.config, router_r1.setup.policy, router_r1.services.pool, router_r1.client).app()
    with Served(app) as url:
        for body in ({}, {"preference": {"quality": 0.5, "cost": 0.5, "latency": 0.0}}):
            assert httpx.post(f"{url}/route", json={"query": "Who wrote Emma?", **body}).status_code == 200
    assert shown == [Preference(1.0, 0.0, 0.0), Preference(0.7, 0.3, 0.0)]


def events_of(response):
    """Return the data of a response's server-sent events."""
    assert response.headers["content-type"].startswith("text/event-stream")
    return [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]


def test_a_chat_completion_is_streamed_to_a_client_that_asks_for_it(decision_server):
    body = {"messages": [{"role": "user", "content": "Who wrote Emma?"}], "stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = events_of(httpx.post(f"{decision_server}/v1/chat/completions", json=body))
    assert last == "[DONE]"
    said, ended, counted = map(json.loads, chunks)
    assert {chunk["object"] for chunk in (said, ended, counted)} == {"chat.completion.chunk"}
    assert said["choices"][0]["delta"] == {"role": "assistant", "content": SELECTS_BIG}
    assert (ended["choices"][0]["delta"], ended["choices"][0]["finish_reason"]) == ({}, "stop")
    assert (counted["choices"], counted["usage"]["total_tokens"]) == ([], 110)
    assert len(events_of(httpx.post(f"{decision_server}/v1/chat/completions", json={**body, "stream_options": None}))) == 3


def test_streamed_tool_calls_are_numbered(decision_server, server):
    server.turns["policy"] = [ToolCalls("hm", [("consult", {"model": "big"})])]
    body = {"messages": [{"role": "user", "content": "Who?"}], "stream": True}
    first, *_ = events_of(httpx.post(f"{decision_server}/v1/chat/completions", json=body))
    (call,) = json.loads(first)["choices"][0]["delta"]["tool_calls"]
    assert (call["index"], call["function"]["name"]) == (0, "consult")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stream": True, "stream_options": "usage"}, "stream_options must be an object"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content must be a string or a list"),
    ],
)
def test_fields_that_no_server_accepts_are_refused(given, message, decision_server, server):
    body = {"messages": [{"role": "user", "content": "Who?"}], **given}
    answer = httpx.post(f"{decision_server}/v1/chat/completions", json=body)
    assert (answer.status_code, message in answer.json()["error"]["message"]) == (400, True)
    assert "policy" not in server.asked


@pytest.mark.parametrize("turn", [{"role": "user"}, {"content": "Hello"}, {"role": "user", "content": [{"type": "text", "text": "Hello"}]}])
def test_a_turn_of_the_history_without_text_is_refused(turn, decision_server, server):
    answer = httpx.post(f"{decision_server}/route", json={"query": "Who wrote Emma?", "history": [turn]})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "history must be a list of messages with the texts role and content")
    assert "policy" not in server.asked


@pytest.mark.parametrize("given", [{}, {"max_tokens": 10**9}, {"max_completion_tokens": 10**9}, {"max_output_tokens": 10**9}])
def test_a_chat_completion_is_limited_to_the_tokens_of_a_turn(given, decision_server, server):
    body = {"messages": [{"role": "user", "content": "Who?"}], **given}
    assert httpx.post(f"{decision_server}/v1/chat/completions", json=body).status_code == 200
    assert server.asked["policy"][-1]["max_tokens"] == 1024
    assert "max_completion_tokens" not in server.asked["policy"][-1]
    httpx.post(f"{decision_server}/v1/chat/completions", json={**body, "max_tokens": 7})
    assert server.asked["policy"][-1]["max_tokens"] == 7


@pytest.mark.parametrize(
    ("path", "body"), [("/route", {"query": "Who?"}), ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Who?"}]})]
)
def test_clients_do_not_learn_the_address_of_a_policy_that_failed(path, body, decision_server, server, caplog):
    server.vanish_after = 0
    answer = httpx.post(f"{decision_server}{path}", json=body)
    assert answer.status_code == 502
    assert server.url not in answer.json()["error"]["message"]
    assert "'policy'" in answer.json()["error"]["message"]
    assert server.url in caplog.text


@pytest.mark.parametrize(
    ("path", "body"), [("/route", {"query": "Who?"}), ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Who?"}]})]
)
def test_a_request_that_the_policy_refuses_is_not_one_to_repeat(path, body, decision_server, server):
    del server.turns["policy"]
    server.scripts["policy"] = Script(fault="status", status=400)
    answer = httpx.post(f"{decision_server}{path}", json=body)
    assert answer.status_code == 422
    assert "'policy'" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "given", [{"max_tokens": 0}, {"max_tokens": "many"}, {"max_completion_tokens": 1.5}, {"max_output_tokens": -1}, {"max_tokens": True}]
)
def test_a_wrong_limit_of_tokens_is_refused(given, decision_server, server):
    answer = httpx.post(f"{decision_server}/v1/chat/completions", json={"messages": [{"role": "user", "content": "Who?"}], **given})
    assert answer.status_code == 400
    assert f"must be a whole number from 1, not {next(iter(given.values()))!r}" in answer.json()["error"]["message"]
    assert "policy" not in server.asked


@pytest.mark.parametrize("given", ["yes", 1])
def test_a_stream_that_is_neither_true_nor_false_is_refused(given, decision_server, server):
    answer = httpx.post(f"{decision_server}/v1/chat/completions", json={"messages": [{"role": "user", "content": "Who?"}], "stream": given})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, f"stream must be true or false, not {given!r}")
    assert "policy" not in server.asked


def test_a_policy_without_other_models_is_not_asked(decision_server, server):
    answer = httpx.post(f"{decision_server}/route", json={"query": "Who wrote Emma?", "candidates": ["policy"]})
    assert (answer.status_code, answer.json()["cost_usd"]) == (422, 0.0)
    assert "no model besides the policy" in answer.json()["error"]["message"]
    assert "policy" not in server.asked


def test_the_policys_own_answer_selects_no_candidate(decision_server, server):
    server.turns["policy"] = [f"{THOUGHT}<answer> Jane Austen </answer>"]
    answer = httpx.post(f"{decision_server}/route", json={"query": "Who wrote Emma?"})
    assert (answer.status_code, answer.json()["cost_usd"]) == (422, pytest.approx(COST_USD))
    assert "the policy 'policy' answered the query itself" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"prices": {"input": -1, "output": 1}}, "price input must be USD from 0"),
        ({"prices": -1}, "prices of 'small' must be an object"),
        ({"cost": -1}, "'cost' of 'small' must be a number from 0"),
        ({"latency": "fast"}, "'latency' of 'small' must be a number from 0"),
        ({"latency_ms": -1}, "'latency_ms' of 'small' must be a number from 0"),
    ],
)
def test_wrong_figures_of_a_candidate_are_refused(described, message, decision_server):
    answer = httpx.post(f"{decision_server}/route", json={"query": "Who wrote Emma?", "candidates": [{"name": "small", **described}]})
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_a_candidate_may_be_described_as_in_training_records(decision_server, server):
    candidates = [{"name": "big", "cost": 30.0, "latency": 0.5}, {"name": "new", "cost": 2.0, "latency": 0.5}]
    assert httpx.post(f"{decision_server}/route", json={"query": "q", "candidates": candidates}).json()["selected_model"] == "big"
    prompt = server.asked["policy"][0]["messages"][0]["content"]
    assert "new: no description\n  price: 2 USD per million prompt tokens, 2 USD per million answer tokens\n  latency: 0.5 s" in prompt


@pytest.mark.parametrize(
    ("fallback", "message"),
    [
        ("router-r1", "its own fallback"),
        ("oracle", "for evaluation only; choose another llm_routing_fallback"),
        ("thomson", "thompson"),
        ("rule", "training"),
    ],
)
def test_a_fallback_that_cannot_serve_is_refused(fallback, message, server):
    with pytest.raises(AamcError, match=message), controller(server, policy="policy", llm_routing_fallback=fallback):
        pass


@pytest.mark.parametrize("keeps", [True, False])
def test_a_fallback_whose_state_cannot_be_saved_learns_the_log_again_at_each_start(keeps, server):
    class Fallback(OnlineRouter):
        snapshots = keeps

        def score(self, request):
            raise NotImplementedError

        def learn(self, experience):
            raise NotImplementedError

    services = make(server).services
    services = attrs.evolve(services, make=lambda *_: Fallback(None, services))
    assert get_plugin_manager().make("router", "router-r1", services, {"policy": "policy"}).snapshots is keeps
