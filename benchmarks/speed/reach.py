"""The training that brings a policy 97% of the way from ``random`` to ``oracle``, ours and Stable-Baselines3's, over steps and time.

Expected qualities are unknown: a policy that begins as the plug-in rule would otherwise be there at once. Both have the
same observations in the same vectorised streams. The measure is the mean true expected reward over the lattice of preferences.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import numpy as np
from aamc_environments.queue import QueueEnvironment
from aamc_environments.queue.gymnasium_env import SPLIT, standalone
from aamc_experiments.evaluation import lattice
from aamc_ppo.ppo import embed_candidates, for_raw_queries, utility
from aamc_ppo.rollout import PolicyInputs
from aamc_ppo.router import PPOConfig, PPORouter
from numpy.typing import NDArray

from aamc_sdk.interfaces import NoProgress, Progress, Training
from aamc_sdk.routing import Array32, encode_candidates
from aamc_sdk.storage import read_arrays
from aamc_sdk.types import RoutingRequest
from speed.clock import missing
from speed.decision import pool_of
from speed.measurement import Measurement, result
from speed.ppo import train
from speed.sb3 import STREAMS, learner

WAY = 0.97
STEPS, PER_PREFERENCE, SEED = 40, 32, 7
"""Decisions and streams that measure a policy, for each preference, and the seed of their events."""
MOST_STEPS = 1_000_000
INSTANCES: dict[str, Callable[[], QueueEnvironment]] = {
    "the default": lambda: standalone(service_by_length=False),
    "load 0.95": lambda: standalone(load=0.95, seed=1, service_by_length=False),
    "12 candidates": lambda: standalone(pool_of(12), seed=2, service_by_length=False),
}
Policy = Callable[[Array32], NDArray[Any]]
"""Chooses a candidate for each observation."""


class _Reached(Exception):  # no error: it ends a training that has got where it should
    """Raised from within a training to end it."""


class Course:
    """The progress of a training in a world over steps and CPU time, without the time of measuring it."""

    def __init__(self, world: QueueEnvironment) -> None:
        self._world = world
        self._request = blind(world)
        self._bottom, self._top = (self._reward(kind) for kind in ("random", "oracle"))
        self.points: list[dict[str, float]] = []
        self._looking = 0.0
        self._began = time.process_time()

    def now(self) -> float:
        """Return the CPU seconds of training so far."""
        return time.process_time() - self._began - self._looking

    def look(self, policy: Policy, steps: int, seconds: float) -> bool:
        """Record the progress of a policy after some steps and seconds; return whether it is enough."""
        began = time.process_time()
        way = (self._reward(policy) - self._bottom) / (self._top - self._bottom)
        self.points.append({"steps": steps, "cpu_s": seconds, "way": way})
        self._looking += time.process_time() - began
        return way >= WAY

    def _reward(self, policy: Policy | str) -> float:
        """Return the mean true expected reward of a policy in streams with the same seed."""
        preferences = np.repeat(lattice(), PER_PREFERENCE, axis=0)
        streams = self._world.vector(len(preferences), SPLIT, request=self._request, seed=SEED, preferences=preferences)
        observations, _ = streams.reset(seed=SEED)
        rows, rng, total = np.arange(len(preferences)), np.random.default_rng(SEED), 0.0
        for _ in range(STEPS):
            present = streams.request()
            assert present.hindsight is not None  # streams know it
            utility = self._world.services.reward.scalar(present.hindsight, present.preferences)
            if isinstance(policy, str):
                action = utility.argmax(axis=1) if policy == "oracle" else rng.integers(utility.shape[1], size=len(utility))
            else:
                action = policy(observations)
            total += float(utility[rows, action].mean())
            observations = streams.step(action)[0]
        return total / STEPS


def blind(world: QueueEnvironment) -> RoutingRequest:
    """Return a world's rows without expected qualities."""
    request = world.vector(1, SPLIT).setup.request
    return attrs.evolve(request, expected=attrs.evolve(request.expected, quality=None))


def measure(folder: Path, progress: Progress, full: bool) -> dict[str, Any]:
    """Measure CPU seconds until 97% of the way: of all instances and five seeds in full, else of one."""
    if (why := missing("stable_baselines3")) is not None:
        return result([Measurement(what="97% of the way to the oracle", unit="s of CPU", value=None, why=why)], "ppo")
    figures: list[Measurement] = []
    curves: dict[str, Any] = {}
    for name in list(INSTANCES)[: None if full else 1]:
        courses: dict[str, list[list[dict[str, float]]]] = {"ours": [], "theirs": []}
        for seed in range(5 if full else 1):
            courses["ours"].append(ours(INSTANCES[name](), seed))
            if seed < (2 if full else 1):  # it takes long
                courses["theirs"].append(theirs(INSTANCES[name](), seed))
        if full and not curves:  # of one instance: it takes minutes
            courses["preset paper"] = [ours(INSTANCES[name](), 0, "paper")]
        slowest, fastest = max(map(seconds_to, courses["ours"])), min(map(seconds_to, courses["theirs"]))
        figures.append(
            Measurement(
                what=f"97% of the way to the oracle, {name}, the slowest of {len(courses['ours'])} seeds",
                unit="s of CPU",
                value=slowest if np.isfinite(slowest) else None,
                beside="Stable-Baselines3 on the same streams, the fastest",
                other=fastest if np.isfinite(fastest) else None,
                goal="at most 5",
                why="" if np.isfinite(slowest) else "not reached within a million steps",
            )
        )
        curves[name] = courses
    return result(figures, "ppo", curves=curves)


def seconds_to(course: list[dict[str, float]]) -> float:
    """Return the CPU time at which a course was first far enough; infinity if never."""
    return min((point["cpu_s"] for point in course if point["way"] >= WAY), default=float("inf"))


def ours(world: QueueEnvironment, seed: int, preset: str = "full") -> list[dict[str, float]]:
    """Return the course of our training with a preset's options, measured at its checkpoints."""
    options = {"total_timesteps": MOST_STEPS, **PPOConfig.presets[preset]}
    train(world, 64, n_streams=64, n_steps=64)  # loads torch
    router = PPORouter(PPOConfig(**options), attrs.evolve(world.services, seed=seed))
    with TemporaryDirectory() as place:
        watch = _Watch(Course(world), Path(place), world)
        training = Training(dataset=world.dataset(SPLIT), request=blind(world), env=world, folder=Path(place), progress=watch)
        with suppress(_Reached):
            router.train(training)
            watch.look()
    return watch.course.points


class _Watch(NoProgress):
    """Measures each checkpoint of our training when it reports the next rollout."""

    def __init__(self, course: Course, folder: Path, world: QueueEnvironment) -> None:
        self.course = course
        self._folder = folder
        self._world = world
        self._seen, self._steps, self._left = 0, 0, (0, 0.0)

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Measure a new checkpoint, which was written when the last rollout was reported."""
        if not figures:
            return
        self.look()
        self._steps += steps
        self._left = (self._steps, self.course.now())

    def look(self) -> None:
        """Measure the checkpoint if it is new.

        Raises:
            _Reached: It is far enough.
        """
        path = self._folder / "checkpoint.npz"
        if path.exists() and path.stat().st_mtime_ns != self._seen:
            self._seen = path.stat().st_mtime_ns
            if self.course.look(checkpoint_policy(path, self._world), *self._left):
                raise _Reached


def checkpoint_policy(path: Path, world: QueueEnvironment) -> Policy:
    """Return the policy of a training's checkpoint in a world."""
    arrays = read_arrays(path)
    found = {kind: {name.removeprefix(kind): array for name, array in arrays.items() if name.startswith(kind)} for kind in ("parameter/", "scale/")}
    p = for_raw_queries(found["parameter/"], found["scale/"])
    pool, reward = world.services.pool, world.services.reward
    embedded = embed_candidates(p, encode_candidates(pool))

    def policy(observations: Array32) -> NDArray[Any]:
        view = PolicyInputs.of(observations, len(pool), reward)
        return np.asarray(utility(p, view.query, view.weights, view.pair, embedded).argmax(axis=1))

    return policy


def theirs(world: QueueEnvironment, seed: int) -> list[dict[str, float]]:
    """Return the course of Stable-Baselines3 with its best settings, measured about as often."""
    import torch
    from stable_baselines3.common.callbacks import BaseCallback

    torch.set_num_threads(1)  # as ours does
    model = learner("streams", world.vector(STREAMS, SPLIT, request=blind(world), seed=seed), seed)
    course = Course(world)

    class Watch(BaseCallback):
        seen = 0

        def _on_rollout_start(self) -> None:
            if self.num_timesteps - self.seen >= 98_304:
                self.seen = self.num_timesteps
                if course.look(lambda rows: self.model.predict(rows, deterministic=True)[0], self.seen, course.now()):
                    raise _Reached

        def _on_step(self) -> bool:
            return True

    with suppress(_Reached):
        model.learn(MOST_STEPS, callback=Watch())
    return course.points
