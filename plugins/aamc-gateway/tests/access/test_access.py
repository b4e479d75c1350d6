"""Who may call, and how much: the rules of one worker."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from aamc_gateway.access import access as access_module
from aamc_gateway.access import limit_claims
from aamc_gateway.access.access import Access
from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.access.keys import Key, add_key, revoke_key
from aamc_gateway.access.settings import AccessSettings, Limits
from aamc_gateway.access.shared import SharedState, open_shared
from aamc_gateway.access.shared.state import backend_of
from aamc_gateway.testing import GatewayProcess

from aamc_sdk.config import configure
from aamc_sdk.errors import ConfigError, StoreAwayError
from aamc_sdk.interfaces import Store
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager


def run(store: Store, test: Any, **settings: Any) -> None:
    async def whole() -> None:
        shared = open_shared(store)
        try:
            await test(Access(AccessSettings(**settings), shared), shared)
        finally:
            await shared.close()

    asyncio.run(whole())


async def refused(work: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await work
    return caught.value


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"example.org"), (b"authorization", f"Bearer {key}".encode())]


def test_without_keys_this_machine_is_the_admin_and_others_are_refused(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        for headers in ([(b"host", b"127.0.0.1:8000")], [(b"host", b"[::1]:8000"), (b"origin", b"http://localhost:3000")], [(b"host", b"localhost")]):
            assert (await access.caller(headers)).admin
        foreign = ((b"host", b"evil.example"), (b"origin", b"https://evil.example"), (b"origin", b"null"), (b"x-forwarded-for", b"10.0.0.1"))
        for header in foreign:
            error = await refused(access.caller([(b"host", b"localhost"), header]))
            assert error.status == 403
            assert "make a key with" in str(error)

    run(store, test)


def test_listening_beyond_this_machine_needs_a_key(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        for host in ("127.0.0.1", "::1", "localhost"):
            await access.check_listening(host)
        for host in ("0.0.0.0", "::", "10.1.2.3", "example.org", ""):
            with pytest.raises(ConfigError, match="make a key first"):
                await access.check_listening(host)
        await add_key(shared, name="ci")
        await Access(AccessSettings(), shared).check_listening("0.0.0.0")

    run(store, test)


def test_each_header_of_the_clients_carries_a_key(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        key, secret = await add_key(shared, name="ci")
        for headers in (
            bearer(secret),
            [(b"x-api-key", secret.encode())],
            [(b"api-key", secret.encode())],
            [(b"authorization", b"bearer " + secret.encode())],
            [(b"authorization", b"Basic YTpi"), (b"x-api-key", secret.encode())],
        ):
            assert (await access.caller(headers)).key_id == key.id
        assert (await refused(access.caller([]))).status == 401
        assert (await refused(access.caller([(b"authorization", b"Basic YTpi")]))).kind == "authentication"

    run(store, test)


def test_revoked_and_expired_keys_are_refused_by_name_and_never_open_the_gateway(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        _, gone = await add_key(shared, name="gone")
        await revoke_key(shared, "gone")
        _, old = await add_key(shared, name="old", expires=time.time() - 1)
        assert "the key 'gone' is revoked" in str(await refused(access.caller(bearer(gone))))
        assert "the key 'old' is expired" in str(await refused(access.caller(bearer(old))))
        assert (await refused(access.caller([(b"host", b"localhost")]))).status == 401

    run(store, test)


def test_no_refusal_repeats_the_key(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        _, secret = await add_key(shared, name="ci", expires=time.time() - 1)
        for key in (secret, secret[:-1], "sk-proj-something-of-another-service"):
            error = await refused(access.caller(bearer(key)))
            assert key not in str(error)
            assert key[-20:] not in repr(error)

    run(store, test)


def test_the_environment_gives_an_admin_key(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        caller = await access.caller(bearer("a" * 32))
        assert caller.admin
        caller.check_admin()
        assert (await refused(access.caller(bearer("a" * 31)))).status == 401
        assert (await refused(access.caller([(b"host", b"localhost")]))).status == 401

    monkeypatch.setenv("AAMC_ADMIN_KEY", "a" * 32)
    run(store, test)
    monkeypatch.setenv("AAMC_ADMIN_KEY", "short")
    with pytest.raises(ConfigError, match="at least 20 characters, not 5"):
        run(store, test)


def test_a_key_names_its_models() -> None:
    caller = Caller(name="ci", models=frozenset({"cheap", "aamc/auto"}))
    known = {"aamc/auto", "cheap", "strong"}
    caller.check_model("cheap", known)
    with pytest.raises(Refused, match=r"may not use the model 'cheep'; did you mean 'cheap'.*it may use aamc/auto, cheap"):
        caller.check_model("cheep", known)
    with pytest.raises(Refused, match="is not an admin key"):
        caller.check_admin()


def test_models_of_a_key_that_there_are_not_are_not_advised() -> None:
    caller = Caller(name="ci", models=frozenset({"cheap", "puppeteer"}))
    caller.check_models({"cheap", "aamc/puppeteer"})
    with pytest.raises(Refused, match=r"may not use the model 'aamc/puppeteer'; here it may use cheap$"):
        caller.check_model("aamc/puppeteer", {"cheap", "aamc/puppeteer"})
    with pytest.raises(Refused, match=r"here it may use none$"):
        Caller(name="ci", models=frozenset({"aamc/puppeteer"})).check_model("cheap", {"cheap"})
    wrong = r"the key 'bot' allows only puppeteer, and there is no such model; did you mean 'aamc/puppeteer'\?; make another key with"
    with pytest.raises(Refused, match=wrong):
        Caller(name="bot", models=frozenset({"puppeteer"})).check_models({"cheap", "aamc/puppeteer"})


def test_a_request_without_limits_touches_no_shared_state() -> None:
    class Untouched(SharedState):
        def __init__(self) -> None: ...

        async def apply(self, operation: Any) -> Any:
            raise AssertionError

        def submit(self, operation: Any) -> None:
            raise AssertionError

        async def close(self) -> None: ...

    async def test() -> None:
        access = Access(AccessSettings(), Untouched())
        admission = await access.admit(Caller(), max_cost_usd=math.nan, tokens=10)
        await admission.use("cheap", math.nan)
        assert admission.fits(math.nan)
        admission.settle(1.0, 5)

    asyncio.run(test())


def caller(**limits: Any) -> Caller:
    return Caller(key_id="k", name="ci", tenant="acme", limits=Limits(**limits))


def test_fifty_parallel_requests_on_a_budget_worth_ten_admit_ten(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        found = await asyncio.gather(*(access.admit(caller(usd_total=1.0), max_cost_usd=0.1) for _ in range(50)), return_exceptions=True)
        admitted = [one for one in found if not isinstance(one, BaseException)]
        assert len(admitted) == 10
        errors = [one for one in found if isinstance(one, Refused)]
        assert len(errors) == 40
        assert (errors[0].status, errors[0].kind) == (402, "budget")
        assert "the budget of the key 'ci' has 0 USD left of 1 USD in all" in str(errors[0])
        for admission in admitted:
            admission.settle(0.05)
        again = await asyncio.gather(*(access.admit(caller(usd_total=1.0), max_cost_usd=0.1) for _ in range(50)), return_exceptions=True)
        assert sum(not isinstance(one, BaseException) for one in again) == 5

    run(store, test)


def test_the_budget_of_a_day_is_renewed_and_says_when(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_800_000_000.0]  # 2027-01-15 08:00 UTC
    monkeypatch.setattr("aamc_gateway.access.admission.time.time", lambda: now[0])

    async def test(access: Access, shared: SharedState) -> None:
        (await access.admit(caller(usd_per_day=1.0, usd_per_month=1.5), max_cost_usd=0.8)).settle(0.8)
        error = await refused(access.admit(caller(usd_per_day=1.0, usd_per_month=1.5), max_cost_usd=0.8))
        assert "0.2 USD left of 1 USD a day" in str(error)
        assert "renewed at 2027-01-16 00:00 UTC" in str(error)
        assert error.retry_after_s == pytest.approx(16 * 3600)
        now[0] += 16 * 3600
        error = await refused(access.admit(caller(usd_per_day=1.0, usd_per_month=1.5), max_cost_usd=0.8))
        assert "0.7 USD left of 1.5 USD a month" in str(error)
        assert "2027-02-01" in str(error)

    run(store, test)


def test_a_budget_survives_a_clock_that_is_some_days_ahead_for_a_while(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr("aamc_gateway.access.admission.time.time", lambda: now[0])

    async def spend(access: Access, shared: SharedState) -> None:
        (await access.admit(caller(usd_per_day=1.0), max_cost_usd=0.8)).settle(0.8)

    async def spend_again(access: Access, shared: SharedState) -> None:
        assert "0.2 USD left of 1 USD a day" in str(await refused(access.admit(caller(usd_per_day=1.0), max_cost_usd=0.8)))

    run(store, spend)
    now[0] += 5 * 86400
    with closing(backend_of(store, durable=False, lease_s=60.0)) as backend:
        backend.renew(())  # which removes expired counters
    now[0] -= 5 * 86400
    run(store, spend_again)


def test_settling_twice_charges_once_and_an_unknown_cost_charges_what_was_held(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        admission = await access.admit(caller(usd_total=1.0), max_cost_usd=0.5)
        admission.settle(math.nan)
        admission.settle(0.5)
        assert "0.5 USD left" in str(await refused(access.admit(caller(usd_total=1.0), max_cost_usd=0.6)))

    run(store, test)


def test_a_budget_that_is_introduced_later_begins_with_what_was_spent_before(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_gateway.access.admission.time.time", lambda: 1_800_000_000.0)
    first, day = Caller(key_id="k", name="ci", tenant="acme"), Limits(usd_per_day=9.0)

    async def spend(access: Access, shared: SharedState) -> None:
        for _ in range(2):
            admission = await access.admit(first, max_cost_usd=0.5, user="anna")
            for _ in range(2):  # the second time does nothing
                admission.settle(0.2)

    run(store, spend)
    run(store, spend, tenants={"acme": day}, users={"anna": day})

    async def exceed(access: Access, shared: SharedState) -> None:
        for period, named in (("usd_per_day", "a day"), ("usd_per_month", "a month"), ("usd_total", "in all")):
            error = await refused(access.admit(caller(**{period: 1.0}), max_cost_usd=0.3))
            assert f"the budget of the key 'ci' has 0.2 USD left of 1 USD {named}" in str(error)
        assert "tenant 'acme' has 0.1 USD left of 0.9 USD a month" in str(await refused(access.admit(first, max_cost_usd=0.15)))
        assert "this user has 0.05 USD left of 0.45 USD a month" in str(await refused(access.admit(first, max_cost_usd=0.08, user="anna")))

    run(store, exceed, tenants={"acme": Limits(usd_per_month=0.9)}, users={"anna": Limits(usd_per_month=0.45)})

    async def begin(access: Access, shared: SharedState) -> None:  # the total of each user would be kept for good
        assert (await access.admit(first, max_cost_usd=0.3, user="anna")).budget_usd == 0.3

    run(store, begin, users={"anna": Limits(usd_total=0.3)})


def test_tenant_and_user_budgets_hold_over_all_keys(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        one, two = Caller(key_id="1", name="one", tenant="acme"), Caller(key_id="2", name="two", tenant="acme")
        await access.admit(one, max_cost_usd=0.6)
        assert "the budget of the tenant 'acme' has 0.4 USD left of 1 USD in all" in str(await refused(access.admit(two, max_cost_usd=0.6)))
        other = Caller(key_id="3", name="three", tenant="other")
        await access.admit(other, max_cost_usd=0.2, user="anna")
        error = await refused(access.admit(other, max_cost_usd=0.2, user="anna"))
        assert "the budget of this user has 0.1 USD left of 0.3 USD in all" in str(error)
        assert "anna" not in str(error)
        await access.admit(other, max_cost_usd=0.2, user="bert")

    run(store, test, tenants={"acme": Limits(usd_total=1.0)}, users={"*": Limits(usd_total=0.3)})


def test_the_users_of_two_tenants_are_not_the_same(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        for tenant in ("a", "b"):
            await access.admit(Caller(key_id=tenant, tenant=tenant), max_cost_usd=0.3, user="anna")

    run(store, test, users={"anna": Limits(usd_total=0.3)})


@pytest.mark.parametrize(("second", "pause_s"), [(5, 0), (50, 0), (59, 3), (30, 31)])
def test_a_request_over_a_limit_a_minute_passes_after_its_retry_after_and_not_before(
    store: Store, monkeypatch: pytest.MonkeyPatch, second: int, pause_s: int
) -> None:
    now = [1_800_000_000.0 + second]
    monkeypatch.setattr("aamc_gateway.access.admission.time.time", lambda: now[0])

    async def test(access: Access, shared: SharedState) -> None:
        limited = caller(requests_per_minute=7)
        for _ in range(7):
            (await access.admit(limited, max_cost_usd=0.0)).settle(0.0)
        now[0] += pause_s
        wait_s = (await refused(access.admit(limited, max_cost_usd=0.0))).retry_after_s
        assert wait_s is not None
        now[0] += wait_s - 1
        assert (await refused(access.admit(limited, max_cost_usd=0.0))).retry_after_s == 1
        now[0] += 1
        await access.admit(limited, max_cost_usd=0.0)

    run(store, test)


@pytest.mark.parametrize("second", range(1, 60, 7))
def test_the_only_request_a_minute_is_refused_for_the_rest_of_its_minute(store: Store, monkeypatch: pytest.MonkeyPatch, second: int) -> None:
    """Whatever its share of the minute before is rounded to."""
    now = [1_800_000_000.0]
    monkeypatch.setattr("aamc_gateway.access.admission.time.time", lambda: now[0])

    async def test(access: Access, shared: SharedState) -> None:
        limited = caller(requests_per_minute=1)
        (await access.admit(limited, max_cost_usd=0.0)).settle(0.0)
        now[0] += 60 + second
        assert (await refused(access.admit(limited, max_cost_usd=0.0))).retry_after_s in (60 - second, 61 - second)

    run(store, test)


def test_requests_and_tokens_a_minute_are_counted_over_a_sliding_minute(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_800_000_059.0]
    monkeypatch.setattr("aamc_gateway.access.admission.time.time", lambda: now[0])

    async def test(access: Access, shared: SharedState) -> None:
        limited = caller(requests_per_minute=4, tokens_per_minute=1000)
        for _ in range(4):
            (await access.admit(limited, max_cost_usd=0.0, tokens=200)).settle(0.0, 100)
        now[0] += 2  # the next minute by the clock
        error = await refused(access.admit(limited, max_cost_usd=0.0, tokens=10))
        assert (error.status, error.kind) == (429, "rate_limit")
        assert error.retry_after_s == 15  # when one of the four has left the window, if they came evenly
        now[0] += 60
        await access.admit(limited, max_cost_usd=0.0, tokens=900)
        for tokens in (200, 1000):
            assert "over its limit of 1000 tokens" in str(await refused(access.admit(limited, max_cost_usd=0.0, tokens=tokens)))
        impossible = await refused(access.admit(limited, max_cost_usd=0.0, tokens=2000))
        assert "may take 2000 tokens" in str(impossible)
        assert impossible.kind == "request"

    run(store, test)


def test_parallel_requests_are_limited_until_they_end(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        limited = caller(parallel_requests=2)
        first, _ = [await access.admit(limited, max_cost_usd=math.nan) for _ in range(2)]
        assert "2 requests in progress" in str(await refused(access.admit(limited, max_cost_usd=math.nan)))
        first.settle(math.nan)
        await access.admit(limited, max_cost_usd=math.nan)

    run(store, test)


def test_the_count_of_parallel_requests_goes_a_week_after_the_last_one_has_ended(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr("aamc_gateway.access.admission.time.time", lambda: now[0])

    async def test(access: Access, shared: SharedState) -> None:
        admissions = [await access.admit(caller(parallel_requests=2)) for _ in range(2)]
        admissions[0].settle(0.0)
        now[0] += 8 * 86400
        with closing(backend_of(store, durable=False, lease_s=60.0)) as backend:
            counters = "SELECT count(*) FROM shared_counters"
            shared._backend.renew(shared._open)
            backend.renew(())
            assert backend._query(counters) == [(1,)]  # type: ignore[attr-defined]
            admissions[1].settle(0.0)
            await shared.read([])
            backend.renew(())
            assert backend._query(counters) == [(0,)]  # type: ignore[attr-defined]

    run(store, test)


def test_an_unknown_cost_fits_no_budget(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        error = await refused(access.admit(caller(usd_total=1.0), max_cost_usd=math.nan))
        assert str(error).endswith("the cost of this request is unknown: ask a model with prices, or add them to the pool")

    run(store, test)


def test_over_budget_cheaper_reserves_what_is_left(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        limited = caller(usd_total=1.0)
        whole = await access.admit(limited, max_cost_usd=0.7, minimum_cost_usd=0.1)
        assert whole.budget_usd == 0.7
        rest = await access.admit(limited, max_cost_usd=0.7, minimum_cost_usd=0.1)
        assert rest.budget_usd == pytest.approx(0.3)
        assert rest.fits(0.3)
        assert not rest.fits(0.31)
        assert not rest.fits(math.nan)
        assert (await refused(access.admit(limited, max_cost_usd=0.7, minimum_cost_usd=0.1))).kind == "budget"
        rest.settle(0.05)
        unpriced = await access.admit(limited, max_cost_usd=math.nan, minimum_cost_usd=0.1)
        assert unpriced.budget_usd == pytest.approx(0.1)

    run(store, test, over_budget="cheaper")


def test_a_request_counts_as_one_though_less_than_its_maximum_cost_was_left(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        limited = caller(usd_total=0.5, requests_per_minute=2)
        for _ in range(2):
            (await access.admit(limited, max_cost_usd=2.0, minimum_cost_usd=0.1)).settle(0.0)
        assert (await refused(access.admit(limited, max_cost_usd=2.0, minimum_cost_usd=0.1))).kind == "rate_limit"

    run(store, test, over_budget="cheaper")


def test_the_end_of_a_request_settles_what_its_calls_have_not(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        for _ in range(2):
            admission = await access.admit(Caller(), max_cost_usd=0.0)
            await admission.use("strong", 0.0)
            admission.settle(0.0)

    run(store, test, models={"strong": Limits(parallel_requests=1)})


def test_a_candidate_over_its_own_limits_is_refused_and_told_to_be_unavailable(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        admission = await access.admit(Caller(), max_cost_usd=1.0)
        held = await admission.use("strong", 0.6)
        second = await access.admit(Caller(), max_cost_usd=1.0)
        assert "the budget of the model 'strong' has 0.4 USD left of 1 USD in all" in str(await refused(second.use("strong", 0.6)))
        await second.use("cheap", 0.6)
        assert held is not None
        held.settle(1.0, 0)  # strong has failed, and its half answer was expensive
        assert list(await access.full()) == ["strong"]

    run(store, test, models={"strong": Limits(usd_total=1.0)})


def test_a_candidate_is_unavailable_until_the_last_of_its_used_up_limits_is_renewed(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        admission = await access.admit(Caller(), max_cost_usd=1.0)
        await admission.use("strong", 1.0)
        assert (await access.full())["strong"].period == "day"

    run(store, test, models={"strong": Limits(requests_per_minute=1, usd_per_day=1.0)})


def test_a_request_beyond_a_candidates_tokens_a_minute_takes_all_of_a_minute(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        admission = await access.admit(Caller(), max_cost_usd=0.0, tokens=500)
        await admission.use("strong", 0.0)
        assert (await refused(admission.use("strong", 0.0))).kind == "rate_limit"

    run(store, test, models={"strong": Limits(tokens_per_minute=100)})


def test_a_shared_state_that_is_away_refuses_what_has_a_budget(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        async def away(operation: Any) -> Any:
            raise StoreAwayError("the server is away")

        monkeypatch.setattr(shared, "apply", away)
        error = await refused(access.admit(caller(usd_total=1.0), max_cost_usd=0.1))
        assert (error.status, error.kind) == (503, "unavailable")
        assert "the server is away" not in str(error)  # where it is, is not for callers
        await access.admit(caller(), max_cost_usd=0.1)

    run(store, test)


def test_a_gateway_without_keys_goes_on_while_the_shared_state_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        async def away(group: str) -> Any:
            raise StoreAwayError("the server is away")

        assert (await access.caller([])).admin
        monkeypatch.setattr(shared, "scan", away)
        access._checked -= 100.0
        assert (await access.caller([])).admin
        error = await refused(Access(AccessSettings(), shared).caller([]))  # it may have keys
        assert (error.status, error.kind) == (503, "unavailable")

    run(store, test)


def test_the_calendar_knows_the_ends_of_months() -> None:
    def end(when: float, period: str) -> float:
        return limit_claims._window(period, when)[1]

    december = 1_798_700_000.0  # 2026-12-31 06:53 UTC
    assert limit_claims._window("month", december) == ("2026-12", 1_798_761_600.0)
    assert end(december, "day") == 1_798_761_600.0
    assert end(1_802_217_600.0, "month") == 1_803_859_200.0  # of February 2027
    assert limit_claims._window("total", december) == ("total", math.inf)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tenants": {"acme": {"usd_per_dya": 1}}}, r"access: tenants\.acme has no option 'usd_per_dya'; did you mean 'usd_per_day'"),
        ({"users": {"*": {"parallel_requests": 0}}}, "parallel_requests must be at least 1, not 0"),
        ({"models": {"cheap": 3}}, r"access: models\.cheap must be keys and values such as \{usd_per_day: 1\}, not 3"),
        ({"over_budget": "cheap"}, "over_budget must be one of cheaper, refuse, not 'cheap'"),
    ],
)
def test_a_wrong_limit_is_explained(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configure(AccessSettings, given, where="access")


@pytest.mark.parametrize("store_url", ["redis"], indirect=True)
def test_a_gateway_whose_server_comes_back_empty_stays_closed_and_says_why(store_url: str, tmp_path: Path, redis_server: Any) -> None:
    with closing(open_store(store_url, get_plugin_manager())) as store:
        made: list[str] = []

        async def make(_: Access, shared: SharedState) -> None:
            made.append((await add_key(shared, name="ci"))[1])

        run(store, make)
    with GatewayProcess(tmp_path, [{"name": "plain", "endpoint": {"provider": "echo"}}], router="random", store=store_url) as gateway:
        headers = {"authorization": f"Bearer {made[0]}"}
        assert httpx.get(f"{gateway.url}/v1/models", headers=headers).status_code == 200
        with redis.Redis.from_url(redis_server.url) as client:
            client.flushdb()
        until = time.monotonic() + 20
        while httpx.get(f"{gateway.url}/v1/models", headers=headers).status_code == 200 and time.monotonic() < until:
            time.sleep(0.1)
        assert httpx.get(f"{gateway.url}/v1/models").status_code == 401
        ready = httpx.get(f"{gateway.url}/readyz")
    assert ready.json() == {"status": "degraded", "problems": ["the shared state has lost keys: its server came back without its data"]}


def test_a_gateway_on_a_used_log_without_keys_warns_that_it_is_open(tmp_path: Path) -> None:
    plain = [{"name": "plain", "endpoint": {"provider": "echo"}}]
    with GatewayProcess(tmp_path, plain, router="random") as gateway:
        body = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}]}
        assert httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=60).status_code == 200
    assert "no keys" not in gateway.output
    with GatewayProcess(tmp_path, plain, router="random") as gateway:
        pass
    assert "sqlite:state.db has decisions and no keys, so every request of this machine is answered" in gateway.output
    with closing(open_store(f"sqlite:{tmp_path / 'state.db'}", get_plugin_manager())) as store:

        async def make(_: Access, shared: SharedState) -> None:
            await add_key(shared, name="ci")

        run(store, make)
    with GatewayProcess(tmp_path, plain, router="random") as gateway:
        pass
    assert gateway.output.count("no keys") == 1  # the output of all three


def test_the_spending_of_keys_tenants_and_users_stands_beside_their_budgets(store: Store) -> None:
    limits = {"tenants": {"acme": Limits(usd_per_month=3.0), "new": Limits(usd_total=9.0)}, "users": {"ann": Limits(usd_per_day=5.0)}}

    async def test(access: Access, shared: SharedState) -> None:
        _, secret = await add_key(shared, name="ci", tenant="acme", limits=Limits(usd_total=2.0))
        caller = await access.caller(bearer(secret))
        for user, usd in (("ann", 0.5), ("ben", 0.25)):
            (await access.admit(caller, max_cost_usd=1.0, user=user)).settle(usd)
        found = {(row["kind"], row["name"]): (row["tenant"], row["budget_usd"], row["spent_usd"]) for row in await access.spending()}
        none = {"day": None, "month": None, "total": None}
        assert found.pop(("key", "ci"))[:2] == ("acme", none | {"total": 2.0})
        assert found.pop(("tenant", "acme"))[:2] == ("acme", none | {"month": 3.0})
        assert found.pop(("user", "ann")) == ("acme", none | {"day": 5.0}, {"day": 0.5, "month": 0.0, "total": 0.0})
        assert found == {("tenant", "new"): ("new", none | {"total": 9.0}, {"day": 0.0, "month": 0.0, "total": 0.0})}

    run(store, test, **limits)


def test_requests_are_served_while_the_spending_of_many_keys_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    served, read = threading.Event(), Key.from_bytes

    def slow(value: bytes) -> Key:
        assert served.wait(20), "the event loop waited for the keys"
        return read(value)

    async def test(access: Access, shared: SharedState) -> None:
        for name in ("a", "b", "c"):
            _, secret = await add_key(shared, name=name, limits=Limits(usd_total=2.0))
            (await access.admit(await access.caller(bearer(secret)), max_cost_usd=1.0)).settle(0.25)
        monkeypatch.setattr(access_module, "_AT_ONCE", 2)
        monkeypatch.setattr(Key, "from_bytes", slow)
        asyncio.get_running_loop().call_later(0.01, served.set)
        assert [(row["name"], row["spent_usd"]["total"]) for row in await access.spending()] == [("a", 0.25), ("b", 0.25), ("c", 0.25)]

    run(store, test)


def test_spending_is_without_what_is_reserved(store: Store) -> None:
    async def test(access: Access, shared: SharedState) -> None:
        _, secret = await add_key(shared, name="ci", limits=Limits(usd_total=2.0))
        caller = await access.caller(bearer(secret))
        (await access.admit(caller, max_cost_usd=1.0)).settle(0.25)
        admission = await access.admit(caller, max_cost_usd=1.0)
        rows = {row["name"]: row["spent_usd"] for row in await access.spending()}
        assert rows["ci"]["total"] == 0.25
        admission.settle(0.5)
        rows = {row["name"]: row["spent_usd"] for row in await access.spending()}
        assert rows["ci"]["total"] == 0.75

    run(store, test)
