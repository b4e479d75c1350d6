"""A training of router ``ppo`` as the SDK asks for it: device, threads, streams, checkpoints, and the choice of the trust factor."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from aamc_ppo.initial_parameters import trained_outputs
from aamc_ppo.ppo import PPO, PPOConfig, training_loop
from aamc_ppo.rollout import draw_preferences
from aamc_ppo.trust import VALIDATION_STREAMS, choose_trust, scale_correction
from aamc_sdk import Preference, RoutingRequest
from aamc_sdk.errors import AamcError, CheckpointError, ConfigError
from aamc_sdk.interfaces import Environment, RecoveringStreams, RoutingStreams, Services, Training
from aamc_sdk.routing import Array32, encode_candidates
from aamc_sdk.storage import load_training_checkpoint, save_training_checkpoint
from aamc_sdk.types import Floats

RECOVERIES = 4
"""Validation lasts at least as long as the shared resource recovers this many times: half of it is warm-up."""


def train(config: PPOConfig, services: Services, training: Training) -> tuple[dict[str, Array32], tuple[str, ...], dict[str, Any]]:
    """Return a trained policy, the query categories that it knows, and metrics.

    Raises:
        AamcError: The training has no environment.
        CheckpointError: The training is to be resumed, and its checkpoint is damaged or of other options, seed, pool or categories.
        DataError: The environment's rewards cannot be learned from.
    """
    if training.env is None:
        raise AamcError("ppo learns by practising and needs an environment; name one with --environment")
    device = choose_device(services.device)
    source = StreamSource(config, training, training.env, services.seed)
    config = attrs.evolve(config, gamma=config.discount(source.recovery, resets=source.resets))
    with one_thread():
        ppo = PPO(config, len(source.categories), source.candidates, device, services.seed, source.unknown_quality)
        complete = training.dataset.complete if training.request is None else training.dataset.complete_among(training.request.mask)
        if lacking := np.count_nonzero(~complete):  # a row without all outcomes cannot be played
            gaps = f"{lacking:,} of the {len(training.dataset):,} training rows lack the outcome of a candidate"
            training.progress.say(f"{gaps}, and ppo learns nothing from them; fill the gaps, or train a router that learns from single cells")
        curve = run_rollouts(ppo, source, services, training)
        policy = {name: array.copy() for name, array in ppo.policy().items()}
        metrics: dict[str, Any] = {"steps": config.rollouts * config.n_steps, "gamma": config.gamma, "curve": curve}
        metrics |= {"reward_by_trust": {}, "trust": None}
        if training.validation is not None and config.validation_steps:
            steps = max(-(-config.validation_steps // VALIDATION_STREAMS), math.ceil(RECOVERIES * source.recovery))
            rows = len(training.env.dataset("validation"))
            stationary = training.env.stationary
            trust = choose_trust(policy, source.validation, source.candidates, services.reward, steps=steps, rows=rows, stationary=stationary)
            policy = scale_correction(policy, trust.factor)
            metrics |= {"reward_by_trust": trust.reward, "trust": {"factor": trust.factor, "gain": trust.gain, "ci95": list(trust.ci95)}}
            training.progress.say(str(trust))
    return policy, source.categories, metrics


def run_rollouts(ppo: PPO, source: StreamSource, services: Services, training: Training) -> list[dict[str, float]]:
    """Train to the end, with a checkpoint after every ``checkpoint_every`` decisions, and return the curve: the figures of each rollout.

    Each checkpoint is followed by new streams, whose random numbers follow from the seed and the number of rollouts done. So it need not hold
    the environment, and an interrupted training ends with the same bits as an uninterrupted one.
    """
    config, progress, curve = ppo.config, training.progress, list[dict[str, float]]()
    made_for = {"options": attrs.asdict(config), "seed": services.seed, "pool": list(services.pool.names), "categories": list(source.categories)}
    found = load_training_checkpoint(training.folder, made_for) if training.resume else None
    if found is not None:
        restore_state(ppo, found.arrays, found.path)
        curve = found.curve
    progress.start("ppo", config.rollouts * config.n_steps)
    progress.advance(len(curve) * config.n_steps)
    started = time.perf_counter()
    for figures in training_loop(ppo, source.training, source.generator, services.reward, range(len(curve), config.rollouts)):
        curve.append({"step": (len(curve) + 1) * config.n_steps, **figures})
        speed = config.n_steps / (time.perf_counter() - started)
        progress.advance(config.n_steps, **{"return": figures["return"], "steps_per_s": speed})
        if len(curve) % config.rollouts_per_segment == 0 or len(curve) == config.rollouts:
            save_training_checkpoint(training.folder, training_state(ppo), len(curve), curve, made_for)
        started = time.perf_counter()
    return curve


def training_state(ppo: PPO) -> dict[str, Array32]:
    """Return all that the next update depends on by name: parameters, Adam's moments, the policy's rate, and the scales of inputs and values."""
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


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, the fastest for networks this small, and restore its number of threads at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def choose_device(name: str) -> torch.device:
    """Return the device of updates: ``auto`` is a GPU if there is one.

    Raises:
        ConfigError: A GPU is asked for, and torch finds none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' cannot be used: torch finds no GPU; use --device auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


class StreamSource:
    """Streams of an environment for training and validation; all random numbers follow from the seed and the number of a rollout.

    Attributes:
        categories: The categories of the environment's queries.
        candidates: The features of its candidates, ``[M, 39]``.
        unknown_quality: The candidates whose expected quality is unknown, ``[M]``.
        recovery: Steps until a resource that the streams share has recovered; 0 without one.
        resets: Whether it begins anew after these steps, whatever was decided.
    """

    def __init__(self, config: PPOConfig, training: Training, env: Environment, seed: int) -> None:
        self._config, self._training, self._env, self._seed = config, training, env, seed
        streams, _ = self.training(0)
        request = streams.request()
        self.categories = tuple(request.estimates.category_names)
        self.candidates = encode_candidates(request.pool)
        self.unknown_quality = np.asarray(np.isnan(request.expected.known_quality).any(axis=0))
        self.recovery, self.resets = (streams.recovery, streams.resets) if isinstance(streams, RecoveringStreams) else (0.0, False)

    def training(self, rollout: int) -> tuple[RoutingStreams, Array32]:
        """Return new training streams and their first observations."""
        rng, groups = self.generator(rollout, "train"), self._config.n_streams // self._config.group_size
        return self._start("train", self._training.request, self._preferences(groups, rng), self._config.group_size, rng)

    def validation(self, n: int) -> tuple[RoutingStreams, Array32]:
        """Return n validation streams, the same ones each time, and their first observations; two streams have the same preference."""
        rng = self.generator(self._config.rollouts, "validation")
        return self._start("validation", self._training.validation_request, np.tile(self._preferences(n // 2, rng), (2, 1)), 1, rng)

    def generator(self, rollout: int, purpose: str = "rollout") -> np.random.Generator:
        """Return the random generator of a rollout's draws, or of another purpose."""
        return np.random.default_rng((self._seed, rollout, *purpose.encode()))

    def _preferences(self, n: int, rng: np.random.Generator) -> Floats:
        return draw_preferences(self._config.preference_sampling, Preference.parse(self._config.preference).array, n, rng)

    def _start(
        self, split: str, request: RoutingRequest | None, preferences: Floats, group_size: int, rng: np.random.Generator
    ) -> tuple[RoutingStreams, Array32]:
        """Return ``group_size`` streams with the same queries and random numbers for each preference, and their first observations."""
        seed, numbers = int(rng.integers(2**31)), np.arange(len(preferences)).repeat(group_size)
        preferences = preferences.repeat(group_size, axis=0)
        streams = self._env.vector(len(numbers), split, request=request, seed=seed, streams=numbers, preferences=preferences)
        observations, _ = streams.reset(seed=seed)
        return streams, observations
