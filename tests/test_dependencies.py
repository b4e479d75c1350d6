"""``core-lowest`` in tox.ini tests with the versions that pyproject.toml declares to be enough."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_oldest_versions_that_are_tested_are_those_declared() -> None:
    declared = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert declared is not None
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    pinned = [line for line in tox["testenv:core-lowest"]["deps"].split() if "==" in line]
    assert pinned == [bound.replace(">=", "==") for bound in re.findall(r'"(.*?)"', declared[1])]
