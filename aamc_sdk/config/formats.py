"""Finding the format of a configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aamc_sdk.interfaces import ConfigFormat
    from aamc_sdk.plugins import Plugins


def find_format(content: Mapping[str, Any], plugins: Plugins) -> ConfigFormat | None:
    """Return the format of another system that recognizes a file's content; None for a file of our own."""
    for name in plugins.names("config_format"):
        found: ConfigFormat = plugins.load("config_format", name)()
        if found.recognizes(content):
            return found
    return None
