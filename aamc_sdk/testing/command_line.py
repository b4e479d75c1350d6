"""The command line inside a test."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from aamc_sdk.cli import main


def run_command(*arguments: str) -> tuple[int, str, str]:
    """Run ``aamc`` in this process; return its exit status, standard output and standard error."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(list(arguments))
        except SystemExit as left:
            return int(left.code or 0), _written(out), _written(err)
    raise AssertionError(f"aamc ended without an exit status: {' '.join(arguments)}")


def _written(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
