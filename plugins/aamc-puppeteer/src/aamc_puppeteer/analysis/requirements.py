"""The libraries of figures, which orchestration does not need."""

from __future__ import annotations

from importlib.util import find_spec

from aamc_sdk.errors import ConfigError

MODULES = ("aamc_report", "matplotlib", "networkx")


def missing_modules() -> list[str]:
    """Return the modules of the extra ``figures`` that are not installed."""
    return [module for module in MODULES if find_spec(module) is None]


def check_figures(user: str) -> None:
    """Check that figures can be drawn.

    Raises:
        ConfigError: A library is missing; the message names the extra.
    """
    if missing := missing_modules():
        raise ConfigError(f"{user} needs {', '.join(missing)} to be installed: pip install 'aamc-puppeteer[figures]'")
