"""The kit itself: components that do not load, plugins that fail, unknown names."""

import pytest
from offering import Offering

from aamc_sdk import hookimpl
from aamc_sdk.errors import PluginError, UnknownComponentError
from aamc_sdk.interfaces import Router
from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import check_component, check_distribution, checks_of


def test_a_component_that_does_not_load_has_one_finding():
    plugins = Plugins({"mine": Offering("router")}, discover=False)
    (finding,) = check_component("router", "mine", plugins)
    assert not finding.passed
    assert "kit_target" in finding.message


def test_a_broken_plugin_is_a_finding():
    class Broken:
        @hookimpl
        def aamc_routers(self):
            raise RuntimeError("no licence")

    findings = check_distribution("broken", Plugins({"broken": Broken()}, discover=False))
    assert [finding.message for finding in findings if not finding.passed] == ["aamc_routers failed: RuntimeError: no licence"]


def test_unknown_names_are_errors(offer):
    plugins = offer("router", Router)
    with pytest.raises(UnknownComponentError, match="did you mean 'mine'"):
        check_component("router", "mime", plugins)
    with pytest.raises(PluginError, match="no plugin of distribution 'mime'"):
        check_distribution("mime", plugins)
    with pytest.raises(PluginError, match="did you mean 'router'"):
        checks_of("routers")
