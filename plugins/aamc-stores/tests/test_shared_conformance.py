"""The stores on servers pass the kit that plugin authors run, and need no server to be looked at."""

from __future__ import annotations

import pytest

from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import assert_conforms, check_component


def test_a_store_on_a_server_conforms(server, monkeypatch):
    name = server.url.partition(":")[0]
    monkeypatch.setenv(f"AAMC_KIT_{name.upper()}_URL", server.url)
    assert_conforms("store", name, get_plugin_manager())


@pytest.mark.parametrize("name", ["redis", "postgres"])
def test_without_a_server_the_kit_says_what_it_needs(name, monkeypatch):
    monkeypatch.delenv(f"AAMC_KIT_{name.upper()}_URL", raising=False)
    findings = check_component("store", name, get_plugin_manager())
    skipped = [finding for finding in findings if finding.skipped]
    assert len(skipped) > 20
    assert all(f"set AAMC_KIT_{name.upper()}_URL" in finding.message for finding in skipped)
    assert all(finding.passed for finding in findings)
