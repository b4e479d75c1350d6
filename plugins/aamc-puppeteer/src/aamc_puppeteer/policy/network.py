r"""The policy, its stop head and its baseline.

A state s is ``[B, S]``. An agent m is its description d_m, its name n_m, and its features in the episode, p_sm. M agents,
H hidden units:

.. math::
    h_{sm} &= \tanh(A s + j_m E d_m + k_m N n_m + C p_{sm} + (U s) \odot (j_m V d_m) + b) & (5) \\
    u_{sm} &= \langle w, h_{sm} \rangle + \langle v, p_{sm} \rangle, \qquad
    z_s = \text{stop head}(s, \max_m p_{sm}), \text{ a net of its own}                  & (6) \\
    \pi(a \mid s) &\propto \exp(u_{sa}) \text{ for a present agent}, \qquad
    \pi(\text{stop} \mid s) \propto \exp(z_s)                                           & (7) \\
    V(s) &= \text{baseline}(s, \max_m p_{sm}), \text{ a net of its own}                  & (8)

No weight belongs to an agent, so the set of agents may change: a new one is scored from its description alone. The policy
does not see its name (k = 0), as names are trusted only if they were seen in training. In training j and k are drawn, so that
the policy learns to score agents without a name, and some whose description it knows only by its similarity to the task and
to the last output: these similarities are in p. The direct weights v start with the similarity of description and task, so
an untrained policy prefers agents whose description fits the task; the maximum of p over the present agents tells the stop
head whether one fits. The product in (5) lets a task select words of a description.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aamc_puppeteer.policy.encoder import PAIR_NUMBERS

_TEXT_DEVIATION = 0.2
"""Standard deviation of the initial weights of layers that read texts: a text's vector has norm 4, so a text moves a hidden unit by about 1."""
_SIMILARITY = 0.25
"""Initial weight of an agent's relative similarity to the task."""
_INITIAL_STOP = -1.0
"""Initial logit of the stop head: an untrained policy prefers another agent to stopping."""


class Policy(nn.Module):
    """Scores agents and the decision to stop.

    Args:
        state: S, number of features of a state.
        pair: P, number of features of an agent in a state.
        description: Number of features of a description.
        name: Number of features of a name.
        task: Number of leading features of a state that describe its task.
        hidden: H.
        seed: Seed of the initial weights.
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
                nn.init.normal_(layer.weight, std=_TEXT_DEVIATION)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.direct.weight)
        with torch.no_grad():
            self.direct.weight[0, [PAIR_NUMBERS.index("best_words"), PAIR_NUMBERS.index("best_meaning")]] = _SIMILARITY

    def forward(self, state: Tensor, pair: Tensor, description: Tensor, name: Tensor, described: Tensor, present: Tensor) -> Tensor:
        """Return log probabilities by (5) to (7), ``[B, M + 1]``; the last is to stop, and absent agents have -inf.

        Args:
            state: ``[B, S]``.
            pair: ``[B, M, P]``.
            description: ``[M, *]``.
            name: ``[M, *]``.
            described: k and j, whether the policy sees each agent's name and description; the last row: whether the stop
                head sees the task, ``[B, M + 1, 2]``.
            present: Whether an agent can be activated, ``[B, M]``.
        """
        sum_state, product_state = self.from_state(state)[:, None].chunk(2, 2)
        sum_description, product_description = self.from_description(description).chunk(2, 1)
        known = sum_description + product_state * product_description
        agents, stopping = described[:, :-1], described[:, -1, :1]
        hidden = torch.tanh(sum_state + agents[:, :, :1] * self.from_name(name) + agents[:, :, 1:] * known + self.from_pair(pair))
        utility = (self.score(hidden) + self.direct(pair))[:, :, 0].masked_fill(~present, -torch.inf)
        seen = torch.cat((state[:, : self._task] * stopping, state[:, self._task :]), 1)
        return torch.log_softmax(torch.cat((utility, self.stop(_with_maximum(seen, pair, present))), 1), 1)

    def value(self, state: Tensor, pair: Tensor, present: Tensor) -> Tensor:
        """Return the baseline (8), ``[B]``, in normalised reward."""
        value: Tensor = self.baseline(_with_maximum(state, pair, present))[:, 0]
        return value

    def actor(self) -> list[nn.Parameter]:
        """Return the parameters of the policy, without the baseline's."""
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("baseline.")]


def _with_maximum(state: Tensor, pair: Tensor, present: Tensor) -> Tensor:
    """Return states with the maximum of each feature over the present agents, ``[B, S + P]``."""
    return torch.cat((state, pair.masked_fill(~present[:, :, None], -torch.inf).amax(1)), 1)


def _head(inputs: int, hidden: int, start: float) -> nn.Sequential:
    """Return a network whose initial output is ``start``."""
    last = nn.Linear(hidden, 1)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, start)
    first = nn.Linear(inputs, hidden)
    nn.init.normal_(first.weight, std=_TEXT_DEVIATION)
    return nn.Sequential(first, nn.Tanh(), last)


def entropy(log_probabilities: Tensor) -> Tensor:
    """Return the entropy of each row in nats, ``[B]``; impossible actions add nothing."""
    finite = log_probabilities.masked_fill(torch.isinf(log_probabilities), 0.0)
    return -(log_probabilities.exp() * finite).sum(1)
