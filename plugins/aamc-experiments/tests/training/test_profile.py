"""Where the time of a run goes."""

import cProfile
import json
from types import SimpleNamespace

import pytest
from aamc_experiments.training import profile as profiling
from aamc_experiments.training.profile import Profile, slowest_functions
from tiny import Tiny

from aamc_sdk import builtin
from aamc_sdk.cli import main
from aamc_sdk.interfaces import NoProgress
from aamc_sdk.plugins import Plugins

RUN = ["run", "--router", "favourite", "--estimator", "means", "--environment", "table", "--dataset", "tiny:200", "--routers", "seer"]


class Telling(NoProgress):
    def __init__(self):
        self.told = []

    def start(self, what, total):
        self.told.append((what, total))

    def say(self, line):
        self.told.append(line)


def test_parts_of_a_stage_are_timed_and_told_on(monkeypatch):
    looks = iter((0.0, 1.0, 4.0, 4.0, 5.0, 6.0))
    monkeypatch.setattr(profiling, "time", SimpleNamespace(perf_counter=lambda: next(looks)))
    shown = Telling()
    profile = Profile(shown)
    with profile.stage("router a"):
        profile.start("playing", 3)
        profile.start("learning", 5)
        profile.say("well")
    assert list(profile.stages.items()) == [("router a", 6.0), ("router a: playing", 3.0), ("router a: learning", 1.0)]
    assert shown.told == [("playing", 3), ("learning", 5), "well"]


def test_a_stage_that_fails_is_timed_too():
    profile = Profile(NoProgress())

    @profile.stage("data")
    def read():
        profile.start("reading", 1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        read()
    assert list(profile.stages) == ["data", "data: reading"]


def first():
    return sum(range(100_000))


def test_functions_of_one_name_are_kept_apart():
    profiler = cProfile.Profile()
    other = compile("def first():\n    return sum(range(200_000))\nfirst()", "elsewhere/file.py", "exec")
    profiler.enable()
    first()
    exec(other, {})
    profiler.disable()
    places = [place for place, _, _ in slowest_functions(profiler, 1000)]  # all: what else runs meanwhile, such as garbage collection, may be slower
    assert sum(place.endswith(" first") for place in places) == 2
    assert "elsewhere/file.py:1 first" in places


def test_a_profiled_run_says_on_standard_error_where_the_time_went(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aamc_sdk.plugins.get_plugin_manager", lambda: Plugins({"builtin": builtin, "tiny": Tiny()}))
    with pytest.raises(SystemExit) as left:
        main([*RUN, "--json", "--profile", "--out", "out"])
    assert left.value.code == 0
    out, err = capsys.readouterr()
    assert "favourite" in json.loads(out)["routers"]
    profile = json.loads((tmp_path / "out" / "profile.json").read_text())
    stages = {row["stage"]: row for row in profile["stages"]}
    assert {"data", "estimator", "estimates", "router favourite", "router seer", "evaluation", "report"} <= set(stages)
    assert 0 < sum(row["share"] for name, row in stages.items() if ":" not in name) <= 1
    assert all(row["calls"] > 0 and 0 <= row["share"] <= 1 for row in profile["functions"])
    assert "router favourite" in err
    assert profile["functions"][0]["function"][:40] in err
