import asyncio
import math
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from unittest.mock import AsyncMock

import attrs
import pytest
from aamc_models.transport.deployments import Deployments
from aamc_models.transport.options import EndpointOptions
from aamc_models.transport.retries import repeats_need
from misbehaving_server import ANSWER, DONE, END, begin, cut, event, events, hang, reply, send, then
from test_http_provider import CANDIDATE, CHAT, failed, sent, streamed

from aamc_sdk import MetaController, ModelSpec, Pool
from aamc_sdk.errors import ConfigError, ProviderError

NOBODY = "http://127.0.0.1:9/v1"
STREAM = events(event("a"), END, DONE)


def shared(*servers):
    return [{"base_url": getattr(server, "url", server)} for server in servers]


def test_a_dead_deployment_among_two_never_reaches_the_caller(upstream, provider) -> None:
    alive = upstream(reply())
    calling = provider(base_url=NOBODY, deployments=shared(NOBODY, alive), retries=0)
    assert [sent(calling).answer for _ in range(40)] == [ANSWER] * 40
    alive.scripts = [STREAM]
    assert all(event("a") in streamed(calling) for _ in range(10))
    assert calling.state().available


def test_a_deployment_that_fails_before_its_first_event_gives_way(upstream, provider) -> None:
    broken = [
        upstream(script)
        for script in (
            events(b'data: {"error": {"message": "overloaded"}}\n\n'),
            events(b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n'),
            events(b": only a comment\n\n"),
            reply({"error": {"message": "busy"}}, 503),
            reply(b"<html></html>", kind="text/html"),
        )
    ]
    for server in broken:
        calling = provider(base_url=NOBODY, deployments=shared(server, upstream(STREAM)), retries=0)
        assert all(event("a") in streamed(calling) for _ in range(12))
        assert server.asked


def test_a_failed_call_goes_to_a_deployment_that_has_not_failed_it(upstream, provider) -> None:
    broken, alive = upstream(reply({}, 503)), upstream(reply())
    calling = provider(base_url=NOBODY, deployments=[{"base_url": broken.url, "weight": 1e9}, *shared(alive)])
    assert [sent(calling).status for _ in range(4)] == [200] * 4  # the breaker opens after five failures
    assert len(broken.asked) == 4


def test_a_paused_deployment_does_not_shorten_the_back_off_of_another(upstream, provider) -> None:
    broken = upstream(reply({}, 503))
    calling = provider(base_url=NOBODY, deployments=shared(broken, NOBODY), retries=1, max_pause_s=0.01)
    calling._deployments.all[1].paused_until = math.inf
    failed(sent, calling)
    assert len(broken.asked) == 2


def test_the_breaker_of_a_dead_deployment_opens_and_closes_again(upstream, provider) -> None:
    server = upstream(*[cut] * 3, reply())
    calling = provider(base_url=server.url, retries=0, breaker_failures=3, breaker_rest_s=0.5)
    assert [failed(sent, calling).kind for _ in range(3)] == ["protocol"] * 3
    assert not calling.state().available
    error = failed(sent, provider(base_url=NOBODY, retries=3, breaker_failures=2, breaker_rest_s=60.0, max_pause_s=0.01))
    assert error.kind == "connection"  # the call that opens it gives the cause
    while not calling.state().available:  # the breaker lets a call through
        time.sleep(0.01)
    assert sent(calling).status == 200
    assert len(server.asked) == 4
    assert [sent(calling).status for _ in range(3)] == [200] * 3


def test_a_streamed_probe_lets_other_calls_through_when_its_answer_begins(upstream, provider) -> None:
    server = upstream(cut, then(begin("text/event-stream", None), send(event("a")), hang), reply())
    calling = provider(base_url=server.url, retries=0, breaker_failures=1, breaker_rest_s=0.2, max_pause_s=0.2)

    async def ask() -> int:
        probe = calling.events(CANDIDATE, CHAT)
        await anext(probe)
        status = (await calling.send(CANDIDATE, CHAT)).status
        await probe.aclose()
        return status

    failed(sent, calling)
    while not calling.state().available:  # the breaker lets a call through
        time.sleep(0.01)
    assert asyncio.run(ask()) == 200


LATE_ERROR = b'data: {"error": {"type": "%s", "message": "no"}}\n\n'


@pytest.mark.parametrize(
    ("stream", "opens"),
    [
        (then(begin("text/event-stream", None), send(event("a")), cut), True),
        (events(event("a")), True),
        (events(event("a"), DONE), True),
        (events(event("a"), LATE_ERROR % b"overloaded_error"), True),
        (events(event("a"), LATE_ERROR % b"invalid_request_error"), False),
        (events(event("a"), LATE_ERROR % b"rate_limit_error"), False),
        (events(*[event("a")] * 20, END, *[event()] * 5, DONE), False),
        (events(event("a"), END), False),
    ],
)
def test_streams_that_a_server_breaks_off_open_the_breaker(upstream, provider, stream, opens) -> None:
    calling = provider(base_url=upstream(stream).url, retries=0, breaker_failures=2, breaker_rest_s=60.0)
    for _ in range(2):
        with suppress(ProviderError):
            streamed(calling)
    assert calling.state().available != opens


RESPONSE_FAILED = b'data: {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "no"}}}\n\n'
RESPONSE_ERROR = b'data: {"type": "error", "code": "server_error", "message": "no"}\n\n'


@pytest.mark.parametrize(
    ("api", "stream", "opens"),
    [
        ("chat", [event("a"), DONE], True),
        ("chat", [event("a"), END, DONE], False),
        ("chat", [event("a"), LATE_ERROR % b"overloaded_error"], True),
        ("responses", [event("a"), RESPONSE_FAILED], True),
        ("responses", [event("a"), RESPONSE_ERROR], True),
    ],
)
def test_a_stream_counts_for_callers_that_leave_at_its_last_event(upstream, provider, api, stream, opens) -> None:
    """The gateway reads nothing after an error or ``[DONE]``."""
    server = upstream(events(*stream))
    calling = provider(base_url=server.url, retries=0, breaker_failures=2, breaker_rest_s=60.0)

    async def read() -> None:
        answer = calling.events(CANDIDATE, attrs.evolve(CHAT, api=api))
        for _ in stream:
            await anext(answer)
        await answer.aclose()

    for _ in range(2):
        asyncio.run(read())
    assert calling.state().available != opens


@pytest.mark.parametrize("end", [hang, cut], ids=["takes too long", "loses the connection"])
def test_a_server_whose_stream_is_read_too_slowly_has_not_failed(upstream, provider, end) -> None:
    server = upstream(then(begin("text/event-stream", None), send(event("a")), end))
    calling = provider(base_url=server.url, retries=0, timeout_seconds=1.0, breaker_failures=1)
    noted: list[bool] = []

    async def read_slowly() -> None:
        async for _ in calling.events(CANDIDATE, attrs.evolve(CHAT, on_sent=noted.append)):
            await asyncio.sleep(1.5)

    error = failed(lambda: asyncio.run(read_slowly()))
    assert (error.kind, error.public) == ("cancelled", "model 'small' broke off: its answer was read too slowly")
    assert calling.state().available
    assert noted[-1]  # the server may bill what it sent


def test_a_server_that_cuts_its_stream_has_failed_though_the_caller_paused_for_a_moment(upstream, provider) -> None:
    server = upstream(then(begin("text/event-stream", None), send(event("a")), cut))
    calling = provider(base_url=server.url, retries=0, breaker_failures=1)

    async def read() -> None:
        async for _ in calling.events(CANDIDATE, CHAT):
            await asyncio.sleep(0.1)

    assert failed(lambda: asyncio.run(read())).kind == "protocol"
    assert not calling.state().available


def test_while_the_breaker_is_open_calls_fail_at_once_and_say_until_when(upstream, provider) -> None:
    server = upstream(cut)
    calling = provider(base_url=server.url, retries=0, breaker_failures=1, breaker_rest_s=60.0)
    failed(sent, calling)
    error = failed(sent, calling)
    assert (error.kind, error.retry_after_s) == ("server", pytest.approx(60.0, abs=30.0))
    assert "s after failures, of which the last was: closed the connection before its answer" in str(error)
    assert len(server.asked) == 1


@pytest.mark.parametrize(("status", "message"), [(400, "no"), (422, "no"), (429, "no"), (403, "Your input was flagged for violence")])
def test_a_refused_request_and_a_rate_limit_open_no_breaker(upstream, provider, status, message) -> None:
    calling = provider(base_url=upstream(reply({"error": {"message": message}}, status)).url, retries=0, breaker_failures=1)
    failed(sent, calling)
    assert calling.state().available


def test_a_refused_request_is_sent_once(upstream, provider) -> None:
    servers = [upstream(reply({"error": {"message": "no"}}, 400)) for _ in range(2)]
    assert failed(sent, provider(base_url=NOBODY, deployments=shared(*servers))).status == 400
    assert sum(len(server.asked) for server in servers) == 1


QUOTA = {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        pytest.param(reply({"error": {"message": "bad key"}}, 401), "authentication", id="key"),
        pytest.param(reply({"error": QUOTA}, 429), "authentication", id="exhausted quota"),
        pytest.param(reply({"error": {"message": "no such model"}}, 404), "configuration", id="model"),
    ],
)
def test_a_refused_key_or_model_gives_way_to_another_deployment_but_is_not_tried_again(upstream, provider, refused, kind) -> None:
    locked, alive = upstream(refused), upstream(reply())
    calling = provider(base_url=NOBODY, deployments=shared(locked, alive))
    assert [sent(calling).status for _ in range(30)] == [200] * 30
    assert len(locked.asked) == 5  # then the breaker opens
    alone = upstream(refused)
    assert failed(sent, provider(base_url=alone.url)).kind == kind
    assert len(alone.asked) == 1


@pytest.mark.parametrize(("status", "error"), [(429, QUOTA), (402, {"message": "Insufficient Balance"})])
def test_an_account_without_credit_is_not_called_a_wrong_key(upstream, provider, status: int, error: dict) -> None:
    found = failed(sent, provider(base_url=upstream(reply({"error": error}, status)).url))
    assert (found.kind, found.public.partition(" (")[0]) == ("authentication", "model 'small' has no credit left at its server")
    assert str(found).endswith(f"{error['message']}; add credit to the account of the key, or raise the limit of its spending")


def test_calls_are_shared_by_load_and_weight(upstream, provider) -> None:
    servers = [upstream(then(hang, reply())), upstream(then(hang, reply()))]
    weights = [{"base_url": servers[0].url, "weight": 3}, {"base_url": servers[1].url, "weight": 1.0}]
    calling = provider(base_url=NOBODY, deployments=weights)

    async def many() -> list[int]:
        tasks = [asyncio.ensure_future(calling.send(CANDIDATE, CHAT)) for _ in range(16)]
        while sum(len(server.asked) for server in servers) < 16:
            await asyncio.sleep(0.01)
        shares = [len(server.asked) for server in servers]
        for server in servers:
            server.release.set()
        assert [(await task).status for task in tasks] == [200] * 16
        return shares

    assert asyncio.run(many()) == [12, 4]
    assert [deployment.in_flight for deployment in calling._deployments.all] == [0, 0]


def test_several_keys_and_names_of_one_model_share_the_calls(upstream, provider, monkeypatch) -> None:
    server = upstream(reply())
    keys = [{"api_key_env": "KEY_A", "model": "m-a"}, {"api_key_env": "KEY_B", "model": "m-b"}]
    for key in keys:
        monkeypatch.setenv(key["api_key_env"], key["api_key_env"].lower())
    calling = provider(base_url=server.url, deployments=keys)
    for _ in range(40):  # chance leaves one of them out in none of 10^11 runs
        sent(calling)
    used = {
        (next(line for line in head.splitlines() if line.startswith("authorization")), body["model"])
        for head, body in zip(server.heads, server.asked, strict=True)
    }
    assert used == {("authorization: bearer key_a", "m-a"), ("authorization: bearer key_b", "m-b")}


def test_a_server_is_asked_again_after_the_pause_that_it_wants(upstream, provider) -> None:
    times = []

    def note(server, connection, request) -> None:
        times.append(time.monotonic())

    server = upstream(then(note, reply({}, 429, retry_after="0.3")), then(note, reply()))
    assert sent(provider(base_url=server.url)).status == 200
    assert times[1] - times[0] >= 0.3


@pytest.mark.parametrize("date", [False, True])
@pytest.mark.parametrize("status", [429, 503, 529])
def test_a_long_pause_ends_the_attempts_and_its_length_is_reported(upstream, provider, date, status) -> None:
    wanted = format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True) if date else "50"
    refusal = reply({}, status, retry_after=wanted)
    server = upstream(refusal, reply())
    calling = provider(base_url=server.url)
    error = failed(sent, calling)
    assert (len(server.asked), error.retry_after_s > 40) == (1, True)
    if status == 429:
        error = failed(sent, calling)
        assert (len(server.asked), error.retry_after_s > 40) == (1, True)
        assert "gets no request for" in str(error)
        assert calling.state().remaining == 0


@pytest.mark.parametrize("status", [200, 429])
def test_the_pause_that_an_error_names_is_kept(upstream, provider, status) -> None:
    error = {"error": {"message": "over your quota", "code": 429, "details": [{"retryDelay": "34s"}]}}
    server = upstream(reply(error if status == 200 else [error], status))
    calling = provider(base_url=server.url)
    assert [failed(sent, calling).retry_after_s for _ in range(2)] == [34.0, pytest.approx(34.0, abs=10.0)]
    assert (len(server.asked), calling.state().remaining) == (1, 0)


def test_a_deployment_that_is_over_its_limit_and_names_no_time_is_paused_for_a_time_that_doubles(upstream, provider) -> None:
    server = upstream(*[reply({}, 429)] * 3, reply(), reply({}, 429))
    calling = provider(base_url=server.url, retries=1, max_pause_s=0.5)
    (deployment,) = calling._deployments.all

    def fail_after_pause() -> float:
        deployment.paused_until = 0.0
        return failed(sent, calling).retry_after_s

    assert (fail_after_pause(), len(server.asked)) == (1.0, 2)  # the first call asks again
    assert (failed(sent, calling).retry_after_s, len(server.asked)) == (pytest.approx(1.0, abs=0.5), 2)
    assert calling.state().remaining == 0
    assert (fail_after_pause(), len(server.asked)) == (2.0, 3)
    deployment.paused_until = 0.0
    assert sent(calling).status == 200
    assert (fail_after_pause(), len(server.asked)) == (1.0, 6)


def test_calls_that_are_refused_at_once_pause_a_deployment_once_and_for_the_longest_time() -> None:
    deployments = Deployments(EndpointOptions(base_url=NOBODY))
    (deployment,) = deployments.all
    pauses = []
    for _ in range(8):
        pauses += [deployments.pause(deployment), deployments.pause(deployment)]
        deployment.paused_until = 0.0
    assert pauses[::2] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert all(again <= pause for pause, again in zip(pauses[::2], pauses[1::2], strict=True))
    turns = [deployments.turn(0.0) for _ in range(2)]
    for turn, wanted_s in zip(turns, (200.0, 1.0), strict=True):
        turn.drop(wanted_s)
    assert deployments.turn(0.0) > 100.0


def test_another_deployment_takes_over_while_one_is_paused_that_is_over_its_limit(upstream, provider) -> None:
    limited, free = upstream(reply({}, 429)), upstream(reply())
    calling = provider(base_url=NOBODY, deployments=shared(limited, free))
    assert [sent(calling).status for _ in range(20)] == [200] * 20
    assert len(limited.asked) <= 2


def test_a_pause_that_a_server_wants_is_reported_as_the_longest_one_that_is_kept(upstream, provider) -> None:
    calling = provider(base_url=upstream(reply({}, 429, retry_after="1e308")).url)
    error = failed(sent, calling)
    assert (error.retry_after_s, error.public) == (300.0, "model 'small' is over its rate limit (429 Too Many Requests); try again in 300 s")
    assert calling.state().retry_after_s <= 300.0


def test_another_deployment_takes_over_at_once_while_one_is_over_its_limit(upstream, provider) -> None:
    limited, free = upstream(reply({}, 429, retry_after="60")), upstream(reply())
    calling = provider(base_url=NOBODY, deployments=shared(limited, free), max_pause_s=60.0)
    assert [sent(calling).status for _ in range(40)] == [200] * 40
    assert len(limited.asked) == 1
    assert calling.state().remaining is None  # the other one has no limit


def test_no_more_requests_are_sent_in_a_minute_than_allowed(upstream, provider) -> None:
    server = upstream(reply())
    calling = provider(base_url=server.url, requests_per_minute=3)
    assert calling.state().remaining == 3
    assert [sent(calling).status for _ in range(3)] == [200] * 3
    error = failed(sent, calling)
    assert (error.kind, len(server.asked), calling.state().remaining) == ("rate_limit", 3, 0)
    assert 30 < error.retry_after_s <= 60
    assert "no request or token left of its limits per minute" in str(error)


@pytest.mark.parametrize(("limit", "of_a_call"), [("requests_per_minute", 1), ("tokens_per_minute", 120)])
def test_limits_are_each_deployments_own(upstream, provider, limit, of_a_call) -> None:
    servers = [upstream(reply()), upstream(reply())]
    own = {"base_url": servers[1].url, limit: 5 * of_a_call}
    calling = provider(base_url=NOBODY, deployments=[*shared(servers[0]), own], **{limit: 2 * of_a_call})
    assert [sent(calling).status for _ in range(7)] == [200] * 7
    assert failed(sent, calling).kind == "rate_limit"
    assert [len(server.asked) for server in servers] == [2, 5]


@pytest.mark.parametrize("call", [sent, streamed])
def test_tokens_are_counted_by_the_answers(upstream, provider, call) -> None:
    server = upstream(reply() if call is sent else STREAM)
    calling = provider(base_url=server.url, tokens_per_minute=300)
    for _ in range(3):  # of 120 tokens each: the third begins while there is room for its estimate
        call(calling)
    error = failed(call, calling)
    assert (error.kind, len(server.asked), calling.state().remaining) == ("rate_limit", 3, 0)


def test_an_answer_that_counts_its_prompt_alone_leaves_the_estimate(upstream, provider) -> None:
    calling = provider(base_url=upstream(reply({**ANSWER, "usage": {"prompt_tokens": 1}})).url, tokens_per_minute=1000)
    long = attrs.evolve(CHAT, body={"messages": [], "max_tokens": 900})
    assert sent(calling, long).status == 200
    assert failed(sent, calling, long).kind == "rate_limit"


def test_tokens_of_embeddings_are_counted_though_a_server_has_their_total_alone(upstream, provider) -> None:
    calling = provider(base_url=upstream(reply({"data": [], "usage": {"total_tokens": 300}})).url, tokens_per_minute=300)
    embedding = type(CHAT)(api="embeddings", body={"input": "a cat"})
    sent(calling, embedding)
    assert failed(sent, calling, embedding).kind == "rate_limit"


def test_the_longest_answer_is_reserved_until_the_real_one_has_come(upstream, provider) -> None:
    server = upstream(then(hang, reply()), reply())
    calling = provider(base_url=server.url, tokens_per_minute=1000, max_pause_s=0.0)
    long = type(CHAT)(api="chat", body={"messages": [], "max_tokens": 900})

    async def both() -> None:
        first = asyncio.ensure_future(calling.send(CANDIDATE, long))
        await asyncio.to_thread(server.hanging.wait, 60)
        with pytest.raises(Exception, match="no request or token left"):
            await calling.send(CANDIDATE, long)
        server.release.set()
        await first
        assert (await calling.send(CANDIDATE, type(CHAT)(api="chat", body={"messages": [], "max_tokens": 800}))).status == 200

    asyncio.run(both())


def test_an_image_counts_as_one_against_the_tokens_per_minute(upstream, provider) -> None:
    server = upstream(reply())
    calling = provider(base_url=server.url, tokens_per_minute=10_000, max_pause_s=0.0)
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    request = type(CHAT)(api="chat", body={"messages": [{"role": "user", "content": [image]}], "max_tokens": 100})

    async def three() -> list[int]:
        return [answer.status for answer in await asyncio.gather(*(calling.send(CANDIDATE, request) for _ in range(3)))]

    assert asyncio.run(three()) == [200] * 3


def test_a_call_that_is_cancelled_leaves_nothing_in_flight(upstream, provider) -> None:
    server = upstream(hang)
    calling = provider(base_url=server.url)

    async def leave() -> None:
        task = asyncio.ensure_future(calling.send(CANDIDATE, CHAT))
        await asyncio.to_thread(server.hanging.wait, 60)
        assert calling._deployments.all[0].in_flight == 1
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(leave())
    assert calling._deployments.all[0].in_flight == 0


def test_a_call_that_may_not_be_repeated_is_sent_once_and_leaves_nothing_in_flight(upstream, provider) -> None:
    server = upstream(cut)
    calling = provider(base_url=server.url)

    async def ask() -> None:
        with repeats_need(AsyncMock(return_value=False)):
            await calling.send(CANDIDATE, CHAT)

    assert failed(lambda: asyncio.run(ask())).kind == "protocol"
    assert (len(server.asked), calling._deployments.all[0].in_flight) == (1, 0)


def test_decisions_avoid_a_candidate_with_an_open_breaker(upstream) -> None:
    dead, alive = upstream(cut), upstream(reply())
    options = {"provider": "openai", "retries": 0, "breaker_failures": 2, "breaker_rest_s": 60.0}
    pool = Pool(ModelSpec(name, endpoint={**options, "base_url": server.url}) for name, server in (("dead", dead), ("alive", alive)))
    with MetaController.build(router={"name": "slm-only", "model": "dead"}, pool=pool) as controller:
        answers = [controller.complete("3 + 5?") for _ in range(4)]
        attempts = controller.store.experience().attempts
    assert [answer.candidate for answer in answers] == ["alive"] * 4
    assert [(attempt.candidate, attempt.status) for attempt in attempts] == [("dead", "error"), ("alive", "ok")] * 2 + [("alive", "ok")] * 2
    assert len(dead.asked) == 2


def test_decisions_avoid_a_candidate_without_a_request_left(upstream) -> None:
    servers = {"small": upstream(reply()), "large": upstream(reply())}
    limits = {"small": {"requests_per_minute": 2}, "large": {}}
    pool = Pool(ModelSpec(name, endpoint={"provider": "openai", "base_url": servers[name].url, **limits[name]}) for name in servers)
    with MetaController.build(router={"name": "slm-only", "model": "small"}, pool=pool) as controller:
        assert [controller.complete("3 + 5?").candidate for _ in range(4)] == ["small", "small", "large", "large"]
        assert {attempt.status for attempt in controller.store.experience().attempts} == {"ok"}


def test_a_long_pause_of_one_deployment_leaves_the_call_to_one_that_is_free_soon(upstream, provider) -> None:
    long, short = upstream(reply({}, 429, retry_after="60")), upstream(reply({}, 429, retry_after="0.5"), reply())
    calling = provider(base_url=NOBODY, deployments=shared(long, short))
    assert [sent(calling).status for _ in range(3)] == [200] * 3
    assert len(long.asked) <= 1


@pytest.mark.parametrize("key", ["sk-proj-abcdefgh12345678", "gsk_abcdefgh12345678", "hf_abcdefghABCDEFGH", "two words"])
def test_a_key_in_the_place_of_its_variable_is_refused_unseen(provider, key) -> None:
    with pytest.raises(ConfigError, match="api_key_env must be the name of an environment variable") as refused:
        provider(base_url=NOBODY, api_key_env=key)
    assert key not in str(refused.value)
    for name in ("SK_KEY", "my_key", "HF_TOKEN", "openai_key2"):
        provider(base_url=NOBODY, api_key_env=name)
