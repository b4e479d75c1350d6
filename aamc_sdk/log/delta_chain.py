"""The chain of deltas that continues from a router's full snapshot."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from aamc_sdk.types import StateDelta


def deltas_after(deltas: Sequence[StateDelta], after: int, newest: int) -> Sequence[StateDelta] | None:
    """Return the kept deltas that continue from a state's position: empty if it is the newest, None if no delta continues from it.

    ``newest`` is the position of the newest state: the last delta's, else the full snapshot's, else the floor's, else 0.
    """
    if after == newest:
        return []
    places = [place for place, delta in enumerate(deltas) if delta.after == after]
    return deltas[places[0] :] if places else None


def extends_chain(delta: StateDelta, newest: int, epoch: int) -> bool:
    """Return whether a delta is the next one after the newest state's position, and of the log's present epoch."""
    return delta.epoch == epoch and delta.after == newest < delta.position


def replaces_deltas(position: int, afters: Collection[int], newest: int) -> bool:
    """Return whether a full snapshot takes the place of the deltas before it: it is newer than all of them, or one continues from it.

    Any other snapshot was taken by a process that learned apart from the chain. Keeping it would cut off the newest state. ``afters`` are the
    positions of the states that the kept deltas change.
    """
    return position >= newest or position in afters
