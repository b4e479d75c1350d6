"""Measured quality for the prompt: from a log, by candidate and category."""

import pytest
from aamc_router_r1.policy import measured_quality, overall

from aamc_sdk import MetaController
from aamc_sdk.errors import AamcError, ConfigError
from aamc_sdk.routing import pool_from_dict


def test_quality_is_the_mean_of_judged_decisions(tmp_path):
    url = f"sqlite:{tmp_path / 'log.db'}"
    pool = pool_from_dict({"candidates": [{"name": "small"}, {"name": "big"}]}, "test")
    with MetaController.build(router="random", pool=pool, store=url) as controller:
        judged = {"small": [], "big": []}
        for n in range(40):
            decision = controller.route(f"question {n}")
            judged[decision.candidate].append(float(n % 4 == 0))
            controller.feedback(decision.id, quality=judged[decision.candidate][-1])
        controller.route("not judged")
    found = measured_quality(url, {"small": {"math": 0.25}, "new": {"": 0.5}}, ["small", "big", "new"])
    assert found["big"] == {"": pytest.approx(sum(judged["big"]) / len(judged["big"]))}
    assert found["small"] == {"": pytest.approx(sum(judged["small"]) / len(judged["small"])), "math": 0.25}
    assert overall(found)["new"] == 0.5
    assert overall({"a": {"x": 0.2, "y": 0.4}}) == {"a": pytest.approx(0.3)}


def test_categories_are_the_most_probable_ones(tmp_path):
    url = f"sqlite:{tmp_path / 'log.db'}"
    pool = pool_from_dict({"candidates": [{"name": "small"}]}, "test")
    with MetaController.build(router="random", pool=pool, store=url, estimator="lexical", allow_untrained=True) as controller:
        controller.feedback(controller.route("Write a Python function").id, quality=1.0)
    assert set(measured_quality(url, {}, ["small"])["small"].values()) == {1.0}


def test_a_missing_log_is_an_error(tmp_path):
    with pytest.raises(AamcError, match="none"):
        measured_quality(f"sqlite:{tmp_path / 'none.db'}", {}, ["small"])


@pytest.mark.parametrize("wrong", [3, -0.1, float("nan"), "high", True])
def test_a_quality_outside_its_range_is_an_error(wrong):
    with pytest.raises(ConfigError, match=r"quality of 'small' must be a number from 0 to 1, not"):
        measured_quality("", {"small": {"math": wrong}}, ["small"])


def test_a_quality_of_no_candidate_is_an_error():
    with pytest.raises(ConfigError, match=r"quality names 'smal', which is not a candidate; did you mean 'small'\? \(big, small\)"):
        measured_quality("", {"smal": {"": 0.5}}, ["small", "big"])
