"""The rules of partitions and retention, without a store."""

from __future__ import annotations

import math

import pytest

from aamc_sdk.log import Retention, begins_partition, covered_position, is_oldest_expired, renewed_since
from aamc_sdk.log.retention.expiry import ended_newest, needed_gb
from aamc_sdk.types import Partition

DAY = 24 * 3600.0
NOON = 20_000 * DAY + 12 * 3600


def partition(number: int, begun: float, size: int = 0) -> Partition:
    return Partition(number, 1 + 100 * number, None, begun, size)


@pytest.mark.parametrize(
    ("newest", "now", "max_gb", "begins"),
    [
        (None, NOON, None, True),
        (partition(0, NOON), NOON + 11 * 3600, None, False),
        (partition(0, NOON), NOON + 12 * 3600, None, True),  # midnight
        (partition(0, NOON), NOON - 30 * DAY, None, False),  # a clock that goes back
        (partition(0, NOON, size=4_000_000_001), NOON, None, True),
        (partition(0, NOON, size=3_999_999_999), NOON, None, False),
        (partition(0, NOON, size=1_000_001), NOON, 0.016, True),
        (partition(0, NOON, size=999_999), NOON, 0.016, False),
    ],
)
def test_a_partition_begins_with_a_day_or_when_the_newest_is_large(newest, now, max_gb, begins):
    assert begins_partition(newest, now, Retention(max_gb=max_gb)) is begins


def test_the_oldest_goes_when_it_ended_too_long_ago():
    partitions = [partition(number, NOON + number * DAY) for number in range(3)]
    limits = Retention(days=2)
    assert not is_oldest_expired(partitions, limits, NOON + 3 * DAY, 0)
    assert is_oldest_expired(partitions, limits, NOON + 3 * DAY + 1, 0)
    assert not is_oldest_expired(partitions[2:], limits, NOON + 1000 * DAY, 10**12)  # the newest still grows


@pytest.mark.parametrize(
    ("last_entry", "now", "ended"),
    [
        (NOON, NOON + 1.5 * DAY - 1, None),
        (NOON, NOON + 1.5 * DAY, NOON + 0.5 * DAY),  # midnight
        (0.0, NOON + 100 * DAY, NOON + 0.5 * DAY),
        (NOON + 9 * DAY, NOON + 10 * DAY, NOON + 9 * DAY),  # of a log that an earlier version wrote
        (NOON + 9 * DAY, NOON + 9.4 * DAY, None),
        (NOON + 1e6 * DAY, NOON + 10 * DAY, NOON + 0.5 * DAY),  # a wrong time
    ],
)
def test_the_newest_ends_with_its_day_or_its_last_entry_once_a_day_without_decisions_has_passed(last_entry, now, ended):
    assert ended_newest(partition(0, NOON), last_entry, now) == ended


def test_the_oldest_goes_when_the_log_is_too_large():
    partitions = [partition(number, NOON) for number in range(2)]
    assert not is_oldest_expired(partitions, Retention(max_gb=1), NOON, 10**9)
    assert is_oldest_expired(partitions, Retention(max_gb=1), NOON, 10**9 + 1)
    assert not is_oldest_expired(partitions, Retention(), NOON + 1000 * DAY, 10**15)


@pytest.mark.parametrize(
    ("partitions", "size", "max_gb", "needed"),
    [
        (1, 1_234_000_000, 1.0, 2.5),
        (1, 100_000, 1e-5, 0.0002),
        (0, 61_440, 1e-5, 0.00013),
        (1, 1_000_000_000, 1.0, 0.0),
        (2, 1_234_000_000, 1.0, 0.0),  # the oldest goes, and may make room
        (1, 1_234_000_000, None, 0.0),
    ],
)
def test_a_limit_that_leaves_no_room_needs_twice_what_is_left(partitions, size, max_gb, needed):
    assert needed_gb(partitions, size, Retention(max_gb=max_gb)) == needed


def test_a_partition_that_began_in_the_future_keeps_none_before_it():
    partitions = [partition(0, NOON), partition(1, NOON + 1000 * DAY), partition(2, NOON + DAY)]
    assert is_oldest_expired(partitions, Retention(days=1), NOON + 3 * DAY, 0)


def test_only_routers_that_still_learn_hold_a_partition_back():
    since = renewed_since(Retention(days=2), NOON)
    assert since == NOON - 2 * DAY
    assert renewed_since(Retention(max_gb=1), NOON) == NOON - 7 * DAY
    assert renewed_since(Retention(days=0.01), NOON) == NOON - 2 * 3600  # each renews its snapshot every hour
    assert covered_position([(70, NOON), (90, NOON - DAY), (10, NOON - 3 * DAY)], since) == 70
    assert covered_position([(10, NOON - 3 * DAY)], since) == covered_position([], since) == math.inf
