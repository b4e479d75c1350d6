"""The declared dependencies: their lowest versions, and the licence that each distribution contains."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

import aamc_sdk

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))


def test_the_oldest_versions_that_are_tested_are_those_declared() -> None:
    declared = [bound for folder in (ROOT, ROOT / "plugins" / "aamc-stores") for bound in bounds(folder) if not bound.startswith("aamc-")]
    assert declared
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    pinned = [line for line in tox["testenv:core-lowest"]["deps"].split() if "==" in line]
    assert pinned == [bound.replace(">=", "==") for bound in dict.fromkeys(declared)]


def bounds(folder: Path) -> list[str]:
    declared = re.search(r"^dependencies = \[(.*?)^\]", (folder / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert declared is not None
    return re.findall(r'"(.*?)"', declared[1])


@pytest.mark.parametrize("folder", [*DISTRIBUTIONS, ROOT / "examples" / "third_party_plugin"], ids=lambda folder: folder.name)
def test_our_own_distributions_are_required_in_this_version(folder: Path) -> None:
    """Otherwise pip upgrades a plugin and leaves an old core, which cannot load it."""
    declared = (folder / "pyproject.toml").read_text(encoding="utf-8").partition("dependencies =")[2]
    required = re.findall(r'"(aamc-[\w-]+)(?:\[.*?\])?([^"]*)"', declared)
    assert required
    at_least = ">=" + aamc_sdk.__version__.removesuffix(".0")
    assert [name for name, bound in required if bound != at_least] == []


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda folder: folder.name)
def test_each_distribution_contains_the_licence(folder: Path) -> None:
    """A distribution is built from its own folder, and the licence must be in all copies."""
    assert (folder / "LICENSE").read_text(encoding="utf-8") == (ROOT / "LICENSE").read_text(encoding="utf-8")
