"""The Dockerfile, read line by line; a build needs a Docker daemon and gigabytes of downloads."""

import fnmatch
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from aamc_sdk.cli import aamc
from aamc_sdk.plugins import get_plugin_manager

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def instructions():
    """Return the instructions in order, each with its arguments."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line and not line.startswith("#")]


def last(instructions, name):
    return [arguments for found, arguments in instructions if found == name][-1]


def test_a_command_replaces_the_default_one(instructions):
    """``docker run -it IMAGE bash`` gives a shell, which an entry point would take for its own argument."""
    assert "ENTRYPOINT" not in {name for name, _ in instructions}


def test_the_default_command_prints_the_help_and_trains_nothing(instructions):
    program, *arguments = json.loads(last(instructions, "CMD"))
    assert program == "aamc"
    done = CliRunner().invoke(aamc, arguments, obj=get_plugin_manager())
    assert done.exit_code == 0
    assert done.stdout.startswith("Usage: ")


def test_it_works_in_workspace_and_not_as_root(instructions):
    assert last(instructions, "WORKDIR") == "/workspace"
    assert last(instructions, "USER") == "aamc"
    commands = " && ".join(arguments for name, arguments in instructions if name == "RUN")
    assert re.search(r"mkdir /workspace && chmod 1777 .*/workspace", commands)


def test_everything_that_the_installation_reads_is_copied(instructions):
    assert [arguments for name, arguments in instructions if name == "COPY"] == [". ."]
    required = [line.split()[-1].partition("[")[0] for line in (ROOT / "requirements.txt").read_text().splitlines()]
    packages = [ROOT / name for name in required if (ROOT / name).is_dir()]
    metadata = [re.findall(r'"((?:README|LICENSE)[\w.]*)"', (package / "pyproject.toml").read_text()) for package in packages]
    read = {ROOT / "requirements.txt", ROOT / "constraints.txt"}
    read |= {package / name for package, names in zip(packages, metadata, strict=True) for name in ("pyproject.toml", *names)}
    ignored = (ROOT / ".dockerignore").read_text().split()
    for path in sorted(read):
        assert path.is_file()
        parts = path.relative_to(ROOT).parts
        for pattern in ignored:
            assert not any(fnmatch.fnmatch("/".join(parts[: n + 1]), pattern) for n in range(len(parts))), f"{path} is ignored by {pattern}"


@pytest.mark.parametrize("pattern", [".git", ".venv*", "runs"])
def test_what_is_large_or_private_is_left_out(pattern):
    assert pattern in (ROOT / ".dockerignore").read_text().split()
