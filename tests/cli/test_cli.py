from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import click
import pytest
import tiny
import yaml
from aamc_experiments import plugin as experiments
from aamc_experiments.training.out_of_fold import OUT_OF_FOLD
from tiny import Tiny

from aamc_sdk import Component, MetaController, builtin, hookimpl, option
from aamc_sdk.core_commands import COMMANDS
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import ExportableComponent, OnlineRouter
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving import Run
from aamc_sdk.storage import locked
from aamc_sdk.testing import run_command

RUN = ["run", "--router", "favourite", "--estimator", "means", "--environment", "table", "--dataset", "tiny:200", "--routers", "best-expected,seer"]


class Broken:
    """A plugin that offers nonsense."""

    @hookimpl
    def aamc_routers(self):
        raise ValueError("cannot say")


@pytest.fixture
def aamc(tmp_path, monkeypatch):
    """Run the command line in an empty folder; return exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "aamc_sdk.plugins.get_plugin_manager",
        lambda: Plugins({"core": builtin, "experiments": experiments, "tiny": Tiny(), "broken": Broken()}, discover=False),
    )
    return run_command


def test_run_prints_one_json_document_and_names_the_newest_run(aamc) -> None:
    status, out, err = aamc(*RUN, "--json")
    assert status == 0, err
    assert json.loads(out) == json.loads(Path("runs/latest/metrics.json").read_text())
    assert "Everything is in runs/" in err


def test_the_document_is_all_of_standard_output_whatever_components_print(aamc, monkeypatch) -> None:
    monkeypatch.setattr(tiny.TinyRouter, "close", lambda self: print("closed"), raising=False)  # noqa: T201  # the mistake
    for arguments in (RUN, ("route", "hello"), ("plugins",), ("plugins", "--json", "list")):
        _, out, err = aamc(*arguments, "--json")
        assert json.loads(out)["schema"] == 1
    status, out, err = aamc("route", "hello", "--json")
    assert (status, json.loads(out)["candidate"], "closed" in err) == (0, "SLM-Tiny", True)
    assert "closed" in aamc("route", "hello")[1]
    status, out, _ = aamc("route", "--json")
    assert (status, json.loads(out)["error"]["type"]) == (2, "MissingParameter")


def test_a_group_without_a_command_prints_its_help(aamc) -> None:
    status, out, err = aamc("feedback")
    assert (status, err) == (0, "")
    assert "Commands:" in out


def test_run_prints_a_table_for_people(aamc) -> None:
    status, out, _ = aamc(*RUN)
    assert status == 0
    assert "best-expected" in out
    assert "success" in out


def test_route_and_explain_do_not_load_the_clients_of_endpoints(aamc, caplog) -> None:
    aamc(*RUN)
    path = Path("runs/latest/pool.yaml")
    pool = yaml.safe_load(path.read_text())
    pool["candidates"][0]["endpoint"] = {"provider": "absent"}  # a warning would name it
    path.write_text(yaml.safe_dump(pool))
    status, out, err = aamc("route", "hello", "--json")
    assert status == 0, err
    status, _, err = aamc("explain", json.loads(out)["id"])
    assert status == 0, err
    assert "absent" not in caplog.text


def test_route_explain_and_feedback_go_by_the_decisions_id(aamc) -> None:
    aamc(*RUN)
    status, out, err = aamc("route", "Write a Python function to sort a list", "--preference", "0.7,0.2,0.1", "--json")
    assert status == 0, err
    routed = json.loads(out)
    assert routed.keys() >= {
        "schema",
        "id",
        "candidate",
        "propensity",
        "preference",
        "estimates",
        "candidates",
        "runner_up",
        "flip_preference",
        "why",
    }
    assert routed["preference"] == pytest.approx([0.7, 0.2, 0.1])
    assert len(routed["candidates"]) == 4
    assert all(row.keys() >= {"name", "quality", "cost_usd", "latency_ms", "utility", "masked_why"} for row in routed["candidates"])
    assert json.loads(aamc("explain", routed["id"], "--json")[1]) == routed
    first = json.loads(aamc("feedback", "add", routed["id"], "--quality", "1", "--json")[1])
    again = json.loads(aamc("feedback", "add", routed["id"], "--quality", "1", "--json")[1])
    assert (first["new"], again["new"]) == (True, False)


def test_route_names_the_user_who_asks(aamc) -> None:
    aamc(*RUN)
    for user in (["--user", "anna"], []):
        status, _, err = aamc("route", "hello", "--store", "sqlite:mine.db", *user)
        assert status == 0, err
    assert json.loads(aamc("feedback", "forget", "--user", "anna", "--store", "sqlite:mine.db", "--json")[1])["decisions"] == 1


def test_route_logs_the_pseudonym_of_a_user_where_the_key_is_given(aamc) -> None:
    aamc(*RUN)
    Path("key").write_text("a long random text")
    store = ("--store", "sqlite:mine.db")
    status, _, err = aamc("route", "hello", "--user", "anna", "--user-key-file", "key", *store)
    assert status == 0, err
    assert json.loads(aamc("feedback", "forget", "--user", "anna", *store, "--json")[1])["decisions"] == 0
    assert json.loads(aamc("feedback", "forget", "--user", "anna", "--user-key-file", "key", *store, "--json")[1])["decisions"] == 1


def test_a_decision_in_a_store_is_explained_with_the_latest_run_or_without_any(aamc) -> None:
    aamc(*RUN)
    routed = json.loads(aamc("route", "hello", "--store", "sqlite:mine.db", "--json")[1])
    assert not Path("runs/latest/log.db").exists()
    assert json.loads(aamc("explain", routed["id"], "--store", "sqlite:mine.db", "--json")[1]) == routed
    with MetaController.build(router="random", pool=Run.open(Path("runs/latest")).pool, store="sqlite:other.db", plugins=Plugins()) as controller:
        other = controller.route("hello").id
    found = json.loads(aamc("explain", other, "--store", "sqlite:other.db", "--json")[1])
    assert {row["expected_reward"] for row in found["candidates"]} == {None}  # the run's reward is not that of this decision
    Path("runs").rename("elsewhere")
    status, out, err = aamc("explain", routed["id"], "--store", "sqlite:mine.db", "--json")
    assert status == 0, err
    found = json.loads(out)
    known = ("id", "candidate", "propensity", "preference", "estimates", "runner_up")
    assert [found[key] for key in known] == [routed[key] for key in known]
    assert [row["utility"] for row in found["candidates"]] == [row["utility"] for row in routed["candidates"]]
    assert {row["expected_reward"] for row in found["candidates"]} == {None}
    assert f"{routed['candidate']} is chosen" in aamc("explain", routed["id"], "--store", "sqlite:mine.db")[1]
    assert aamc("explain", routed["id"], "--store", "sqlite:mine.db", "--run", "runs/latest")[0] == 1


def test_explaining_a_decision_learns_nothing(aamc, monkeypatch) -> None:
    class Learning(tiny.TinyRouter, OnlineRouter):
        learned = 0

        def learn(self, experience):
            Learning.learned += len(experience.decisions)

    aamc(*RUN)
    routed = json.loads(aamc("route", "hello", "--json")[1])
    monkeypatch.setattr(tiny, "TinyRouter", Learning)
    status, out, err = aamc("explain", routed["id"], "--json")
    assert (status, json.loads(out)) == (0, routed), err
    assert not Learning.learned
    aamc("route", "again")  # a controller does learn
    assert Learning.learned


def test_looking_for_a_decision_makes_no_log(aamc) -> None:
    aamc(*RUN, "--out", "here")
    status, _, err = aamc("explain", "x", "--run", "here")
    assert status == 1
    assert "there is no store at" in err
    assert not Path("here/log.db").exists()


def test_the_same_feedback_id_with_another_quality_is_refused(aamc) -> None:
    aamc(*RUN)
    decision = json.loads(aamc("route", "hello", "--json")[1])["id"]
    aamc("feedback", "add", decision, "--quality", "1")
    status, _, err = aamc("feedback", "add", decision, "--quality", "0")
    assert status == 1
    assert decision in err


def test_evaluate_repeats_the_runs_own_table(aamc) -> None:
    expected = json.loads(aamc(*RUN, "--json")[1])
    status, out, err = aamc("evaluate", "--json")
    assert status == 0, err
    assert json.loads(out) == expected


def test_evaluate_elsewhere_for_some_routers(aamc, caplog) -> None:
    aamc(*RUN)
    status, out, err = aamc(
        "evaluate", "runs/latest", "--dataset", "tiny:60", "--routers", "seer", "--preference", "0,1,0", "--out", "there", "--json"
    )
    assert status == 0, err
    metrics = json.loads(out)
    assert list(metrics["routers"]) == ["seer"]
    assert (metrics["data"]["queries"], metrics["data"]["dropped"], metrics["data"]["split"]) == (12, 48, None)  # the others were trained on
    assert "48 of 60 rows of aamc_sdk.testing were trained on" in caplog.text
    assert metrics["data"]["preference"] == [0, 1, 0]
    assert json.loads(Path("there/metrics.json").read_text()) == metrics


def test_two_evaluations_do_not_write_one_folder(aamc) -> None:
    aamc(*RUN)
    with locked(Path("there")):
        status, _, err = aamc("evaluate", "--out", "there")
    assert status == 1
    assert "another process is writing there" in err


def test_an_evaluation_is_not_evaluated_but_names_its_run(aamc) -> None:
    aamc(*RUN, "--out", "here")
    aamc("evaluate", "here", "--out", "there")
    for command in (("evaluate", "there"), ("evaluate", "there", "--dataset", "tiny:60"), ("evaluate", "there", "--routers", "seer")):
        status, _, err = aamc(*command)
        assert status == 1
        assert f"there holds an evaluation and no router; use the evaluated run {Path('here').resolve()}" in err


def test_the_gate_lets_no_constant_choice_pass(aamc) -> None:
    aamc(*RUN)
    status, out, err = aamc("evaluate", "--gate", "--out", "there", "--json")
    gate = json.loads(out)["gate"]
    assert status == 1
    assert err.splitlines()[-1] == gate["why"]
    assert gate["why"].startswith("favourite does not pass the gate")
    assert (gate["router"], gate["passed"], gate["routers"]["seer"]["passed"]) == ("favourite", False, True)
    assert json.loads(Path("there/metrics.json").read_text())["gate"] == gate


def test_the_gate_opens_to_one_that_chooses_well(aamc) -> None:
    aamc("run", "--router", "seer", *RUN[3:-2], "--routers", "favourite")
    status, _, err = aamc("evaluate", "--gate")
    assert status == 0
    assert err.splitlines()[-1].startswith("seer passes the gate")


def test_the_gate_asks_for_the_router_that_it_decides_on(aamc) -> None:
    aamc(*RUN)
    status, out, err = aamc("evaluate", "--gate", "--routers", "seer")
    assert (status, out) == (2, "")
    assert "name it among the routers" in err


def test_the_gate_decides_by_no_rows_that_were_trained_on(aamc) -> None:
    aamc("run", "--router", "seer", *RUN[3:-2], "--routers", "favourite")  # it passes on its test rows
    status, out, err = aamc("evaluate", "--gate", "--split", "train")
    assert (status, out) == (2, "")
    assert "leave out --split" in err


def test_rows_that_were_trained_on_are_refused_or_named(aamc) -> None:
    aamc(*RUN)
    status, out, err = aamc("evaluate", "--dataset", "tiny:60", "--strict")
    assert (status, out) == (1, "")
    assert "48 of 60 rows of aamc_sdk.testing were trained on" in err
    assert "Left out: 48 rows that the run was trained on, near-duplicates included." in aamc("evaluate", "--dataset", "tiny:60")[1]
    status, out, _ = aamc("evaluate", "--split", "train")
    assert status == 0
    assert "These are the run's train rows, which it was trained on" in " ".join(out.split())
    status, _, err = aamc("evaluate", "--split", "train", "--dataset", "tiny:60")
    assert status == 2
    assert "leave it out, or --dataset" in err


def test_route_takes_trained_checkpoints(aamc) -> None:
    train = ("train", "--environment", "table", "--dataset", "tiny:200")
    aamc(*train, "--estimator", "means", "--out", "kept/means")
    aamc(*train, "--router", "best-expected", "--estimator", "kept/means", "--out", "kept/router")
    expected = json.loads(aamc("route", "hello", "--run", "kept/router", "--json")[1])
    for router, estimator in (("kept/router", "kept/means"), ("kept/router/routers/best-expected", "kept/means/estimator"), ("kept/router", None)):
        named = () if estimator is None else ("--estimator", estimator)
        status, out, err = aamc("route", "hello", "--router", router, *named, "--json")
        assert status == 0, err
        assert json.loads(out)["candidates"] == expected["candidates"]
    aamc(*RUN, "--out", "kept/run")
    assert json.loads(aamc("route", "hello", "--run", "kept/run", "--router", "best-expected", "--json")[1])["candidate"] == expected["candidate"]


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--router", "nobody"], 1, " (runs/latest) holds no router 'nobody' (it holds: "),
        (["--router", "lost"], 1, "; a folder is given with a slash: ./lost"),
        (["--router", "no/where"], 1, "no/where holds no router checkpoint"),
        (["--router", "lost/favourite"], 1, "lost/favourite is outside a run"),
        (["--estimator", "means"], 2, "--estimator must be the folder of a trained estimator, not 'means'; train one with"),
        (["--estimator", "lost/favourite"], 1, "does not describe a checkpoint of kind estimator"),
    ],
)
def test_route_refuses_what_is_no_checkpoint(aamc, options, status, words) -> None:
    aamc(*RUN)
    shutil.copytree("runs/latest/routers/favourite", "lost/favourite")
    found, out, err = aamc("route", "hello", *options)
    assert (found, out) == (status, "")
    assert words in err


def test_calibrate_keeps_a_preference_that_route_and_evaluate_know(aamc) -> None:
    aamc("run", "--router", "best-expected", *RUN[3:-2], "--routers", "seer")
    Path("runs/latest/estimator", OUT_OF_FOLD).unlink()  # tiny's says the same of every candidate: validation rows alone count
    status, out, err = aamc("calibrate", "--quality-floor", "0.75", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert (found["name"], found["target"]) == ("quality-floor-0.75", {"kind": "quality-floor", "value": 0.75, "confidence": 0.95})
    assert json.loads(aamc("route", "hello", "--preference", "quality-floor-0.75", "--json")[1])["preference"] == pytest.approx(found["preference"])
    assert json.loads(aamc("evaluate", "--preference", "quality-floor-0.75", "--json")[1])["data"]["preference"] == pytest.approx(found["preference"])
    assert "relative_quality" in aamc("calibrate", "--strong-share", "0.5", "--name", "half")[1]


def test_a_missed_target_is_a_failure_and_saved_only_on_request(aamc) -> None:
    aamc("run", "--router", "best-expected", *RUN[3:-2], "--routers", "seer")
    Path("runs/latest/estimator", OUT_OF_FOLD).unlink()
    reached = json.loads(aamc("calibrate", "--budget-usd-per-1k", "0.0148", "--confidence", "0", "--name", "any", "--json")[1])["figures"]
    budget = ("calibrate", "--budget-usd-per-1k", str(reached["usd_per_1k"]), "--confidence", "0.999")  # no preference costs less
    status, out, err = aamc(*budget, "--json")
    found = json.loads(out)
    assert (status, found["name"], found["met"]) == (1, None, False)
    assert found["confidence"] < 0.999
    assert "and 99.9% is asked for" in err
    assert list(json.loads(Path("runs/latest/calibrations.json").read_text())) == ["any"]
    status, out, err = aamc(*budget)
    assert status == 1
    assert "not saved" in out
    status, out, err = aamc(*budget, "--save-missed", "--json")
    assert status == 1
    assert json.loads(out)["name"].endswith("-missed")
    assert list(json.loads(Path("runs/latest/calibrations.json").read_text())) == ["any", json.loads(out)["name"]]


def test_train_gives_its_json_and_a_checkpoint_that_run_takes(aamc) -> None:
    status, out, err = aamc(
        "train", "--router", "favourite", "--estimator", "means", "--environment", "table", "--dataset", "tiny", "--out", "kept", "--json"
    )
    assert status == 0, err
    document = json.loads(out)
    assert document.keys() == {"schema", "out", "seconds", "steps", "metrics"}
    assert (document["steps"], document["out"]) == (3, "kept")
    assert not Path("kept/metrics.json").exists()
    assert aamc("run", "--router", "./kept", "--estimator", "./kept", *RUN[5:])[0] == 0


def write_note(self, folder: Path, form: str) -> None:
    (folder / form).write_text(type(self).__name__)


def test_what_is_trained_is_exported_to_its_own_folder(aamc, monkeypatch) -> None:
    for part in ("TinyRouter", "TinyEstimator"):
        exportable = type(part, (getattr(tiny, part), ExportableComponent), {"exports": ("note",), "export": write_note})
        monkeypatch.setattr(tiny, part, exportable)
    assert aamc("train", "--router", "favourite", *RUN[3:-2], "--export", "note", "--out", "both")[0] == 0
    assert [path.as_posix() for path in sorted(Path("both").rglob("note"))] == ["both/routers/favourite/note"]
    assert aamc("train", *RUN[3:-2], "--out", "alone")[0] == 0
    assert aamc("train", "--resume", "alone", "--export", "note")[0] == 0
    assert Path("alone/estimator/note").read_text() == "TinyEstimator"


def test_a_form_that_is_not_known_is_refused_before_training(aamc) -> None:
    status, _, err = aamc("train", *RUN[3:-2], "--export", "onnx", "--out", "refused")
    assert status == 2
    assert "estimator 'means' cannot be exported as 'onnx'; its forms: none" in err
    assert not Path("refused").exists()


def test_train_without_a_component_is_an_error(aamc) -> None:
    status, _, err = aamc("train")
    assert status == 2
    assert "--router NAME" in err


def test_resume_takes_no_other_options(aamc) -> None:
    aamc(*RUN)
    status, _, err = aamc("run", "--resume", "runs/latest", "--seed", "3")
    assert status == 2
    assert "leave the other options out" in err
    assert aamc("run", "--resume", "runs/latest")[0] == 0


def test_a_job_goes_on_with_the_command_that_began_it(aamc) -> None:
    aamc("train", *RUN[1:-2], "--out", "trained")
    status, _, err = aamc("run", "--resume", "trained")
    assert status == 1
    assert "begun by aamc train; continue with: aamc train --resume" in err
    assert aamc("train", "--resume", "trained")[0] == 0


def test_an_interrupt_before_anything_began_does_not_speak_of_going_on(aamc, monkeypatch) -> None:
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("tiny.TinyFormat.read", stop)
    assert aamc(*RUN, "--out", "here")[2].splitlines()[-1] == "aamc: interrupted before anything began"


def test_an_existing_run_is_not_written_over(aamc) -> None:
    aamc(*RUN, "--out", "here")
    before = Path("here/metrics.json").read_bytes()
    status, _, err = aamc(*RUN, "--out", "here", "--seed", "1")
    assert status == 1
    assert "--resume here" in err
    assert Path("here/metrics.json").read_bytes() == before


def test_an_interrupt_says_how_to_go_on(aamc, monkeypatch) -> None:
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("tiny.TinyRouter.train", stop)
    status, out, err = aamc(*RUN, "--out", "here")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1] == "aamc: interrupted; continue with: aamc run --resume here"


def test_plugins_lists_what_is_there_and_what_is_broken(aamc) -> None:
    rows = json.loads(aamc("plugins", "--json")[1])["plugins"]
    assert {row["name"] for row in rows if row["kind"] == "router"} == {"favourite", "best-expected", "seer"}
    (broken,) = [row for row in rows if row["error"]]
    assert broken["distribution"] == "broken"
    assert "cannot say" in broken["error"]
    assert "ERROR" in aamc("plugins")[1]


def test_plugins_lists_the_plugins_that_handle_events(aamc, monkeypatch) -> None:
    class Handler:
        @hookimpl
        def aamc_decided(self, decision):
            """Handle the event."""

    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins({"handler": Handler()}, discover=False))
    status, out, err = aamc("plugins")
    assert (status, out, err) == (0, "plugin  handler  handler  Handles aamc_decided.\n", "")
    assert aamc("plugins", "show", "plugin", "handler") == (status, out, err)


def test_plugins_shows_the_error_of_a_broken_plugin(aamc) -> None:
    status, out, _ = aamc("plugins", "show", "plugin", "broken", "--json")
    (row,) = json.loads(out)["plugins"]
    assert (status, row["kind"], row["name"]) == (0, "plugin", "broken")
    assert "cannot say" in row["error"]
    assert aamc("plugins", "show", "plugin", "broken")[1] == f"plugin  broken  broken  ERROR {row['error']}\n"
    status, _, err = aamc("plugins", "show", "plugin", "brokn")
    assert (status, err) == (2, "aamc: no plugin is named 'brokn'; did you mean 'broken'? (there are: broken, core, experiments, tiny)\n")


def test_plugins_shows_that_a_plugin_works(aamc) -> None:
    shown = "plugin  tiny  tiny  Handles no events; aamc plugins lists its components.\n"
    assert aamc("plugins", "show", "plugin", "tiny") == (0, shown, "")
    status, _, err = aamc("plugins", "show", "plugins", "tiny")
    assert status == 2
    assert err.startswith("aamc: there is no kind 'plugins'; did you mean 'plugin'? (kinds: ")


def test_plugins_lists_components_for_trials_on_request(aamc, monkeypatch) -> None:
    class Trials:
        @hookimpl
        def aamc_routers(self):
            return [Component("strange", "tiny:TinyRouter", "For trials.", listed=False)]

    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins({"core": builtin, "trials": Trials()}, discover=False))
    status, out, err = aamc("plugins")
    assert (status, "strange" in out) == (0, False)
    assert err == "1 more component for tests or under second names: aamc plugins --all\n"
    for command in (("plugins", "--all"), ("plugins", "list", "--all")):
        status, out, err = aamc(*command)
        assert (status, "strange" in out, err) == (0, True, "")
    assert "strange" in {row["name"] for row in json.loads(aamc("plugins", "--all", "--json")[1])["plugins"]}


def test_plugins_show_gives_each_options_default_and_meaning(aamc) -> None:
    status, out, _ = aamc("plugins", "show", "router", "favourite", "--json")
    assert status == 0
    (found,) = json.loads(out)["options"]
    limits = {"choices": None, "allowed": "at least 0"}
    assert found == {"name": "favourite", "type": "int", "default": 0, "meaning": "The candidate's number.", "presets": {"full": 1}, **limits}
    lines = [line.strip() for line in aamc("plugins", "show", "router", "favourite")[1].splitlines()]
    assert lines[-2:] == ["The candidate's number.", "Must be: at least 0"]


def test_plugins_show_gives_the_choices_of_an_option(aamc, monkeypatch) -> None:
    @attrs.frozen
    class Options:
        mode: str = option("slow", "How to go.", choices=("slow", "fast"))

    monkeypatch.setattr("tiny.TinyRouter.Config", Options)
    (found,) = json.loads(aamc("plugins", "show", "router", "favourite", "--json")[1])["options"]
    assert (found["choices"], found["allowed"]) == (["slow", "fast"], "fast, slow")
    assert "One of: fast, slow" in aamc("plugins", "show", "router", "favourite")[1]


class Deeper:
    """A plugin's command whose name begins with that of another one."""

    @hookimpl
    def aamc_commands(self):
        return [Component("run deep", "tiny:TinyRouter", "Run deep.")]


def test_a_command_whose_name_begins_with_anothers_does_not_replace_it(monkeypatch) -> None:
    found = Plugins({"core": builtin, "experiments": experiments, "deeper": Deeper()}, discover=False)
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: found)
    status, out, _ = run_command("run", "--help")
    assert (status, "--router" in out) == (0, True)
    assert "ERROR command 'run deep' of deeper can never run beside command 'run' of experiments" in run_command("plugins")[1]
    status, _, err = run_command("run", "deep", "--depth", "3")
    assert (status, "aamc: command 'run deep' of deeper can never run beside command 'run' of experiments; disable one" in err) == (1, True)


def _even(ctx: click.Context, option: click.Parameter, number: int) -> int:
    if number % 2:
        raise click.BadParameter(f"{number} is not even")
    return number


@click.command()
@click.option("--size", type=click.IntRange(0, 9, max_open=True), required=True, callback=_even)
def sized(size: int) -> None:
    """Show a size."""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '--size'"),
        (["--size", "3"], "Invalid value for '--size': 3 is not even"),
        (["--size", "9"], "--size must be at least 0 and below 9, not 9"),
        (["--size", "x"], "--size must be a whole number of at least 0 and below 9, not 'x'"),
    ],
)
def test_only_clicks_own_words_on_a_wrong_number_are_replaced(monkeypatch, arguments, message) -> None:
    plugin = type("Sized", (), {"aamc_commands": hookimpl(lambda self: [Component("sized", "tiny:sized", "Show a size.")])})()
    monkeypatch.setattr("tiny.sized", sized, raising=False)
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins({"core": builtin, "sized": plugin}, discover=False))
    status, _, err = run_command("sized", *arguments)
    assert (status, err.startswith(f"aamc: {message}")) == (2, True), err


@click.group()
def tools() -> None:
    """Measure and repair."""


tools.add_command(sized)


def test_a_group_of_a_plugin_has_its_own_summary_and_commands(monkeypatch) -> None:
    plugin = type("Tools", (), {"aamc_commands": hookimpl(lambda self: [Component("tools", "tiny:tools", "Measure and repair.")])})()
    monkeypatch.setattr("tiny.tools", tools, raising=False)
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins({"core": builtin, "tools": plugin}, discover=False))
    assert "Measure and repair." in run_command("--help")[1]
    assert run_command("tools", "sized", "--size", "2")[0] == 0


class Greedy:
    """Claims the names of the core's commands."""

    @hookimpl
    def aamc_commands(self):
        return [Component(name, "tiny:TinyRouter", "Mine.") for core in COMMANDS for name in (core, f"{core} add", f"{core} list")]


@pytest.mark.parametrize("command", [*COMMANDS, "feedback add", "plugins list"])
def test_the_cores_own_commands_work_whatever_plugins_offer(monkeypatch, command) -> None:
    found = Plugins({"core": builtin, "greedy": Greedy()}, discover=False)
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: found)
    status, out, err = run_command(*command.split(), "--help")
    assert (status, err) == (0, "")
    assert "Mine." not in out


def test_a_component_that_is_no_command_is_named(monkeypatch) -> None:
    found = Plugins({"core": builtin, "deeper": Deeper()}, discover=False)
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: found)
    status, _, err = run_command("run", "deep")
    assert status == 1
    assert "command 'run deep' of deeper (tiny:TinyRouter) is <class 'tiny.TinyRouter'>, not a click command: put @click.command()" in err


def test_without_a_command_the_commands_are_listed(aamc) -> None:
    status, out, err = aamc()
    assert (status, err) == (0, "")
    assert "Train a router, an estimator or an orchestrator." in out


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["rnu"], 2, "did you mean 'run'"),
        (["promote"], 2, "no command 'promote' (see aamc --help)"),
        (["evaluate", "--run", "x"], 2, "no option --run: RUN is an argument, as in aamc evaluate RUN (see aamc evaluate --help)"),
        (["run", "--ruoter", "x"], 2, "no option --ruoter; did you mean '--router'?"),
        (["run", "--rum", "x"], 2, "no option --rum (see aamc run --help)"),
        (["run", "--router", "favorite"], 2, "did you mean 'favourite'"),
        (["run", "--router", "favourite", "--set", "router.favorite=1"], 2, "did you mean 'favourite'"),
        (["run", "--router", "favourite", "--set", "router.favourite"], 2, "KEY=VALUE"),
        (["run", "--router", "favourite", "--set", "router.favourite=1.5"], 2, "whole number"),
        (["run", "--router", "favourite", "--preference", "1,2"], 2, "three numbers"),
        (["run", "--router", "favourite", "--preference=-1,1,1"], 2, "at least 0"),
        (["run", "--router", "favourite", "--preference", "0,0,0"], 2, "positive"),
        (["run", "--router", "favourite", "--routers", ","], 2, "--routers must be names"),
        (["run", "--router", "favourite", "--routers", ""], 2, "--routers must be names"),
        (["run", "--router", "favourite", "--routers", "seer,seer"], 2, "--routers must not name anything twice"),
        (["run", "--router", "favourite", "--estimator", ""], 2, "estimator must be a name"),
        (["run", "--router", "favourite", "--preference", ""], 2, "three numbers"),
        (["run", "--router", "favourite", "--pool", ""], 2, "pool must be the name or file of a pool"),
        (["run", "--router", "favourite", "--seed", "4294967296"], 2, "from 0 to 4294967295"),
        (["run", "--router", "favourite", "--preset", "fast"], 2, "preset"),
        (["run", "--router", "favourite", "--config", "missing.yaml"], 1, "cannot read missing.yaml: there is no such file"),
        (["run", "--router", "nowhere/at/all"], 1, "holds no router checkpoint"),
        (["run", "--no-such-option"], 2, "aamc run --help"),
        (["route"], 2, "Missing argument 'TEXT'"),
        (["route", " "], 2, "TEXT must not be empty"),
        (["calibrate"], 2, "give one target"),
        (["calibrate", "--quality-floor", "2", "--budget-usd-per-1k", "1"], 2, "give one target"),
        (["calibrate", "--quality-floor", "97"], 2, "at most 2 (0.97 for 97%), not 97.0"),
        (["calibrate", "--strong-share", "3"], 2, "--strong-share must be a share from 0 to 1, not 3.0"),
        (
            ["calibrate", "--quality-floor", "-1"],
            2,
            "a share of the best single candidate's quality, at least 0 and at most 2 (0.97 for 97%), not -1.0",
        ),
        (["calibrate", "--quality-floor", "0.9", "--name", "0.5,0.3,0.2"], 2, "not '0.5,0.3,0.2'"),
        (["calibrate", "--quality-floor", "0.9"], 1, "aamc run"),
        (["evaluate"], 1, "aamc run"),
        (["evaluate", "missing"], 1, "aamc run"),
        (["route", "hello"], 1, "aamc run"),
        (["explain", "x"], 1, "aamc run"),
        (["feedback", "add", "x", "--quality", "2", "--store", "memory:"], 2, "--quality must be from 0 to 1, not 2.0"),
        (["feedback", "add", "x", "--quality", "1", "--store", "memory:"], 1, "'x'"),
        (["feedback", "add", "x", "--quality", "1", "--store", "sqlite:nothere.db"], 1, "no store at nothere.db"),
        (["run", "--out", ""], 2, "must not be empty"),
        (["plugins", "show", "router", "nobody"], 2, "no router is named 'nobody'"),
        (["plugins", "show", "rooter", "nobody"], 2, "did you mean 'router'"),
    ],
)
def test_wrong_usage_is_one_line_and_has_its_exit_status(aamc, arguments, status, words) -> None:
    left, out, err = aamc(*arguments)
    assert (left, out) == (status, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_an_unexpected_error_is_one_line_and_debug_shows_where(aamc, monkeypatch) -> None:
    monkeypatch.setattr("tiny.TinyRouter.train", lambda *arguments: 1 / 0)
    status, _, err = aamc(*RUN)
    assert status == 1
    assert "ZeroDivisionError" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert "Traceback" in aamc("--debug", *RUN)[2]


@pytest.mark.parametrize("options", [[], ["--debug"]])
def test_errors_and_log_lines_steer_no_terminal(aamc, monkeypatch, options) -> None:
    def train(*arguments):
        logging.getLogger("tiny").warning("the server says \x1b]0;owned\x07")
        raise DataError("it refused: \x1b[2J\x9b31m")

    monkeypatch.setattr("tiny.TinyRouter.train", train)
    monkeypatch.setattr(logging.root, "handlers", [])  # those of pytest
    level = logging.root.level
    try:
        _, _, err = aamc(*options, *RUN)
    finally:
        logging.root.setLevel(level)  # which --debug lowers
    assert "tiny: the server says \ufffd]0;owned\ufffd" in err
    assert "aamc: it refused: \ufffd[2J\ufffd31m" in err
    assert not {"\x1b", "\x07", "\x9b"} & set(err)


@pytest.mark.skipif(os.name == "nt", reason="closes a descriptor in a POSIX shell")
@pytest.mark.parametrize(
    ("arguments", "message"), [(["explain", "nope"], "aamc: no decision of the log"), (["feedback", "export", "-"], "0 entries")]
)
def test_a_closed_standard_output_is_no_bug(tmp_path: Path, arguments: list[str], message: str) -> None:
    MetaController.build(router="random", store=f"sqlite:{tmp_path / 'log.db'}").close()
    command = [sys.executable, "-m", "aamc_sdk.cli", *arguments, "--store", f"sqlite:{tmp_path / 'log.db'}"]
    found = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, timeout=60)
    assert found.stderr.startswith(message)
    assert found.stderr.count("\n") == 1


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["plugins"], "No space left on device (free some space, or write elsewhere)"),
        (["plugins", "--json"], "No space left on device (free some space, or write elsewhere)"),
        (["plugins", "nothing", "--json"], "No such command 'nothing'. (see aamc plugins --help)"),
    ],
)
def test_output_to_a_full_disk_ends_in_one_line(arguments: list[str], error: str) -> None:
    with FULL.open("wb") as full:
        ended = subprocess.run([sys.executable, "-m", "aamc_sdk.cli", *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode > 0
    assert ended.stderr == f"aamc: {error}\n"


def test_an_argument_that_the_locale_cannot_decode_names_the_locale(tmp_path) -> None:
    command = [sys.executable, "-m", "aamc_sdk.cli", "feedback", "add", "d", "--quality", "1", "--source", "Zürich".encode(), "--store", "sqlite:d"]
    posix = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = subprocess.run(command, cwd=tmp_path, env=posix, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "(the locale's encoding is ascii; set LC_ALL=C.UTF-8 or PYTHONUTF8=1)" in ended.stderr


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    program = [sys.executable, "-m", "aamc_sdk.cli", "plugins"]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.wait()
    process.stderr.close()


LIST_MODULES = """
import sys
from aamc_sdk.cli import main
try:
    main({arguments!r})
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["plugins"], ["plugins", "--json"]])
def test_a_quick_command_imports_nothing_heavy(arguments) -> None:
    done = subprocess.run([sys.executable, "-c", LIST_MODULES.format(arguments=arguments)], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert not loaded & {"torch", "transformers", "gymnasium", "numpy", "sklearn", "matplotlib", "rich", "cattrs"}


def test_the_folder_of_a_training_is_named_after_the_component_that_it_trains(aamc) -> None:
    for options, name in ((["--estimator", "means", *RUN[5:-2]], "means"), (RUN[1:-2], "favourite")):
        status, out, err = aamc("train", *options, "--json")
        assert status == 0, err
        assert json.loads(out)["out"].endswith(f"-{name}")


def test_no_estimator_alone_is_nothing_to_train(aamc) -> None:
    status, _, err = aamc("train", "--estimator", "none", "--out", "alone")
    assert status == 2
    assert "choose what to train" in err
    assert not Path("alone").exists()


@pytest.mark.parametrize(
    ("arguments", "expected", "kind", "words"),
    [
        (("route", "hello", "--run", "nowhere"), 1, "CheckpointError", "nowhere"),
        (("route", "hello", "--colour", "red"), 2, "NoSuchOption", "--colour"),
        (("explain", "missing", "--run", "nowhere"), 1, "CheckpointError", "nowhere"),
        (("feedback", "add", "d", "--quality", "2", "--store", "memory:"), 2, "BadParameter", "quality"),
        (("plugins", "show", "router", "nothing"), 2, "UnknownComponentError", "nothing"),
    ],
)
def test_an_error_is_a_json_document_where_one_was_asked_for(aamc, arguments, expected, kind, words) -> None:
    status, out, err = aamc(*arguments, "--json")
    document = json.loads(out)
    assert (status, document["schema"], set(document["error"])) == (expected, 1, {"type", "message", "hint"})
    assert words in err
    assert document["error"]["type"] == kind
    assert document["error"]["message"] in err
    assert document["error"]["hint"] in err
