"""``python -m aamc_puppeteer.doa PROGRAM``: run a program of the Dynamic Orchestrator Agent framework."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from aamc_puppeteer.doa.compatibility import install


def main() -> None:
    """Run the program with its arguments."""
    if len(sys.argv) < 2 or not Path(sys.argv[1]).is_file():
        given = sys.argv[1] if len(sys.argv) > 1 else ""
        sys.exit(f"usage: python -m aamc_puppeteer.doa PROGRAM [ARGUMENT]...; PROGRAM must be a Python file, not {given!r}")
    install()
    del sys.argv[0]
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
