"""Checks of stores."""

from aamc_sdk.testing.checks.components import OPTION_CHECKS
from aamc_sdk.testing.checks.stores import entries, states

CHECKS = (*OPTION_CHECKS, *entries.CHECKS, *states.CHECKS)
