"""Rewards of episodes: answers compared with gold answers, costs on a scale, and both in one number.

With R_format = 0 if the episode is well formed and -1 if not, R_outcome in [0, 1], and R_cost in [0, 1] where cheap is 1:

- ``paper`` (arXiv 2506.09033): R = R_format + (1 - alpha) R_outcome + alpha R_cost.
- ``released`` (https://github.com/ulab-uiuc/Router-R1): as ``paper``, but a wrong answer gets 0, however cheap it was.
- ``vsr`` (vLLM Semantic Router): as ``paper``, with R_cost = max(0, 1 - sum of model size x output tokens / scale). A
  model's size is its price in USD per million output tokens, and tokens count in thousands.

In each of them a malformed episode gets R_format alone: the other terms count as 0. Answers are compared as the question-answering
benchmarks do (Rajpurkar et al., arXiv 1606.05250).
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from aamc_sdk import option
from aamc_sdk.errors import CheckpointError, ConfigError, DataError
from aamc_sdk.types import Prices

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CLOSED = ("yes", "no", "noanswer")
"""Answers that only match as a whole."""


def normalize_answer(text: str) -> str:
    """Return a text in lower case, without punctuation and articles, and with single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def each_gold(golds: Sequence[str]) -> Sequence[str]:
    """Return the gold answers; a text alone is one gold answer, not its characters."""
    return [golds] if isinstance(golds, str) else golds


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """Return 1 if the normalised answer equals any normalised gold answer, else 0; an empty answer is never right."""
    return float(any(_equal(answer, gold) for gold in each_gold(golds)))


def _equal(answer: str, gold: str) -> bool:
    wanted = normalize_answer(gold)
    if wanted:
        return normalize_answer(answer) == wanted
    return answer.strip().casefold() == gold.strip().casefold() != ""  # such as "The", of which normalising leaves nothing


def f1(answer: str, golds: Sequence[str]) -> float:
    """Return the maximum over gold answers of the harmonic mean of precision and recall of normalised words."""
    return max((max(_f1(normalize_answer(answer), normalize_answer(gold)), float(_equal(answer, gold))) for gold in each_gold(golds)), default=0.0)


def _f1(answer: str, gold: str) -> float:
    if answer != gold and (answer in _CLOSED or gold in _CLOSED):
        return 0.0
    found, wanted = answer.split(), gold.split()
    shared = sum((Counter(found) & Counter(wanted)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(found), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


OUTCOMES: dict[str, Callable[[str, Sequence[str]], float]] = {"em": exact_match, "f1": f1}
"""The outcomes that options name: exact match and F1."""


MIDDLE = 0.5
"""The value of a cost where the window has no range, or where the cost is unknown."""
_NO_RANGE = 1e-11
"""Smallest range in square roots of USD: 1e-8 in the published code's unit, the square root of a millionth of a USD."""


class CostNormalizer:
    """Scales costs to [0, 1], cheap is 1, as the published code does: each cost enters the window before it is scaled.

    Args:
        window: Number of costs in the window.
        low: Quantile that becomes 1.
        high: Quantile that becomes 0.

    Attributes:
        frozen: Whether the window stays as it is, as in evaluation.

    Raises:
        ConfigError: The window is empty, or the quantiles are not 0 <= low < high <= 1.
    """

    def __init__(self, window: int = 1000, low: float = 0.05, high: float = 0.95) -> None:
        if window < 1 or not 0 <= low < high <= 1:
            raise ConfigError(f"a cost normalizer needs a window of at least 1 and 0 <= low < high <= 1, not {window!r}, {low!r} and {high!r}")
        self._roots: deque[float] = deque(maxlen=window)
        self._low, self._high = low, high
        self.frozen = False

    def __call__(self, cost_usd: float) -> float:
        """Add a cost in USD, and return it on the scale.

        Raises:
            ValueError: The cost is negative or infinite.
        """
        self.add(cost_usd)
        return self.scaled(cost_usd)

    def add(self, cost_usd: float) -> None:
        """Add a cost in USD to the window, unless that is frozen or the cost is unknown (NaN); errors as of a call."""
        root = _root(cost_usd)
        if not (self.frozen or math.isnan(root)):
            self._roots.append(root)

    def scaled(self, cost_usd: float) -> float:
        """Return a cost in USD on the scale of the window as it is; an unknown one is 0.5. Errors as of a call."""
        root = _root(cost_usd)
        if math.isnan(root):
            return MIDDLE
        low, high = self._ends()
        if high - low < _NO_RANGE:
            return MIDDLE
        return float(1 - np.clip((root - low) / (high - low), 0, 1))

    @property
    def flat(self) -> bool:
        """Whether the window has no range, so that every cost is 0.5 on the scale."""
        low, high = self._ends()
        return high - low < _NO_RANGE

    def _ends(self) -> tuple[float, float]:
        """Return the roots that become 1 and 0."""
        if not self._roots:
            return 0.0, 0.0
        low, high = np.quantile(np.fromiter(self._roots, float), (self._low, self._high)).tolist()
        return low, high

    def state(self) -> dict[str, Any]:
        """Return the window, its quantiles, and whether it is frozen, in plain JSON values."""
        return {"window": self._roots.maxlen, "low": self._low, "high": self._high, "frozen": self.frozen, "roots": list(self._roots)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> CostNormalizer:
        """Return the normalizer of a :meth:`state`.

        Raises:
            CheckpointError: The state is damaged.
        """
        try:
            made = cls(int(state["window"]), float(state["low"]), float(state["high"]))
            made._roots.extend(float(root) for root in state["roots"])
            made.frozen = bool(state["frozen"])
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise CheckpointError(f"the state of a cost normalizer is damaged: {error!r}") from error
        if not all(0 <= root < math.inf for root in made._roots):
            raise CheckpointError("the state of a cost normalizer is damaged: a root is negative or not finite")
        return made


def _root(cost_usd: float) -> float:
    if cost_usd < 0 or cost_usd == math.inf:
        raise ValueError(f"a cost must be at least 0 USD, not {cost_usd!r}")
    return math.sqrt(cost_usd)


PAPER, RELEASED, VSR = "paper", "released", "vsr"
MODES = (PAPER, RELEASED, VSR)
BOTH, COMPLETION = "all", "completion"
VSR_SCALE = 10.0
"""The cost that gets R_cost 0 in mode ``vsr``, as in vLLM Semantic Router."""


@attrs.frozen
class RewardParts:
    """R_format, R_outcome as it was judged, R_cost, and in ``total`` R, in which a malformed episode's outcome and cost do not count."""

    format: float
    outcome: float
    cost: float
    total: float


def combine(mode: str, malformed: bool, outcome: float, cost: float, alpha: float, format_penalty: float) -> RewardParts:
    """Return the reward with these terms, by one of ``MODES``; ``alpha`` is the weight of the cost, from 0 to 1."""
    if malformed:
        return RewardParts(format_penalty, outcome, cost, format_penalty)
    if mode == RELEASED and outcome == 0:
        return RewardParts(0.0, outcome, cost, 0.0)
    return RewardParts(0.0, outcome, cost, (1 - alpha) * outcome + alpha * cost)


def weighed_tokens(prices: Prices | None, tokens: float) -> float:
    """Return a model's size, its price in USD per million output tokens, times thousands of output tokens; NaN without prices."""
    return math.nan if prices is None else prices.output * tokens / 1000


def size_cost(size_tokens: float, scale: float = VSR_SCALE) -> float:
    """Return R_cost of mode ``vsr`` for the sum of :func:`weighed_tokens` over calls; ``scale`` is the sum that gets 0, and NaN gets 0.5."""
    return MIDDLE if math.isnan(size_tokens) else max(0.0, 1 - size_tokens / scale)


@attrs.frozen(kw_only=True, slots=False)
class RewardOptions:
    """Options of the reward."""

    reward: str = option(PAPER, "Equation of the reward; see the reference page.", choices=MODES)
    alpha: float = option(0.0, "Weight of the cost in the reward.", at_least=0, at_most=1)
    outcome: str = option("em", "Outcome of an answer: exact match, or F1 of words.", choices=tuple(OUTCOMES))
    format_penalty: float = option(-1.0, "Reward of a malformed episode.", at_most=0)
    cost_tokens: str = option(BOTH, "Tokens that cost: all, or those of completions only.", choices=(BOTH, COMPLETION))
    cost_window: int = option(1000, "Number of recent costs that scale a cost.", at_least=1)
    vsr_scale: float = option(
        VSR_SCALE, "Price in USD per million output tokens, times thousands of them, at which the cost reward is 0 in mode vsr.", above=0
    )

    def score(
        self,
        scale: Callable[[float], float],
        answer: str | None,
        golds: Sequence[str],
        cost_usd: float,
        *,
        malformed: bool,
        size_tokens: float = math.nan,
        alpha: float | None = None,
    ) -> RewardParts:
        """Return the reward of an episode.

        Args:
            scale: Returns a cost in USD on a scale from 0 to 1, in modes ``paper`` and ``released``; such as a :class:`CostNormalizer`.
            answer: The answer; None without one.
            golds: The gold answers.
            cost_usd: Cost of the episode in USD; NaN if unknown.
            malformed: Whether it is malformed, see :func:`aamc_router_r1.protocol.format_errors`.
            size_tokens: The sum of :func:`weighed_tokens` over calls, for mode ``vsr``; NaN if unknown.
            alpha: Weight of the cost; that of the options when None.

        Raises:
            DataError: There is no gold answer.
        """
        if not golds:
            raise DataError("an episode cannot be rewarded without a gold answer; leave the question out, or add its ground truth")
        outcome = 0.0 if answer is None else OUTCOMES[self.outcome](answer, golds)
        cost = size_cost(size_tokens, self.vsr_scale) if self.reward == VSR else scale(cost_usd)
        return combine(self.reward, malformed, outcome, cost, self.alpha if alpha is None else alpha, self.format_penalty)
