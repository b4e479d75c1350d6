"""The candidate that acts as the policy."""

from __future__ import annotations

from pathlib import Path

from aamc_router_r1.config import PolicyOptions
from aamc_sdk.errors import ConfigError, nearest, one_of
from aamc_sdk.serving import ORCHESTRATOR
from aamc_sdk.storage import is_complete
from aamc_sdk.types import Candidate, Endpoint, ModelSpec, Pool

TRAINED = "router-r1"
"""The name of a trained policy as a candidate, and of the provider that computes its answers in this process."""


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
        return _of_one_call(pool.candidates[pool.index(config.policy)], config)
    if config.router_model_path:
        checkpoint = _checkpoint(Path(config.router_model_path))
    if checkpoint is not None:
        return _of_one_call(ModelSpec(TRAINED, endpoint=Endpoint("router-r1", {"checkpoint": str(checkpoint)})), config)
    raise ConfigError("no policy is named; set orchestrator.policy=NAME to a candidate of the pool, or name a training with --run")


def _of_one_call(policy: Candidate, config: PolicyOptions) -> Candidate:
    """Return the policy; raise ConfigError for a checkpoint with ``calls`` above 1, since a checkpoint ends its turn after one search."""
    endpoint = policy.endpoint if isinstance(policy, ModelSpec) else None
    if config.calls > 1 and endpoint is not None and Endpoint.of(endpoint).provider == TRAINED:
        raise ConfigError(f"a trained policy consults one model in a turn; set calls=1, not {config.calls}, or serve it with vLLM")
    return policy


def _checkpoint(folder: Path) -> Path:
    """Return the folder of a trained policy: a training's folder, or its orchestrator's.

    Raises:
        ConfigError: It is a torch file, or holds no trained policy.
    """
    if folder.suffix in (".pt", ".pth"):
        raise ConfigError(f"router_model_path {str(folder)!r} is a torch file, which can run code when it is read; give the folder of a training")
    for place in (folder, folder / ORCHESTRATOR):
        if is_complete(place):
            return place
    raise ConfigError(f"router_model_path {str(folder)!r} holds no trained policy; train one with: aamc train --orchestrator router-r1")
