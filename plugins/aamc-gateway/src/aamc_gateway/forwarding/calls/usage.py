"""The token usage of calls, estimated from bytes where a server does not report them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import numpy as np

from aamc_gateway.requests.media import Media
from aamc_sdk.interfaces import Usage
from aamc_sdk.types import CHARACTERS_PER_TOKEN, text_bytes

_PROMPT_FIELDS = ("messages", "input", "prompt", "system", "instructions", "tools")
_LEARNED_BYTES = 200_000
"""Maximum bytes of a prompt that the ratio is learned from: measuring a larger one takes long."""
_LEARNED_FIRST, _LEARNED_LATER = 64, 16
"""The ratio is learned from a candidate's first 64 answers, and then from every 16th: measuring texts takes longer than the rest of a bill."""
_DECAY = 0.98
_PRIOR_TOKENS = 200.0
_PRIOR_VARIANCE = 3 * 200.0**2
"""Weight of the prior of a quarter of a token per byte: that of a few texts whose sizes differ by 200 bytes."""


class _Ratio:
    """Tokens per unit, a decaying mean that begins with some units of known tokens."""

    def __init__(self, units: float = CHARACTERS_PER_TOKEN * _PRIOR_TOKENS, tokens: float = _PRIOR_TOKENS) -> None:
        self._units, self._tokens = units, tokens

    def learn(self, units: float, tokens: float) -> None:
        self._units, self._tokens = _DECAY * self._units + units, _DECAY * self._tokens + tokens

    def tokens(self, units: float) -> float:
        return units * self._tokens / self._units


class _Texts:
    """Tokens of texts: a line over their bytes, by least squares with decaying weights, and a mean of hidden reasoning.

    The line's constant is what a server adds to each text, such as its template. It begins with an empty text of no tokens.
    """

    def __init__(self) -> None:
        self._sums = np.array([1.0, 0.0, 0.0, 0.0, 0.0])  # of weights, x, y, x^2, xy for x bytes with y tokens
        self._hidden = _Ratio(1, 0)

    def learn(self, size: int, tokens: int, hidden: int = 0) -> None:
        """Learn from a text's tokens, and those of hidden reasoning beside it."""
        self._hidden.learn(1, hidden)
        self._sums = _DECAY * self._sums + (1, size, tokens, size * size, size * tokens)

    def tokens(self, size: int) -> int:
        return math.ceil(self._of_bytes(size) + self._hidden.tokens(1)) if size else 0

    def _of_bytes(self, size: int) -> float:
        n, x, y, xx, xy = map(float, self._sums)
        slope = (xy - x * y / n + _PRIOR_VARIANCE / CHARACTERS_PER_TOKEN) / (xx - x * x / n + _PRIOR_VARIANCE)
        slope = min(max(slope, 0.0), 1.0)  # no token has less than a byte
        constant = (y - slope * x) / n
        return constant + slope * size if constant >= 0 else size * y / x


class _Learned:
    """The tokens of one candidate's texts, and of media as ratios to their maximum; ``count`` is the number of its answers with usage."""

    def __init__(self) -> None:
        self.prompts, self.answers, self.media, self.count = _Texts(), _Texts(), defaultdict[str, _Ratio](_Ratio), 0

    def learn_prompt(self, body: Mapping[str, Any], media: Media | None, tokens: int) -> None:
        """Learn from a prompt's tokens: texts from one without media, and media from one with a single kind of them."""
        if media is None:
            if size := prompt_bytes(body):
                self.prompts.learn(size, tokens)
        elif len(media.tokens_by_kind) == 1:  # nothing is known of a file that is named by its id
            ((kind, maximum),) = media.tokens_by_kind.items()
            self.media[kind].learn(maximum, max(tokens - self.prompts.tokens(prompt_bytes(body, file_bytes=0)), 0))

    def prompt_tokens(self, body: Mapping[str, Any], media: Media | None) -> int:
        """Return the estimated tokens of a prompt."""
        if media is None:
            return self.prompts.tokens(prompt_bytes(body))
        of_media = sum(self.media[kind].tokens(maximum) for kind, maximum in media.tokens_by_kind.items())
        return self.prompts.tokens(prompt_bytes(body, file_bytes=0)) + math.ceil(of_media)


class UsageEstimator:
    """Learns from calls with usage how many tokens each model's texts and media have, and estimates the usage of others."""

    def __init__(self) -> None:
        self._learned = defaultdict[str, _Learned](_Learned)

    def take_over(self, earlier: UsageEstimator, candidates: Iterable[str]) -> None:
        """Share the ratios of these candidates with the estimator of the replaced gateway, whose calls in progress still update them."""
        self._learned.update((name, earlier._learned[name]) for name in candidates)

    def usage(
        self,
        candidate: str,
        body: Mapping[str, Any],
        answer_bytes: Callable[[], tuple[int, int]],
        reported: Usage,
        *,
        finished: bool,
        media: Media | None = None,
    ) -> tuple[Usage, bool]:
        """Return the tokens of a call, and whether they are estimated.

        Args:
            candidate: The candidate's name.
            body: The request.
            answer_bytes: Returns the bytes of the answer's text, reasoning and tool arguments that came, and those of reasoning among them.
            reported: The tokens that the server has reported so far.
            finished: Whether the answer is complete. Until then, reported tokens of the answer are not final.
            media: The images, documents and recordings of the request; None without any.
        """
        learned, prompt, output = self._learned[candidate], reported.prompt_tokens, reported.output_tokens
        if prompt is not None and output is not None and finished:
            learned.count += 1
            if learned.count <= _LEARNED_FIRST or learned.count % _LEARNED_LATER == 0:
                if prompt and prompt * CHARACTERS_PER_TOKEN < _LEARNED_BYTES:
                    learned.learn_prompt(body, media, prompt)
                size, shown = answer_bytes() if output else (0, 0)
                if size:
                    reasoning = reported.reasoning_tokens or 0
                    hidden = reasoning if shown < reasoning else 0  # no token has less than a byte; a summary has fewer bytes
                    learned.answers.learn(size, output - hidden, hidden)
            return reported, False
        if prompt is None:
            prompt = learned.prompt_tokens(body, media)
        if output is None or not finished:
            output = max(output or 0, learned.answers.tokens(answer_bytes()[0]))
        return attrs.evolve(reported, prompt_tokens=prompt, output_tokens=output), True


def prompt_bytes(body: Mapping[str, Any], **counted: int) -> int:
    """Return the bytes of a request's prompt: the same for a streamed request and one that is not."""
    return text_bytes([body[name] for name in _PROMPT_FIELDS if name in body], **counted)


def tokens_of(usage: Usage) -> int:
    """Return the known tokens of a call."""
    return (usage.prompt_tokens or 0) + (usage.output_tokens or 0)
