"""The trust factor where streams draw the same questions again: its interval counts the validation rows, not how often they are drawn."""

import numpy as np
import pytest
from aamc_ppo.trust import MIN_ROWS, StreamRewards, compare_factors, error_of_rows

QUICK = {"total_timesteps": 60_000, "n_streams": 128, "n_steps": 2048, "minibatch": 1024, "validation_steps": 8192}


def test_the_error_of_a_gain_on_a_table_is_that_of_its_rows():
    values = np.random.default_rng(0).normal(size=(2000, 30))  # gains of variance 1 of 30 questions
    rows = np.arange(3000).reshape(100, 30) % 30  # each is drawn 100 times
    found = [error_of_rows(np.bincount(rows.ravel(), gain[rows].ravel()), np.bincount(rows.ravel())) for gain in values]
    assert np.mean(found) == pytest.approx(30**-0.5, rel=0.05)


def test_few_rows_confirm_no_gain():
    assert error_of_rows(np.ones(MIN_ROWS - 1), np.ones(MIN_ROWS - 1, np.intp)) == np.inf
    assert error_of_rows(np.ones(MIN_ROWS), np.ones(MIN_ROWS, np.intp)) == 0


@pytest.mark.parametrize(
    ("over_streams", "over_rows", "stationary", "factor"), [(9, 1, False, 0), (1, 9, False, 0), (1, 1, False, 1), (9, 1, True, 1)]
)
def test_a_gain_must_exceed_its_error_over_streams_and_over_rows(over_streams, over_rows, stationary, factor):
    differ, each = np.linspace(-1, 1, 40), np.full(40, 10)
    rule = StreamRewards(by_stream=np.zeros(40), by_row=np.zeros(40), decisions=each)
    policy = StreamRewards(by_stream=1 + over_streams * differ, by_row=each * (1 + over_rows * differ), decisions=each)
    assert compare_factors({0.0: rule, 1.0: policy}, stationary=stationary).factor == factor


@pytest.mark.parametrize(
    ("over_streams", "over_rows", "stationary", "factor"), [(5, 1, False, 1), (1, 5.5, False, 0.5), (5, 1, True, 0.5), (1, 5.5, True, 1)]
)
def test_a_smaller_factor_must_gain_a_standard_error_over_streams_or_on_a_table_over_rows_more(over_streams, over_rows, stationary, factor):
    differ, each = np.linspace(-1, 1, 40), np.full(40, 10)
    rule, full = (StreamRewards(by_stream=np.full(40, gain), by_row=each * gain, decisions=each) for gain in (0.0, 1.0))
    half = StreamRewards(by_stream=1.5 + over_streams * differ, by_row=each * (1.5 + over_rows * differ), decisions=each)
    assert compare_factors({0.0: rule, 0.5: half, 1.0: full}, stationary=stationary).factor == factor


@pytest.mark.parametrize(
    ("rows", "doubt"),
    [
        (40, "confirms no gain; it is 0.1000 (95% interval -0.0858 to 0.2858) at trust factor 0.5"),
        (MIN_ROWS - 2, f"only with at least {MIN_ROWS} different questions"),
    ],
)
def test_a_gain_that_is_not_confirmed_is_told_with_its_interval_or_the_lack_of_questions(rows, doubt):
    def earned(gain):
        differ, each = np.linspace(-1, 1, rows), np.ones(rows, np.intp)
        return StreamRewards(by_stream=gain * np.ones(rows), by_row=gain * (1 + 10 * differ), decisions=each)

    found = compare_factors({0.0: earned(0.0), 0.5: earned(0.1), 1.0: earned(-0.2)}, stationary=True)
    assert str(found).endswith(doubt)
    assert (found.factor, found.gain, found.ci95) == (0, 0, (0, 0))


@pytest.mark.parametrize(("rows", "confirmed"), [([0, 1, 2, 3], True), ([0, 0, 0, 0], False)])
def test_a_gain_on_a_table_is_trusted_where_several_rows_confirm_it(bandit, rows, confirmed, monkeypatch):
    monkeypatch.setattr("aamc_ppo.trust.MIN_ROWS", 4)
    env = bandit(0)
    env.stationary, env.rows = True, np.array([rows])
    metrics = env.router(0, **QUICK).train(env.training(validation=env.dataset("validation")))
    assert (metrics["trust"]["factor"] > 0) == confirmed
