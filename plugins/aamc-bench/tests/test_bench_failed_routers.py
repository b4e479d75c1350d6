from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aamc_baselines.learned.ridge import Ridge
from aamc_bench.experiment_runs import LEFT_OUT, RoutersLeftOut, left_out_of, train_each

from aamc_sdk.interfaces import NoProgress, Training

pytestmark = [pytest.mark.one_python, pytest.mark.usefixtures("in_process")]
SMALL = ("--routers", "best-single,ridge,random", "--estimator", "lexical", "--set", "evaluation.resamples=20")


@pytest.fixture
def ridge_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ridge fail where everything follows from seed 1."""
    usual = Ridge.train

    def train(self: Ridge, training: Training) -> dict[str, Any]:
        if self.services.seed == 1:
            raise ZeroDivisionError("no luck\nwith this seed")
        return usual(self, training)

    monkeypatch.setattr(Ridge, "train", train)


@pytest.mark.usefixtures("ridge_fails")
def test_compare_goes_on_without_a_router_that_failed_under_one_seed_and_says_so(aamc: Any, outcomes: str) -> None:
    status, out, err = aamc("bench", "compare", "--dataset", outcomes, "--seeds", "0,1", *SMALL, "--out", "there", "--json")
    assert status == 1
    assert re.search(r"left out, for training failed: ridge in 1-\S+-seed1: ZeroDivisionError: no luck with this seed", err), err
    assert [record["router"] for record in json.loads(out)["records"]] == ["best-single", "random"]
    status, _, again = aamc("bench", "compare", "--resume", "there")
    assert (status, "left out" in again) == (1, True)


@pytest.mark.usefixtures("ridge_fails")
def test_unseen_models_goes_on_without_it_too(aamc: Any, outcomes: str) -> None:
    status, out, err = aamc("bench", "unseen-models", "--dataset", outcomes, "--seeds", "1", "--outcomes", "8", *SMALL, "--out", "there", "--json")
    assert status == 1
    assert "and 2 more" in err
    rows = [(record["known"], record["router"]) for record in json.loads(out)["records"]]
    assert rows == [(known, router) for known in ("without", "description", "8", "all") for router in ("best-single", "random")]


@pytest.mark.usefixtures("ridge_fails")
def test_robustness_measures_the_others_and_trains_them_alone_for_shift(aamc: Any, outcomes: str) -> None:
    arguments = ("--dataset", outcomes, "--seed", "1", "--kinds", "typos,shift", "--noise-levels", "0.3", "--n-episodes", "2")
    status, out, err = aamc("bench", "robustness", *arguments, *SMALL, "--out", "there", "--json")
    assert status == 1
    assert "ridge in run: ZeroDivisionError" in err
    document = json.loads(out)
    assert [record["router"] for record in document["noise"]] == ["best-single", "random"] * 2
    assert [record["router"] for record in document["shift"]] == ["best-single", "random"] * 2


@pytest.mark.usefixtures("ridge_fails")
def test_scalability_times_the_others(aamc: Any) -> None:
    small = ("--set", "dataset.n_train=80", "--set", "dataset.n_validation=20", "--set", "dataset.n_test=40", "--set", "evaluation.steps=5")
    arguments = ("--model-counts", "3", "--n-queries", "30", "--seed", "1", *small, *SMALL)
    status, out, err = aamc("bench", "scalability", *arguments, "--out", "there", "--json")
    assert status == 1
    assert "left out, for training failed: ridge" in err
    assert "ridge" not in {record["router"] for records in json.loads(out).values() if isinstance(records, list) for record in records}


def test_what_could_be_trained_is_returned_and_the_rest_is_kept_with_its_reason(tmp_path: Path) -> None:
    job = tmp_path / "jobs" / "one"
    parts: dict[str, Any] = {"good": object(), "better": object()}
    assert train_each(["good", "bad", "better"], parts.__getitem__, job, NoProgress()) == parts
    assert left_out_of(["one", "other"], tmp_path) == [{"job": "one", "router": "bad", "why": "KeyError: 'bad'"}]
    assert "bad in one: KeyError" in str(RoutersLeftOut(left_out_of(["one"], tmp_path)))
    train_each(["good"], parts.__getitem__, job, NoProgress())
    assert not (job / LEFT_OUT).exists()


def test_where_all_fail_the_job_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="worse"):
        train_each(["bad", "worse"], {}.__getitem__, tmp_path, NoProgress())
