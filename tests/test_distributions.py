"""The data file that maps components to the distributions that offer them."""

from __future__ import annotations

import json

import pytest

from aamc_sdk.errors import UnknownComponentError
from aamc_sdk.plugins import Plugins, get_plugin_manager
from aamc_sdk.testing import run_command


def test_the_file_lists_what_our_plugins_offer() -> None:
    from importlib import resources

    known = json.loads(resources.files("aamc_sdk").joinpath("distributions.json").read_text(encoding="utf-8"))
    offered: dict[str, dict[str, str]] = {}
    for each in get_plugin_manager().components:
        distribution = each.plugin.distribution
        if not (each.component.listed or each.kind == "store") or each.error is not None:
            continue
        if distribution.startswith("aamc-") and distribution != "aamc-sdk":
            offered.setdefault(each.kind, {})[each.name] = distribution
    installed = {distribution for components in offered.values() for distribution in components.values()}
    expected = {
        kind: {name: distribution for name, distribution in components.items() if distribution in installed} for kind, components in known.items()
    }
    assert {kind: components for kind, components in expected.items() if components} == offered


def test_an_error_names_the_distribution_to_install() -> None:
    with pytest.raises(UnknownComponentError, match="aamc-ppo offers it: pip install aamc-ppo"):
        Plugins(discover=False).find("router", "ppo")
    with pytest.raises(UnknownComponentError) as raised:
        Plugins(discover=False).find("router", "unheard-of")
    assert "pip install" not in str(raised.value)


@pytest.mark.parametrize(
    ("command", "distribution"), [("run", "aamc-experiments"), ("bench", "aamc-bench"), ("data", "aamc-datasets"), ("reproduce", "aamc-bench")]
)
def test_a_command_of_a_distribution_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, command: str, distribution: str) -> None:
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins(discover=False))
    status, _, err = run_command(command, "--router", "ppo")
    assert status == 2
    assert f"no command {command!r}; {distribution} offers it: pip install {distribution}" in err


def test_a_component_of_a_disabled_plugin_is_not_to_be_installed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AAMC_DISABLE_PLUGINS", "aamc-experiments,ppo")
    status, _, err = run_command("run", "--router", "ppo")
    assert status == 2
    assert "no command 'run'; aamc-experiments offers it: take it out of AAMC_DISABLE_PLUGINS" in err
    with pytest.raises(UnknownComponentError, match="aamc-ppo offers it: take it out of AAMC_DISABLE_PLUGINS"):
        get_plugin_manager().find("router", "ppo")
