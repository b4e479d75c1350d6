"""The state of a training of router ``ppo``: all that the next update depends on, as arrays of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from aamc_ppo.initial_parameters import trained_outputs
from aamc_ppo.ppo import PPO
from aamc_sdk.errors import CheckpointError
from aamc_sdk.routing import Array32


def training_state(ppo: PPO) -> dict[str, Array32]:
    """Return parameters, Adam's moments, the policy's rate and the scales of inputs and values by name."""
    state = {f"parameter/{name}": tensor.detach().cpu().numpy() for name, tensor in ppo.parameters.items()}
    state |= {f"scale/{name}": scale for name, scale in ppo.scales.items()}
    state["rate"] = np.array(ppo.rate, np.float32)
    for name, tensor in ppo.parameters.items():
        state |= {f"adam/{name}/{moment}": value.cpu().numpy() for moment, value in ppo.adam.state[tensor].items()}
    return state


def restore_state(ppo: PPO, state: Mapping[str, Array32], path: Path) -> None:
    """Continue from the state of a checkpoint.

    Raises:
        CheckpointError: An array of the checkpoint ``path`` is missing or has another shape, or an older version saved it.
    """
    name = "rate"
    try:
        ppo.rate = float(state["rate"])
        for name in ("input_mean", "input_deviation", "query_deviation", "value_mean", "value_deviation"):
            ppo.scales[name] = state[f"scale/{name}"]
        for name, tensor in ppo.parameters.items():
            tensor.detach().copy_(torch.as_tensor(state[f"parameter/{name}"]))
            moments = {moment: torch.as_tensor(state[f"adam/{name}/{moment}"], device=tensor.device) for moment in ("exp_avg", "exp_avg_sq")}
            ppo.adam.state[tensor] = moments | {"step": torch.as_tensor(state[f"adam/{name}/step"])}
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path} is of another version, whose {name} does not fit; delete it and train again") from error
    fixed = trained_outputs(ppo.parameters["candidate_w2"].shape[1]) == 0
    if any((state[f"parameter/{name}"] * fixed).any() for name in ("query_w2", "query_b2")):
        raise CheckpointError(f"{path} was saved by an older version; delete it and train again")
