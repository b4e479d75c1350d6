"""The base class of both environments: options, splits, and the setup of their streams."""

from __future__ import annotations

import abc
from collections.abc import Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_environments.preferences import KINDS, PreferenceSource
from aamc_environments.streams import Streams, StreamSetup
from aamc_sdk import Dataset, Environment, Estimates, Preference, RoutingRequest, option
from aamc_sdk.errors import DataError
from aamc_sdk.messages import check_known
from aamc_sdk.types import Floats


def add_noise(request: RoutingRequest, noise: float, generator: np.random.Generator) -> RoutingRequest:
    """Return the request with noise on its estimates.

    Complexity, tool use and expected quality get a normal error of standard deviation ``noise``,
    clipped to [0, 1]. Category probabilities become a mixture with random ones, of weight ``noise`` (at most 1).
    """
    if noise == 0:
        return request

    def with_error(values: np.ndarray) -> np.ndarray:
        return np.clip(values + noise * generator.standard_normal(values.shape), 0, 1)

    estimates = request.estimates
    random = generator.standard_exponential(estimates.categories.shape)
    random /= random.sum(axis=1, keepdims=True) if random.shape[1] else 1
    weight = min(noise, 1.0)
    noisy = attrs.evolve(
        estimates,
        complexity=with_error(estimates.complexity),
        categories=(1 - weight) * estimates.categories + weight * random,
        tool_use=with_error(estimates.tool_use),
    )
    quality = None if request.expected.quality is None else with_error(request.expected.quality)
    return attrs.evolve(request, estimates=noisy, expected=attrs.evolve(request.expected, quality=quality))


@attrs.frozen(kw_only=True)
class StreamOptions:
    """Options of streams."""

    preferences: str = option(
        "dirichlet",
        "Distribution of preferences if the caller gives none.",
        choices=KINDS,
    )
    preference: str = option("0.9,0.08,0.02", "Weights (quality, cost, latency) under preferences fixed.")
    preference_per: str = option("step", "Draw a preference per step or per stream.", choices=("step", "stream"))
    horizon: int | None = option(None, "Steps until a stream is truncated; none: never.", at_least=1)
    noise: float = option(0.0, "Standard deviation of the error added to estimates and expected quality.", at_least=0.0)

    def __attrs_post_init__(self) -> None:
        Preference.parse(self.preference)


class StreamEnvironment(Environment):
    """An environment whose streams draw queries from a split."""

    config: StreamOptions

    def prepare(self, splits: Mapping[str, Dataset]) -> None:
        """Set the queries of each split."""
        self._splits = dict(splits)

    def vector(
        self,
        n: int,
        split: str,
        *,
        request: RoutingRequest | None = None,
        seed: int = 0,
        streams: NDArray[np.intp] | None = None,
        preferences: Floats | None = None,
    ) -> Streams:
        """Return n streams of a split's queries; see :meth:`aamc_sdk.interfaces.Environment.vector`.

        Raises:
            DataError: The request's rows are not the split's, or streams or preferences are not n.
        """
        dataset = self._split(split)
        numbers = np.arange(n) if streams is None else np.asarray(streams)
        if n < 1 or numbers.shape != (n,):
            raise DataError(f"{n} streams need as many stream numbers, at least one, not an array of shape {numbers.shape}")
        if preferences is not None and preferences.shape != (n, 3):
            raise DataError(f"{n} streams need preferences of shape {(n, 3)}, not {preferences.shape}")
        if request is None:
            request = self._true_request(split)
        elif len(request) != len(dataset):
            raise DataError(f"the request has {len(request)} rows and the split {split!r} has {len(dataset)}; build it from the split's queries")
        config = self.config
        setup = StreamSetup(
            request=add_noise(request, config.noise, np.random.default_rng((seed, len(request)))),
            rows=np.flatnonzero(dataset.complete_among(request.mask)),
            reward=self.services.reward,
            streams=numbers,
            seed=seed,
            preferences=PreferenceSource(preferences, config.preferences, config.preference, config.preference_per, seed, numbers),
            horizon=config.horizon,
        )
        return self._make_streams(split, setup)

    def _split(self, name: str) -> Dataset:
        """Return a split.

        Raises:
            DataError: :meth:`prepare` was not given this split.
        """
        check_known([name], self._splits, "there is no split", DataError, "there are")
        return self._splits[name]

    @abc.abstractmethod
    def _true_request(self, split: str) -> RoutingRequest:
        """Return all rows of a split with the estimates of a perfect estimator."""

    @abc.abstractmethod
    def _make_streams(self, split: str, setup: StreamSetup) -> Streams:
        """Return the streams of a setup."""


def estimates_from_labels(dataset: Dataset, categories: tuple[str, ...]) -> Estimates:
    """Return labels as estimates; without a label, NaN and no category's probability."""
    labels = dataset.labels
    unknown = np.full(len(dataset), np.nan)
    names = np.full(len(dataset), "") if labels.category is None else labels.category
    return Estimates(
        complexity=unknown if labels.complexity is None else labels.complexity.astype(np.float64),
        categories=(names[:, None] == np.array(categories, dtype=np.str_)).astype(np.float64),
        category_names=categories,
        tool_use=unknown if labels.tool_use is None else labels.tool_use.astype(np.float64),
        fingerprint="labels",
    )
