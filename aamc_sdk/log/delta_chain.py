"""The chain of deltas that continues from a router's full snapshot."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from aamc_sdk.types import StateDelta


def deltas_after(deltas: Sequence[StateDelta], after: int, newest: int) -> Sequence[StateDelta] | None:
    """Return the deltas that continue from a state.

    Args:
        deltas: The deltas that are kept, in order.
        after: The position of the state.
        newest: The position of the newest state: the last delta's, else the full snapshot's, else the floor's, else 0.

    Returns:
        Nothing where the state is the newest, None if no delta continues from it.
    """
    if after == newest:
        return ()
    places = [place for place, delta in enumerate(deltas) if delta.after == after]
    return deltas[places[0] :] if places else None


def extends_chain(delta: StateDelta, newest: int, epoch: int) -> bool:
    """Return whether a delta is the next one of a chain.

    Args:
        delta: The new delta.
        newest: The position of the newest state, see :func:`deltas_after`.
        epoch: The log's present epoch.
    """
    return delta.epoch == epoch and delta.after == newest < delta.position


def replaces_deltas(position: int, afters: Collection[int], newest: int) -> bool:
    """Return whether a full snapshot takes the place of the deltas before it: it is newer than all of them, or one continues from it.

    Any other snapshot was taken by a process that learned apart from the chain. Keeping it would cut off the newest state.

    Args:
        position: The snapshot's position.
        afters: The positions of the states that the kept deltas change.
        newest: The position of the newest state, see :func:`deltas_after`.
    """
    return position >= newest or position in afters
