"""Signals of dissatisfaction that the gateway infers from a conversation; every one of them is labelled ``implicit:...`` in the log.

An escalation is reliable: the user asks for a stronger model in plain words. A rephrasing is a guess: its precision depends on the traffic and
cannot be shown beforehand, so it is off by default. A request that an SDK sends again is never a signal, nor is one of a program.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import NamedTuple

from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.server.settings import ImplicitSettings
from aamc_sdk import Decision
from aamc_sdk.types import Feedback, normalized_text

ESCALATION, REPHRASING = "implicit:escalation", "implicit:rephrasing"
_ESCALATION = re.compile(
    r"\W*(?:no\W+|please\W+|can you\W+|could you\W+|ok\W+)*(?:use|try|switch to|ask|give me|escalate to|upgrade to|i want|i need)"
    r"(?: it)?(?: again)?(?: with)? (?:a|an|the|your)?\s*"
    r"(?:much )?(?:better|stronger|smarter|larger|bigger|best|strongest|smartest|more (?:capable|powerful|intelligent))\s+"
    r"(?:ai |language )?(?:model|llm|ai)\b.{0,40}",
    re.IGNORECASE | re.DOTALL,
)
_WORD = re.compile(r"\w+")
_NO_WORDS = frozenset[int]()
"""An empty set takes 216 bytes, for each conversation that is remembered."""
MAX_TEXT = 4000
"""Characters of a prompt that are compared."""


class _Last(NamedTuple):
    decision_id: str
    text: int
    words: frozenset[int]
    time: float


class ImplicitSignals:
    """Remembers the last request of each conversation, as hashes of its words, and infers feedback from the next one."""

    def __init__(self, settings: ImplicitSettings) -> None:
        self._settings, self._infers = settings, settings.escalation or settings.rephrasing
        self._last: OrderedDict[str, _Last] = OrderedDict()

    def take_over(self, earlier: ImplicitSignals) -> None:
        """Keep the remembered requests of the replaced gateway, unless nothing is inferred now."""
        if self._infers:
            self._last = earlier._last

    def observe(self, request: ClientRequest, decision: Decision, now: float) -> Feedback | None:
        """Remember a request, and return the feedback on the decision before it in the conversation; None without a signal."""
        if not self._infers or request.session_key is None or request.side_request:
            return None
        if "open_tool_calls" in request.foreign_state or not request.query.text.strip():
            return None
        before = self._last.get(request.session_key)
        if request.retry_count > 0 or (before is not None and before.decision_id == decision.id):
            return None
        compares = self._settings.rephrasing
        text = normalized_text(request.query.text[:MAX_TEXT]) if compares or before is not None else ""
        current = _Last(decision.id, hash(text), _words(text) if compares else _NO_WORDS, now)
        self._last[request.session_key] = current
        self._last.move_to_end(request.session_key)
        while len(self._last) > self._settings.sessions:
            self._last.popitem(last=False)
        source = None if before is None else self._source(text, before, current)
        if before is None or source is None:
            return None
        return Feedback(decision_id=before.decision_id, quality=0.0, confidence=self._settings.confidence, source=source, time=now)

    def _source(self, text: str, before: _Last, current: _Last) -> str | None:
        if self._settings.escalation and is_escalation(text):
            return ESCALATION
        if not self._settings.rephrasing or current.text == before.text or current.time - before.time > self._settings.within_s:
            return None  # the same words again are a repetition, such as a program's
        return REPHRASING if similarity(before.words, current.words) >= self._settings.similarity else None


def is_escalation(text: str) -> bool:
    """Return whether a text asks for a stronger model and for nothing else."""
    return len(text) <= 120 and _ESCALATION.fullmatch(text.strip()) is not None


def similarity(first: frozenset[int], second: frozenset[int]) -> float:
    """Return the share of common words among all words of two texts; 0 for texts of fewer than four words."""
    if min(len(first), len(second)) < 4:
        return 0.0
    return len(first & second) / len(first | second)


def _words(text: str) -> frozenset[int]:
    return frozenset(hash(word) for word in _WORD.findall(text))
