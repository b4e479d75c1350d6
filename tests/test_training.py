"""The data of a training: its environment has no test split."""

import copy

import attrs
import numpy as np
import pytest

from aamc_sdk.errors import DataError, PluginError
from aamc_sdk.interfaces import Training
from aamc_sdk.testing import TableEnvironment, make_dataset, make_request, make_reward


@pytest.fixture
def training() -> Training:
    rows = make_dataset(30)
    environment = TableEnvironment(None, attrs.make_class("Services", ["reward"])(make_reward(rows)))
    environment.prepare({"train": rows, "validation": rows, "test": rows})
    return Training(dataset=rows, env=environment)


@pytest.mark.parametrize("ask", [lambda env: env.dataset("test"), lambda env: env.vector(4, "test"), lambda env: env.vector(n=4, split="test")])
def test_a_training_cannot_draw_test_queries(training, ask):
    for given in (training, attrs.evolve(training), copy.deepcopy(training)):
        with pytest.raises(DataError, match="cannot use the split 'test', on which the result is measured; use 'train', or 'validation'"):
            ask(given.env)


def test_its_environment_is_otherwise_the_one_that_was_given(training):
    assert training.env.stationary
    assert list(training.env.splits) == ["train", "validation", "test"]
    assert len(training.env.dataset("validation")) == 30
    streams = training.env.vector(4, "train", seed=3, preferences=np.tile([1.0, 0.0, 0.0], (4, 1)))
    streams.reset()
    assert len(streams.request()) == 4
    assert Training(dataset=training.dataset).env is None


def test_an_environment_that_returns_no_streams_is_named(training, monkeypatch):
    monkeypatch.setattr(TableEnvironment, "vector", lambda self, n, split: None)
    with pytest.raises(PluginError, match=r"^TableEnvironment failed: TypeError: vector must return streams .*, not None$"):
        training.env.vector(4, "train")


def test_the_rows_with_a_known_reward_are_found(training):
    rows, reward = training.dataset, make_reward(training.dataset)
    quality = rows.outcomes.quality.copy()
    quality[:3], quality[4, 1:] = np.nan, np.nan
    request = make_request(rows)
    partly = attrs.evolve(training, dataset=attrs.evolve(rows, outcomes=attrs.evolve(rows.outcomes, quality=quality)), request=request)
    found, rewards = partly.known_rewards(reward, "router x")
    assert list(found) == [*range(3, 30)]
    assert list(np.isfinite(rewards[4])) == [True, False, False, False]
    np.testing.assert_array_equal(rewards[5:], reward.scalar(rows.outcomes, request.preferences)[5:])


def test_rows_without_a_known_reward_are_refused(training):
    rows, reward, request = training.dataset, make_reward(training.dataset), make_request(training.dataset)
    questions = attrs.evolve(rows, source="questions")
    without_outcomes = Training(dataset=attrs.evolve(questions, outcomes=None), request=request)
    for incomplete in (without_outcomes, Training(dataset=questions)):
        with pytest.raises(DataError, match=r"^router x learns from outcomes, and questions has none; use a dataset with outcomes$"):
            incomplete.known_rewards(reward, "router x")
    of_quality = attrs.evolve(request, preferences=np.tile([1.0, 0.0, 0.0], (30, 1)))
    unknown = attrs.evolve(rows, source="votes", outcomes=attrs.evolve(rows.outcomes, quality=np.full((30, 4), np.nan)))
    with pytest.raises(DataError, match=r"^votes has no row with a known reward; router x needs qualities, and costs"):
        Training(dataset=unknown, request=of_quality).known_rewards(reward, "router x")
