"""The policy: the candidate that acts as it, its prompt, and the measured quality that the prompt states."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from aamc_router_r1.config import PolicyOptions, RouterR1Config, nearest_trained
from aamc_router_r1.protocol import render_prompt
from aamc_sdk.errors import ConfigError
from aamc_sdk.messages import nearest, one_of
from aamc_sdk.serving import ORCHESTRATOR
from aamc_sdk.storage import checkpoint_metadata, is_complete
from aamc_sdk.types import Candidate, Endpoint, ModelSpec, Pool, Preference, Query

OVERALL = ""
"""The category of all queries."""


def measured_quality(store: str, given: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return quality by candidate and category: ``given``, else the mean of the rated decisions in the log ``store``, unless that is ``""``.

    Raises:
        ConfigError: A given quality is not a number from 0 to 1, or not of a candidate's name.
    """
    for name, by_category in given.items():
        if name not in names:
            raise ConfigError(f"quality names {name!r}, which is not a candidate{nearest(name, names)} ({one_of(names)})")
        for value in by_category.values():
            if not (type(value) in (int, float) and 0 <= value <= 1):
                raise ConfigError(f"quality of {name!r} must be a number from 0 to 1, not {value!r}")
    found = _of_log(store) if store else {}
    for name, by_category in given.items():
        found[name] = {**found.get(name, {}), **by_category}
    return found


def overall(quality: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return each candidate's quality over all queries; the mean of its categories where that is not known."""
    return {name: by_category.get(OVERALL, sum(by_category.values()) / len(by_category)) for name, by_category in quality.items() if by_category}


def _of_log(url: str) -> dict[str, dict[str, float]]:
    """Return the mean quality of each candidate's decisions with feedback, over all and by the most probable category."""
    from aamc_experiments.off_policy import read_outcome_columns

    from aamc_sdk.log import open_store
    from aamc_sdk.plugins import get_plugin_manager

    with closing(open_store(url, get_plugin_manager(), existing=True)) as store:
        columns = read_outcome_columns(store, ["categories"])
    logged, names = columns.outcomes, columns.category_names
    sums: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for row in np.flatnonzero(logged.judged).tolist():
        candidate, quality = logged.candidates[row], float(logged.quality[row])
        sums[candidate, OVERALL].append(quality)
        if names and not np.isnan(columns["categories"][row]).all():
            sums[candidate, names[int(np.nanargmax(columns["categories"][row]))]].append(quality)
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for (candidate, category), qualities in sums.items():
        found[candidate][category] = float(np.mean(qualities))
    return dict(found)


TRAINED = "router-r1"
"""The name of a trained policy as a candidate, and of the provider that computes its answers in this process."""


def prompt_of(
    options: PolicyOptions,
    query: Query,
    models: Iterable[Candidate],
    quality: Mapping[str, Mapping[str, float]],
    preference: Preference | None,
    *,
    calls: int = 1,
) -> str:
    """Return the prompt for a query; without a preference, it states none."""
    history = query.turns if options.show_history else ()
    text, context = query.text.strip(), options.context
    return render_prompt(
        text, models, quality, codec=options.codec, rounds=options.rounds, calls=calls, preference=preference, context=context, history=history
    )


def policy_of(config: PolicyOptions, pool: Pool, checkpoint: Path | None) -> Candidate:
    """Return the policy: a candidate of the pool, else the trained checkpoint.

    Raises:
        ConfigError: The options name no candidate, and there is no checkpoint; the candidate is not in the pool; or ``calls`` does not suit it.
    """
    if config.policy:
        if config.policy not in pool.names:
            raise ConfigError(
                f"policy must be a candidate of the pool ({one_of(pool.names)}), not {config.policy!r}{nearest(config.policy, pool.names)}"
            )
        policy = pool.candidates[pool.index(config.policy)]
    else:
        folder = _checkpoint(Path(config.router_model_path)) if config.router_model_path else checkpoint
        if folder is None:
            raise ConfigError("no policy is named; set orchestrator.policy=NAME to a candidate of the pool, or name a training with --run")
        policy = ModelSpec(TRAINED, endpoint=Endpoint(TRAINED, {"checkpoint": str(folder)}))
    if config.calls > 1 and _folder_of(policy) is not None:  # a checkpoint ends its turn after one search
        raise ConfigError(f"a trained policy consults one model in a turn; set calls=1, not {config.calls}, or serve it with vLLM")
    return policy


def stated(preference: Preference, alphas: Sequence[float], is_shown: bool) -> Preference | None:
    """Return the preference that a prompt states: the nearest trained one with ``alphas``, else the given one if it is shown, else None."""
    return nearest_trained(preference, alphas) if alphas or is_shown else None


def trained_alphas(policy: Candidate, options: PolicyOptions) -> tuple[float, ...]:
    """Return the ``training_alphas`` of the options or of a policy that is a checkpoint: its prompts state one of these weights of the cost."""
    if isinstance(options, RouterR1Config) and options.training_alphas:
        return options.training_alphas
    folder = _folder_of(policy)
    for place in () if folder is None else (folder, folder / ORCHESTRATOR, folder.parent):  # the parent of its checkpoint best or last
        if is_complete(place):
            return tuple(checkpoint_metadata(place, ORCHESTRATOR).get("config", {}).get("training_alphas", ()))
    return ()


def _folder_of(policy: Candidate) -> Path | None:
    """Return the folder of a policy that is a checkpoint; None for another policy."""
    endpoint = policy.endpoint
    return Path(str(endpoint.options.get("checkpoint", ""))) if endpoint is not None and endpoint.provider == TRAINED else None


def _checkpoint(folder: Path) -> Path:
    """Return the folder of a trained policy: a training's folder, or its orchestrator's."""
    if folder.suffix in (".pt", ".pth"):
        raise ConfigError(f"router_model_path {str(folder)!r} is a torch file, which can run code when it is read; give the folder of a training")
    for place in (folder, folder / ORCHESTRATOR):
        if is_complete(place):
            return place
    raise ConfigError(f"router_model_path {str(folder)!r} holds no trained policy; train one with: aamc train --orchestrator router-r1")
