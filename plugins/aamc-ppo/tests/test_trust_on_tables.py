"""The trust factor on a table of outcomes: its interval counts the validation rows, not how often streams draw them."""

import numpy as np
import pytest
from aamc_ppo.trust import MIN_ROWS, gain_of_rows

QUICK = {"total_timesteps": 60_000, "n_streams": 128, "n_steps": 2048, "minibatch": 1024, "validation_steps": 8192}


def test_the_error_of_a_gain_on_a_table_is_that_of_its_rows():
    values = np.random.default_rng(0).normal(size=(2000, 30))  # gains of variance 1 of 30 questions
    rows = np.arange(3000).reshape(100, 30) % 30  # each is drawn 100 times
    found = np.array([gain_of_rows(gain[rows], rows) for gain in values])
    assert found[:, 0] == pytest.approx(values.mean(axis=1))
    assert found[:, 0].std() == pytest.approx(30**-0.5, rel=0.05)
    assert found[:, 1].mean() == pytest.approx(30**-0.5, rel=0.05)


def test_few_rows_confirm_no_gain():
    assert gain_of_rows(np.ones((10, 2)), np.arange(20).reshape(10, 2) % (MIN_ROWS - 1)) == (1.0, np.inf)


@pytest.mark.parametrize(("rows", "confirmed"), [([0, 1, 2, 3], True), ([0, 0, 0, 0], False)])
def test_a_gain_on_a_table_is_trusted_where_several_rows_confirm_it(bandit, rows, confirmed, monkeypatch):
    monkeypatch.setattr("aamc_ppo.trust.MIN_ROWS", 4)
    env = bandit(0)
    env.stationary, env.rows = True, np.array(rows)
    metrics = env.router(0, **QUICK).train(env.training(validation=env.dataset("validation")))
    assert (metrics["trust"]["factor"] > 0) == confirmed
