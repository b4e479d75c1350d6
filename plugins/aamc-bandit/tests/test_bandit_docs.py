"""The how-to pages about the bandit do what they say: each program runs, in a folder of its own, and prints what the page shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"


@pytest.mark.parametrize("page", ["arena", "vllm-semantic-router"])
def test_the_pages_programs_print_what_it_shows(page, tmp_path) -> None:
    text = (HOW_TO / f"{page}.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```\n.*?```text\n(.*?)```", text, flags=re.DOTALL)
    assert programs
    for program, shown in programs:
        ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == shown
