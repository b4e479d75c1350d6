"""The kit itself: components that do not load, plugins that fail, unknown names."""

import json

import pytest
from offering import Offering

from aamc_sdk import Component, hookimpl
from aamc_sdk.errors import PluginError, UnknownComponentError
from aamc_sdk.interfaces import Router
from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import check_component, check_distribution, checks_of, run_command


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


def test_the_command_lists_the_failures_once_more_at_the_end(monkeypatch):
    class Broken:
        @hookimpl
        def aamc_routers(self):
            return [Component("lost", "nowhere.at.all:Router", "")]

    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins({"broken": Broken()}, discover=False))
    status, out, err = run_command("plugins", "check", "broken")
    assert (status, err) == (1, "1 passed, 1 failed, 0 skipped\n")
    (line,) = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert out.endswith(f"\nFailed:\n  {line[4:].strip()}\n")


def test_the_command_prints_why_a_check_does_not_apply(monkeypatch):
    class Core:
        """The memory store alone, as a distribution."""

        @hookimpl
        def aamc_stores(self):
            return [Component("memory", "aamc_sdk.log:MemoryStore", "")]

    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins({"small": Core()}, discover=False))
    status, out, err = run_command("plugins", "check", "small")
    assert status == 0
    assert "skipped  store memory: entries are there when the log is opened again: persistent is False: its log ends with the process\n" in out
    assert "ok       store memory: options have defaults and meanings\n" in out
    assert err.endswith(" passed, 0 failed, 3 skipped\n")
    document = json.loads(run_command("plugins", "check", "small", "--json")[1])
    assert [finding["skipped"] for finding in document["findings"]].count(True) == 3


def test_unknown_names_are_errors(offer):
    plugins = offer("router", Router)
    with pytest.raises(UnknownComponentError, match="did you mean 'mine'"):
        check_component("router", "mime", plugins)
    with pytest.raises(PluginError, match="no plugin of distribution 'mime'"):
        check_distribution("mime", plugins)
    with pytest.raises(PluginError, match="did you mean 'router'"):
        checks_of("routers")
