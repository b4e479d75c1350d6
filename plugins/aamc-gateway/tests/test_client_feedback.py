"""``POST /v1/feedback``: what it takes, refuses and repeats."""

from __future__ import annotations

import itertools
import math
import time

import pytest
from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.feedback import client_feedback
from aamc_gateway.feedback.client_feedback import add_feedback
from aamc_gateway.orchestrations.orchestrator_handler import entries_of

from aamc_sdk import MetaController
from aamc_sdk.errors import AamcError, DataError
from aamc_sdk.interfaces import Budget
from aamc_sdk.serving import Orchestration
from aamc_sdk.types import Attempt, Decision, ModelSpec, Pool, Preference, Prices, Query, Record

ANYONE = Caller()


@pytest.fixture
def controller():
    pool = Pool([ModelSpec("small", prices=Prices(1.0, 2.0)), ModelSpec("large", prices=Prices(10.0, 20.0))])
    with MetaController.build(router="thompson", pool=pool) as made:
        yield made


def test_the_same_feedback_counts_once(controller):
    body = {"decision_id": controller.route("hello").id, "quality": 1}
    first, second = (add_feedback(controller, body, ANYONE) for _ in range(2))
    assert {"schema": 1, "id": f"{body['decision_id']}/explicit", "decision_id": body["decision_id"], "new": True, "waits": False} == first
    assert {**first, "new": False} == second


def test_other_feedback_of_the_same_source_needs_a_revision(controller):
    body = {"decision_id": controller.route("hello").id, "quality": 1}
    add_feedback(controller, body, ANYONE)
    with pytest.raises(Refused, match="revision above 0") as refused:
        add_feedback(controller, {**body, "quality": 0}, ANYONE)
    assert refused.value.status == 409
    assert add_feedback(controller, {**body, "quality": 0, "revision": 1}, ANYONE)["new"]


def test_an_id_of_a_client_is_one_of_its_decision(controller):
    mine, other = ({"decision_id": controller.route("hello", tenant=tenant).id, "quality": 1} for tenant in ("acme", "other"))
    acme, stranger = Caller(tenant="acme"), Caller(tenant="other")
    taken = {**other, "id": f"{mine['decision_id']}/explicit", "quality": 0, "revision": 10**12}
    assert f"{other['decision_id']}/{taken['id']}" == add_feedback(controller, taken, stranger)["id"]
    assert [add_feedback(controller, {**mine, "revision": revision}, acme)["new"] for revision in (0, 1)] == [True, True]
    for caller, body in ((acme, mine), (stranger, other)):
        first = add_feedback(controller, {**body, "id": "ticket-7"}, caller)
        assert (first["new"], first["id"]) == (True, f"{body['decision_id']}/ticket-7")
        again = [add_feedback(controller, {**body, "id": name}, caller) for name in ("ticket-7", first["id"])]
        assert again == [{**first, "new": False}] * 2


@pytest.mark.parametrize("field", ["id", "source"])
def test_an_empty_name_is_refused(controller, field):
    with pytest.raises(DataError, match=f"a feedback's {field} must not be empty"):
        add_feedback(controller, {"decision_id": controller.route("hello").id, "quality": 1, field: ""}, ANYONE)


@pytest.mark.parametrize("field", ["id", "source"])
def test_an_unknown_decision_takes_no_id_of_feedback_on_another_one(controller, field):
    mine = {"decision_id": controller.route("hello", tenant="acme").id, "quality": 1, field: "app/explicit"}
    with pytest.raises(DataError, match="which has no '/'"):
        add_feedback(controller, {"decision_id": f"{mine['decision_id']}/app", "quality": 0}, Caller(tenant="other"))
    assert add_feedback(controller, mine, Caller(tenant="acme"))["new"]


def test_feedback_on_an_unknown_decision_waits_for_it(controller):
    found = add_feedback(controller, {"decision_id": "later", "quality": 0.5}, ANYONE)
    assert (found["new"], found["waits"]) == (True, True)
    assert controller.health()["pending_feedback"] == 1


@pytest.mark.parametrize("field", ["decision_id", "id", "source"])
def test_an_id_that_no_decision_can_have_is_refused(controller, field):
    """Feedback on an unknown decision is kept, so its size needs a limit."""
    body = {"decision_id": "later", "quality": 0.5, field: "x" * 513}
    for name, size in (("x" * 513, 513), ("é" * 257, 514)):
        with pytest.raises(DataError, match=f"{field} must have at most 512 bytes in UTF-8, not {size}"):
            add_feedback(controller, {**body, field: name}, ANYONE)
    assert controller.health()["pending_feedback"] == 0
    assert add_feedback(controller, {**body, field: "x" * 512}, ANYONE)["new"]


def test_thumbs_are_labelled_as_inferred_and_the_last_click_counts(controller, monkeypatch):
    decision = controller.route("hello")
    clock = itertools.count(time.time_ns(), 1_000_000)
    monkeypatch.setattr(client_feedback.time, "time_ns", lambda: next(clock))
    for thumbs in ("up", "down", "up"):
        found = add_feedback(controller, {"decision_id": decision.id, "thumbs": thumbs}, ANYONE)
        assert f"{decision.id}/implicit:thumbs" == found["id"]
    outcomes = controller.store.outcomes()
    assert outcomes.quality.tolist() == [1.0]


@pytest.mark.parametrize("behind_s", [300, 10 * 365 * 86400])
def test_the_last_click_counts_although_the_clock_went_back(controller, monkeypatch, behind_s):
    decision, now = controller.route("hello"), [time.time_ns()]
    monkeypatch.setattr(client_feedback.time, "time_ns", lambda: now[0])
    for thumbs in ("up", "down", "up", "down"):
        assert add_feedback(controller, {"decision_id": decision.id, "thumbs": thumbs}, ANYONE)["new"]
        now[0] -= behind_s * 10**9
    assert controller.store.outcomes().quality.tolist() == [0.0]


def test_the_source_of_thumbs_is_labelled_too(controller):
    found = add_feedback(controller, {"decision_id": controller.route("hello").id, "thumbs": "up", "source": "chat"}, ANYONE)
    assert found["id"].endswith("/implicit:chat")


def test_the_same_figures_count_once_and_other_ones_are_refused(controller):
    body = {"decision_id": controller.route("hello").id, "cost_usd": 0.5, "latency_ms": 90}
    assert [add_feedback(controller, body, ANYONE)["new"] for _ in range(2)] == [True, False]
    assert add_feedback(controller, {**body, "quality": 1}, ANYONE)["new"]
    for other in ({"cost_usd": 0.6}, {"output_tokens": 7, "quality": 0.5, "source": "judge"}):
        with pytest.raises(Refused, match="has other figures") as refused:
            add_feedback(controller, {**body, **other}, ANYONE)
        assert refused.value.status == 409
    log = controller.store.experience()
    assert [(attempt.n, attempt.cost_usd, attempt.latency_ms) for attempt in log.attempts] == [(0, 0.5, 90)]
    assert [feedback.quality for feedback in log.feedback] == [1]


def test_figures_that_come_with_known_feedback_are_new(controller):
    body = {"decision_id": controller.route("hello").id, "quality": 1}
    later = {**body, "cost_usd": 0.5}
    assert [add_feedback(controller, each, ANYONE)["new"] for each in (body, later, later, body)] == [True, True, False, False]
    assert [attempt.cost_usd for attempt in controller.store.experience().attempts] == [0.5]


def test_figures_of_an_unknown_decision_count_once_when_it_comes(controller):
    body = {"decision_id": "later", "cost_usd": 0.5}
    assert all(add_feedback(controller, body, ANYONE)["waits"] for _ in range(2))
    controller.route("hello", decision_id="later")
    assert not add_feedback(controller, body, ANYONE)["new"]
    assert [attempt.cost_usd for attempt in controller.store.experience().attempts] == [0.5]


@pytest.mark.parametrize("fields", [{}, {"source": "judge"}, {"id": "ticket-7"}])
def test_figures_that_a_controller_logged_with_their_feedback_are_known(controller, fields):
    decision_id = controller.route("hello").id
    logged = {**fields, **({"id": f"{decision_id}/ticket-7"} if "id" in fields else {})}
    controller.feedback(decision_id, quality=1, cost_usd=0.5, **logged)
    body = {"decision_id": decision_id, "quality": 1, "cost_usd": 0.5, **fields}
    assert not add_feedback(controller, body, ANYONE)["new"]
    with pytest.raises(Refused, match="has other figures"):
        add_feedback(controller, {**body, "cost_usd": 0.6}, ANYONE)
    assert [attempt.cost_usd for attempt in controller.store.experience().attempts] == [0.5]


def test_figures_alone_may_name_the_candidate_that_was_called(controller):
    decision = controller.route("hello")
    other = next(name for name in ("small", "large") if name != decision.candidate)
    body = {"decision_id": decision.id, "cost_usd": 0.5, "candidate": other}
    assert [add_feedback(controller, body, ANYONE)["new"] for _ in range(2)] == [True, False]
    assert [attempt.candidate for attempt in controller.store.experience().attempts] == [other]
    with pytest.raises(DataError, match="had no candidate 'smal'"):
        add_feedback(controller, {**body, "decision_id": controller.route("hi").id, "candidate": "smal"}, ANYONE)


@pytest.mark.parametrize(
    ("figures", "most"),
    [({"cost_usd": 1e12}, "400"), ({"latency_ms": 1e11}, "86400000"), ({"output_tokens": 10**7}, "2000000"), ({"cost_usd": 9.0}, None)],
)
def test_a_client_reports_no_figures_beyond_those_of_any_call(controller, figures, most):
    """They are in the sums that everybody sees, and nobody could take them back."""
    body = {"decision_id": controller.route("hello").id, "candidate": "large", **figures}
    if most is not None:
        with pytest.raises(DataError, match=f"must be at most {most} for this decision, not 1"):
            add_feedback(controller, body, ANYONE)
        assert not controller.store.experience().attempts
    assert add_feedback(controller, body, Caller(admin=True))["new"]


def test_a_client_may_report_more_for_a_candidate_of_unknown_price():
    pool = Pool([ModelSpec("small", prices=Prices(1.0, 2.0), context_window=1000), ModelSpec("large", prices=Prices(1.0, 2000.0)), ModelSpec("own")])
    with MetaController.build(router="thompson", pool=pool) as controller:
        for candidate, cost_usd, is_allowed in (("small", 10.5, False), ("small", 9.5, True), ("own", 39_000.0, True), ("own", 41_000.0, False)):
            body = {"decision_id": controller.route("hello").id, "candidate": candidate, "cost_usd": cost_usd}
            if is_allowed:
                assert add_feedback(controller, body, ANYONE)["new"]
            else:
                with pytest.raises(DataError, match="cost_usd must be at most"):
                    add_feedback(controller, body, ANYONE)


def test_figures_are_refused_where_the_log_has_the_calls(controller):
    decision_id = controller.route("hello").id
    controller.log_attempts([Attempt(decision_id, cost_usd=0.01, cost_source="priced")])
    for fields in ({"cost_usd": 0.01}, {"latency_ms": 5, "quality": 1}):
        with pytest.raises(DataError, match=r"the log has the calls of decision .* already: leave cost_usd, latency_ms, output_tokens out"):
            add_feedback(controller, {"decision_id": decision_id, **fields}, ANYONE)
    log = controller.store.experience()
    assert (len(log.attempts), len(log.feedback)) == (1, 0)
    assert add_feedback(controller, {"decision_id": decision_id, "quality": 1}, ANYONE)["new"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"quality": 1}, "decision_id must be the id in the answer's header"),
        ({"decision_id": 7, "quality": 1}, "not 7"),
        ({"decision_id": "a"}, r"must give quality .*, or a figure of cost_usd, latency_ms, output_tokens"),
        ({"decision_id": "a", "cost_usd": 1, "source": "app"}, "source is for feedback with quality, over or thumbs, not for figures alone"),
        ({"decision_id": "a", "cost_usd": 1, "id": "ticket-7"}, "id is for feedback with quality"),
        ({"decision_id": "a", "quality": 2}, "quality must be a number from 0 to 1, not 2"),
        ({"decision_id": "a", "quality": "good"}, "not 'good'"),
        ({"decision_id": "a", "quality": True, "over": "x"}, "both"),
        ({"decision_id": "a", "qualty": 1}, "did you mean 'quality'"),
        ({"decision_id": "a", "quality": 1, "tie": True}, "tie needs over"),
        ({"decision_id": "a", "thumbs": "up", "tie": True}, "tie needs over"),
        ({"decision_id": "a", "thumbs": "sideways"}, "thumbs must be up or down"),
        ({"decision_id": "a", "thumbs": "up", "quality": 1}, "not several"),
        ({"decision_id": "a", "thumbs": "up", "revision": 9}, "thumbs take no revision: the last click counts; leave it out"),
        ({"decision_id": "a", "quality": 1, "source": "implicit:thumbs", "revision": 9}, "thumbs take no revision"),
        ({"decision_id": "a", "quality": 1, "revision": -1}, "revision"),
        ({"decision_id": "a", "quality": 1, "source": 5}, "source"),
        ({"decision_id": "a", "quality": 1, "cost_usd": -1}, "cost_usd"),
    ],
)
def test_wrong_feedback_is_refused_with_what_is_wrong(controller, body, message):
    with pytest.raises(DataError, match=message):
        add_feedback(controller, body, ANYONE)


def test_a_candidate_that_the_decision_did_not_have_is_refused(controller):
    decision = controller.route("hello")
    for fields in ({"quality": 1, "candidate": "smal"}, {"over": "smal"}, {"thumbs": "up", "candidate": "smal"}):
        with pytest.raises(DataError, match="had no candidate 'smal'; did you mean 'small'"):
            add_feedback(controller, {"decision_id": decision.id, **fields}, ANYONE)
    with pytest.raises(DataError, match="cannot beat itself"):
        add_feedback(controller, {"decision_id": decision.id, "over": decision.candidate}, ANYONE)


def test_feedback_is_on_candidates_that_answered(controller):
    decision, other = controller.route("hello"), controller.route("hi", decision_id="elsewhere")
    called, idle = sorted(("small", "large"), key=lambda name: name != decision.candidate)
    controller.log_attempts([Attempt(decision.id, candidate=called), Attempt(decision.id, candidate=idle, error="timeout")])
    for field, fields in (
        ("candidate", {"candidate": idle, "quality": 1}),
        ("over", {"over": idle}),
        ("candidate", {"candidate": idle, "over": called}),
    ):
        with pytest.raises(DataError, match=f"{field} '{idle}' gave no answer for decision .*; answers are of: {called}; leave {field} out"):
            add_feedback(controller, {"decision_id": decision.id, **fields}, ANYONE)
    assert add_feedback(controller, {"decision_id": decision.id, "candidate": called, "quality": 1}, ANYONE)["new"]
    assert add_feedback(controller, {"decision_id": decision.id, "over": idle, "source": "judge"}, Caller(admin=True))["new"]
    for fields in ({"candidate": idle, "over": called, "latency_ms": 90}, {"candidate": called, "quality": 1, "source": "judge"}):
        assert add_feedback(controller, {"decision_id": other.id, **fields}, ANYONE)["new"]  # answered elsewhere, as after POST /v1/route


def test_a_weight_needs_an_admin_key(controller):
    body = {"decision_id": controller.route("hello").id, "quality": 1, "weight": 2}
    with pytest.raises(Refused, match="admin key") as refused:
        add_feedback(controller, body, ANYONE)
    assert refused.value.status == 403
    assert add_feedback(controller, body, Caller(admin=True))["new"]


@pytest.mark.parametrize(
    ("asked", "caller", "is_allowed"),
    [
        ({"tenant": "acme"}, Caller(tenant="acme"), True),
        ({"tenant": "acme", "user": "ann"}, Caller(tenant="acme"), True),
        ({"tenant": "acme", "user": "ann"}, Caller(tenant="acme", user="ann"), True),
        ({"user": "ann"}, Caller(), True),
        ({"tenant": "acme", "user": "ann"}, Caller(admin=True), True),
        ({"tenant": "acme"}, Caller(tenant="other"), False),
        ({"tenant": "acme"}, Caller(), False),
        ({}, Caller(tenant="acme"), False),
        ({"tenant": "acme", "user": "ann"}, Caller(tenant="acme", user="ben"), False),
        ({"tenant": "acme"}, Caller(tenant="acme", user="ben"), False),
    ],
)
def test_a_key_sends_feedback_only_on_the_decisions_of_its_tenant_and_user(controller, asked, caller, is_allowed):
    body = {"decision_id": controller.route("hello", **asked).id, "quality": 1}
    if is_allowed:
        assert add_feedback(controller, body, caller)["new"]
        return
    assert add_feedback(controller, body, caller)["waits"]
    assert not controller.store.outcomes().judged.any()
    assert add_feedback(controller, body, Caller(admin=True))["new"]


def test_feedback_on_a_decision_of_another_tenant_gets_the_answers_of_an_unknown_one(controller):
    decision_id, stranger = controller.route("hello", tenant="acme").id, Caller(tenant="other")

    def answers(name):
        for fields in (
            {"quality": 1},
            {"quality": 1},
            {"quality": 0},
            {"quality": 0, "id": "ticket"},
            {"quality": 0, "id": f"{name}/ticket"},
            {"quality": 0, "id": ""},
            {"quality": 0, "id": 5},
            {"cost_usd": 1},
            {"over": "unknown"},
            {"over": "small", "candidate": "small"},
            {"thumbs": "up"},
            {"quality": 2},
        ):
            try:
                found = add_feedback(controller, {"decision_id": name, **fields}, stranger)
            except AamcError as error:
                found = type(error), str(error), getattr(error, "status", None)
            yield str(found).replace(name, "NAME")

    unknown = list(answers("0" * 32))
    assert any("409" in answer for answer in unknown)
    assert list(answers(decision_id)) == unknown
    assert add_feedback(controller, {"decision_id": decision_id, "quality": 0}, Caller(tenant="acme"))["new"]


@pytest.mark.parametrize("draws", [False, True])
def test_a_key_of_a_user_sends_feedback_on_the_answers_of_orchestrators_and_forgetting_the_user_covers_them(controller, draws):
    decision = Decision("d", "calculator", math.nan, Preference())

    class Done(Orchestration):
        count = 1

        def log(self):
            return ([Record.of_step(decision, Query("What is 2 + 2?"), ["calculator"])] if draws else []), []

    asked = Query("What is 2 + 2?", user="ann", tenant="acme")
    records, attempts = entries_of(Done(None, asked, Budget()), "aamc/puppeteer", asked, Preference(), time.time())
    controller.store.add_decisions(records)
    controller.store.add_attempts(attempts)
    body = {"decision_id": records[-1].decision.id, "quality": 1}
    assert add_feedback(controller, body, Caller(tenant="acme", user="ben"))["waits"]
    assert add_feedback(controller, body, Caller(tenant="acme", user="ann"))["new"]
    assert controller.forget("ann", tenant="acme") == 1
    assert controller.store.record(body["decision_id"]).query.text == ""


@pytest.mark.parametrize("fields", [{"source": "vote"}, {"source": "vote:ann"}, {"id": "d/vote:ann/1"}, {"id": "vote/1"}, {"id": "vote"}])
def test_feedback_takes_no_place_of_a_vote(controller, fields):
    body = {"decision_id": controller.route("hello").id, "quality": 1, **fields}
    with pytest.raises(Refused, match="votes in the arena") as refused:
        add_feedback(controller, body, ANYONE)
    assert refused.value.status == 403
    assert add_feedback(controller, body, Caller(admin=True))["new"]


@pytest.mark.parametrize("fields", [{"source": "voters"}, {"id": "vote-7"}, {"thumbs": "up", "source": "vote"}])
def test_other_sources_and_ids_may_begin_with_these_letters(controller, fields):
    body = {"decision_id": controller.route("hello").id, **({} if "thumbs" in fields else {"quality": 1}), **fields}
    assert add_feedback(controller, body, ANYONE)["new"]
