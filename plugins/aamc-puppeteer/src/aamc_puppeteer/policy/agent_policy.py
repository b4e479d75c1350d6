"""The policy of a set of agents: its estimator, encoder and network. torch is imported when it is first used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from aamc_agents.state import TaskState

from aamc_puppeteer.config import PuppeteerConfig
from aamc_puppeteer.policy.encoder import PAIR_NUMBERS, Encoder, StateFeatures, described, state_width
from aamc_puppeteer.policy.text_embedding import TextEmbedding
from aamc_puppeteer.policy.visibility import Visibility
from aamc_sdk import Candidate, Estimator, Services
from aamc_sdk.messages import checkpoint_errors
from aamc_sdk.routing import Array32
from aamc_sdk.storage import check_parameters, read_arrays, read_json, write_arrays, write_json

if TYPE_CHECKING:
    from aamc_puppeteer.policy.network import Policy
    from aamc_puppeteer.training.reinforce import ReinforceLearner


class AgentPolicy:
    """Chooses among agents, given as candidates, by a network, which :mod:`aamc_puppeteer.policy.network` describes.

    Attributes:
        updates: Number of gradient steps so far.
    """

    def __init__(self, config: PuppeteerConfig, services: Services, agents: Iterable[Candidate] = ()) -> None:
        self._config = config
        self._services = services
        self._agents = tuple(agents)
        self._embedding: TextEmbedding | None = None
        self._parts: tuple[ReinforceLearner, Encoder] | None = None
        self._trained_names: frozenset[str] = frozenset()
        self.updates = 0

    @property
    def trained(self) -> bool:
        """Whether the policy was trained or loaded."""
        return bool(self._trained_names)

    @property
    def known(self) -> list[bool]:
        """Whether each present agent is known from the training."""
        return [name in self._trained_names for name in self._names]

    @property
    def _names(self) -> list[str]:
        return [agent.name for agent in self._agents]

    def use(self, agents: Iterable[Candidate]) -> None:
        """Replace the agents. The network stays, and scores a new agent from its description."""
        self._agents = tuple(agents)
        if self._parts is not None:
            self._connect(self._parts[0].policy)

    def begin(self, texts: Sequence[str]) -> tuple[ReinforceLearner, Encoder]:
        """Return learner and encoder for a training on tasks with these texts, with the present agents."""
        if not self.trained:
            self._initialise(texts)
        learner, encoder = self.parts()
        self._trained_names |= frozenset(self._names)
        encoder.learn_tasks(texts)
        return learner, encoder

    def parts(self) -> tuple[ReinforceLearner, Encoder]:
        """Return learner and encoder; those of an untrained network if there was no training."""
        if self._parts is None:
            self._initialise([])
        assert self._parts is not None
        return self._parts

    def probabilities(self, states: Sequence[TaskState]) -> Array32:
        """Return the probability of each agent, and last of stopping, in each state, ``[B, M + 1]``."""
        return self.decide(self.parts()[1].encode(states), self.visibility(len(states)))

    def decide(self, features: StateFeatures, visibility: Visibility) -> Array32:
        """Return the probabilities for features of states, ``[B, M + 1]``."""
        return self.parts()[0].probabilities(features, visibility)

    def visibility(self, states: int) -> Visibility:
        """Return the parts of B states that the policy sees in service, with all agents present."""
        return Visibility.in_service(self.known, np.ones((states, len(self._agents)), bool))

    def save(self, folder: Path) -> None:
        """Write the network, the estimator, and the names of the agents in the training."""
        learner, _ = self.parts()
        assert self._embedding is not None
        write_arrays(folder / "policy.npz", {name: array.numpy() for name, array in learner.policy.state_dict().items()})
        write_json(folder / "policy.json", {"agents": sorted(self._trained_names), "updates": self.updates})
        self._embedding.save(folder)

    def load(self, folder: Path) -> None:
        """Read a saved policy.

        Raises:
            CheckpointError: The files are missing or damaged, or their sizes differ from the configuration's.
        """
        import torch

        arrays, about = read_arrays(folder / "policy.npz"), read_json(folder / "policy.json")
        self._embedding = TextEmbedding.load(folder, self._estimator())
        with checkpoint_errors(folder / "policy.json", "train again"):
            self._trained_names = frozenset(map(str, about["agents"]))
            self.updates = int(about.get("updates", 0))
            self._connect()
            network = self.parts()[0].policy
            check_parameters(arrays, {name: values.numpy() for name, values in network.state_dict().items()}, folder / "policy.npz")
            network.load_state_dict({name: torch.as_tensor(array) for name, array in arrays.items()})

    def _initialise(self, texts: Sequence[str]) -> None:
        """Train the estimator on the texts of tasks and agents, and draw the network's weights."""
        self._embedding = TextEmbedding.trained(self._estimator(), texts, [*map(described, self._agents), *self._names])
        self._connect()

    def _estimator(self) -> Estimator:
        made: Estimator = self._services.make("estimator", self._config.estimator, self._config.estimator_options)
        return made

    def _connect(self, network: Policy | None = None) -> None:
        """Encode the present agents, and connect the network, or a new one, to them."""
        from aamc_puppeteer.policy.network import Policy
        from aamc_puppeteer.training.reinforce import ReinforceLearner

        assert self._embedding is not None
        encoder = Encoder(self._agents, self._embedding)
        if network is None:
            sizes = (state_width(encoder.width), len(PAIR_NUMBERS), encoder.descriptions.shape[1], encoder.names.shape[1], encoder.width)
            network = Policy(*sizes, self._config.hidden, self._services.seed)
        self._parts = ReinforceLearner(self._config, network, encoder.descriptions, encoder.names), encoder
