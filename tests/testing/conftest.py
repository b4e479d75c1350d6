"""Fixtures for the tests of the conformance kit."""

import sys
import types

import pytest
from offering import Offering

from aamc_sdk.plugins import Plugins


@pytest.fixture
def offer(monkeypatch):
    """Return a function that makes plugins whose component ``mine`` is the given target."""

    def plugins(kind, target):
        module = types.ModuleType("kit_target")
        module.target = target
        monkeypatch.setitem(sys.modules, "kit_target", module)
        return Plugins({"mine": Offering(kind)}, discover=False)

    return plugins
