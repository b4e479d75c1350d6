"""Each broken reward is caught by the check that is meant for it."""

from functools import cached_property

import numpy as np
import pytest
from offering import failed

from aamc_sdk.routing import LinearReward
from aamc_sdk.testing import assert_conforms


class Perverse(LinearReward):
    def scalar(self, outcomes, preferences):
        return -super().scalar(outcomes, preferences)


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


class Scaleless(LinearReward):
    def load(self, folder):
        super().load(folder)
        self.cost = self.latency


@pytest.mark.parametrize(
    ("target", "check"),
    [
        (Perverse, "better outcomes are never worth less"),
        (Spreading, "unknown outcomes"),
        (Scaleless, "save and load"),
        (Bent, "slopes and offsets"),
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
