"""The programs in the how-to page run, and the training script says how it is used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with this environment's programs on the path."""
    environment = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def test_the_pages_programs_run_one_after_the_other(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "how-to" / "personalize.md").read_text(encoding="utf-8")
    (commands,), (program,) = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL), re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    trained = run("bash", "-ec", commands, folder=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "gmtrouter" in trained.stdout
    served = run(sys.executable, "-c", program, folder=tmp_path)
    assert served.returncode == 0, served.stderr
    assert served.stdout.startswith("brief ")
    assert "past turns of the user moved the utility most" in served.stdout


def test_the_training_script_says_how_it_is_used(tmp_path: Path) -> None:
    ended = run("bash", str(ROOT / "scripts" / "train_gmtrouter_gpu.sh"), folder=tmp_path)
    assert ended.returncode == 2
    assert "usage:" in ended.stderr


def test_the_training_script_passes_options_on(tmp_path: Path) -> None:
    (tmp_path / "aamc").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "aamc").chmod(0o755)
    script = str(ROOT / "scripts" / "train_gmtrouter_gpu.sh")
    ended = run("env", f"PATH={tmp_path}:{os.environ['PATH']}", "bash", script, "history.jsonl", "pool.yaml", "--seed", "1", folder=tmp_path)
    assert "--dataset interactions:history.jsonl --pool pool.yaml" in ended.stdout
    assert ended.stdout.endswith("--out checkpoints/gmtrouter --seed 1\n")
