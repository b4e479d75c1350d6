"""The policy: a state's embedding, and the choice of the next agent."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from aamc_puppeteer.doa.structs import SystemState
from aamc_puppeteer.policy.encoder import hashed_words
from aamc_sdk.routing import Array32


class PolicyNetwork(nn.Module):
    """Two hidden layers from a state's embedding to a logit for each agent.

    A subclass may override ``_embed_state``.
    """

    def __init__(self, state_embedding_dim: int, num_agents: int, hidden_dim: int = 128) -> None:
        super().__init__()
        self.state_embedding_dim = state_embedding_dim
        self.num_agents = num_agents
        self.hidden_dim = hidden_dim
        self.network = nn.Sequential(
            nn.Linear(state_embedding_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, num_agents),
        )

    def forward(self, state_embedding: Tensor) -> Tensor:
        """Return the agents' logits, ``[..., M]``, for embeddings ``[..., D]``."""
        return self.network(state_embedding)  # type: ignore[no-any-return]  # a Tensor

    def select_action(self, system_state: SystemState) -> tuple[int, Tensor]:
        """Draw an agent; return its index and log probability, with its gradient."""
        log_probabilities = self.forward(self._embed_state(system_state)).log_softmax(dim=-1)
        index = int(torch.multinomial(log_probabilities.detach().exp(), 1).item())
        return index, log_probabilities[index]

    def _embed_state(self, system_state: SystemState) -> Tensor:
        """Return a state's embedding, ``[D]``; see :func:`embed_state`."""
        return torch.from_numpy(embed_state(system_state, self.state_embedding_dim))


def embed_state(state: SystemState, width: int) -> Array32:
    """Return a state's embedding, ``[width]``: steps and costs, then hashed words of the task, the agents so far and the last answer.

    Texts that share words have similar embeddings, unlike with a hash of the whole text. The task gets about half of the
    width, the agents and the last answer a quarter each.
    """
    numbers = _numbers(state)[: width // 4]
    quarter = (width - len(numbers)) // 4
    said = str(state.history[-1][1].content) if state.history else ""
    ran = " ".join(name for name, _ in state.history)
    parts = ((state.task_specification, width - len(numbers) - 2 * quarter), (ran, quarter), (said, quarter))
    words = [hashed_words(text, buckets) for text, buckets in parts if buckets]
    return np.concatenate((numbers, *words)).astype(np.float32)


def _numbers(state: SystemState) -> Array32:
    costs = [max(output.cost, 0.0) for _, output in state.history]
    left = max(state.max_steps - state.current_step, 0)
    failures = sum("fault" in (output.metadata or {}) for _, output in state.history)
    spent = np.log1p((costs[-1] if costs else 0.0, sum(costs)))
    return np.array((left / max(state.max_steps, 1), np.log1p(left), len(costs) > 0, *spent, np.log1p(failures)), np.float32)
