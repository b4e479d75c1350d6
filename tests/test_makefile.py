"""The Makefile, with a program in place of ``aamc`` that notes its arguments and writes the files that the targets look for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from aamc_sdk.cli import aamc
from aamc_sdk.plugins import get_plugin_manager

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).parents[1]
STUB = """#!{python}
import sys
from pathlib import Path

words = sys.argv[1:]
with open("{folder}/calls", "a") as calls:
    print(*words, file=calls)
out = Path(words[words.index("--out" if "--out" in words else "--resume") + 1])
written = {{"data": ["train.csv"], "run": ["metrics.json"], "evaluate": ["metrics.json"]}}.get(words[0], ["run.yaml", "estimator/component.json"])
written += ["routers/ppo/component.json"] if "--router" in words else []
for name in written:
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("")
"""


class Make:
    """Runs targets with ``OUT`` in a temporary folder."""

    def __init__(self, folder: Path):
        self.out = folder / "out"
        self._calls = folder / "calls"
        self._aamc = folder / "aamc"
        self._aamc.write_text(STUB.format(python=sys.executable, folder=folder))
        self._aamc.chmod(0o755)

    def __call__(self, *arguments):
        """Run make and return the calls of ``aamc``, and what make printed to standard error."""
        self._calls.write_text("")
        command = [str(shutil.which("make")), "-s", "-C", str(ROOT), f"AAMC={self._aamc}", f"OUT={self.out}", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        return [line.split() for line in self._calls.read_text().splitlines()], ended.stderr


@pytest.fixture
def make(tmp_path):
    if shutil.which("make") is None:
        assert not os.environ.get("AAMC_REQUIRE_SERVICES"), "no make: install apt-packages.txt"
        pytest.skip("make is not installed")
    return Make(tmp_path)


def names(calls):
    return [" ".join(call[: 2 if call[0] == "data" else 1]) for call in calls]


def test_existing_data_is_not_replaced(make):
    (generated,), _ = make("data", "N_TRAIN=50000")
    assert generated[:4] == ["data", "generate", "--n-train", "50000"]
    (trained,), _ = make("tce_train")
    assert trained[0] == "train"
    assert f"synthetic:{make.out / 'data'}" in trained


def test_training_the_router_takes_over_the_trained_estimator(make):
    assert names(make("tce_train")[0]) == ["data generate", "train"]
    (router,), _ = make("rlr_train")
    assert router[:5] == ["train", "--router", "ppo", "--estimator", str(make.out / "tce" / "estimator")]


def test_training_the_router_trains_an_estimator_where_there_is_none(make):
    assert names(make("rlr_train")[0]) == ["data generate", "train", "train"]


def test_an_interrupted_training_goes_on(make):
    make("tce_train")
    (make.out / "tce" / "estimator" / "component.json").unlink()
    (resumed,), _ = make("tce_train")
    assert resumed == ["train", "--resume", str(make.out / "tce")]


def test_the_newest_router_is_evaluated(make):
    make("rlr_train")
    make("rlr_train_quick")
    quick = make.out / "ppo-quick"
    (evaluated,), _ = make("evaluate")
    assert evaluated[:3] == ["evaluate", str(quick), "--out"]
    assert Path(evaluated[3]).parent == make.out
    (evaluated,), _ = make("evaluate", f"RUN={make.out / 'ppo'}")
    assert evaluated[1] == str(make.out / "ppo")


def test_without_a_trained_router_evaluate_names_the_target_that_trains_one(make):
    calls, errors = make("evaluate")
    assert calls == []
    assert f"{make.out} has no trained router; train one with: make rlr_train_quick OUT={make.out}" in errors


def test_the_command_line_knows_every_option(make):
    calls = [*make("rlr_train")[0], *make("rlr_train_quick")[0], *make("evaluate")[0], *make("rlr_train_quick")[0], *make("reproduce")[0]]
    assert names(calls) == ["data generate", "train", "train", "train", "evaluate", "train", "run"]
    context = click.Context(aamc, obj=get_plugin_manager())
    for call in calls:
        command, rest = aamc, call
        while isinstance(command, click.Group):
            _, command, rest = command.resolve_command(context, rest)
        command.make_context(call[0], list(rest), parent=context, resilient_parsing=False).close()
