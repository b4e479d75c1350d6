"""The declared dependencies: their lowest versions, and the licence that each distribution contains."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))


def test_the_oldest_versions_that_are_tested_are_those_declared() -> None:
    declared = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert declared is not None
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    pinned = [line for line in tox["testenv:core-lowest"]["deps"].split() if "==" in line]
    assert pinned == [bound.replace(">=", "==") for bound in re.findall(r'"(.*?)"', declared[1])]


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda folder: folder.name)
def test_each_distribution_contains_the_licence(folder: Path) -> None:
    """A distribution is built from its own folder, and the licence must be in all copies."""
    assert (folder / "LICENSE").read_text(encoding="utf-8") == (ROOT / "LICENSE").read_text(encoding="utf-8")
