"""Router ``puppeteer``: the puppeteer's policy chooses the one candidate that answers.

An episode is a single activation, whose reward is the outcome's at the preference of the training. So REINFORCE is compared with other routers on a
table of outcomes, and agents or models without any training of the orchestrator can be routed by the same policy.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_agents.state import TaskState
from aamc_agents.tasks import Task

from aamc_puppeteer.config import LearningOptions, PuppeteerConfig
from aamc_puppeteer.episodes.player import ActionBatch, sampled
from aamc_puppeteer.policy.agent_policy import AgentPolicy
from aamc_puppeteer.policy.visibility import Visibility, drawn_descriptions
from aamc_sdk import Requirements, Router, RoutingRequest, Scores, Services, Training, option
from aamc_sdk.errors import PluginError
from aamc_sdk.types import Floats

WHY = "The policy of puppeteer read the text and the candidates' descriptions; it knows the preference of its training alone."
"""The note of each decision."""


@attrs.frozen(kw_only=True)
class PuppeteerRouterConfig(LearningOptions):
    """Options of router ``puppeteer``: those of the orchestrator that one activation needs."""

    estimator: str = option("lexical", "Estimator that embeds queries and candidates; it is trained on their texts.")
    estimator_options: Mapping[str, Any] = option({}, "The estimator's options.")


class PuppeteerRouter(Router):
    """Scores candidates by the puppeteer's policy; thread-safe."""

    Config = PuppeteerRouterConfig
    config: PuppeteerRouterConfig
    requires = Requirements(outcomes=True, comparisons=True, text=True, training=True)
    uses_preference = False
    uses_estimates = False

    def __init__(self, config: PuppeteerRouterConfig, services: Services) -> None:
        super().__init__(config, services)
        self._lock = threading.Lock()
        self._pool, self._policy = services.pool, self._untrained()

    def _untrained(self) -> AgentPolicy:
        options = PuppeteerConfig(**attrs.asdict(self.config, recurse=False), discount=1.0)
        return AgentPolicy(options, self.services, self.services.pool)

    def score(self, request: RoutingRequest) -> Scores:
        """Return the logarithm of the policy's probability of each candidate as its utility."""
        if not self._policy.trained:
            raise PluginError("router puppeteer is not trained; train it with: aamc train --router puppeteer --dataset outcomes:FILE")
        if not len(request):
            return Scores(np.zeros(request.mask.shape))
        with self._lock:
            if request.pool is not self._pool:
                if list(request.pool) != list(self._pool):
                    self._policy.use(request.pool)
                self._pool = request.pool
            probabilities = self._policy.probabilities([_state(query.text) for query in request.queries])[:, :-1].astype(np.float64)
        probabilities += np.finfo(np.float64).tiny
        allowed = probabilities * request.mask
        drawn = allowed / allowed.sum(axis=1, keepdims=True) if self.samples else None
        return Scores(np.log(probabilities), drawn, notes=[{"why": WHY}] * len(request))

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train the policy on a table of outcomes by REINFORCE, at the preference of the training's request.

        Raises:
            DataError: No training row has an outcome with a known reward.
        """
        rows, reward = training.known_rewards(self.services.reward, "router puppeteer")
        policy = self._untrained()
        curve = self._fit(policy, [training.dataset.queries[row].text for row in rows.tolist()], reward[rows], training)
        with self._lock:
            self._pool, self._policy = self.services.pool, policy
        return {"updates": len(curve), "queries": len(rows), "curve": curve}

    def _fit(self, policy: AgentPolicy, texts: list[str], reward: Floats, training: Training) -> list[dict[str, float]]:
        """Take all gradient steps on rewards ``[Q, M]``, NaN where unknown; return the figures of each. To choose nobody earns the minimum."""
        from aamc_puppeteer.training.job import one_thread

        config, known = self.config, np.isfinite(reward)
        earned = np.concatenate((np.where(known, reward, 0.0), np.full((len(reward), 1), np.nanmin(reward))), axis=1)
        curve: list[dict[str, float]] = []
        with one_thread():
            learner, encoder = policy.begin(texts)
            features = encoder.encode([_state(text) for text in texts], known)
            training.progress.start("puppeteer", config.updates)
            for step in range(config.updates):
                rng = np.random.default_rng((self.services.seed, step))
                rows = rng.integers(len(texts), size=config.episodes)
                visibility = Visibility(drawn_descriptions(rng, len(rows), reward.shape[1], config.withheld), known[rows])
                seen = features.take(rows)
                action = sampled(learner.probabilities(seen, visibility), rng.random(len(rows), np.float32))
                returns = earned[rows, action]
                batch = ActionBatch(seen, visibility, action, returns, np.zeros(len(rows), np.intp), len(rows))
                figures = {"reward": float(returns.mean()), **learner.update(batch, 1 - step / config.updates)}
                curve.append({"step": step + 1, **figures})
                training.progress.advance(1, reward=figures["reward"])
        return curve

    def save(self, folder: Path) -> None:
        """Write the policy and its estimator."""
        self._policy.save(folder)

    def load(self, folder: Path) -> None:
        """Read a saved policy.

        Raises:
            CheckpointError: A file is missing or damaged, or its sizes differ from the configuration's.
        """
        policy = self._untrained()
        policy.load(folder)
        with self._lock:
            self._pool, self._policy = self.services.pool, policy


def _state(text: str) -> TaskState:
    return TaskState(task=Task(id="query", text=text), steps_left=1)
