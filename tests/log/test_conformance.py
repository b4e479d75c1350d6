"""The core's own stores pass the kit that plugin authors run."""

from __future__ import annotations

import pytest

from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import assert_conforms


@pytest.mark.parametrize("name", ["memory", "sqlite"])
def test_a_store_of_the_core_conforms(name: str) -> None:
    assert_conforms("store", name, Plugins())
