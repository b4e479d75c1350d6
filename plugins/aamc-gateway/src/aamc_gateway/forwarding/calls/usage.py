"""The token usage of calls, estimated from bytes where a server does not report them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from aamc_sdk.interfaces import Usage
from aamc_sdk.types import CHARACTERS_PER_TOKEN, text_bytes

_PROMPT_FIELDS = ("messages", "input", "prompt", "system", "instructions", "tools")
_LEARNED_BYTES = 200_000
"""Maximum bytes of a prompt that the ratio is learned from: measuring a larger one takes long."""
_LEARNED_FIRST, _LEARNED_LATER = 64, 16
"""The ratio is learned from a candidate's first 64 answers, and then from every 16th: measuring texts takes longer than the rest of a bill."""
_DECAY = 0.98
_PRIOR_TOKENS = 200.0


class _Ratio:
    """Bytes per token, a decaying mean that begins at 4."""

    def __init__(self) -> None:
        self._bytes, self._tokens = CHARACTERS_PER_TOKEN * _PRIOR_TOKENS, _PRIOR_TOKENS

    def learn(self, size: int, tokens: int) -> None:
        self._bytes, self._tokens = _DECAY * self._bytes + size, _DECAY * self._tokens + tokens

    def tokens(self, size: int) -> int:
        return math.ceil(size * self._tokens / self._bytes) if self._bytes > 0 else 0


class _Learned:
    """The ratios of one candidate, and the number of its answers with usage."""

    def __init__(self) -> None:
        self.prompts, self.answers, self.count = _Ratio(), _Ratio(), 0


class UsageEstimator:
    """Learns each model's ratio of bytes to tokens from calls with usage, and estimates the usage of others."""

    def __init__(self) -> None:
        self._learned = defaultdict[str, _Learned](_Learned)

    def take_over(self, earlier: UsageEstimator, candidates: Iterable[str]) -> None:
        """Go on with the ratios of these candidates, also those of calls that are still under way."""
        self._learned.update((name, earlier._learned[name]) for name in candidates)

    def usage(
        self, candidate: str, body: Mapping[str, Any], answer_bytes: Callable[[], int], reported: Usage, *, finished: bool
    ) -> tuple[Usage, bool]:
        """Return the tokens of a call, and whether they are estimated.

        Args:
            candidate: The candidate's name.
            body: The request.
            answer_bytes: Returns the bytes of the answer's text, reasoning and tool arguments that came.
            reported: The tokens that the server has reported so far.
            finished: Whether the answer is complete. Until then, reported tokens of the answer are not final.
        """
        learned, prompt, output = self._learned[candidate], reported.prompt_tokens, reported.output_tokens
        if prompt is not None and output is not None and finished:
            learned.count += 1
            if learned.count <= _LEARNED_FIRST or learned.count % _LEARNED_LATER == 0:
                if prompt and prompt * CHARACTERS_PER_TOKEN < _LEARNED_BYTES:
                    learned.prompts.learn(prompt_bytes(body), prompt)
                if output and (size := answer_bytes()):
                    learned.answers.learn(size, output)
            return reported, False
        if prompt is None:
            prompt = learned.prompts.tokens(prompt_bytes(body))
        if output is None or not finished:
            output = max(output or 0, learned.answers.tokens(answer_bytes()))
        return attrs.evolve(reported, prompt_tokens=prompt, output_tokens=output), True


def prompt_bytes(body: Mapping[str, Any]) -> int:
    """Return the bytes of a request's prompt: the same for a streamed request and one that is not."""
    return text_bytes([body[name] for name in _PROMPT_FIELDS if name in body])


def tokens_of(usage: Usage) -> int:
    """Return the known tokens of a call."""
    return (usage.prompt_tokens or 0) + (usage.output_tokens or 0)
