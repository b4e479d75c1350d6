"""Replicas that are killed while they write to PostgreSQL and drop partitions: what was acknowledged counts exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from aamc_stores.postgres_log.store import PostgresStore
from aamc_stores.shared_store import SharedOptions
from postgres_logs import DAY

from aamc_sdk.log import Retention

pytestmark = pytest.mark.one_python

KILLS = 4
WRITER = """
import sys, threading
from aamc_stores.postgres_log.store import PostgresStore
from aamc_stores.shared_store import SharedOptions
from aamc_sdk.log import Retention
from aamc_sdk.types import Feedback, new_ids
from postgres_logs import decide
url, prefix, spool = sys.argv[1:]
store = PostgresStore(url, SharedOptions(prefix=prefix, spool=spool, retry_s=0.1, retention=Retention(days=2)))
def retain():
    while True:
        store.retain()
threading.Thread(target=retain, daemon=True).start()
print("ready", flush=True)
while True:
    (name,) = new_ids(1)
    decide(store, name)
    store.add_feedback([(Feedback(decision_id=name, quality=1.0), None)])
    print(name, flush=True)
"""


def test_each_acknowledged_piece_counts_once_in_the_log_or_in_the_sums(postgres_server, tmp_path: Path) -> None:
    prefix, chance = f"t{os.urandom(8).hex()}", random.Random(0)
    options = SharedOptions(prefix=prefix, spool=str(tmp_path / "reader.db"), timeout_s=20.0, retention=Retention(days=2))
    store = PostgresStore(postgres_server.url, options)
    command = [sys.executable, "-c", WRITER, postgres_server.url, prefix]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    acknowledged: list[str] = []

    def start(number: int) -> subprocess.Popen[str]:
        spool = str(tmp_path / f"{number % 3}.db")  # the next process delivers what its predecessor left
        writer = subprocess.Popen([*command, spool], stdout=subprocess.PIPE, text=True, env=environment)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        return writer

    writers = [start(number) for number in range(3)]
    for number in range(KILLS):
        time.sleep(chance.uniform(0.05, 0.4))
        with psycopg.connect(postgres_server.url) as connection:
            connection.execute(f"UPDATE {prefix}_partitions SET begun = begun - {DAY}")  # so partitions begin, and go, in the midst of it
        victim = writers[number % 3]
        victim.send_signal(signal.SIGKILL)
        acknowledged += victim.communicate()[0].split("\n")[:-1]
        writers[number % 3] = start(number)
    for writer in writers:
        writer.kill()
        acknowledged += writer.communicate()[0].split("\n")[:-1]
    for number in range(3):
        late = PostgresStore(postgres_server.url, SharedOptions(prefix=prefix, spool=str(tmp_path / f"{number}.db")))
        late.flush()
        late.close()
    rows = [row for _, row in store.placed()]
    judged = [row.decision_id for row in rows if row.kind == "feedback"]
    made = {row.id for row in rows if row.kind == "decision"}
    assert len(judged) == len(set(judged))
    assert set(judged) <= made
    sums = store.aggregates()
    assert sum(each.judged for each in sums) == sum(each.quality for each in sums)
    kept = [name for name in acknowledged if name in made]
    assert set(kept) <= set(judged)
    assert len(acknowledged) > KILLS
    dropped = len(acknowledged) - len(kept)
    unacknowledged = KILLS + 3  # at most one decision of each process was not acknowledged yet
    assert dropped <= sum(each.judged for each in sums) <= sum(each.decisions for each in sums) <= dropped + unacknowledged
    health = store.health()
    assert health["entries"] == len(rows) + health["pending_feedback"]
    store.drop()
    store.close()
