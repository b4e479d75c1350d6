"""The rules of retention, the same for all stores: when a partition begins, and when the oldest one expires."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence

from aamc_sdk.log.options import Retention
from aamc_sdk.types import Partition

DAY_S = 24 * 3600
MAX_PARTITION_BYTES = 4e9
PARTITIONS_PER_LIMIT = 16
"""Partitions that fill ``max_gb``, so that dropping one makes the log only a little smaller."""
RENEWED_DAYS = 7.0
"""In a log without a limit in days: days without ``put_snapshot`` after which a router no longer delays dropping."""
SHORTEST_RENEWAL_DAYS = 2 / 24
"""The same in a log with a shorter limit: a router that learns puts its snapshot every hour."""
UNLEARNED = -1
"""The epoch of a floor without content: after a user was forgotten, its router must learn the log again before any partition is dropped."""
JUMP_S = 3600.0
"""Change of :func:`clock_offset` beyond which the time of day was set."""


def begins_partition(newest: Partition | None, now: float, retention: Retention) -> bool:
    """Return whether the next decision begins a partition: on a later UTC day than the newest one, or when that is large.

    A log without decisions has no newest one. A clock that goes back begins none.
    """
    if newest is None:
        return True
    largest = MAX_PARTITION_BYTES if retention.max_gb is None else retention.max_gb * 1e9 / PARTITIONS_PER_LIMIT
    return now // DAY_S > newest.begun // DAY_S or newest.size > largest


def ended_newest(newest: Partition, last_entry: float, now: float) -> float | None:
    """Return when the newest partition ended, if a whole UTC day has passed since without a decision; else None.

    It ended with its UTC day, or with the log's last entry: one that an earlier version wrote has decisions of several days. ``last_entry`` is the
    time of that entry, 0 if it is unknown; one in the future says nothing.
    """
    ended = max((newest.begun // DAY_S + 1) * DAY_S, last_entry if last_entry <= now else 0.0)
    return ended if ended < now // DAY_S * DAY_S else None


def is_oldest_expired(partitions: Sequence[Partition], retention: Retention, now: float, size: int) -> bool:
    """Return whether the oldest partition is beyond the log's limits.

    It ended when a later one began; the newest, which still grows, never expires, but ends, see :func:`ended_newest`. Uses the earliest start of all
    later partitions, so a wrong clock cannot keep a partition. ``now`` is the time by the server's clock if there is a server, ``size`` the log's
    present one in bytes.
    """
    if len(partitions) < 2:  # the newest stays
        return False
    ended = min(later.begun for later in partitions[1:])
    too_old = retention.days is not None and ended < now - retention.days * DAY_S
    return too_old or (retention.max_gb is not None and size > retention.max_gb * 1e9)


def needed_gb(partitions: int, size: int, retention: Retention) -> float:
    """Return the smallest useful ``max_gb`` if the present one leaves no room for decisions, else 0.

    If the newest partition alone is beyond the limit, most of the log is tables, learned states and sums, which no dropped partition frees.
    The smallest useful limit leaves decisions as much room again.
    """
    if retention.max_gb is None or partitions > 1 or size <= retention.max_gb * 1e9:
        return 0.0
    gb = 2 * size / 1e9
    digit = 10.0 ** (math.floor(math.log10(gb)) - 1)
    return float(f"{math.ceil(gb / digit) * digit:.2g}")


def renewed_since(retention: Retention, now: float) -> float:
    """Return the time before which a router's last snapshot means that it no longer learns."""
    return now - (RENEWED_DAYS if retention.days is None else max(retention.days, SHORTEST_RENEWAL_DAYS)) * DAY_S


def covered_position(states: Iterable[tuple[int, float]], since: float) -> float:
    """Return the position up to which all routers that still learn have learned; infinity if none learns.

    Only decisions whose entries all have this position or an earlier one may go. ``states`` are the position, and the time of the last renewal, of
    each router's newest full snapshot or floor; ``since`` is the time of :func:`renewed_since`.
    """
    return min((position for position, renewed in states if renewed >= since), default=math.inf)


def clock_offset() -> float:
    """Return the time of day minus a steady clock, in seconds, which changes only if the time of day is set.

    The steady clock also counts the time that the machine sleeps, if the system has such a clock.
    """
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.time() - (time.monotonic() if boot is None else time.clock_gettime(boot))
