"""The state of an episode without its calls to models. Live episodes and training share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aamc_router_r1.config import PolicyOptions
from aamc_router_r1.protocol import (
    ModelNames,
    PolicyTurn,
    ProtocolError,
    Segment,
    cut_turn,
    format_errors,
    information,
    parse_turn,
    truncated,
)
from aamc_sdk.types import estimated_tokens

ANSWERED, NO_ANSWER, MALFORMED = "answered", "no_answer", "malformed"
"""Ends of a dialogue: with an answer, without one after the last round, or with a last turn that breaks the protocol."""


class Dialogue:
    """The state of one episode: take the policy's turn, inform it of the replies, until it is done.

    A turn with a blocking error uses up a round, and the environment tells the policy what to correct. The options limit rounds, calls and
    tokens, which ``count`` counts in a text; by default four bytes are one.

    Attributes:
        transcript: The turns and informations so far.
        rounds: Number of finished rounds.
        answer: The answer; None without.
        outcome: How it ended, see ``ANSWERED``; ``""`` before.
    """

    def __init__(self, names: ModelNames, options: PolicyOptions, count: Callable[[str], int] = estimated_tokens) -> None:
        self.names, self.options, self.count = names, options, count
        self.transcript: list[Segment] = []
        self.rounds = 0
        self.answer: str | None = None
        self.outcome = ""
        self._open = 0

    @property
    def done(self) -> bool:
        """Whether the episode has ended."""
        return bool(self.outcome)

    @property
    def may_route(self) -> bool:
        """Whether the next turn may consult models."""
        return self.rounds < self.options.rounds

    @property
    def format_errors(self) -> tuple[ProtocolError, ...]:
        """The faults of the whole episode; none if it is well formed."""
        return format_errors(self.transcript, self.names)

    def take(self, text: str, tokens: int | None = None) -> PolicyTurn:
        """Add the policy's next turn, cut at the end of its action, and return it parsed. Pass the replies to its calls to :meth:`inform`."""
        if self.done or self._open:
            raise RuntimeError("the episode has ended" if self.done else "the calls of the last turn have no replies yet; inform the dialogue first")
        if (self.count(text) if tokens is None else tokens) > self.options.turn_tokens:
            text = truncated(text, self.options.turn_tokens, self.count)
        turn = parse_turn(cut_turn(text, self.options.calls), self.names, may_route=self.may_route)
        self.transcript.append(Segment(turn.text, True))
        if turn.answer is not None:
            self.answer, self.outcome = turn.answer, ANSWERED
        elif not self.may_route:
            self.outcome = NO_ANSWER if turn.blocked is not None and turn.blocked.kind in ("no_action", "routing_closed") else MALFORMED
        else:
            self.rounds += 1
            self._open = len(turn.calls)
            if turn.blocked is not None:
                self._inform([str(turn.blocked)])
        return turn

    def inform(self, replies: Sequence[str]) -> None:
        """Give the policy the replies of the models that its last turn consulted, in the order of the calls."""
        if len(replies) != self._open:
            raise ValueError(f"the last turn has {self._open} calls, and there are {len(replies)} replies")
        self._open = 0
        self._inform(replies)

    def _inform(self, texts: Sequence[str]) -> None:
        blocks = "".join(information(text, self.options.observation_tokens, self.count) for text in texts)
        self.transcript.append(Segment(blocks, False))
