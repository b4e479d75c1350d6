"""The Python of the pages about orchestration runs as it stands there."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("page", ["how-to/from-doa.md", "how-to/orchestrate.md", "reference/trajectories.md"])
def test_the_programs_of_a_page_run(page: str) -> None:
    programs = re.findall(r"```python\n(.*?)\n```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, object] = {}
    for program in programs:
        exec(program, names)
    assert names
