"""What was acknowledged outlives kills at random moments, each piece once; the script does fifty when it is asked to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "crashes.py"


def test_kills_lose_nothing_count_nothing_twice_and_leave_the_same_posterior() -> None:
    ended = subprocess.run([sys.executable, str(SCRIPT), "--kills", "12"], capture_output=True, text=True, check=True, timeout=600)
    found = json.loads(ended.stdout)
    assert found["acknowledged"] >= 12
    assert found["kept"] >= found["acknowledged"]
    assert (found["lost"], found["twice"], found["same_posterior"]) == (0, 0, True)


def test_kills_as_partitions_are_dropped_lose_nothing_that_was_learned_and_count_nothing_twice() -> None:
    command = [sys.executable, str(SCRIPT), "--kills", "25", "--max-gb", "0.0002"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout)
    assert found["acknowledged"] >= 25
    assert found["dropped"] > 0
    assert found["start"] > 0
    assert (found["lost"], found["twice"], found["decisions_counted_once"]) == (0, 0, True)
