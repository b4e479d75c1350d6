"""The programs in the how-to pages run, and print the output that the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

GUIDES = Path(__file__).parents[3] / "docs" / "how-to"


def run(program: str, folder: Path) -> str:
    """Run a program in a folder, with this environment's ``aamc`` on the path; return its output."""
    environment = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("page", ["arena", "budgets", "vllm-semantic-router"])
def test_the_pages_programs_print_what_it_shows(page: str, tmp_path: Path) -> None:
    text = (GUIDES / f"{page}.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```\n.*?```text\n(.*?)```", text, flags=re.DOTALL)
    assert programs
    for program, shown in programs:
        assert run(program, tmp_path) == shown


@pytest.mark.parametrize("page", ["evaluate-from-logs", "canary"])
def test_the_program_in_the_page_runs(page: str, tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (GUIDES / f"{page}.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    run(program, tmp_path)
