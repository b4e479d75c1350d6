"""Each broken store is caught by the check that is meant for it."""

import attrs
import pytest
from offering import failed

from aamc_sdk.log import MemoryStore


class Twice(MemoryStore):
    def judged(self, feedback, attempt=None):
        super().judged(feedback, attempt)
        return True


class Impatient(MemoryStore):
    def pending(self):
        return []


class Backwards(MemoryStore):
    def experience(self, after=0, limit=1000):
        found = super().experience(after, limit)
        return attrs.evolve(found, decisions=list(found.decisions)[::-1], records=list(found.records)[::-1])


class Mixed(MemoryStore):
    def experience(self, after=0, limit=1000):
        found = super().experience(after, limit)
        return attrs.evolve(found, records=list(found.records)[::-1])


@pytest.mark.parametrize(
    ("target", "check"),
    [
        (Twice, "the same feedback counts once"),
        (Impatient, "early feedback waits for its decision"),
        (Backwards, "experience keeps the order of the log"),
        (Mixed, "records go with decisions"),
    ],
)
def test_a_broken_store_is_caught(offer, target, check):
    assert failed(offer("store", target), "store") == {check}
