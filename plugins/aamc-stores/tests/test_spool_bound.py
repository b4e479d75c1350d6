"""The spool takes no more than its bound, and says so."""

from __future__ import annotations

import math
from contextlib import closing

import pytest
from aamc_stores.spool import Spool, SpoolError

from aamc_sdk.errors import StoreAwayError
from aamc_sdk.log import Addition, feedback_addition
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Decision, Feedback, Preference, Records


def judged(n: int) -> Addition:
    return feedback_addition(Feedback(decision_id=f"d{n}", quality=1.0), None)


def decided(name: str) -> Records:
    return Records([Decision(name, POOL.names[0], 0.5, Preference())], make_request(make_dataset(1)))


def test_a_full_spool_refuses_a_write_whole_and_takes_more_when_entries_were_delivered(tmp_path):
    with closing(Spool(tmp_path / "spool.db", "aamc", max_bytes=200_000)) as spool:
        taken = 0
        while spool.size < 180_000:
            spool.put([judged(n) for n in range(taken, taken + 50)])
            taken += 50
        with pytest.raises(SpoolError, match=r"is full \(0\.2 MB\), so nothing more can wait for the server: raise max_spool_mb"):
            spool.put([judged(n) for n in range(taken, taken + 500)])
        assert spool.counts() == (taken, 0)
        assert 180_000 < spool.size < 220_000
        spool.remove([number for number, _ in spool.first(taken)])
        assert spool.size < 100_000
        assert spool.put([judged(taken)]) == [True]


@pytest.mark.parametrize("server", ["postgres"], indirect=True)
@pytest.mark.parametrize("mode", ["refuse", "serve"])
def test_a_store_whose_spool_is_full_refuses_or_serves_unlogged(log, server, mode):
    store = log(max_spool_mb=0.000001, on_store_failure=mode)
    server.kill()
    try:
        if mode == "refuse":
            with pytest.raises(StoreAwayError, match="is full"):
                store.add_decisions(decided("d"))
        else:
            (decision,) = store.add_decisions(decided("d"))
            assert math.isnan(decision.propensity)
        health = store.health()
        assert health["unlogged"] == (mode == "serve")
        assert (health["spooled"], health["away"], health["queued"]) == (0, 1, 0)
        assert health["spool_bytes"] > 0
        with pytest.raises(StoreAwayError, match="is full"):
            store.add_feedback([(Feedback(decision_id="d1", quality=1.0), None)])
    finally:
        server.start()
