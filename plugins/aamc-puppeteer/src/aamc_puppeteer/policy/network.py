r"""The policy, its stop head and its baseline.

A state s is ``[B, S]``, an agent m is what is said of it, d_m (description) and n_m (name), and what it did in the
episode, p_sm. M agents, H hidden units:

.. math::
    h_{sm} &= \tanh(A s + j_m E d_m + k_m N n_m + C p_{sm} + (U s) \odot (j_m V d_m) + b) & (5) \\
    u_{sm} &= \langle w, h_{sm} \rangle + \langle v, p_{sm} \rangle, \qquad
    z_s = \text{stop head}(s, \max_m p_{sm}), \text{ a net of its own}                  & (6) \\
    \pi(a \mid s) &\propto \exp(u_{sa}) \text{ for an agent that is there}, \qquad
    \pi(\text{stop} \mid s) \propto \exp(z_s)                                           & (7) \\
    V(s) &= \text{baseline}(s, \max_m p_{sm}), \text{ a net of its own}                  & (8)

No weight belongs to an agent, so the set may change: a new one is scored from its description alone. Its name is kept
from the policy (k = 0), as names are only trusted where they were seen in training. There j and k are drawn, so that
the policy has met agents without a name, and some of which it knew only how their description relates to the task
and to what was said last: that is in p. Its direct way to the score, v, begins with the likeness of description and task,
so an untrained policy rather tries agents that seem made for the task; the greatest p of the agents that are there
tells the stop head whether anyone does. The product in (5) lets a task ask for words of a description.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aamc_puppeteer.encoder import PAIR_NUMBERS

_SPREAD = 0.2
"""Deviation of the initial weights of what reads texts: a text's vector has length 4, so that each text moves a hidden unit by about 1."""
_LIKENESS = 0.25
"""What a deviation of likeness to the task adds to an untrained agent's score."""
_INITIAL_STOP = -1.0
"""The stop head's first logit: an untrained policy rather tries one more agent."""


class Policy(nn.Module):
    """Scores agents and the decision to stop.

    Args:
        state: S, features of a state.
        pair: Features of an agent in a state.
        description: Features of a description.
        name: Features of a name.
        task: How many of a state's features, from the first, describe its task.
        hidden: H.
        seed: Of the initial weights.
    """

    def __init__(self, state: int, pair: int, description: int, name: int, task: int, hidden: int, seed: int) -> None:
        super().__init__()
        self._task = task
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.from_state = nn.Linear(state, 2 * hidden)
            self.from_description = nn.Linear(description, 2 * hidden, bias=False)
            self.from_name = nn.Linear(name, hidden, bias=False)
            self.from_pair = nn.Linear(pair, hidden, bias=False)
            self.score = nn.Linear(hidden, 1, bias=False)
            self.direct = nn.Linear(pair, 1, bias=False)
            self.stop = _head(state + pair, hidden, _INITIAL_STOP)
            self.baseline = _head(state + pair, hidden, 0.0)
            for layer in (self.from_state, self.from_description, self.from_name):
                nn.init.normal_(layer.weight, std=_SPREAD)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.direct.weight)
        with torch.no_grad():
            self.direct.weight[0, [PAIR_NUMBERS.index("best_words"), PAIR_NUMBERS.index("best_meaning")]] = _LIKENESS

    def forward(self, state: Tensor, pair: Tensor, description: Tensor, name: Tensor, told: Tensor, there: Tensor) -> Tensor:
        """Return log probabilities by (5) to (7), ``[B, M + 1]``; the last is to stop, and absent agents have -inf.

        Args:
            state: ``[B, S]``.
            pair: ``[B, M, P]``.
            description: ``[M, *]``.
            name: ``[M, *]``.
            told: k and j, whether the policy is told each agent's name and description, and last whether the stop head is
                told the task, ``[B, M + 1, 2]``.
            there: Whether an agent can be activated, ``[B, M]``.
        """
        sum_state, product_state = self.from_state(state)[:, None].chunk(2, 2)
        sum_description, product_description = self.from_description(description).chunk(2, 1)
        known = sum_description + product_state * product_description
        agents, stopping = told[:, :-1], told[:, -1, :1]
        hidden = torch.tanh(sum_state + agents[:, :, :1] * self.from_name(name) + agents[:, :, 1:] * known + self.from_pair(pair))
        utility = (self.score(hidden) + self.direct(pair))[:, :, 0].masked_fill(~there, -torch.inf)
        seen = torch.cat((state[:, : self._task] * stopping, state[:, self._task :]), 1)
        return torch.log_softmax(torch.cat((utility, self.stop(_with_greatest(seen, pair, there))), 1), 1)

    def value(self, state: Tensor, pair: Tensor, there: Tensor) -> Tensor:
        """Return the baseline (8), ``[B]``, in normalised reward."""
        value: Tensor = self.baseline(_with_greatest(state, pair, there))[:, 0]
        return value

    def actor(self) -> list[nn.Parameter]:
        """Return the parameters that decide."""
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("baseline.")]


def _with_greatest(state: Tensor, pair: Tensor, there: Tensor) -> Tensor:
    """Return states with the greatest of each feature among the agents that are there, ``[B, S + P]``."""
    return torch.cat((state, pair.masked_fill(~there[:, :, None], -torch.inf).amax(1)), 1)


def _head(inputs: int, hidden: int, start: float) -> nn.Sequential:
    """Return a net that says ``start`` until it is trained."""
    last = nn.Linear(hidden, 1)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, start)
    first = nn.Linear(inputs, hidden)
    nn.init.normal_(first.weight, std=_SPREAD)
    return nn.Sequential(first, nn.Tanh(), last)


def entropy(log_probabilities: Tensor) -> Tensor:
    """Return the entropy of each row, ``[B]``, in nats; what cannot happen adds nothing."""
    finite = log_probabilities.masked_fill(torch.isinf(log_probabilities), 0.0)
    return -(log_probabilities.exp() * finite).sum(1)
