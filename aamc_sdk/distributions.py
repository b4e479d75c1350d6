"""Distributions: which one offers a component, which are left out, and which require a newer core."""

from __future__ import annotations

import os
import re
from importlib import metadata

from aamc_sdk.hookspecs import PROJECT

_NEEDED_CORE = re.compile(r"aamc[-_.]sdk(?![-\w.])[^;]*?>=\s*(\d+(?:\.\d+)*)[^;]*", re.IGNORECASE)
"""A requirement of at least some version of this package."""


def disabled_plugins() -> frozenset[str]:
    """Return the plugins and distributions that ``AAMC_DISABLE_PLUGINS`` leaves out."""
    names = os.environ.get("AAMC_DISABLE_PLUGINS", "").split(",")
    return frozenset(name.strip() for name in names if name.strip())


def install_hint(kind: str, name: str) -> str:
    """Return the advice to install the distribution of a component, or of a group of commands; ``""`` if none is known."""
    known = known_distributions().get(kind, {})
    group = [known[path] for path in known if kind == "command" and path.startswith(f"{name} ")]
    distribution = known.get(name) or max(group, key=group.count, default=None)  # the one with most of the group's commands
    if distribution is None:
        return ""
    is_disabled = disabled_plugins() & {distribution, distribution.removeprefix(f"{PROJECT}-")}
    return f"; {distribution} offers it: {'take it out of AAMC_DISABLE_PLUGINS' if is_disabled else f'pip install {distribution}'}"


def newer_core(distribution: str) -> str:
    """Return the message that a distribution requires a newer aamc-sdk than this one, with the advice; ``""`` if it does not."""
    try:
        required = [found for text in metadata.requires(distribution) or () if (found := _NEEDED_CORE.fullmatch(text))]
        installed = metadata.version("aamc-sdk")
    except metadata.PackageNotFoundError:  # a plugin that an application registers has no distribution
        return ""
    for found in required:
        if _version_numbers(found[1]) > _version_numbers(installed):
            return f"{distribution} requires {found[0]}, and {installed} is installed; pip install --upgrade aamc-sdk"
    return ""


def _version_numbers(version: str) -> list[int]:
    return [int(part) for part in (*re.findall(r"\d+", version), 0, 0)[:3]]


def known_distributions() -> dict[str, dict[str, str]]:
    """Return the distribution that offers each component of this project, by kind and name."""
    import json
    from importlib import resources

    return json.loads(resources.files("aamc_sdk").joinpath("distributions.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]  # the file's shape
