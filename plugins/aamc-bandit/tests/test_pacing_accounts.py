"""The accounts of ``paced``: targets, allowances, and charges that come late."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
from aamc_bandit.pacing.accounts import LEARNED, MeanAccount, WindowAccount

DAY = 86400.0
NOON = 20000 * DAY + DAY / 2


def steady(account: WindowAccount, per_day: float, until: float, cost: float) -> None:
    for time in np.arange(20000 * DAY, until, DAY / per_day):
        account.add_request(time)
        account.charge(cost, time)


def test_the_target_is_the_rest_of_the_budget_over_the_requests_to_come():
    account = WindowAccount(10.0, DAY)
    steady(account, 2000, NOON, 0.004)
    assert account.limit - account.allowance(NOON) == pytest.approx(4.0)
    assert account.target(NOON) == pytest.approx(6.0 / 1000, rel=0.01)


def test_expected_traffic_gives_the_first_target():
    assert WindowAccount(10.0, DAY, 2000).target(20000 * DAY) == pytest.approx(10.0 / 2000)


def test_a_new_day_has_a_new_budget_and_a_late_report_belongs_to_its_own_day():
    account = WindowAccount(10.0, DAY)
    steady(account, 100, 20001 * DAY - 1, 0.1)
    assert account.allowance(NOON) == pytest.approx(0.0)
    assert account.allowance(NOON + DAY) == 10.0
    account.add_request(NOON + DAY)
    account.charge(5.0, NOON)
    assert account.allowance(NOON + DAY) == 10.0
    account.charge(5.0, NOON + DAY)
    assert account.allowance(NOON + DAY) == 5.0


def test_a_burst_at_the_start_does_not_spend_the_day():
    account, time, spent = WindowAccount(10.0, DAY), 20000 * DAY, 0.0
    for _ in range(1000):
        account.add_request(time)
        spend = min(account.target(time), 1.0)
        account.charge(spend, time)
        spent, time = spent + spend, time + 0.01
    assert spent < 1.5


@pytest.mark.parametrize("began_wrong", [False, True])
def test_the_rate_recovers_from_a_clock_that_was_days_ahead(began_wrong):
    account, time = WindowAccount(10.0, DAY), NOON
    if not began_wrong:
        steady(account, 2000, NOON, 0.0)
    account.add_request(NOON + 3 * DAY)
    while time < NOON + 2 * DAY:
        account.add_request(time)
        time += DAY / 2000
    assert account.target(time) == pytest.approx(10.0 / 1000, rel=0.1)


def test_requests_that_are_learned_late_leave_the_present_window_as_it_is():
    account = WindowAccount(10.0, 60.0, 100)
    account.add_request(NOON)
    account.charge(10.0, NOON)
    for minutes in range(6, 1, -1):
        account.add_request(NOON - 60.0 * minutes)
        account.charge(1.0, NOON - 60.0 * minutes)
    assert account.allowance(NOON) == 0.0


def test_what_a_mean_saved_or_overspent_is_made_up_for():
    account = MeanAccount(0.01, 100)
    assert math.isinf(account.allowance(0.0))
    for spend in (0.0, 0.0, 0.005):
        account.add_request(0.0)
        account.charge(spend, 0.0)
    assert account.balance == pytest.approx(0.025)
    assert account.allowance(0.0) == pytest.approx(0.035)
    assert account.target(0.0) == pytest.approx(0.01 + 0.025 / 100)
    account.charge(0.1, 0.0)
    assert account.target(0.0) == pytest.approx(0.01 - 0.075 / 100)


def test_an_account_continues_from_its_numbers():
    account, fresh = WindowAccount(10.0, DAY), WindowAccount(10.0, DAY)
    assert attrs.evolve(fresh, **attrs.asdict(account, filter=LEARNED)).began is None
    steady(account, 50, NOON, 0.01)
    assert attrs.evolve(fresh, **attrs.asdict(account, filter=LEARNED)) == account
