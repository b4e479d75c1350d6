"""Checks of rewards."""

from __future__ import annotations

import attrs
import numpy as np

from aamc_sdk.interfaces import Reward
from aamc_sdk.testing.checks.components import OPTION_CHECKS, require_same
from aamc_sdk.testing.findings import checks_in, require, require_array, skip
from aamc_sdk.testing.subject import Subject, equal, splits
from aamc_sdk.types import Dataset, Floats, Outcomes

_PREFERENCES = np.array([(0.9, 0.08, 0.02), (0.3, 0.3, 0.4), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)])
_FACTORS = (1.0, 0.0, 0.1, 10.0, 1000.0)
"""Factors of costs and latencies: a linear objective holds far outside the fitted outcomes, a clipped one does not."""


def _outcomes(dataset: Dataset) -> Outcomes:
    assert dataset.outcomes is not None
    return dataset.outcomes


def _fitted(subject: Subject) -> Reward:
    reward: Reward = subject.make()
    reward.fit(_outcomes(subject.train_set))
    return reward


def _scalars(reward: Reward, outcomes: Outcomes) -> Floats:
    """Return the scalars under each of the preferences, ``[4, B, M]``."""
    rows = len(outcomes.cost_usd)
    return np.stack([reward.scalar(outcomes, np.tile(preference, (rows, 1))) for preference in _PREFERENCES])


def check_shapes(subject: Subject) -> None:
    """Known outcomes have three finite objectives and a finite reward under each preference."""
    reward, outcomes = _fitted(subject), _outcomes(subject.test_set)
    shape = outcomes.cost_usd.shape
    vector = reward.vector(outcomes)
    require_array("vector", vector, (*shape, 3))
    preferences = np.tile(_PREFERENCES[0], (len(outcomes.cost_usd), 1))
    require_array("weights", reward.weights(preferences), preferences.shape)
    require_array("scalar", reward.scalar(outcomes, preferences), shape)
    scalars = _scalars(reward, outcomes)
    require(np.isfinite(vector).all() and np.isfinite(scalars).all(), "the reward of known outcomes must be finite")


def check_the_scalar_is_the_weighted_vector(subject: Subject) -> None:
    """The reward is the sum of weights times vector: routers learn from the scalar, environments give the sum."""
    reward, outcomes = _fitted(subject), _outcomes(subject.test_set)
    weighted = np.stack([reward.vector(outcomes) @ reward.weights(preference) for preference in _PREFERENCES])
    require(equal(_scalars(reward, outcomes), weighted), "scalar must be the sum of weights times vector, which is the reward of environments")


def check_no_rows(subject: Subject) -> None:
    """An empty batch has an empty reward."""
    nothing = _outcomes(subject.test_set).take(slice(0, 0))
    require(_scalars(_fitted(subject), nothing).size == 0, "the reward of no outcomes must be empty")


def check_slopes_and_offsets(subject: Subject) -> None:
    """Slopes and offsets, if any, give the objectives of all outcomes, after every fit."""
    reward = _fitted(subject)
    if reward.affine is None:
        skip("it has no slopes and offsets (affine is None)")
    _require_lines(reward, subject, "")
    require(reward.affine is reward.affine, "slopes and offsets (affine) must be the same object until the reward changes")
    train = _outcomes(subject.train_set)
    reward.fit(attrs.evolve(train, cost_usd=7 * train.cost_usd))
    _require_lines(reward, subject, " after a second fit")


def _require_lines(reward: Reward, subject: Subject, when: str) -> None:
    if reward.affine is None:
        return
    slopes, offsets = reward.affine
    shapes = np.shape(slopes), np.shape(offsets)
    require(shapes == ((3,), (3,)), f"slopes and offsets (affine) must be (3,) each, not {shapes[0]} and {shapes[1]}")
    outcomes = _outcomes(subject.test_set)
    for factor in _FACTORS:
        scaled = attrs.evolve(outcomes, cost_usd=factor * outcomes.cost_usd, latency_ms=factor * outcomes.latency_ms)
        figures = np.stack((scaled.known_quality, scaled.cost_usd, scaled.latency_ms), axis=-1)
        where = when if factor == 1 else f" of costs and latencies times {factor:g}{when}"
        require(
            equal(figures * slopes + offsets, reward.vector(scaled)), f"slopes and offsets (affine) must give the result of vector{where}, or be None"
        )


def check_weights_stay_on_the_simplex(subject: Subject) -> None:
    """The effective weights are at least 0 and sum to 1."""
    weights = _fitted(subject).weights(_PREFERENCES)
    require((weights >= 0).all() and equal(weights.sum(axis=-1), np.ones(len(_PREFERENCES))), "weights must be at least 0 and sum to 1")
    require(equal(_fitted(subject).weights(_PREFERENCES[0]), weights[0]), "the weights of one preference [3] must equal its weights in a batch")


def check_better_outcomes_are_never_worth_less(subject: Subject) -> None:
    """Higher quality, lower cost and lower latency never lower the reward."""
    reward, outcomes = _fitted(subject), _outcomes(subject.test_set)
    outcomes = attrs.evolve(outcomes, quality=0.5 * outcomes.known_quality)  # half as good: answers of the kit are good or bad
    before = _scalars(reward, outcomes)
    improved = {
        "higher quality": attrs.evolve(outcomes, quality=outcomes.known_quality + 0.5),
        "lower cost": attrs.evolve(outcomes, cost_usd=0.5 * outcomes.cost_usd),
        "lower latency": attrs.evolve(outcomes, latency_ms=0.5 * outcomes.latency_ms),
    }
    for what, better in improved.items():
        require((_scalars(reward, better) >= before - 1e-12).all(), f"{what} lowers the reward")


def check_unknown_outcomes(subject: Subject) -> None:
    """An unknown objective is NaN, does not change other outcomes, and matters only with a weight above 0."""
    reward, outcomes = _fitted(subject), _outcomes(subject.test_set)
    vector = reward.vector(attrs.evolve(outcomes, quality=None))
    same_shape = vector.shape == (*outcomes.cost_usd.shape, 3)
    require(same_shape and np.isnan(vector[..., 0]).all(), "the objective of quality None must be NaN: outcomes.known_quality is")
    quality = outcomes.known_quality.copy()
    quality[0, 0] = np.nan
    partly = attrs.evolve(outcomes, quality=quality)
    require(np.isnan(reward.vector(partly)[0, 0, 0]), "the objective of an unknown quality must be NaN")
    before, after = _scalars(reward, outcomes), _scalars(reward, partly)
    require(equal(before[:, 1:], after[:, 1:]), "one unknown quality changes other rows")
    require(np.isfinite(after[3]).all(), "an unknown quality must not matter if quality has no weight")


def check_outcomes_stay_as_they_are(subject: Subject) -> None:
    """Neither ``fit``, ``vector`` nor ``scalar`` changes the outcomes, which others read too."""
    before, given = (splits()[2].outcomes for _ in range(2))
    reward = subject.make()
    for name, method in (("fit", reward.fit), ("vector", reward.vector), ("scalar", lambda outcomes: _scalars(reward, outcomes))):
        method(given)
        require_same(before, given, "outcomes", name)


def check_outcomes_of_any_shape(subject: Subject) -> None:
    """``vector`` takes outcomes of any shape: environments give it one outcome a stream, ``[n]``."""
    reward, outcomes = _fitted(subject), _outcomes(subject.test_set)
    rows = len(outcomes.cost_usd)
    chosen = np.arange(rows), np.arange(rows) % outcomes.cost_usd.shape[1]
    single = Outcomes(outcomes.known_quality[chosen], outcomes.cost_usd[chosen], outcomes.latency_ms[chosen])
    alike = equal(reward.vector(single), reward.vector(outcomes)[chosen])
    require(alike, "the objectives of outcomes [n] must be [n, 3], and equal those in a table: stack them with axis=-1")


def check_preferences_stay_as_they_are(subject: Subject) -> None:
    """``weights`` changes no preferences, which the log reads too, also where an objective is unknown."""
    outcomes = _outcomes(subject.test_set)
    reward, given = subject.make(), _PREFERENCES.copy()
    reward.fit(attrs.evolve(outcomes, latency_ms=np.full_like(outcomes.latency_ms, np.nan)))
    reward.weights(given)
    require_same(_PREFERENCES, given, "preferences", "weights")


def check_a_row_does_not_depend_on_its_batch(subject: Subject) -> None:
    """A row has the same reward alone as in its batch."""
    reward, outcomes = _fitted(subject), _outcomes(subject.test_set)
    alone = _scalars(reward, outcomes.take(slice(1, 2)))
    require(equal(alone, _scalars(reward, outcomes)[:, 1:2]), "the reward of a row alone differs from that in its batch: take scales in fit only")


def check_outcomes_without_differences(subject: Subject) -> None:
    """The reward is finite where all costs and latencies are equal, or latencies are unknown."""
    outcomes = _outcomes(subject.test_set)
    flat = attrs.evolve(outcomes, cost_usd=np.full_like(outcomes.cost_usd, 0.01), latency_ms=np.full_like(outcomes.latency_ms, 100.0))
    for what, known in (
        ("equal costs and latencies", flat),
        ("unknown latencies", attrs.evolve(outcomes, latency_ms=np.full_like(flat.cost_usd, np.nan))),
    ):
        reward = subject.make()
        reward.fit(known)
        require(np.isfinite(_scalars(reward, known)).all(), f"the reward of {what} must be finite: give such an objective the value or the weight 0")


def check_instances_share_nothing(subject: Subject) -> None:
    """Fitting another instance to other outcomes changes no reward of this one."""
    reward, outcomes = _fitted(subject), _outcomes(subject.test_set)
    before = _scalars(reward, outcomes).copy()
    subject.make().fit(attrs.evolve(outcomes, cost_usd=7 * outcomes.cost_usd, latency_ms=3 * outcomes.latency_ms))
    require(equal(before, _scalars(reward, outcomes)), "fitting one instance changes another one's rewards: keep the scales in the instance")


def check_save_and_load(subject: Subject) -> None:
    """A reward that loads a saved state gives the same rewards."""
    reward, outcomes = _fitted(subject), _outcomes(subject.test_set)
    require(equal(_scalars(reward, outcomes), _scalars(subject.reloaded(reward), outcomes)), "the loaded reward differs")


CHECKS = (*OPTION_CHECKS, *checks_in(__name__))
