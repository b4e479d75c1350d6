"""Each broken pool is caught by the check that is meant for it."""

import re

import pytest
from offering import Offering, failed

from aamc_sdk import Candidate, ModelSpec, Pool, Prices
from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import Subject, check_distribution, checks_of


def nameless_pool():
    return Pool([ModelSpec("a", prices=Prices(1, 1))])


def free_pool():
    return Pool([Candidate("a", "An agent.")])


def pool_of(endpoint):
    return lambda: Pool([ModelSpec("a", "A model.", prices=Prices(1, 1), endpoint=endpoint)])


def no_pool():
    return ["a"]


@pytest.mark.parametrize(
    ("target", "check"),
    [(nameless_pool, "candidates are described"), (free_pool, "candidates are described"), (no_pool, "it is a pool")],
)
def test_a_broken_pool_is_caught(offer, target, check):
    assert check in failed(offer("model_pool", target), "model_pool")


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ({"provider": "ecko"}, "no provider is named 'ecko'; did you mean 'echo'?"),
        ({"provider": "echo", "repli": "yes"}, "no option 'repli'; did you mean 'reply'?"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_named(endpoint, message):
    plugins = Plugins({"mine": Offering("model_pool")})
    subject = Subject("model_pool", "mine", plugins)
    subject.target = pool_of(endpoint)
    (check,) = (check for check in checks_of("model_pool") if check.__name__ == "check_endpoints_can_be_used")
    with pytest.raises(AssertionError, match=f"the endpoint of candidate 'a' cannot be used: .*{re.escape(message)}"):
        check(subject)


def test_a_distribution_is_checked_whole(offer):
    findings = check_distribution("mine", offer("model_pool", free_pool))
    assert {finding.component for finding in findings} == {"plugin mine", "model_pool mine"}
