"""The benchmark scripts."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import runpy, sys, traceback
from pathlib import Path

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
failed = []
for script in sorted(folder.glob("*.py")):
    try:
        runpy.run_path(str(script), run_name="imported")
    except Exception:
        failed.append(script.name)
        traceback.print_exc()
sys.exit(", ".join(failed) or None)
"""


def test_every_script_can_be_imported():
    """A process of its own, since scripts may set variables of the environment."""
    folder = Path(__file__).parents[1]
    assert (folder / "bandit.py").exists()
    ended = subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
