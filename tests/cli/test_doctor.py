"""``aamc doctor``: what is in order, what is not, and what to do about it."""

from __future__ import annotations

import json
import platform
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from aamc_experiments import plugin as experiments
from tiny import Tiny

from aamc_sdk import Component, __version__, builtin, hookimpl
from aamc_sdk.errors import PluginError
from aamc_sdk.interfaces import Diagnosis
from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import run_command


def well() -> list[Diagnosis]:
    return [Diagnosis("network", "fast"), Diagnosis("disk", "nearly full", "warning", "delete old runs")]


def raising() -> list[Diagnosis]:
    raise ZeroDivisionError("no\nnumber")


def leaving() -> list[Diagnosis]:
    raise SystemExit(3)


def wrong() -> list[str]:
    return ["fine"]


def silent() -> None:
    """Forgets to return its diagnoses."""


def misspelt() -> list[Diagnosis]:
    return [Diagnosis("disk", "full", "broke", "delete old runs")]


def hanging() -> list[Diagnosis]:
    threading.Event().wait()
    return []


def refusing() -> list[Diagnosis]:
    raise PluginError("the network has no name")


PRINTED: list[str] = []
"""What the command had printed each time that ``peeking`` was called."""


def peeking() -> list[Diagnosis]:
    PRINTED.append(sys.stdout.buffer.getvalue().decode())
    return []


class Checking:
    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def aamc_checks(self) -> list[Component]:
        return [Component(self.name, f"plugin_of_checks:{self.name}", "A check.")]


class Commands:
    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def aamc_commands(self) -> list[Component]:
        return [Component(self.name, "aamc_sdk.cli.commands.doctor:doctor", "A command.")]


class Broken:
    @hookimpl
    def aamc_routers(self) -> list[Component]:
        raise ValueError("cannot say")


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    """Run the command with plugins in an empty folder; return its status, its document's checks by subject, and its table."""
    monkeypatch.chdir(tmp_path)
    checks = (well, raising, leaving, silent, wrong, misspelt, hanging, refusing, peeking)
    monkeypatch.setitem(sys.modules, "plugin_of_checks", SimpleNamespace(**{check.__name__: check for check in checks}))

    def call(*arguments: str, **plugins: object) -> tuple[int, dict[str, dict[str, str]], str]:
        monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins({"core": builtin, **plugins}, discover=False))
        status, out, _ = run_command("doctor", *arguments, "--json")
        document = json.loads(out)
        assert (document["schema"], document["ok"]) == (1, status == 0)
        again, table, _ = run_command("doctor", *arguments)
        assert again == status
        assert all(check["advice"] or check["status"] == "ok" for check in document["checks"])
        return status, {check["subject"]: check for check in document["checks"]}, " ".join(table.split())

    return call


def test_a_sound_installation_has_hints_only(doctor) -> None:
    status, checks, table = doctor(tiny=Tiny())
    assert status == 0
    assert {check["status"] for check in checks.values()} <= {"ok", "warning"}
    assert checks["components"]["state"].startswith("all ")
    assert checks.keys() >= {"Python", "components", "torch", "working folder", "run runs/latest"}
    assert checks["run runs/latest"] == {"subject": "run runs/latest", "state": "none yet", "status": "ok", "advice": "make one with: aamc run"}
    assert "hint: make one with: aamc run" in table


def test_plugins_contribute_checks(doctor) -> None:
    status, checks, table = doctor(checking=Checking("well"))
    assert status == 0
    assert checks["disk"] == {"subject": "disk", "state": "nearly full", "status": "warning", "advice": "delete old runs"}
    assert "warning disk nearly full to do: delete old runs" in table


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wrong", "must return aamc_sdk.interfaces.Diagnosis objects, not 'fine'"),
        ("silent", "must return a list of aamc_sdk.interfaces.Diagnosis, not None"),
        ("misspelt", "the status of a diagnosis must be one of ok, warning, broken, not 'broke'"),
    ],
)
def test_a_check_that_returns_no_diagnoses_is_broken(doctor, name: str, words: str) -> None:
    status, checks, _ = doctor(a=Checking(name))
    assert status == 1
    assert words in checks[f"check {name}"]["state"]


@pytest.mark.parametrize(
    ("name", "error"),
    [("raising", "ZeroDivisionError: no number"), ("leaving", "SystemExit: 3"), ("refusing", "PluginError: the network has no name")],
)
def test_a_check_that_raises_is_broken_and_the_others_go_on(doctor, name, error) -> None:
    status, checks, _ = doctor(a=Checking(name), b=Checking("well"))
    assert status == 1
    assert checks[f"check {name}"]["state"] == f"failed: {error}"
    assert checks["network"]["status"] == "ok"


def test_a_check_that_hangs_is_broken_and_the_others_go_on(doctor, monkeypatch) -> None:
    monkeypatch.setattr("aamc_sdk.cli.commands.doctor.CHECK_S", 0.2)
    status, checks, _ = doctor(a=Checking("hanging"), b=Checking("well"))
    assert status == 1
    assert checks["check hanging"] == {
        "subject": "check hanging",
        "state": "did not end within 0.2 s",
        "status": "broken",
        "advice": "report it to the authors of a, or leave it out with AAMC_DISABLE_PLUGINS=a",
    }
    assert checks["network"]["status"] == "ok"


def test_lines_are_printed_as_the_checks_finish(doctor) -> None:
    doctor(a=Checking("peeking"))
    assert "components" in PRINTED[-1]


def test_a_broken_plugin_and_a_component_that_cannot_be_imported_are_reported(doctor) -> None:
    status, checks, table = doctor(broken=Broken(), gone=Checking("gone"))
    assert status == 1
    assert "cannot say" in checks["plugin broken"]["state"]
    assert "AAMC_DISABLE_PLUGINS=broken" in checks["plugin broken"]["advice"]
    assert "cannot be loaded" in checks["check gone"]["state"]
    assert "cannot say" in table
    assert "components" not in checks


def test_a_command_that_another_one_hides_is_no_fault_of_its_own_distribution(doctor) -> None:
    commands = {name: Commands(name) for name in ("data", "data fetch")}
    _, checks, _ = doctor(one=commands["data"], two=commands["data fetch"])
    found = checks["command data fetch"]
    assert found["state"] == "command 'data fetch' of two can never run beside command 'data' of one"
    assert found["advice"] == "disable one with AAMC_DISABLE_PLUGINS"


def test_a_requirement_that_is_not_installed_is_named(doctor, monkeypatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["numpy>=1", "no-such-library>=2", 'other; extra == "x"'])
    status, checks, _ = doctor()
    assert status == 1
    assert (checks["core"]["status"], checks["core"]["advice"]) == ("broken", "pip install no-such-library")


def test_a_requirement_of_a_newer_sdk_is_named(doctor, monkeypatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["aamc-sdk>=99"])
    monkeypatch.setattr("importlib.metadata.distributions", lambda name: ["installed"])
    status, checks, _ = doctor(mine=Checking("well"))
    assert status == 1
    assert checks["mine"] == {
        "subject": "mine",
        "state": f"0: mine requires aamc-sdk>=99, and {__version__} is installed",
        "status": "broken",
        "advice": "pip install --upgrade aamc-sdk",
    }


def test_a_log_is_reached_or_not_and_its_password_is_not_shown(doctor) -> None:
    status, checks, table = doctor("--store", "memory:", "--store", "sqlite:missing.db", "--store", "nothing://ann:secret@host/x?password=secret")
    assert status == 1
    assert checks["store memory:"] == {"subject": "store memory:", "state": "reachable", "status": "ok", "advice": ""}
    assert checks["store sqlite:missing.db"] == {
        "subject": "store sqlite:missing.db",
        "state": "there is no store at missing.db",
        "status": "broken",
        "advice": "give the URL of an existing one",
    }
    assert checks["store nothing://host/x"]["status"] == "broken"
    assert "secret" not in table


def test_a_long_subject_leaves_room_for_its_state() -> None:
    _, table, _ = run_command("doctor", "--store", f"sqlite:{'folder/' * 60}log.db")
    assert table.splitlines()[0].index(platform.python_version()) < 45


def test_a_run_that_is_named_must_be_there(doctor) -> None:
    status, checks, _ = doctor("--run", "missing")
    assert status == 1
    assert checks["run missing"]["advice"].startswith("make one with: aamc run")


@pytest.mark.parametrize("damaged", ["routers/favourite/component.json", "estimator/component.json", "candidates.json", "reward.json"])
def test_a_run_that_cannot_be_served_is_broken(doctor, damaged) -> None:
    plugins = {"tiny": Tiny(), "experiments": experiments}
    doctor(**plugins)  # installs them
    words = ("--router", "favourite", "--estimator", "means", "--environment", "table", "--dataset", "tiny:200", "--routers", "seer")
    assert run_command("run", *words, "--out", "trained")[0] == 0
    assert doctor("--run", "trained", **plugins)[1]["run trained"]["state"] == "router favourite, 4 candidates"
    file = Path("trained", damaged)
    file.write_text(file.read_text()[:20])
    status, checks, _ = doctor("--run", "trained", **plugins)
    assert (status, checks["run trained"]["status"]) == (1, "broken")
    assert f"{file} is damaged" in checks["run trained"]["state"]


def test_a_disabled_plugin_is_named(doctor, monkeypatch) -> None:
    monkeypatch.setenv("AAMC_DISABLE_PLUGINS", "ppo")
    status, checks, _ = doctor()
    assert (status, checks["AAMC_DISABLE_PLUGINS"]["status"]) == (0, "warning")
