"""The conformance kit: checks for every kind of component, on small synthetic data.

``aamc plugins check DISTRIBUTION`` prints the findings of :func:`check_distribution`. In a plugin's own
tests, one line checks a component, training included::

    assert_conforms("router", "acme-threshold", get_plugin_manager())
"""

from aamc_sdk.testing.checks.datasets import require_consistent
from aamc_sdk.testing.command_line import run_command
from aamc_sdk.testing.findings import Finding, skip
from aamc_sdk.testing.kit import assert_conforms, check_component, check_distribution, checks_of
from aamc_sdk.testing.sample_data import POOL, TableEnvironment, estimates_of, make_dataset, make_request, make_reward
from aamc_sdk.testing.subject import Subject

__all__ = [
    "POOL",
    "Finding",
    "Subject",
    "TableEnvironment",
    "assert_conforms",
    "check_component",
    "check_distribution",
    "checks_of",
    "estimates_of",
    "make_dataset",
    "make_request",
    "make_reward",
    "require_consistent",
    "run_command",
    "skip",
]
