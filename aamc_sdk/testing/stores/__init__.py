"""Checks of stores."""

from aamc_sdk.testing.components import OPTION_CHECKS
from aamc_sdk.testing.stores import durability, entries, states

CHECKS = (*OPTION_CHECKS, *entries.CHECKS, *states.CHECKS, *durability.CHECKS)
