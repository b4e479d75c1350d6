from __future__ import annotations

import numpy as np
import pytest
from aamc_environments.queue import standalone

from aamc_sdk.errors import ConfigError, PoolError
from aamc_sdk.routing import PAIR_FEATURES

CODE = 3


def at_steps(steps, *events):
    """Play with events until the last step; return the request seen at each."""
    streams = standalone(queries=200, events=list(events)).vector(4, "train", preferences=np.tile([1.0, 0, 0], (4, 1)))
    streams.reset()
    seen = {}
    for step in range(max(steps) + 1):
        if step in steps:
            seen[step] = streams.request()
        streams.step(np.zeros(4, dtype=int))
    return [seen[step] for step in steps]


def test_a_model_goes_down_and_comes_back():
    before, during, after = at_steps((1, 2, 5), {"at": 2, "candidate": "LLM-Code", "kind": "down"}, {"at": 5, "candidate": "LLM-Code", "kind": "up"})
    assert before.mask.all()
    assert not during.mask[:, CODE].any()
    assert during.reasons(0, CODE) == "unavailable"
    assert after.mask.all()


def test_a_new_model_joins_a_pool_whose_order_stays():
    before, after = at_steps((2, 3), {"at": 3, "candidate": "LLM-Code", "kind": "join"})
    assert not before.mask[:, CODE].any()
    assert after.mask.all()
    assert before.pool.names == after.pool.names


def test_a_price_change_is_seen_and_paid():
    plain = at_steps((0, 4))
    changed = at_steps((0, 4), {"at": 4, "candidate": "LLM-Code", "kind": "price", "factor": 3.0})
    np.testing.assert_allclose(changed[0].expected.cost_usd, plain[0].expected.cost_usd)
    ratio = changed[1].expected.cost_usd / plain[1].expected.cost_usd
    np.testing.assert_allclose(ratio[:, CODE], 3)
    np.testing.assert_allclose(np.delete(ratio, CODE, axis=1), 1)
    np.testing.assert_allclose(changed[1].hindsight.cost_usd[:, CODE], 3 * plain[1].hindsight.cost_usd[:, CODE])


def test_quality_drifts_in_truth_while_estimates_stay():
    event = {"at": 2, "candidate": "LLM-Code", "kind": "drift", "shift": -2.0, "over": 3}
    plain, drifted = at_steps((1, 3, 9)), at_steps((1, 3, 9), event)
    moved = []
    for one, two in zip(plain, drifted, strict=True):
        np.testing.assert_allclose(one.expected.quality, two.expected.quality)
        log_odds = [np.log(r.hindsight.quality / (1 - r.hindsight.quality))[:, CODE] for r in (one, two)]
        moved.append(log_odds[1] - log_odds[0])
    np.testing.assert_allclose(moved, np.array([[0.0], [-1.0], [-2.0]]) * np.ones(4), atol=1e-9)


def test_observations_show_who_is_down():
    streams = standalone(queries=50, events=[{"at": 1, "candidate": "LLM-Code", "kind": "down"}]).vector(2, "train")
    before, _ = streams.reset()
    after, *_ = streams.step(np.zeros(2, dtype=int))
    allowed = slice(PAIR_FEATURES.index("allowed") - len(PAIR_FEATURES) * 7, None, len(PAIR_FEATURES))
    np.testing.assert_array_equal(before[0, allowed], np.ones(7))
    np.testing.assert_array_equal(after[0, allowed], np.arange(7) != CODE)


def test_the_schedule_restarts_with_each_stream():
    streams = standalone(queries=50, horizon=3, events=[{"at": 2, "candidate": "LLM-Code", "kind": "down"}]).vector(2, "train")
    streams.reset()
    allowed = []
    for _ in range(6):
        allowed.append(bool(streams.request().mask[0, CODE]))
        streams.step(np.zeros(2, dtype=int))
    assert allowed == [True, True, False, True, True, False]


@pytest.mark.parametrize(
    ("event", "error", "message"),
    [
        ({"candidate": "LLM-Cod"}, PoolError, "did you mean 'LLM-Code'"),
        ({"candidate": "LLM-Code", "kind": "upp"}, ConfigError, "kind must be one of"),
        ({"candidate": "LLM-Code", "kind": "up"}, ConfigError, "cannot up at step 0: it is available already"),
        ({"candidate": "LLM-Code", "kind": "price", "shift": -2.0}, ConfigError, "shift is not an option of an event of kind 'price'"),
        ({"candidate": "LLM-Code", "kind": "price", "factor": 2.0, "over": 50}, ConfigError, "over is not an option of an event of kind 'price'"),
        ({"candidate": "LLM-Code", "kind": "down", "over": 5}, ConfigError, "over is not an option of an event of kind 'down'"),
        ({"candidate": "LLM-Code", "kind": "drift", "shift": 1.0, "factor": 0.1}, ConfigError, "factor is not an option of an event of kind 'drift'"),
        ({"candidate": "LLM-Code", "kind": "drift"}, ConfigError, "the drift of 'LLM-Code' at step 0 needs a shift"),
        ({"candidate": "LLM-Code", "at": -1}, ConfigError, "at must be at least 0"),
        ({"candidate": "LLM-Code", "when": 1}, ConfigError, "when"),
    ],
)
def test_events_that_make_no_sense_are_refused(event, error, message):
    with pytest.raises(error, match=message):
        standalone(queries=8, events=[event])
