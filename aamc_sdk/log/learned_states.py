"""Deltas: the chain of changes that leads on from a router's full snapshot."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from aamc_sdk.types import StateDelta


def leading_on(deltas: Sequence[StateDelta], after: int, newest: int) -> Sequence[StateDelta] | None:
    """Return the deltas that lead on from a state.

    Args:
        deltas: The deltas that are kept, in order.
        after: The position of the state.
        newest: The position of the newest state: the last delta's, else the full snapshot's, else the floor's, else 0.

    Returns:
        Nothing where the state is the newest, None where no delta changes it.
    """
    if after == newest:
        return ()
    places = [place for place, delta in enumerate(deltas) if delta.after == after]
    return deltas[places[0] :] if places else None


def continues(delta: StateDelta, newest: int, epoch: int) -> bool:
    """Return whether a delta is the next one of a chain.

    Args:
        delta: The new delta.
        newest: The position of the newest state, see :func:`leading_on`.
        epoch: The log's present epoch.
    """
    return delta.epoch == epoch and delta.after == newest < delta.position


def replaced_deltas(afters: Collection[int], position: int) -> set[int]:
    """Return the deltas that a full snapshot replaces: those before it, and the later ones too where none leads on from it.

    Args:
        afters: The positions of the states that the kept deltas change; they stand for the deltas here and in the result.
        position: The snapshot's position.
    """
    return {after for after in afters if after < position} if position in afters else set(afters)
