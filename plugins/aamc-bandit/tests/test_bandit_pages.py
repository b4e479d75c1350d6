"""The pages on logs and canaries say what happens: their programs run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDES = Path(__file__).parents[3] / "docs" / "how-to"


@pytest.mark.parametrize("page", ["evaluate-from-logs", "canary"])
def test_the_program_in_the_page_runs(page, tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", (GUIDES / f"{page}.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    environment = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert ended.returncode == 0, ended.stderr
