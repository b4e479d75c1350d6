"""The dashboard's figures: each entry of the log counts once, whenever it comes."""

from __future__ import annotations

import math
import time

import attrs
import pytest
from aamc_gateway.dashboard import log_reader
from aamc_gateway.dashboard.log_reader import LogReader
from aamc_gateway.dashboard.log_sums import MAX_USERS, QualitySums, Tokens, percentiles, written_tokens
from aamc_gateway.dashboard.overview import overview, prices_of
from aamc_gateway.dashboard.price_history import PriceHistory

from aamc_sdk import MetaController
from aamc_sdk.errors import DataError
from aamc_sdk.types import ModelSpec, Pool, Prices, wilson_interval


@pytest.fixture
def pool():
    return Pool([ModelSpec("small", prices=Prices(1.0, 2.0)), ModelSpec("large", prices=Prices(10.0, 20.0, cached_input=1.0))])


@pytest.fixture
def controller(pool):
    with MetaController.build(router="thompson", pool=pool) as made:
        yield made


def reader_of(controller, **options):
    return LogReader(controller.store, PriceHistory([(0.0, prices_of(controller.pool))]), **options)


def call(controller, decision, candidate=None, **figures):
    answered = {"cost_usd": 0.003, "latency_ms": 100.0, "prompt_tokens": 1000, "output_tokens": 1000}
    controller.attempt(decision.id, candidate=candidate or decision.candidate, **{**answered, **figures})


def candidates(document):
    return {each["name"]: each for each in document["candidates"]}


def test_an_empty_log_has_no_figures(controller, pool):
    reader = reader_of(controller)
    reader.read()
    document = overview(reader, "day")
    assert (document["decisions"], document["candidates"], document["cost"]["saved_usd"]) == (0, [], None)


def test_the_saving_is_net_of_failed_calls_and_against_the_same_tokens(controller, pool):
    decision = controller.route("hello", unavailable=["large"])
    call(controller, decision, status="error", error="broken", cost_usd=0.001)
    call(controller, decision)
    reader = reader_of(controller)
    reader.read()
    call(controller, controller.route("hello"), status="refused", error="bad parameter", cost_usd=None)
    document = overview(reader, "day", "large")
    assert [each["unknown_costs"] for each in document["candidates"]] == [0] * len(document["candidates"])
    cost = document["cost"]
    assert pytest.approx((0.004, 0.001, 0.03)) == (cost["total_usd"], cost["routing_usd"], cost["baseline_usd"])
    assert pytest.approx(0.03 - 0.004) == cost["saved_usd"]


def test_always_using_the_baseline_itself_saves_nothing(controller, pool):
    for n in range(10):
        call(controller, controller.route(f"hello {n}", unavailable=["large"]))
    reader = reader_of(controller)
    reader.read()
    cost = overview(reader, "day", "small")["cost"]
    assert (cost["saved_usd"], cost["saved_share"]) == (0.0, 0.0)


def test_cached_tokens_are_compared_at_the_price_of_cached_tokens(controller, pool):
    call(controller, controller.route("hello", unavailable=["large"]), cached_tokens=1000)
    reader = reader_of(controller)
    reader.read()
    assert pytest.approx(0.001 + 0.02) == overview(reader, "hour", "large")["cost"]["baseline_usd"]


def test_answers_that_clients_cancel_cost_nothing_in_the_saving(controller, pool):
    call(controller, controller.route("hello", unavailable=["large"]))
    call(controller, controller.route("hello", unavailable=["large"]), status="cancelled", error="left", cost_usd=0.001)
    reader = reader_of(controller)
    reader.read()
    cost = overview(reader, "day", "small")["cost"]
    assert (cost["total_usd"], cost["routing_usd"], cost["saved_usd"]) == (pytest.approx(0.004), 0.0, 0.0)


def test_embeddings_and_images_save_nothing(controller, pool):
    call(controller, controller.route("hello", unavailable=["large"]), output_tokens=0)
    reader = reader_of(controller)
    reader.read()
    document = overview(reader, "hour", "large")
    cost = document["cost"]
    assert (cost["total_usd"], cost["compared"], cost["saved_usd"]) == (pytest.approx(0.003), 0, None)
    assert candidates(document)["small"]["mean_cost_usd"] == pytest.approx(0.003)


def test_answers_of_unknown_cost_are_left_out_of_both_sides_of_the_saving(controller, pool):
    call(controller, controller.route("hello", unavailable=["large"]), cost_usd=None)
    reader = reader_of(controller)
    reader.read()
    cost = overview(reader, "day", "large")["cost"]
    assert (cost["unknown"], cost["compared"], cost["saved_usd"]) == (1, 0, None)


def test_a_model_whose_calls_all_fail_has_no_answers_and_no_share_of_them(controller, pool):
    for n in range(4):
        decision = controller.route(f"hello {n}", unavailable=["large"])
        call(controller, decision, status="error", error="broken", cost_usd=None)
        call(controller, decision, "large")
    reader = reader_of(controller)
    reader.read()
    document = overview(reader, "day")
    assert {name: each["share"] for name, each in candidates(document).items()} == {"small": 0.0, "large": 1.0}
    assert [part["answers"] for part in document["parts"] if part["answers"]] == [{"large": 4}]


def test_a_log_without_calls_shows_the_decisions(controller, pool):
    for n in range(4):
        controller.route(f"hello {n}", unavailable=["small"] if n else ["large"])
    reader = reader_of(controller)
    reader.read()
    document = overview(reader, "day")
    assert {name: each["share"] for name, each in candidates(document).items()} == {"small": 0.25, "large": 0.75}
    assert [part["answers"] for part in document["parts"] if part["answers"]] == [{"small": 1, "large": 3}]


def test_a_later_answer_takes_the_place_of_the_one_before(controller, pool):
    decision = controller.route("hello", unavailable=["large"])
    call(controller, decision)
    reader = reader_of(controller)
    reader.read()
    call(controller, decision, "large", cost_usd=0.03)
    reader.read()
    document = overview(reader, "day", "large")
    assert (candidates(document)["small"]["answers"], candidates(document)["large"]["answers"]) == (0, 1)
    assert pytest.approx((0.033, 0.003)) == (document["cost"]["total_usd"], document["cost"]["routing_usd"])
    assert document["fell_back"] == 1


def test_a_later_answer_to_a_decision_that_is_not_remembered_counts_once_too(controller, pool, monkeypatch):
    monkeypatch.setattr(log_reader, "OPEN", 2)
    decision = controller.route("hello", unavailable=["large"])
    call(controller, decision)
    reader = reader_of(controller)
    reader.read()
    for n in range(3):
        controller.route(f"hello {n}")
    reader.read()
    call(controller, decision, "large", cost_usd=0.03)
    controller.feedback(decision.id, quality=1.0, cost_usd=0.04)  # its figures are one more call, of the candidate that served
    reader.read()
    document = overview(reader, "all", "large")
    assert (candidates(document)["small"]["answers"], candidates(document)["large"]["answers"]) == (0, 1)
    assert pytest.approx((0.073, 0.033)) == (document["cost"]["total_usd"], document["cost"]["routing_usd"])
    assert document["fell_back"] == 1


def test_what_comes_after_a_look_is_added_and_nothing_counts_twice(controller, pool):
    reader = reader_of(controller)
    for n in range(5):
        call(controller, controller.route(f"hello {n}"))
        reader.read()
        reader.read()
    document = overview(reader, "day")
    assert (document["decisions"], sum(each["answers"] for each in document["candidates"])) == (5, 5)
    assert sum(sum(part["answers"].values()) for part in document["parts"]) == 5


def test_a_revision_replaces_the_feedback_before_it_even_in_one_look(controller, pool):
    decisions = [controller.route("hello", unavailable=["large"]) for _ in range(2)]
    reader = reader_of(controller)
    for decision in decisions:
        controller.feedback(decision.id, quality=1.0)
    reader.read()
    controller.feedback(decisions[0].id, quality=0.0, revision=1)
    controller.feedback(decisions[0].id, quality=0.5, revision=2)
    reader.read()
    quality = candidates(overview(reader, "day"))["small"]["quality"]
    assert (2, pytest.approx(0.75)) == (quality["n"], quality["mean"])


def test_inferred_feedback_is_kept_apart(controller, pool):
    decision = controller.route("hello", unavailable=["large"])
    controller.feedback(decision.id, quality=0.0, source="implicit:thumbs")
    reader = reader_of(controller)
    reader.read()
    shown = candidates(overview(reader, "day"))["small"]
    assert (shown["quality"], shown["implicit_quality"]["mean"]) == (None, 0.0)


def test_comparisons_count_for_both_sides(controller, pool):
    decision = controller.route("hello")
    controller.feedback(decision.id, candidate="small", over="large", source="a")
    controller.feedback(decision.id, candidate="small", over="large", tie=True, source="b")
    reader = reader_of(controller)
    reader.read()
    shown = candidates(overview(reader, "day"))
    assert (shown["small"]["wins"], shown["large"]["wins"], shown["large"]["comparisons"]) == (1.5, 0.5, 2)


def test_a_period_leaves_out_what_is_older(controller, pool):
    controller.route("hello")
    reader = reader_of(controller)
    reader.read()
    later = time.time() + 2 * 3600
    counts = {period: overview(reader, period, now=later)["decisions"] for period in ("hour", "day", "all")}
    assert counts == {"hour": 0, "day": 1, "all": 1}


def test_a_decision_of_a_clock_that_was_months_ahead_is_in_no_period(controller, pool, monkeypatch):
    now = time.time()
    for ahead_s in (60.0, 1e7, 0.0):
        monkeypatch.setattr(time, "time", lambda ahead_s=ahead_s: now + ahead_s)
        controller.route(f"hello {ahead_s}")
    reader = reader_of(controller)
    reader.read()
    assert [overview(reader, period)["decisions"] for period in ("hour", "day", "month", "all")] == [2, 2, 2, 3]


@pytest.mark.parametrize(("period", "count", "seconds"), [("hour", 60, 60), ("day", 48, 1800), ("month", 30, 86_400), ("all", 30, 86_400)])
def test_the_parts_of_a_period_are_as_long_as_each_other_without_gaps(controller, pool, period, count, seconds):
    controller.route("hello")
    reader = reader_of(controller)
    reader.read()
    parts = overview(reader, period, now=time.time() + 2 * seconds)["parts"]
    begins = [part["begin"] for part in parts]
    assert [begins[0] + seconds * place for place in range(count)] == begins
    assert [0] * (count - 3) + [1, 0, 0] == [part["decisions"] for part in parts]


def test_the_first_look_reads_the_newest_entries_only(controller, pool):
    for n in range(50):
        controller.route(f"hello {n}")
    reader = reader_of(controller, max_entries=10)
    reader.read()
    document = overview(reader, "all")
    assert (document["decisions"], document["is_whole"]) == (10, False)


def test_entries_on_decisions_that_the_first_look_left_out_do_not_count(controller, pool):
    old = controller.route("hello", unavailable=["large"])
    controller.feedback(old.id, quality=1.0)
    recent = [controller.route("hello", unavailable=["large"]) for _ in range(9)]
    reader = reader_of(controller, max_entries=10)
    controller.feedback(recent[0].id, quality=1.0)
    reader.read()
    controller.feedback(old.id, quality=0.0, revision=1)
    call(controller, old)
    controller.feedback(recent[0].id, quality=0.5, revision=1)
    reader.read()
    small = candidates(overview(reader, "all"))["small"]
    assert (small["chosen"], small["answers"], small["quality"]["n"], small["quality"]["mean"]) == (9, 0, 1, 0.5)


def test_the_quality_of_all_models_is_weighted_as_that_of_each(controller, pool):
    for name, quality, weight in (("small", 0.0, 1.0), ("large", 1.0, 3.0)):
        controller.feedback(controller.route("hello").id, quality=quality, weight=weight, candidate=name)
    reader = reader_of(controller)
    reader.read()
    quality = overview(reader, "all")["quality"]
    assert (quality["n"], quality["mean"]) == (2, 0.75)


def test_a_forgotten_user_starts_the_figures_again_without_counting_twice(controller, pool):
    controller.route("hello", user="anna")
    reader = reader_of(controller)
    reader.read()
    controller.forget("anna")
    controller.route("hello again")
    reader.read()
    assert overview(reader, "all")["decisions"] == 2
    assert len(reader.recent(10)) == 2


def test_the_interval_of_quality_counts_a_user_as_one_observation(controller, pool):
    for user, quality in (("ann", 1.0), ("bob", 0.0)):
        for _ in range(10):
            controller.feedback(controller.route("hello", user=user).id, quality=quality, candidate="small")
    reader = reader_of(controller)
    reader.read()
    quality = candidates(overview(reader, "all"))["small"]["quality"]
    assert (quality["n"], quality["mean"]) == (20, 0.5)
    assert quality["ci95"] == pytest.approx(wilson_interval(0.5, 2))
    for _ in range(2):
        controller.feedback(controller.route("hello").id, quality=1.0, candidate="large")  # without a user: each is its own
    reader.read()
    assert candidates(overview(reader, "all"))["large"]["quality"]["ci95"] == pytest.approx(wilson_interval(1.0, 2))


def test_sums_keep_a_limited_number_of_users_and_forget_a_revised_quality() -> None:
    sums, alone = QualitySums(), QualitySums()
    for user in range(2 * MAX_USERS):
        sums.add(user % 2, 1.0, user=user)
        alone.add(user % 2, 1.0)
    assert len(sums.users) == MAX_USERS
    assert sums.interval == pytest.approx(alone.interval)
    for user in range(2 * MAX_USERS):
        sums.add(user % 2, 1.0, -1, user)
    assert (sums.n, sums.mean, sums.interval) == (0, None, None)


def test_the_cost_of_deciding_is_part_of_the_cost_of_routing(controller, monkeypatch):
    score = controller.router.score
    monkeypatch.setattr(controller.router, "score", lambda request: attrs.evolve(score(request), spent_usd=0.25))
    for _ in range(2):
        controller.route("hello")
    reader = reader_of(controller)
    reader.read()
    cost = overview(reader, "day")["cost"]
    assert (cost["deciding_usd"], cost["routing_usd"], cost["total_usd"]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("users", [(None, None), (1, 2)])
def test_feedback_counts_by_its_weight(users: tuple[int | None, ...]) -> None:
    sums = QualitySums()
    for quality, weight, user in zip((1.0, 0.0), (0.5, 1.0), users, strict=True):
        sums.add(quality, weight, user=user)
    assert sums.mean == pytest.approx(1 / 3)
    assert sums.interval == pytest.approx(wilson_interval(1 / 3, 1.5**2 / (0.5**2 + 1)))


@pytest.mark.parametrize("prices", [Prices(3.0, 15.0, 0.3, 3.75), Prices(3.0, 15.0, 0.3, 3.75, cache_write_1h=7.0)])
@pytest.mark.parametrize("hour", [0, 600])
def test_tokens_that_were_written_to_a_cache_follow_from_the_cost(prices: Prices, hour: int) -> None:
    known = Tokens(1000, 300, 100)
    assert Tokens(1000, 300, 100, 600, hour) == written_tokens(prices, prices.cost_usd(1000, 100, 300, 600, hour), known)
    assert known == written_tokens(prices, prices.cost_usd(1000, 100, 300), known)


def test_the_newest_decisions_come_with_their_calls_and_feedback(controller, pool):
    for n in range(3):
        decision = controller.route(f"hello {n}")
        call(controller, decision)
    controller.feedback(decision.id, quality=1.0)
    controller.feedback(decision.id, quality=0.0, revision=1)
    reader = reader_of(controller)
    reader.read()
    newest = reader.recent(2)
    assert [decision.id, 1, [0.0]] == [newest[0].id, len(newest[0].calls), [each["quality"] for each in newest[0].feedback]]
    assert newest[0].text == ""  # the log keeps no prompts by default


def test_the_baseline_is_the_most_expensive_model_until_qualities_are_known(controller, pool):
    reader = reader_of(controller)
    cost = overview(reader, "day")["cost"]
    assert cost["baseline"] == "large"
    assert cost["baseline_why"] == "it is the most expensive; not all models have 30 ratings yet"


@pytest.mark.parametrize(("prompt", "output", "expected"), [(100, 20, "search"), (10_000, 20, "large"), (100, 1000, "writer")])
def test_the_most_expensive_model_is_the_one_for_which_the_tokens_of_the_period_cost_most(prompt, output, expected):
    prices = {"search": Prices(2.0, 8.0, request=0.001), "large": Prices(4.0, 4.0), "writer": Prices(1.0, 15.0)}
    with MetaController.build(router="thompson", pool=Pool([ModelSpec(name, prices=each) for name, each in prices.items()])) as controller:
        decision = controller.route("hello", unavailable=["large", "writer"])
        call(controller, decision, prompt_tokens=prompt, output_tokens=output, cost_usd=prices["search"].cost_usd(prompt, output))
        reader = reader_of(controller)
        reader.read()
    cost = overview(reader, "day")["cost"]
    assert (expected, pytest.approx(prices[expected].cost_usd(prompt, output))) == (cost["baseline"], cost["baseline_usd"])
    assert cost["saved_usd"] >= 0


def test_an_unknown_baseline_is_refused(controller):
    with pytest.raises(DataError, match=r"no model with prices is named 'larg'; did you mean 'large'\? \(there are: large, small\)"):
        overview(reader_of(controller), "day", "larg")


def test_past_answers_are_compared_at_the_prices_and_with_the_best_model_of_their_time(controller, pool):
    call(controller, controller.route("hello", unavailable=["large"]))
    now = time.time()
    cheap = {"small": Prices(0.5, 1.0), "large": Prices(2.0, 3.0)}
    for later in (cheap, {"small": Prices(0.5, 1.0)}, {**cheap, "new": Prices(50.0, 50.0)}):
        reader = LogReader(controller.store, PriceHistory([(now - 60, prices_of(pool)), (now + 60, later)]))
        reader.read()
        found, chosen = overview(reader, "all"), overview(reader, "all", "large")
        assert pytest.approx([0.03, 0.03]) == [each["cost"]["baseline_usd"] for each in (found, chosen)]
        assert found["cost"]["baseline"] == max(later, key=lambda name: later[name].output)
        assert ("best model of their time: large" in found["cost"]["baseline_why"]) == (found["cost"]["baseline"] != "large")
        assert "large" in found["baselines"]


def test_a_model_is_compared_at_its_nearest_prices_where_it_was_not_in_the_pool():
    old, new = {"a": Prices(1, 1), "b": Prices(2, 2)}, {"a": Prices(3, 3), "c": Prices(4, 4)}
    history = PriceHistory([(10.0, old), (20.0, old), (30.0, new)])
    assert ([history.number_at(when) for when in (0.0, 10.0, 29.0, 30.0)], len(history.lists)) == ([0, 0, 0, 1], 2)
    assert (Prices(4, 4), Prices(2, 2), None) == (history.price(0, "c"), history.price(1, "b"), history.price(0, "d"))


def test_percentiles_are_exact_to_the_width_of_a_bin():
    from collections import Counter

    from aamc_gateway.dashboard.log_sums import latency_bin

    bins = Counter(latency_bin(value) for value in range(1, 1001))
    found = percentiles(bins, (0.5, 0.95, 0.99))
    for expected, value in zip((500, 950, 990), found, strict=True):
        assert abs(math.log(value / expected)) < 0.03
    assert percentiles({}, (0.5,)) == [None]


def test_a_long_log_is_read_in_parts(controller, pool):
    for _ in range(3):
        controller.route_batch([f"hello {n}" for n in range(500)])
    reader = reader_of(controller)
    left = [reader.read(0.0)]
    while left[-1]:
        left.append(reader.read(0.0))
    assert left[:2] == [500, 0]
    assert overview(reader, "all")["decisions"] == 1500


@pytest.mark.parametrize("cache_write", [None, 1.25])
@pytest.mark.parametrize(("cached", "written", "hour"), [(0, 0, 0), (0, 600, 0), (300, 700, 0), (0, 1000, 0), (0, 1000, 1000), (300, 700, 700)])
def test_tokens_written_to_a_cache_are_compared_at_that_price(cached, written, hour, cache_write):
    own = Prices(1.0, 2.0, cached_input=0.1, cache_write=cache_write)
    other = Prices(10.0, 20.0, cached_input=1.0, cache_write=cache_write and 10 * cache_write)
    pool = Pool([ModelSpec("small", prices=own), ModelSpec("large", prices=other)])
    with MetaController.build(router="thompson", pool=pool) as controller:
        for _ in range(3):
            cost_usd = own.cost_usd(1000, 1000, cached, written, hour)
            decision = controller.route("hello", unavailable=["large"])
            call(controller, decision, cost_usd=cost_usd, cost_source="priced", cached_tokens=cached)
        reader = reader_of(controller)
        reader.read()
        expected = 3 * other.cost_usd(1000, 1000, cached, written, hour)
        assert pytest.approx(expected) == overview(reader, "hour", "large")["cost"]["baseline_usd"]
