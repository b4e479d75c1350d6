"""The exit status of every command: 1 for missing data and failures, 2 for wrong usage, and alike for alike mistakes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest

from aamc_sdk.cli import aamc
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import run_command


def leaves(context: click.Context, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield the path of every command, and the command."""
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(click.Context(command, info_name=name, parent=context), (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(leaves(click.Context(aamc, info_name="aamc", obj=get_plugin_manager())))
MISSING = [
    "calibrate missing --quality-floor 0.9",
    "canary --run missing",
    "canary --store sqlite:missing.db",
    "data convert outcomes:missing.jsonl --to there",
    "data inspect outcomes:missing.jsonl",
    "data inspect routerarena:missing",
    "evaluate missing",
    "evaluate --logs sqlite:missing.db",
    "explain x --run missing",
    "explain x --store sqlite:missing.db",
    "feedback add x --quality 1 --run missing",
    "feedback add x --quality 1 --store sqlite:missing.db",
    "feedback export out.jsonl --run missing",
    "feedback export out.jsonl --store sqlite:missing.db",
    "feedback forget --user ann --user-key-file missing --store memory:",
    "feedback import missing.jsonl --store memory:",
    "orchestrate hi --config missing.yaml",
    "orchestrate hi --documents missing.txt",
    "orchestrate hi --file missing.txt",
    "orchestrate hi --run missing",
    "report missing",
    "route hi --run missing",
    "run --config missing.yaml",
    "run --dataset outcomes:missing.jsonl",
    "run --estimator ./missing",
    "run --pool missing.yaml",
    "run --resume missing",
    "run --router ./missing",
    "train --router ppo --config missing.yaml",
    "train --router ppo --dataset outcomes:missing.jsonl",
    "bench compare --dataset outcomes:missing.jsonl",
]
WRONG = [
    "nothing",
    "bench nothing",
    "data nothing",
    "calibrate --quality-floor nan",
    "calibrate --quality-floor -1",
    "calibrate --quality-floor 0.9 --confidence 2",
    "data convert nothing:x --to there",
    "data inspect nothing:x",
    "data inspect outcomes",
    "data generate --out there --n-train -1",
    "evaluate --logs nothing:x",
    "evaluate --logs nothing",
    "evaluate --split some",
    "explain",
    "explain x --store nothing:x",
    "feedback add x --quality 2 --store memory:",
    "feedback add x --quality nan --store memory:",
    "feedback add x --quality 1 --confidence -1 --store memory:",
    "feedback add x --quality 1 --revision -1 --store memory:",
    "feedback add x --store memory:",
    "feedback export --store nothing:x",
    "orchestrate hi --agents nobody",
    "orchestrate hi --orchestrator nobody",
    "orchestrate hi --budget nan",
    "orchestrate hi --steps -1",
    "plugins check nothing",
    "plugins show router nothing",
    "plugins show nothing ppo",
    "run --dataset nothing:x",
    "run --dataset outcomes",
    "run --device abacus",
    "run --environment nothing",
    "run --estimator nothing",
    "run --pool nothing",
    "run --preference 1,2",
    "run --preset fast",
    "run --reward nothing",
    "run --router nothing",
    "run --routers nothing",
    "run --seed -1",
    "run --set router.nothing=1",
    "run --set router.learning_rate=fast",
    "train",
    "train --orchestrator nothing",
    "bench compare --dataset nothing:x",
    "bench compare --routers nothing",
    "bench compare --seeds -1",
]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_unknown_option_of_any_command_is_wrong_usage(path: tuple[str, ...]) -> None:
    status, out, err = run_command(*path, "--no-such-option")
    assert (status, out) == (2, "")
    assert err.startswith("aamc: no option --no-such-option (see aamc")
    assert len(err.splitlines()) == 1
    status, out, _ = run_command(*path, "--no-such-option", "--json")
    assert (status, json.loads(out)["error"]["type"]) == (2, "NoSuchOption")


@pytest.mark.parametrize(("arguments", "status"), [*((line, 1) for line in MISSING), *((line, 2) for line in WRONG)])
def test_alike_mistakes_have_one_status(tmp_path, monkeypatch, arguments: str, status: int) -> None:
    monkeypatch.chdir(tmp_path)
    left, out, err = run_command(*arguments.split(), "--json" if has_json(arguments) else "--")
    assert left == status, err
    assert err.splitlines()[-1].startswith("aamc: ")
    assert "Traceback" not in err
    if has_json(arguments):
        assert set(json.loads(out)["error"]) == {"type", "message", "hint"}
    assert [path.name for path in tmp_path.iterdir() if path.name != "runs"] == []


def has_json(arguments: str) -> bool:
    words = arguments.split()
    command = COMMANDS.get((words[0],)) or COMMANDS.get(tuple(words[:2]))
    return command is None or any(parameter.name == "as_json" for parameter in command.params)


def options() -> list[tuple[tuple[str, ...], str]]:
    long = ((path, name) for path, command in COMMANDS.items() for parameter in command.params for name in parameter.opts)
    return [(path, name) for path, name in long if name.startswith("--") and "-" in name[2:]]


@pytest.mark.parametrize(("path", "name"), options(), ids=str)
def test_every_option_may_be_written_with_underscores(path: tuple[str, ...], name: str) -> None:
    assert "no option" not in run_command(*path, "--" + name[2:].replace("-", "_"), "--help")[2]


@pytest.mark.parametrize("group", sorted({path[:-1] for path in COMMANDS}), ids=" ".join)
def test_no_help_page_cuts_a_summary_short(group: tuple[str, ...]) -> None:
    page = run_command(*group, "--help")[1].splitlines()
    assert [line for line in page if line.endswith("...") and not line.startswith("Usage:")] == []
