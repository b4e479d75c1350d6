"""The default reward: quality as it is, cheapness and quickness on the scales of the training data.

Cheapness is (maximum - cost) / (maximum - minimum), where maximum and minimum are the
extremes of the candidates' mean training costs, or options; quickness likewise. Neither is clipped: the
reward is linear, so the reward of an expectation is the expected reward.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import attrs
import numpy as np

from aamc_sdk.config import option
from aamc_sdk.errors import CheckpointError, ConfigError, DataError
from aamc_sdk.interfaces import Reward
from aamc_sdk.messages import component_errors, value_text
from aamc_sdk.storage import RESTORE, read_json_object, write_json
from aamc_sdk.types import ROUNDING, Floats, Outcomes, Preference, json_figures, read_only, without_latency


@attrs.frozen
class Scale:
    """The values at which goodness is 1 and 0, such as the ends of the candidates' mean training values; NaN where unknown."""

    minimum: float = np.nan
    maximum: float = np.nan

    @classmethod
    def of(cls, means: Floats) -> Scale:
        """Return the range of the known means ``[M]`` of candidates; means that differ only by rounding count as equal."""
        known = means[np.isfinite(means)]
        if not known.size:
            return cls()
        minimum, maximum = float(known.min()), float(known.max())
        return cls(minimum, maximum) if maximum - minimum > ROUNDING * maximum else cls(maximum, maximum)

    @property
    def known(self) -> bool:
        """Whether the training data has any value."""
        return math.isfinite(self.minimum)

    def goodness(self, values: Floats) -> Floats:
        """Return 1 at the minimum, 0 at the maximum, linear in between and beyond; 0 everywhere if both are equal."""
        span = self.maximum - self.minimum
        if span <= 0:
            return np.zeros_like(values)
        goodness: Floats = (self.maximum - values) / span
        return goodness

    @property
    def line(self) -> tuple[float, float]:
        """Slope and offset of the goodness; zeros if unknown."""
        span = self.maximum - self.minimum
        return (-1 / span, self.maximum / span) if span > 0 else (0.0, 0.0)


@attrs.frozen(kw_only=True)
class LinearRewardOptions:
    """The normalisation ranges of the reward."""

    cost_usd: list[float] = option(  # noqa: RUF009  # an attrs field
        [], "Cost per query in USD at which cheapness is 1 and 0, as [0, 0.02]; empty: the range of the candidates' mean training costs."
    )
    latency_ms: list[float] = option(  # noqa: RUF009  # an attrs field
        [], "Latency in ms at which quickness is 1 and 0, as [0, 5000]; empty: the range of the candidates' mean training latencies."
    )

    def __attrs_post_init__(self) -> None:
        for name, given in attrs.asdict(self).items():
            if given and (len(given) != 2 or not 0 <= given[0] < given[1] < math.inf):
                raise ConfigError(f"{name} must be a range [MINIMUM, MAXIMUM] with 0 <= MINIMUM < MAXIMUM, not {given!r}")


@lru_cache(64)
def _slopes_and_offsets(cost: Scale, latency: Scale) -> tuple[Floats, Floats]:
    slopes, offsets = read_only(np.array([(1.0, 0.0), cost.line, latency.line]).T)
    return slopes, offsets


class LinearReward(Reward):
    """Quality, cheapness and quickness, see the module's docstring."""

    Config = LinearRewardOptions
    config: LinearRewardOptions
    cost: Scale = Scale()
    latency: Scale = Scale()

    @property
    def affine(self) -> tuple[Floats, Floats] | None:
        """Slopes and offsets ``[3]`` of quality, cheapness and quickness; None where a subclass of this class or of :class:`Scale` computes them."""
        is_linear = type(self).vector is LinearReward.vector and type(self.cost) is type(self.latency) is Scale
        return _slopes_and_offsets(self.cost, self.latency) if is_linear else None

    def fit(self, outcomes: Outcomes) -> None:
        """Set the scales from the options, else from training outcomes ``[B, M]``; latency has none where no outcome has a latency."""
        _, cost_usd, latency_ms = outcomes.means.T
        self.cost = Scale(*self.config.cost_usd) if self.config.cost_usd else Scale.of(cost_usd)
        latency = Scale(*self.config.latency_ms) if self.config.latency_ms else Scale.of(latency_ms)
        self.latency = latency if outcomes.latency_known else Scale()

    def weights(self, preferences: Floats) -> Floats:
        """Return the effective weights ``[..., 3]`` of preferences: an unknown latency has weight 0.

        Raises:
            PreferenceError: A preference weighs only an unknown latency.
        """
        return preferences if self.latency.known else without_latency(preferences)

    def vector(self, outcomes: Outcomes) -> Floats:
        """Return quality, cheapness and quickness of ``[...]`` outcomes as ``[..., 3]``; NaN where unknown."""
        vector = np.empty((*outcomes.cost_usd.shape, 3))
        vector[..., 0] = np.nan if outcomes.quality is None else outcomes.quality
        vector[..., 1] = self.cost.goodness(outcomes.cost_usd)
        vector[..., 2] = self.latency.goodness(outcomes.latency_ms)
        return vector

    def scalar(self, outcomes: Outcomes, preferences: Floats) -> Floats:
        """Return the preference-weighted reward of ``[B, M]`` outcomes under ``[B, 3]`` preferences."""
        weights = self.weights(preferences)[:, :, None]
        vector = self.vector(outcomes)
        known = np.isfinite(vector)
        if np.count_nonzero(known) < known.size:
            vector = np.where(known | (weights[:, None, :, 0] > 0), vector, 0.0)  # an objective without weight may be unknown or infinite
        return np.asarray((vector @ weights)[:, :, 0])

    def save(self, folder: Path) -> None:
        """Write the scales."""
        write_json(folder / "reward.json", {"cost_usd": attrs.astuple(self.cost), "latency_ms": attrs.astuple(self.latency)})

    def load(self, folder: Path) -> None:
        """Read the scales; raises CheckpointError if they are damaged."""
        path = folder / "reward.json"
        saved = read_json_object(path)
        try:
            scales = [Scale(*json_figures(saved.get(key), 2)) for key in ("cost_usd", "latency_ms")]
        except DataError as error:
            raise CheckpointError(f"{path} is damaged: {error}; {RESTORE}") from error
        for scale in scales:
            if not (scale.minimum <= scale.maximum or (math.isnan(scale.minimum) and math.isnan(scale.maximum))):
                raise CheckpointError(f"{path} is damaged: {attrs.astuple(scale)} is not a range; {RESTORE}")
        self.cost, self.latency = scales


def fit_reward(reward: Reward, outcomes: Outcomes) -> None:
    """Fit a reward to training outcomes ``[B, M]``, and check its results, for which a router would be blamed later.

    Raises:
        PluginError: The reward raised an error that is not an AamcError, or a result has another shape, or is NaN for known outcomes.
    """
    with component_errors(f"{reward.message_name} failed"):
        reward.fit(outcomes)
        few = outcomes.take(slice(0, 2))
        shape = few.cost_usd.shape
        preferences = np.tile(Preference().array, (len(few.cost_usd), 1))
        known = np.isfinite((few.known_quality, few.cost_usd, few.latency_ms)).transpose(1, 2, 0) & (True, True, outcomes.latency_known)
        checks = (
            ("vector", (few,), (*shape, 3), known),
            ("weights", (preferences,), preferences.shape, slice(None)),
            ("scalar", (few, preferences), shape, outcomes.known[:2]),  # it may use the others
        )
        for method, arguments, expected, numbers in checks:
            found = getattr(reward, method)(*arguments)
            if getattr(found, "shape", None) != expected:
                raise TypeError(f"{method} of {shape} outcomes must return an array of shape {expected}, not {value_text(found)}")
            if np.isnan(found[numbers]).any():
                raise ValueError(f"{method} must return numbers for known outcomes, not NaN")
