"""Each broken reward is caught by the check that is meant for it."""

import numpy as np
import pytest
from offering import failed

from aamc_sdk.rewards import LinearReward


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
