import asyncio
import math
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress

import attrs
import pytest

from aamc_sdk import Decision, ModelSpec, Pool, Preference, Prices
from aamc_sdk.errors import PoolError, ProviderError
from aamc_sdk.interfaces import Chunk, Completion, EndpointState, Provider, Usage
from aamc_sdk.serving import ModelClient, counted_calls
from aamc_sdk.types import Attempt, Endpoint, PoolState

MESSAGES = [{"role": "user", "content": "x" * 400}]
USAGE = Usage(prompt_tokens=10, output_tokens=20)


class Scripted(Provider):
    """Streams what it is given, an exception by raising it; its state is given too."""

    def __init__(self, *script: Chunk | BaseException, state: EndpointState | None = None) -> None:
        self.script, self.given, self.closed = script, state or EndpointState(), False
        self.options: dict[str, object] = {}

    async def complete(self, candidate, messages, **options) -> Completion:
        if self.script and isinstance(self.script[0], BaseException):
            raise self.script[0]
        return Completion(message={"content": "8"}, usage=USAGE)

    async def stream(self, candidate, messages, **options) -> AsyncIterator[Chunk]:
        self.options = options
        try:
            for piece in self.script:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            self.closed = True

    def state(self) -> EndpointState:
        return self.given


PRICES = Prices(1.0, 2.0)


def spec(name: str, prices: Prices | None = PRICES) -> ModelSpec:
    return ModelSpec(name, prices=prices, endpoint={"provider": "scripted", "name": name}, parameters={"effort": "low"})


def client_of(**providers: Scripted) -> tuple[ModelClient, list[Attempt]]:
    client, attempts = ModelClient(lambda endpoint: providers[endpoint.options["name"]]), []

    async def record(attempt: Attempt) -> None:
        attempts.append(attempt)

    client.record_attempts(record)
    return client, attempts


async def collected(client: ModelClient, candidate: ModelSpec, **options) -> list[Chunk]:
    return [chunk async for chunk in client.stream(candidate, MESSAGES, decision_id="d", **options)]


def test_a_streamed_answer_is_recorded_as_a_whole_one_is() -> None:
    provider = Scripted(Chunk(), Chunk(content="8"), Chunk(content="!"), Chunk(usage=USAGE, finish_reason="stop"))
    client, attempts = client_of(a=provider)
    chunks = asyncio.run(collected(client, spec("a"), temperature=0.5))
    assert "".join(chunk.content for chunk in chunks) == "8!"
    assert provider.options == {"effort": "low", "temperature": 0.5}
    (attempt,) = attempts
    assert (attempt.cost_usd, attempt.cost_source, attempt.status) == (50e-6, "priced", "ok")
    assert 0 <= attempt.first_token_ms <= attempt.latency_ms
    assert (attempt.prompt_tokens, attempt.output_tokens) == (10, 20)
    answer = asyncio.run(client.complete(spec("a"), MESSAGES))
    assert answer.cost_usd == attempt.cost_usd


def test_a_limit_of_the_request_replaces_the_candidates_own_whatever_its_name() -> None:
    provider = Scripted(Chunk(content="8"))
    client, _ = client_of(a=provider)
    limited = attrs.evolve(spec("a"), parameters={"effort": "low", "max_completion_tokens": 500})
    asyncio.run(collected(client, limited, max_tokens=50))
    assert provider.options == {"effort": "low", "max_tokens": 50}


def test_a_cost_beyond_list_prices_is_an_estimate() -> None:
    usage = Usage(prompt_tokens=10, output_tokens=20, at_list_prices=False)
    client, attempts = client_of(a=Scripted(Chunk(content="8"), Chunk(usage=usage, finish_reason="stop")))
    asyncio.run(collected(client, spec("a")))
    assert (attempts[0].cost_usd, attempts[0].cost_source) == (50e-6, "estimated")


def test_whether_list_prices_apply_is_true_or_false() -> None:
    with pytest.raises(TypeError, match="at_list_prices must be true or false, not 'no'"):
        Usage(at_list_prices="no")  # type: ignore[arg-type]  # on purpose


def test_the_cost_that_a_stream_reports_wins() -> None:
    client, attempts = client_of(a=Scripted(Chunk(content="8"), Chunk(usage=USAGE, finish_reason="stop", cost_usd=0.5)))
    asyncio.run(collected(client, spec("a")))
    assert (attempts[0].cost_usd, attempts[0].cost_source) == (0.5, "reported")


def test_a_stream_that_breaks_off_is_priced_for_what_came() -> None:
    client, attempts = client_of(a=Scripted(Chunk(content="x" * 80), ProviderError("cut")))
    with pytest.raises(ProviderError, match="cut"):
        asyncio.run(collected(client, spec("a")))
    assert (attempts[0].cost_usd, attempts[0].cost_source, attempts[0].status) == (pytest.approx(140e-6), "estimated", "error")


def test_the_tokens_of_a_part_that_came_are_rounded_up() -> None:
    client, attempts = client_of(a=Scripted(Chunk(content="8"), ProviderError("cut")))
    with pytest.raises(ProviderError, match="cut"):
        asyncio.run(collected(client, spec("a")))
    assert attempts[0].output_tokens == 1


def test_a_stream_that_its_reader_leaves_is_closed_and_priced_for_what_came() -> None:
    provider = Scripted(Chunk(content="x" * 80), Chunk(content="y" * 80))
    client, attempts = client_of(a=provider)

    async def leave() -> None:
        stream = client.stream(spec("a"), MESSAGES, decision_id="d")
        await anext(stream)
        await stream.aclose()

    asyncio.run(leave())
    assert provider.closed
    assert (attempts[0].cost_usd, attempts[0].cost_source, attempts[0].status) == (pytest.approx(140e-6), "estimated", "cancelled")


@pytest.mark.parametrize(
    ("chunks", "prompt", "output", "source"),
    [
        ([Chunk(usage=Usage(prompt_tokens=5000, output_tokens=1)), Chunk(content="x" * 80)], 5000, 20, "estimated"),
        ([Chunk(usage=Usage(prompt_tokens=5000, output_tokens=1)), Chunk(reasoning="x" * 80)], 5000, 20, "estimated"),
        ([Chunk(usage=Usage(prompt_tokens=5000, output_tokens=90)), Chunk(content="x" * 80)], 5000, 90, "estimated"),
        ([Chunk(content="x" * 80), Chunk(finish_reason="stop")], 100, 20, "estimated"),
        ([Chunk(content="x" * 80), Chunk(usage=USAGE), Chunk(finish_reason="stop")], 10, 20, "priced"),
    ],
    ids=["prompt reported", "reasoning", "answer reported so far", "finished without usage", "finished"],
)
@pytest.mark.parametrize("error", [ProviderError("cut"), None], ids=["cut", "left"])
def test_the_tokens_that_were_reported_before_a_stream_breaks_off_count(error, chunks, prompt, output, source) -> None:
    client, attempts = client_of(a=Scripted(*chunks, *[error] if error else [Chunk()]))

    async def read() -> None:
        stream = client.stream(spec("a"), MESSAGES, decision_id="d")
        for _ in range(len(chunks) + (error is not None)):
            await anext(stream)
        await stream.aclose()

    with pytest.raises(ProviderError) if error else nullcontext():
        asyncio.run(read())
    (attempt,) = attempts
    assert (attempt.prompt_tokens, attempt.output_tokens, attempt.cost_source) == (prompt, output, source)
    assert attempt.cost_usd == pytest.approx((prompt + 2 * output) / 1e6)


def test_the_estimated_prompt_has_the_tools_and_an_image_counts_as_one() -> None:
    tools = [{"type": "function", "function": {"name": "weather", "description": "word " * 400}}]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4_000_000}}
    counts = []
    for content, options in (("What is this?", {}), ("What is this?", {"tools": tools}), ([{"type": "text", "text": "What is this?"}, image], {})):
        client, attempts = client_of(a=Scripted(Chunk(content="8"), ProviderError("cut")))

        async def read(client=client, content=content, options=options) -> None:
            async for _ in client.stream(spec("a"), [{"role": "user", "content": content}], decision_id="d", **options):
                pass

        with pytest.raises(ProviderError, match="cut"):
            asyncio.run(read())
        counts.append(attempts[0].prompt_tokens)
    assert counts == [4, 505, 1504]


def test_a_stream_that_fails_before_its_first_token_has_no_cost() -> None:
    client, attempts = client_of(a=Scripted(ProviderError("refused")))
    with pytest.raises(ProviderError):
        asyncio.run(collected(client, spec("a")))
    assert math.isnan(attempts[0].cost_usd)
    assert math.isnan(attempts[0].first_token_ms)


class Hanging(Scripted):
    async def complete(self, candidate, messages, **options) -> Completion:
        await asyncio.Event().wait()
        raise AssertionError


def failed_with(usage: Usage, cost_usd: float = math.nan) -> ProviderError:
    error = ProviderError("unusable", kind="protocol")
    error.reported = Chunk(usage=usage, cost_usd=cost_usd)
    return error


@pytest.mark.parametrize(
    ("error", "cost_usd", "source"),
    [
        (ProviderError("no answer", kind="timeout"), 100e-6, "estimated"),
        (ProviderError("no answer", kind="server", status=504), 100e-6, "estimated"),
        (failed_with(Usage()), 100e-6, "estimated"),
        (failed_with(USAGE), 50e-6, "priced"),
        (failed_with(Usage(), 0.5), 0.5, "reported"),
        (ProviderError("busy", kind="rate_limit", status=429), math.nan, ""),
        (ProviderError("cannot be reached", kind="connection"), math.nan, ""),
    ],
    ids=["timeout", "504", "unusable", "unusable with usage", "unusable with a cost", "429", "no connection"],
)
def test_a_failed_call_costs_its_prompt_if_its_server_may_bill_it(error: ProviderError, cost_usd: float, source: str) -> None:
    client, attempts = client_of(a=Scripted(error))
    counted: list[float] = []
    with counted_calls(counted), pytest.raises(ProviderError):
        asyncio.run(client.complete(spec("a"), MESSAGES, decision_id="d"))
    assert attempts[0].cost_usd == pytest.approx(cost_usd, nan_ok=True)
    assert attempts[0].cost_source == source
    assert sum(counted) == pytest.approx(0.0 if math.isnan(cost_usd) else cost_usd)


def test_a_call_counts_its_prompt_while_it_runs_and_after_it_was_cancelled() -> None:
    client, attempts = client_of(a=Hanging())
    counted: list[float] = []

    async def leave() -> None:
        with counted_calls(counted):
            call = asyncio.create_task(client.complete(spec("a"), MESSAGES, decision_id="d"))
        await asyncio.sleep(0)
        assert counted == [pytest.approx(100e-6)]
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    asyncio.run(leave())
    assert counted == [pytest.approx(100e-6)]
    assert (attempts[0].cost_usd, attempts[0].cost_source, attempts[0].status) == (pytest.approx(100e-6), "estimated", "cancelled")


REFUSAL = ProviderError("unknown parameter", kind="request", status=400)


@pytest.mark.parametrize(
    ("second", "statuses"),
    [(REFUSAL, ["refused", "refused"]), (ProviderError("down", kind="server"), ["refused", "error"]), (None, ["error", "ok"])],
    ids=["both refuse it", "the other one is down", "the other one answers"],
)
def test_a_refusal_is_a_candidates_failure_only_where_another_one_answers(second: ProviderError | None, statuses: list[str]) -> None:
    client, attempts = client_of(a=Scripted(REFUSAL), b=Scripted(*[second] if second else []))
    decision = Decision("d", "a", 1.0, Preference(1.0, 0.0, 0.0), utilities={"a": 1.0, "b": 0.5})
    answered = asyncio.run(_answered(client, decision))
    assert answered == (second is None)
    assert [(each.candidate, each.status) for each in attempts] == list(zip("ab", statuses, strict=True))


def test_the_public_message_of_a_request_that_nobody_answered_has_those_of_its_calls() -> None:
    client, _ = client_of(**{name: Scripted(ProviderError(f"{name} at http://gpu is away", public=f"{name} is away")) for name in "ab"})
    decision = Decision("d", "a", 1.0, Preference(1.0, 0.0, 0.0), utilities={"a": 1.0, "b": 0.5})
    with pytest.raises(ProviderError, match=r"no candidate answered \(a at http://gpu is away; b at") as raised:
        asyncio.run(client.answer(decision, Pool([spec("a"), spec("b")]), MESSAGES, {}))
    assert raised.value.public == "no candidate answered (a is away; b is away)"


@pytest.mark.parametrize("streamed", [False, True])
def test_what_a_failing_provider_does_to_the_messages_does_not_reach_the_next_one(streamed: bool) -> None:
    class Rewriting(Scripted):
        async def complete(self, candidate, messages, **options) -> Completion:
            messages[-1]["content"] = "REPLACED"
            raise ProviderError("down")

        async def stream(self, candidate, messages, **options) -> AsyncIterator[Chunk]:
            messages[-1]["content"] = "REPLACED"
            raise ProviderError("down")
            yield

    class Echoing(Scripted):
        async def complete(self, candidate, messages, **options) -> Completion:
            return Completion(message={"content": messages[-1]["content"]}, usage=USAGE)

        async def stream(self, candidate, messages, **options) -> AsyncIterator[Chunk]:
            yield Chunk(content=messages[-1]["content"], usage=USAGE, finish_reason="stop")

    client, _ = client_of(a=Rewriting(), b=Echoing())
    decision = Decision("d", "a", 1.0, Preference(1.0, 0.0, 0.0), utilities={"a": 1.0, "b": 0.5})
    said = [{"role": "user", "content": "hello"}]
    texts: list[str] = []
    answer = asyncio.run(client.answer(decision, Pool([spec("a"), spec("b")]), said, {}, shown_in(texts) if streamed else None))
    assert (answer.text, said[0]["content"]) == ("hello", "hello")


def test_an_answer_whose_message_is_no_object_is_an_error_of_the_provider() -> None:
    class Texting(Scripted):
        async def complete(self, candidate, messages, **options) -> Completion:
            return Completion(message="hello", usage=USAGE)  # type: ignore[arg-type]  # on purpose

    client, _ = client_of(a=Texting(), b=Scripted())
    decision = Decision("d", "a", 1.0, Preference(1.0, 0.0, 0.0), utilities={"a": 1.0, "b": 0.5})
    assert asyncio.run(_answered(client, decision))


@pytest.mark.parametrize("tokens", ["3", -500, 1.5, True])
def test_tokens_that_are_no_whole_number_are_an_error_of_the_provider(tokens: object) -> None:
    class Counting(Scripted):
        async def complete(self, candidate, messages, **options) -> Completion:
            return Completion(message={"content": "hello"}, usage=Usage(output_tokens=tokens))  # type: ignore[arg-type]  # on purpose

    client, attempts = client_of(a=Counting(), b=Scripted())
    decision = Decision("d", "a", 1.0, Preference(1.0, 0.0, 0.0), utilities={"a": 1.0, "b": 0.5})
    assert asyncio.run(_answered(client, decision))
    assert f"output_tokens must be a whole number of tokens of at least 0, or None if unknown, not {tokens!r}" in (attempts[0].error or "")


@pytest.mark.parametrize(("cached", "written", "cost_usd"), [(100, 0, 1e-6), (4, 100, 12.4e-6), (4, 2, 8.4e-6)])
def test_no_more_tokens_of_a_cache_than_of_the_prompt_are_priced(cached: int, written: int, cost_usd: float) -> None:
    usage = Usage(prompt_tokens=10, output_tokens=0, cached_tokens=cached, cache_write_tokens=written)
    client, attempts = client_of(a=Scripted(Chunk(content="8", usage=usage)))
    asyncio.run(collected(client, spec("a", Prices(1.0, 2.0, cached_input=0.1, cache_write=2.0))))
    assert attempts[0].cost_usd == pytest.approx(cost_usd)


def test_a_failed_call_is_recorded_before_the_next_one_begins() -> None:
    class Looking(Scripted):
        async def complete(self, candidate, messages, **options) -> Completion:
            self.seen = [(each.candidate, each.status) for each in attempts]
            return await super().complete(candidate, messages, **options)

    second = Looking()
    client, attempts = client_of(a=Scripted(ProviderError("timed out", kind="timeout")), b=second)
    decision = Decision("d", "a", 1.0, Preference(1.0, 0.0, 0.0), utilities={"a": 1.0, "b": 0.5})
    assert asyncio.run(_answered(client, decision))
    assert second.seen == [("a", "error")]
    assert [(each.candidate, each.status) for each in attempts] == [("a", "error"), ("b", "ok")]


def test_a_failure_whose_message_was_cut_within_an_emoji_is_logged_and_falls_back() -> None:
    client, attempts = client_of(a=Scripted(ProviderError("invalid prompt: \u00e9\ud83d")), b=Scripted())
    decision = Decision("d", "a", 1.0, Preference(1.0, 0.0, 0.0), utilities={"a": 1.0, "b": 0.5})
    assert asyncio.run(_answered(client, decision))
    assert [(each.candidate, each.error) for each in attempts] == [("a", "invalid prompt: \u00e9?"), ("b", None)]


def shown_in(texts: list[str]) -> Callable[[str], Awaitable[None]]:
    async def show(text: str) -> None:
        texts.append(text)

    return show


def test_an_answer_is_shown_as_it_comes_and_priced_as_a_whole_one() -> None:
    client, attempts = client_of(a=Scripted(ProviderError("down")), b=Scripted(Chunk(content="4"), Chunk(content="2", usage=USAGE)))
    decision = Decision("d", "a", 1.0, Preference(1.0, 0.0, 0.0), utilities={"a": 1.0, "b": 0.5})
    shown: list[str] = []
    answer = asyncio.run(client.answer(decision, Pool([spec("a"), spec("b")]), MESSAGES, {}, shown_in(shown)))
    assert shown == ["4", "2"]
    assert (answer.text, answer.usage, answer.candidate, answer.decision_id) == ("42", USAGE, "b", "d")
    assert (answer.cost_usd, answer.latency_ms) == (attempts[1].cost_usd, attempts[1].latency_ms)


def test_no_other_candidate_is_called_after_the_first_text() -> None:
    client, attempts = client_of(a=Scripted(Chunk(content="4"), ProviderError("cut")), b=Scripted(Chunk(content="2")))
    decision = Decision("d", "a", 1.0, Preference(1.0, 0.0, 0.0), utilities={"a": 1.0, "b": 0.5})
    shown: list[str] = []
    with pytest.raises(ProviderError, match=r"^cut"):
        asyncio.run(client.answer(decision, Pool([spec("a"), spec("b")]), MESSAGES, {}, shown_in(shown)))
    assert (shown, [attempt.status for attempt in attempts]) == (["4"], ["error"])


async def _answered(client: ModelClient, decision: Decision) -> bool:
    try:
        await client.answer(decision, Pool([spec("a"), spec("b")]), MESSAGES, {})
    except ProviderError:
        return False
    return True


def test_an_estimate_without_prices_is_unknown() -> None:
    client, attempts = client_of(a=Scripted(Chunk(content="x" * 80), ProviderError("cut")))
    with pytest.raises(ProviderError):
        asyncio.run(collected(client, spec("a", None)))
    assert (math.isnan(attempts[0].cost_usd), attempts[0].cost_source, attempts[0].output_tokens) == (True, "", 20)


def test_a_streams_error_that_is_not_the_sdks_own_becomes_one() -> None:
    client, _ = client_of(a=Scripted(KeyError("choices")))
    with pytest.raises(ProviderError, match="calling 'a' failed: KeyError"):
        asyncio.run(collected(client, spec("a")))


def state_of(client: ModelClient, pool: Pool, given: PoolState | None = None) -> PoolState:
    for candidate in pool:
        if candidate.name in "abc":
            client.provider(candidate)
    return client.present_state(pool, given)


def test_candidates_whose_servers_rest_or_have_no_request_left_are_masked() -> None:
    stopped, limited = EndpointState(available=False), EndpointState(remaining=0.0)
    client, _ = client_of(a=Scripted(state=stopped), b=Scripted(state=limited), c=Scripted(state=EndpointState(remaining=7.0)))
    pool = Pool([spec("a"), spec("b"), spec("c"), ModelSpec("elsewhere")])
    state = state_of(client, pool)
    assert state.unavailable == {"a", "elsewhere"}
    assert state.remaining == {"b": 0.0, "c": 7.0}
    given = PoolState(unavailable={"c"}, remaining={"b": 5.0})
    assert state_of(client, pool, given) == PoolState(unavailable={"a", "c", "elsewhere"}, remaining={"b": 5.0, "c": 7.0})


def test_where_nothing_would_be_left_the_call_says_why_it_fails() -> None:
    client, _ = client_of(a=Scripted(state=EndpointState(available=False)), b=Scripted(state=EndpointState(remaining=0.0)))
    assert state_of(client, Pool([spec("a"), spec("b")])) == PoolState()


def test_the_state_follows_providers_that_are_made_later() -> None:
    client, _ = client_of(a=Scripted(state=EndpointState(available=False)))
    pool = Pool([spec("a"), spec("z")])
    assert client.present_state(pool, None).unavailable == frozenset()
    assert state_of(client, pool).unavailable == {"a"}
    with pytest.raises(PoolError, match="no candidate of the pool has an endpoint"):
        client.present_state(Pool([ModelSpec("x")]), None)


@pytest.mark.parametrize("state", [lambda: {}["address"], lambda: None])
def test_a_provider_that_fails_to_return_its_state_counts_as_available(
    state: Callable[[], object], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Scripted()
    monkeypatch.setattr(provider, "state", state)
    client, _ = client_of(a=provider, b=Scripted(state=EndpointState(available=False)))
    pool = Pool([spec("a"), spec("b")])
    assert [state_of(client, pool).unavailable for _ in range(2)] == [{"b"}, {"b"}]
    assert client.endpoint_state(spec("a")) == EndpointState()
    (record,) = caplog.records
    assert re.fullmatch(
        r"the provider of 'a' failed to return its state, so it counts as available: "
        r"(KeyError: 'address'|TypeError: state must return .*EndpointState, not None)",
        record.getMessage(),
    )


def test_a_provider_that_does_not_close_is_left_behind(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Scripted):
        async def close(self) -> None:
            await asyncio.sleep(60)

    monkeypatch.setattr("aamc_sdk.serving.models.model_client.CLOSE_S", 0.05)
    client, _ = client_of(a=Stuck(), b=Scripted())
    client.provider(spec("a")), client.provider(spec("b"))
    asyncio.run(client.close())
    assert [record.getMessage() for record in caplog.records] == ["the provider of 'a' did not close within 0.05 s"]


@pytest.mark.parametrize("error", [SystemExit(3), RuntimeError("no")])
def test_a_provider_that_fails_to_close_lets_the_others_close(error: BaseException) -> None:
    closed: list[str] = []

    class Failing(Scripted):
        async def close(self) -> None:
            raise error

    class Closing(Scripted):
        async def close(self) -> None:
            closed.append("b")

    client, _ = client_of(a=Failing(), b=Closing())
    client.provider(spec("a")), client.provider(spec("b"))
    asyncio.run(client.close())
    assert closed == ["b"]


def test_threads_that_ask_at_once_for_a_provider_get_the_same() -> None:
    asked, made = threading.Barrier(2), list[Provider]()

    def make(endpoint: Endpoint) -> Provider:
        with suppress(threading.BrokenBarrierError):
            asked.wait(0.2)  # until a second thread makes one, too
        made.append(Scripted())
        return made[-1]

    client, candidate = ModelClient(make), spec("a")
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(client.provider, [candidate, candidate])
    assert first is second
    assert len(made) == 1
