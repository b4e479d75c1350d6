"""A third-party plugin in a fresh environment with only the core."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "third_party_plugin"

ROUTE = """
from aamc_sdk import MetaController
with MetaController.build(router="acme-length", pool="acme-two-tier", store="memory:", seed=0) as controller:
    for text in ("Good morning", "Prove it, step by step. " * 20):
        print(controller.route(text).candidate)
"""


class Environment:
    """A virtual environment, whose programs run outside the checkout."""

    def __init__(self, folder):
        self.folder = folder
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        venv.create(folder / "venv", with_pip=True)

    def run(self, program, *arguments):
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "AAMC_DISABLE_PLUGINS")}
        command = [str(self.bin / program), *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def succeed(self, program, *arguments):
        ended = self.run(program, *arguments)
        assert ended.returncode == 0, f"{program} {arguments}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    made = Environment(tmp_path_factory.mktemp("fresh"))
    made.succeed("pip", "install", "-q", "--no-compile", "--disable-pip-version-check", "-c", ROOT / "constraints.txt", ROOT, EXAMPLE, "pytest")
    return made


def test_the_core_alone_is_installed(environment):
    installed = {found["name"] for found in json.loads(environment.succeed("pip", "list", "--format=json", "--disable-pip-version-check"))}
    assert {"aamc-sdk", "acme-routing"} <= installed
    assert not installed & {"torch", "transformers", "gymnasium", "scikit-learn", "aamc-ppo"}


def test_it_is_listed_with_its_distribution(environment):
    listed = json.loads(environment.succeed("aamc", "plugins", "--json"))["plugins"]
    acme = [(row["kind"], row["name"], row["version"], row["error"]) for row in listed if row["distribution"] == "acme-routing"]
    assert acme == [("model_pool", "acme-two-tier", "1.0.0", None), ("router", "acme-length", "1.0.0", None)]


def test_its_options_are_shown(environment):
    assert "threshold_tokens" in environment.succeed("aamc", "plugins", "show", "router", "acme-length")


def test_it_passes_the_conformance_kit(environment):
    checked = json.loads(environment.succeed("aamc", "plugins", "check", "acme-routing", "--json"))
    assert all(finding["passed"] for finding in checked["findings"])
    assert {"router acme-length", "model_pool acme-two-tier", "plugin acme"} == {finding["component"] for finding in checked["findings"]}


def test_its_own_tests_pass(environment):
    checkout = shutil.copytree(EXAMPLE, environment.folder / "acme")  # as the author has it, without what this repository settles for its own tests
    environment.succeed("python", "-m", "pytest", "-q", checkout / "tests")


def test_it_routes_from_another_program(environment):
    assert environment.succeed("python", "-c", ROUTE).split() == ["Acme-Small", "Acme-Large"]


def test_it_vanishes_when_it_is_uninstalled(environment):  # the last one: it takes the plugin away
    environment.succeed("pip", "uninstall", "-q", "-y", "acme-routing")
    ended = environment.run("aamc", "plugins", "show", "router", "acme-length")
    assert ended.returncode == 2
    assert "acme-length" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_example_depends_on_nothing_of_this_checkout():
    assert str(ROOT) not in "".join(file.read_text(encoding="utf-8") for file in EXAMPLE.rglob("*.*") if file.suffix in (".py", ".toml", ".md"))
    assert sys.version_info >= (3, 10)
