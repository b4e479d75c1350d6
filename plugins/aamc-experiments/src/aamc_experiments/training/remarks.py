"""Remarks on training data with which routers may do badly: unknown costs, narrow ranges of the reward, and gaps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from aamc_experiments.setup import ExperimentSetup
from aamc_sdk.interfaces import Reward
from aamc_sdk.routing import LinearReward
from aamc_sdk.types import Floats, Outcomes, Pool, Preference

NEARLY_EQUAL = 1.5
"""The ratio of the maximum mean cost or latency to the minimum below which there is a remark on the reward's range."""
MIN_COMPLETE = 20
"""Minimum number of complete training rows on which candidates are compared, if others have gaps."""


def data_remarks(setup: ExperimentSetup, means: Floats, preference: Preference | None) -> Iterator[str]:
    """Yield the remarks on an experiment's training rows, their means ``[M, 3]``, and the preference of the routers; None if none is trained."""
    pool = setup.services.pool
    if preference is not None:
        yield from _unknown_costs(pool, means[:, 1], preference)
        yield from _narrow_ranges(setup.services.reward, preference)
    yield from _gaps(pool, setup.splits["train"].outcomes)


def _unknown_costs(pool: Pool, costs: Floats, preference: Preference) -> Iterator[str]:
    """Yield a remark on candidates without a known cost, ``[M]``: such a run trains, and then many routers decide nothing."""
    unknown = [name for name, cost in zip(pool.names, costs, strict=True) if np.isnan(cost)]
    if unknown and preference.cost > 0:
        what = f"the costs of {', '.join(unknown)} are unknown"
        yield f"{what}, so most routers cannot decide requests whose preference weighs cost; name a --pool with prices"


def _narrow_ranges(reward: Reward, preference: Preference) -> Iterator[str]:
    """Yield a remark on each range of the reward that is so narrow that small differences between candidates count much."""
    if not isinstance(reward, LinearReward) or not preference.quality:
        return
    for option, what, scale, weight in (
        ("cost_usd", "costs", reward.cost, preference.cost),
        ("latency_ms", "latencies", reward.latency, preference.latency),
    ):
        if weight and not getattr(reward.config, option) and scale.minimum < scale.maximum < NEARLY_EQUAL * scale.minimum:
            differ = f"the candidates' mean {what} differ by {1 - scale.minimum / scale.maximum:.1%} only"
            counts = f"the preference lets that difference count like {weight / preference.quality:.2g} of quality"
            yield f"{differ}, and {counts}; for less, add --set reward.{option}=[0,{scale.maximum:.3g}]"


def _gaps(pool: Pool, outcomes: Outcomes | None) -> Iterator[str]:
    """Yield a remark if some candidate is clearly better on the complete rows than the one with the best mean over its own known rows."""
    if outcomes is None or outcomes.quality is None or (complete := outcomes.complete).all():
        return
    best = int(np.nan_to_num(outcomes.means[:, 0], nan=-1.0).argmax())
    gains = outcomes.quality[complete] - outcomes.quality[complete, best, None]
    if len(gains) < MIN_COMPLETE:
        return
    better = int(gains.mean(axis=0).argmax())
    gain, error = gains[:, better].mean(), gains[:, better].std(ddof=1) / np.sqrt(len(gains))
    if gain > 2 * error:
        name, other = pool.names[best], pool.names[better]
        equal_rows = f"on the {len(gains):,} training rows with all outcomes, {other} has {gain:.3g} more quality than {name}"
        yield f"{equal_rows}, whose mean over its own rows is the best; best-single and the reward follow these means: fill the gaps"
