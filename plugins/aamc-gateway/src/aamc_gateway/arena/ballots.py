"""Votes on the answers of the arena: blind, in random order, each one feedback of comparisons.

Prompts and answers wait in the state that the workers share, never in the log, until they are voted on or ``keep_s`` is over.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import orjson
from aamc_bandit.arena import shown_position, vote_feedback

from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.access.erasable_values import ErasableValues
from aamc_gateway.access.shared import SharedState
from aamc_gateway.server.settings import ArenaSettings
from aamc_sdk import MetaController
from aamc_sdk.errors import ConflictError, StoreError
from aamc_sdk.messages import one_of
from aamc_sdk.types import Record

logger = logging.getLogger(__name__)
LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
TIE, SKIP = "tie", "skip"
_MATCH, _WAITING = "arena/match/", "arena/waiting/"
_KEPT, _GROUP, _INDEX_BYTES = "arena", "arena-waiting", 200_000


class Ballots:
    """Answers that wait for a vote."""

    def __init__(self, settings: ArenaSettings, shared: SharedState, erasable: ErasableValues, controller: MetaController) -> None:
        self._settings, self._shared, self._erasable, self._controller = settings, shared, erasable, controller

    async def offer(self, record: Record, prompt: str, answers: Sequence[tuple[str, str]], caller: Caller) -> bool:
        """Let people vote on the answers of a decision; return whether they can: not on a single answer."""
        if self._settings.keep_s <= 0 or not 2 <= len(answers) <= len(LABELS):
            return False
        decision_id = record.decision.id
        shuffled = sorted(answers, key=lambda answer: shown_position(decision_id, answer[0], self._controller.seed))
        match = {"id": decision_id, "prompt": prompt, "answers": shuffled, "key_id": caller.key_id, "tenant": caller.tenant, "time": time.time()}
        try:
            if not await self._erasable.note(_MATCH + decision_id, record, self._settings.keep_s):
                return False
            size = int(self._settings.keep_mb * 1e6)
            await self._shared.put(_MATCH + decision_id, orjson.dumps(match), self._settings.keep_s, group=caller.group(_KEPT), max_bytes=size)
            waiting = str(match["time"]).encode()
            await self._shared.put(_WAITING + decision_id, waiting, self._settings.keep_s, group=_GROUP, max_bytes=_INDEX_BYTES)
        except StoreError as error:  # the answers are paid, and must not be lost for this
            logger.warning("nobody can vote on the answers of decision %s: %s", decision_id, error)
            return False
        return True

    async def next(self) -> tuple[dict[str, Any] | None, int]:
        """Return the match that has waited longest, blind, and how many wait; None without one."""
        waiting = await self._shared.scan(_GROUP)
        for name in sorted(waiting, key=lambda name: float(waiting[name])):
            decision_id = name[len(_WAITING) :]
            match = await self._match(decision_id)
            if match is not None:
                return blind(match), len(waiting)
            await self._shared.delete(name)
        return None, 0

    async def find(self, decision_id: str, caller: Caller) -> dict[str, Any]:
        """Return a match.

        Raises:
            Refused: There is none, or somebody else asked.
        """
        match = await self._match(decision_id)
        if match is None or not (caller.admin or (caller.key_id == match["key_id"] and caller.tenant == match["tenant"])):
            message = f"no answers of decision {decision_id!r:.80} wait for your vote: the id is wrong, another key asked, or it was too long ago"
            raise Refused(message, status=404, kind="not_found")
        return match

    async def vote(self, decision_id: str, winner: Any, caller: Caller) -> dict[str, Any]:
        """Record a vote, and return who gave which answer.

        Args:
            decision_id: The decision.
            winner: The label of the best answer, ``"tie"``, or ``"skip"``.
            caller: The voter; each key has one vote.

        Raises:
            Refused: The match or the label is unknown, or the key has voted otherwise before.
        """
        match = await self.find(decision_id, caller)
        named = {label: candidate for label, (candidate, _) in zip(LABELS, match["answers"], strict=False)}
        if not isinstance(winner, str) or winner not in (*named, TIE, SKIP):
            raise Refused(f"winner must be one of {one_of([*named, TIE, SKIP])}, not {winner!r:.80}")
        new = 0
        if winner != SKIP:
            best = named.get(winner) or next(iter(named.values()))  # in a tie the first
            others = [candidate for candidate in named.values() if candidate != best]
            source = f"vote:{caller.key_id}" if caller.key_id else "vote"
            comparisons = vote_feedback(decision_id, best, others, tie=winner == TIE, source=source)
            try:
                new = sum(await asyncio.to_thread(self._controller.feedback_batch, comparisons))
            except ConflictError as error:
                raise Refused(f"you have voted otherwise on decision {decision_id!r} before; a vote is final", status=409) from error
        if caller.admin or winner != SKIP:
            await self._shared.delete(_WAITING + decision_id)
        revealed = [{"label": label, "candidate": candidate} for label, candidate in named.items()]
        return {"schema": 1, "id": decision_id, "winner": winner, "new": new, "answers": revealed if winner != SKIP else None}

    async def _match(self, decision_id: str) -> dict[str, Any] | None:
        kept = await self._shared.get(_MATCH + decision_id)
        return None if not kept else dict(orjson.loads(kept))


def blind(match: dict[str, Any]) -> dict[str, Any]:
    """Return a match without the names of the candidates."""
    answers = [{"label": label, "text": text} for label, (_, text) in zip(LABELS, match["answers"], strict=False)]
    return {"id": match["id"], "prompt": match["prompt"], "answers": answers}
