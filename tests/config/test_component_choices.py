"""The choices of the installed components' options."""

from __future__ import annotations

import attrs
import pytest

from aamc_sdk.config import parse_yaml
from aamc_sdk.plugins import RegisteredComponent, get_plugin_manager

COMPONENTS = [each for each in get_plugin_manager() if each.kind != "command" and each.error is None]


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda each: f"{each.kind} {each.name}")
def test_yaml_reads_every_choice_as_the_same_text(component: RegisteredComponent) -> None:
    """YAML reads words such as on, no and null as other values, so ``--set KEY=on`` could not choose them."""
    config = getattr(get_plugin_manager().load(component.kind, component.name), "Config", None)
    for field in attrs.fields(config) if config is not None and attrs.has(config) else ():
        choices = list(field.metadata.get("choices") or ())
        assert choices == [parse_yaml(choice, "a choice") for choice in choices], f"{field.name} of {component.kind} {component.name}"
