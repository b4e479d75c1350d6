"""The remaining budget of an episode: USD, tokens and time."""

from __future__ import annotations

import math
import time

from aamc_sdk.errors import AamcError
from aamc_sdk.interfaces import Usage
from aamc_sdk.serving import price
from aamc_sdk.types import Candidate, ModelSpec

OUT_OF_USD, OUT_OF_TOKENS, OUT_OF_TIME = "out_of_usd", "out_of_tokens", "out_of_time"


class EpisodeBudgetError(AamcError):
    """Raised when a call does not fit an episode's budget any more.

    Attributes:
        outcome: The outcome of the episode, such as ``OUT_OF_USD``.
    """

    def __init__(self, message: str, outcome: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class EpisodeBudget:
    """The limits of one episode and what it has used of them. A call reserves its maximum before it begins, so parallel calls keep the limits too.

    Args:
        usd: Maximum cost in USD; infinity for no limit.
        tokens: Maximum tokens of prompts and answers.
        seconds: Maximum time.

    Attributes:
        cost_usd: The known cost so far.
        tokens: The tokens so far.
        cost_known: Whether the cost of every call is known.
    """

    def __init__(self, usd: float, tokens: int, seconds: float) -> None:
        self._usd, self._tokens = usd, tokens
        self._began = time.monotonic()
        self._deadline = self._began + seconds
        self._held_usd, self._held_tokens = 0.0, 0
        self.cost_usd, self.tokens, self.cost_known = 0.0, 0, True

    @property
    def seconds(self) -> float:
        """Time since the start, in seconds."""
        return time.monotonic() - self._began

    @property
    def seconds_left(self) -> float:
        """Time until the limit, in seconds; infinity without a limit."""
        return self._deadline - time.monotonic()

    def reserve(self, candidate: Candidate, prompt_tokens: int, answer_tokens: int) -> CallReservation:
        """Reserve the maximum of a call. The reservation limits the answer to fewer tokens if the budget allows no more.

        Raises:
            EpisodeBudgetError: Not even an answer of one token fits.
        """
        if self.seconds_left <= 0:
            raise EpisodeBudgetError("the time limit of the episode is over", OUT_OF_TIME)
        tokens = min(answer_tokens, self._tokens - self.tokens - self._held_tokens - prompt_tokens)
        if tokens < 1:
            raise EpisodeBudgetError(
                f"the episode may use {self._tokens:,} tokens, and a call of {candidate.name!r} does not fit any more", OUT_OF_TOKENS
            )
        usd = 0.0
        if self._usd < math.inf:
            tokens, usd = self._affordable(candidate, prompt_tokens, tokens)
        self._held_tokens += prompt_tokens + tokens
        self._held_usd += usd
        return CallReservation(tokens, prompt_tokens + tokens, usd)

    def _affordable(self, candidate: Candidate, prompt_tokens: int, tokens: int) -> tuple[int, float]:
        left = self._usd - self.cost_usd - self._held_usd
        least, most = (price(candidate, Usage(prompt_tokens=prompt_tokens, output_tokens=made))[0] for made in (1, tokens))
        if math.isnan(most):
            raise EpisodeBudgetError(
                f"{candidate.name!r} has no prices, so it cannot be called within a budget of {self._usd:g} USD; give it prices as a candidate of "
                "the pool, or leave the budget out",
                OUT_OF_USD,
            )
        if least > left:
            raise EpisodeBudgetError(f"the episode may cost {self._usd:g} USD, and a call of {candidate.name!r} does not fit any more", OUT_OF_USD)
        if most <= left:
            return tokens, most
        assert isinstance(candidate, ModelSpec)
        assert candidate.prices is not None
        tokens = 1 + int((left - least) * 1e6 / candidate.prices.output)
        return tokens, price(candidate, Usage(prompt_tokens=prompt_tokens, output_tokens=tokens))[0]

    def settle(self, reservation: CallReservation, cost_usd: float, tokens: int) -> None:
        """Replace a reservation by the call's tokens and its cost in USD; NaN if the cost is unknown."""
        self._held_tokens -= reservation.tokens
        self._held_usd -= reservation.usd
        self.tokens += tokens
        if math.isnan(cost_usd):
            self.cost_known = False
        else:
            self.cost_usd += cost_usd


class CallReservation:
    """The reserved maximum of a call.

    Attributes:
        answer_tokens: Tokens that the answer may have.
        tokens: Reserved tokens.
        usd: Reserved cost.
    """

    def __init__(self, answer_tokens: int, tokens: int, usd: float) -> None:
        self.answer_tokens, self.tokens, self.usd = answer_tokens, tokens, usd
