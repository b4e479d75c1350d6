"""Components that depend on ``hash()`` are caught in a process with another hash seed."""

import pytest
from offering import Offering

from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import check_component


def findings(kind, target):
    plugins = Plugins({"mine": Offering(kind, f"hashing:{target}")}, discover=False)
    return {finding.check: finding for finding in check_component(kind, "mine", plugins)}


@pytest.mark.parametrize(("kind", "target"), [("router", "Steady"), ("estimator", "Lengths")])
def test_a_fair_component_passes(kind, target):
    found = findings(kind, target)
    assert [finding for finding in found.values() if not finding.passed] == []
    (check,) = [finding for check, finding in found.items() if check.startswith("another process")]
    assert not check.skipped


@pytest.mark.parametrize(
    ("kind", "target", "message"),
    [
        ("router", "Hashing", "another process scores differently"),
        ("estimator", "HashedLengths", "another process estimates differently"),
        ("estimator", "HashedName", "another process has another fingerprint"),
    ],
)
def test_a_component_that_depends_on_hash_is_caught(kind, target, message):
    (failed,) = [finding for finding in findings(kind, target).values() if not finding.passed]
    assert failed.message.startswith(message)
