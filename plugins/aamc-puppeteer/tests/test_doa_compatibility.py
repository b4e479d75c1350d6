"""Programs for ``doa_framework`` run where that package is not installed, if asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
import doa_framework
from doa_framework import RewardConfig, calculate_reward
from doa_framework.agents.base import AgentInterface
from doa_framework.agents.core_agents import EchoAgent
from doa_framework.orchestrator import Orchestrator
from doa_framework.structs import AgentOutput, SystemState
import doa_framework.policy, doa_framework.rewards, doa_framework.trainer
from neighbour import NAME
assert issubclass(EchoAgent, AgentInterface) and doa_framework.Orchestrator is Orchestrator
print(NAME, sys.argv[1:], __name__)
"""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("NAME = 'here'")
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def test_a_program_runs_unchanged(program: Path) -> None:
    ran = python(program, "-m", "aamc_puppeteer.doa", "program.py", "--epochs", "3")
    assert ran.stdout == "here ['--epochs', '3'] __main__\n", ran.stderr


def test_it_is_off_unless_asked_for(program: Path) -> None:
    ran = python(program, "-c", "import aamc_puppeteer.doa, doa_framework")
    assert "No module named 'doa_framework'" in ran.stderr
    ran = python(program, "-c", "from aamc_puppeteer.doa import compatibility; print(compatibility.install()); import doa_framework.agents")
    assert (ran.stdout, ran.returncode) == ("True\n", 0)


def test_an_installed_framework_is_left_alone(program: Path) -> None:
    (program / "doa_framework").mkdir()
    (program / "doa_framework" / "__init__.py").write_text("NAME = 'the real one'")
    installed = "from aamc_puppeteer.doa import compatibility; print(compatibility.install())"
    ran = python(program, "-c", f"{installed}; import doa_framework; print(doa_framework.NAME)")
    assert ran.stdout == "False\nthe real one\n"


@pytest.mark.parametrize("arguments", [[], ["missing.py"]])
def test_without_a_program_the_usage_is_shown(program: Path, arguments: list[str]) -> None:
    ran = python(program, "-m", "aamc_puppeteer.doa", *arguments)
    assert ran.returncode == 1
    assert ran.stderr.startswith("usage: python -m aamc_puppeteer.doa PROGRAM")
