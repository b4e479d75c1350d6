r"""The policy, its stop head and its baseline.

A state s is ``[B, S]``, an agent m is what is said of it, d_m (description) and n_m (name), and what it did in the
episode, p_sm. M agents, H hidden units:

.. math::
    h_{sm} &= \tanh(A s + E d_m + k_{sm} N n_m + C p_{sm} + (U s) \odot (V d_m) + b)    & (5) \\
    u_{sm} &= \langle w, h_{sm} \rangle, \qquad
    z_s = \text{stop head}(s), \text{ a net of its own}                                 & (6) \\
    \pi(a \mid s) &\propto \exp(u_{sa}) \text{ for an agent that is there}, \qquad
    \pi(\text{stop} \mid s) \propto \exp(z_s)                                           & (7) \\
    V(s) &= \text{baseline}(s, \overline{p_{s}}), \text{ a net of its own}              & (8)

No weight belongs to an agent, so the set may change: a new one is scored from its description alone. Its name is kept
from the policy (k = 0): names are only trusted where they were seen in training, and there k is drawn, so that the
policy has met agents without a name. The product in (5) lets a task ask for words of a description.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_INITIAL_STOP = -1.0
"""The stop head's first logit: an untrained policy rather tries one more agent."""


class Policy(nn.Module):
    """Scores agents and the decision to stop.

    Args:
        state: S, features of a state.
        pair: Features of an agent in a state.
        description: Features of a description.
        name: Features of a name.
        hidden: H.
        seed: Of the initial weights.
    """

    def __init__(self, state: int, pair: int, description: int, name: int, hidden: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.from_state = nn.Linear(state, 2 * hidden)
            self.from_description = nn.Linear(description, 2 * hidden, bias=False)
            self.from_name = nn.Linear(name, hidden, bias=False)
            self.from_pair = nn.Linear(pair, hidden, bias=False)
            self.score = nn.Linear(hidden, 1, bias=False)
            self.stop = _head(state, hidden, _INITIAL_STOP)
            self.baseline = _head(state + pair, hidden, 0.0)
        nn.init.zeros_(self.score.weight)

    def forward(self, state: Tensor, pair: Tensor, description: Tensor, name: Tensor, named: Tensor, there: Tensor) -> Tensor:
        """Return log probabilities by (5) to (7), ``[B, M + 1]``; the last is to stop, and absent agents have -inf.

        Args:
            state: ``[B, S]``.
            pair: ``[B, M, P]``.
            description: ``[M, *]``.
            name: ``[M, *]``.
            named: k, whether the policy is told a name, ``[B, M]``.
            there: Whether an agent can be activated, ``[B, M]``.
        """
        sum_state, product_state = self.from_state(state)[:, None].chunk(2, 2)
        sum_description, product_description = self.from_description(description).chunk(2, 1)
        told = named[:, :, None] * self.from_name(name)
        hidden = torch.tanh(sum_state + sum_description + told + self.from_pair(pair) + product_state * product_description)
        utility = self.score(hidden)[:, :, 0].masked_fill(~there, -torch.inf)
        return torch.log_softmax(torch.cat((utility, self.stop(state)), 1), 1)

    def value(self, state: Tensor, pair: Tensor, there: Tensor) -> Tensor:
        """Return the baseline (8), ``[B]``, in normalised reward; an agent's features count where it is there."""
        mean = (pair * there[:, :, None]).sum(1) / there.sum(1, keepdim=True).clamp(min=1)
        value: Tensor = self.baseline(torch.cat((state, mean), 1))[:, 0]
        return value

    def actor(self) -> list[nn.Parameter]:
        """Return the parameters that decide."""
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("baseline.")]


def _head(inputs: int, hidden: int, start: float) -> nn.Sequential:
    """Return a net that says ``start`` until it is trained."""
    last = nn.Linear(hidden, 1)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, start)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), last)


def entropy(log_probabilities: Tensor) -> Tensor:
    """Return the entropy of each row, ``[B]``, in nats; what cannot happen adds nothing."""
    finite = log_probabilities.masked_fill(torch.isinf(log_probabilities), 0.0)
    return -(log_probabilities.exp() * finite).sum(1)
