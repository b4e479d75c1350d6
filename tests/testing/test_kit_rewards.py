"""Each broken reward is caught by the check that is meant for it."""

from functools import cached_property
from typing import ClassVar

import numpy as np
import pytest
from offering import failed

from aamc_sdk.routing import LinearReward
from aamc_sdk.testing import assert_conforms


class Perverse(LinearReward):
    def scalar(self, outcomes, preferences):
        return -super().scalar(outcomes, preferences)


class HalfGood(LinearReward):
    """Worth most at half the quality."""

    affine = None

    def scalar(self, outcomes, preferences):
        return super().scalar(outcomes, preferences) - 4 * preferences[:, :1] * np.abs(outcomes.known_quality - 0.5)


class Cubed(LinearReward):
    """Rewards routers for another thing than environments do."""

    def scalar(self, outcomes, preferences):
        return super().scalar(outcomes, preferences) ** 3


class Spreading(LinearReward):
    def scalar(self, outcomes, preferences):
        return super().scalar(outcomes, preferences) - np.mean(outcomes.known_quality)


class Bent(LinearReward):
    def vector(self, outcomes):
        return super().vector(outcomes) ** 3

    @property
    def affine(self):
        return np.ones(3), np.zeros(3)


class Broadcast(LinearReward):
    @property
    def affine(self):
        slopes, offsets = super().affine
        return slopes[None], offsets[None]


class Clipped(LinearReward):
    """Linear only within the range of the kit's outcomes."""

    def vector(self, outcomes):
        return np.maximum(super().vector(outcomes), -20.0)

    @cached_property
    def affine(self):
        return np.array([(1.0, 0.0), self.cost.line, self.latency.line]).T


class RememberedForGood(LinearReward):
    @cached_property
    def affine(self):
        return np.array([(1.0, 0.0), self.cost.line, self.latency.line]).T


class Demanding(LinearReward):
    """Cannot do without qualities."""

    affine = None

    def vector(self, outcomes):
        return np.where(np.isnan(outcomes.quality[..., None]), np.nan, super().vector(outcomes))


class Scaleless(LinearReward):
    def load(self, folder):
        super().load(folder)
        self.cost = self.latency


class InPlace(LinearReward):
    def vector(self, outcomes):
        outcomes.cost_usd[:] = np.round(outcomes.cost_usd, 3)
        return super().vector(outcomes)


class TablesOnly(LinearReward):
    """Takes outcomes ``[B, M]`` alone."""

    affine = None

    def vector(self, outcomes):
        return np.stack(np.moveaxis(super().vector(outcomes), -1, 0), axis=2)


class Rewriting(LinearReward):
    """Drops the weight of an unknown latency in place."""

    def weights(self, preferences):
        found = super().weights(preferences)
        preferences[...] = found
        return found


class Relative(LinearReward):
    """Scales by the batch instead of the training outcomes."""

    affine = None

    def scalar(self, outcomes, preferences):
        return outcomes.known_quality - outcomes.cost_usd / outcomes.cost_usd.max(initial=1e-9)


class Dividing(LinearReward):
    affine = None

    def fit(self, outcomes):
        super().fit(outcomes)
        self.span = np.ptp(outcomes.cost_usd)

    def scalar(self, outcomes, preferences):
        with np.errstate(all="ignore"):
            return outcomes.known_quality - outcomes.cost_usd / self.span

    def load(self, folder):
        super().load(folder)
        self.span = 1.0


class Global(LinearReward):
    """Keeps its scales in the class."""

    scales: ClassVar[dict] = {}

    def fit(self, outcomes):
        super().fit(outcomes)
        self.scales.update(cost=self.cost, latency=self.latency)

    def vector(self, outcomes):
        self.cost, self.latency = self.scales["cost"], self.scales["latency"]
        return super().vector(outcomes)


@pytest.mark.parametrize(
    ("target", "check"),
    [
        (Perverse, "better outcomes are never worth less"),
        (HalfGood, "better outcomes are never worth less"),
        (Cubed, "the scalar is the weighted vector"),
        (Spreading, "unknown outcomes"),
        (Demanding, "unknown outcomes"),
        (Scaleless, "save and load"),
        (Bent, "slopes and offsets"),
        (InPlace, "outcomes stay as they are"),
        (Relative, "a row does not depend on its batch"),
        (Dividing, "outcomes without differences"),
        (Global, "instances share nothing"),
        (TablesOnly, "outcomes of any shape"),
        (Rewriting, "preferences stay as they are"),
    ],
)
def test_a_broken_reward_is_caught(offer, target, check):
    assert check in failed(offer("reward", target), "reward")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Broadcast, r"must be \(3,\) each, not \(1, 3\) and \(1, 3\)"),
        (Bent, "must give the result of vector, or be None"),
        (Clipped, "must give the result of vector of costs and latencies times 1000, or be None"),
        (RememberedForGood, "must give the result of vector after a second fit, or be None"),
    ],
)
def test_what_is_wrong_with_slopes_and_offsets_is_said(offer, target, message):
    with pytest.raises(AssertionError, match=f"slopes and offsets: .*{message}"):
        assert_conforms("reward", "mine", offer("reward", target))


class Empty(LinearReward):
    def vector(self, outcomes):
        return None


class Halved(LinearReward):
    def weights(self, preferences):
        return super().weights(preferences)[..., :2]


class Narrow(LinearReward):
    def scalar(self, outcomes, preferences):
        return super().scalar(outcomes, preferences)[:, :1]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Empty, "vector must be an array of real numbers, not None"),
        (Halved, r"weights must be \(24, 3\), not \(24, 2\)"),
        (Narrow, r"scalar must be \(24, 4\), not \(24, 1\)"),
    ],
)
def test_a_wrong_value_of_a_reward_is_described(offer, target, message):
    with pytest.raises(AssertionError, match=f"shapes: {message}"):
        assert_conforms("reward", "mine", offer("reward", target))
