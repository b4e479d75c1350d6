"""Each broken pool is caught by the check that is meant for it."""

import pytest
from offering import failed

from aamc_sdk import Candidate, ModelSpec, Pool, Prices
from aamc_sdk.testing import check_distribution


def nameless_pool():
    return Pool([ModelSpec("a", prices=Prices(1, 1))])


def free_pool():
    return Pool([Candidate("a", "An agent.")])


def no_pool():
    return ["a"]


@pytest.mark.parametrize(
    ("target", "check"),
    [(nameless_pool, "candidates are described"), (free_pool, "candidates are described"), (no_pool, "it is a pool")],
)
def test_a_broken_pool_is_caught(offer, target, check):
    assert check in failed(offer("model_pool", target), "model_pool")


def test_a_distribution_is_checked_whole(offer):
    findings = check_distribution("mine", offer("model_pool", free_pool))
    assert {finding.component for finding in findings} == {"plugin mine", "model_pool mine"}
