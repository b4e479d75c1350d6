"""The docs say what the code does: hooks, the guide's code, the README's lines, generated pages."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aamc_sdk import hookspecs
from aamc_sdk.plugins import KINDS

ROOT = Path(__file__).parents[1]
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("aamc_"))
EXAMPLE = ROOT / "examples" / "third_party_plugin"
TEST_LINE = "python3 -m venv .venv-tox && .venv-tox/bin/pip install tox && .venv-tox/bin/tox"


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)\n```", read(path), flags=re.DOTALL)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_stands_in_the_docs_with_its_signature(hook):
    signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    assert f"def {hook}{signature}" in blocks("docs/reference/hooks.md", "python")


def test_the_docs_have_no_hook_that_is_not_specified():
    documented = re.findall(r"^### `(\w+)`$", read("docs/reference/hooks.md"), flags=re.MULTILINE)
    assert sorted(documented) == HOOKS


def test_every_kind_has_a_hook_of_its_own():
    assert set(KINDS.values()) <= set(HOOKS)
    assert len(set(KINDS.values())) == len(KINDS)


@pytest.mark.parametrize("file", [f"src/acme_routing/{name}.py" for name in ("plugin", "pool", "router")] + ["tests/test_acme_routing.py"])
def test_the_guide_shows_the_example_as_it_is(file):
    assert (EXAMPLE / file).read_text(encoding="utf-8").strip() in blocks("docs/how-to/write-a-plugin.md", "python")


def test_the_guide_shows_the_examples_project_file():
    assert [(EXAMPLE / "pyproject.toml").read_text(encoding="utf-8").strip()] == blocks("docs/how-to/write-a-plugin.md", "toml")


def test_the_guides_program_runs():
    program = blocks("docs/how-to/write-a-plugin.md", "python")[-1]
    preamble = (
        "import sys, aamc_sdk.plugins as plugins\n"
        f"sys.path.insert(0, {str(EXAMPLE / 'src')!r})\n"
        "import acme_routing.plugin\n"
        "plugins.get_plugin_manager = lambda: plugins.Plugins({'acme': acme_routing.plugin})\n"
    )
    ended = subprocess.run([sys.executable, "-c", preamble + program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_continuous_integration_runs_the_readmes_test_line():
    assert TEST_LINE in read(".ci/run").splitlines()
    assert TEST_LINE in read("README.md")


def test_requirements_name_the_core_and_every_plugin():
    plugins = [f"-e {path.parent.relative_to(ROOT).as_posix()}" for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    named = [line.partition("[")[0] for line in read("requirements.txt").splitlines()]  # without extras
    assert named == ["-c constraints.txt", "-e .", *plugins]
