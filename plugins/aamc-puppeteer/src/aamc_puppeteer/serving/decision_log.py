r"""Served episodes in the decision log, and learning from those with feedback, off the policy that served them.

Each decision is logged with the state that it was made in, and its agent's turn as an attempt. The task is the query's text, the turns so far are
its turns, and the decision's notes have their costs and faults. Files and documents of the task are not logged: the policy does not see them.

The outcome of an episode is :math:`r = r_- + q (r_+ - r_-)` with the quality q of its feedback; its rewards and returns are those of
:mod:`aamc_puppeteer.episodes.rewards`. Each action of (10) is weighted by its importance ratio, truncated so that a rare action cannot
dominate (Degris, White and Sutton 2012, arXiv:1205.4839; Ionides 2008):

.. math::
    \rho_{nt} = \min\left(1, \frac{\pi(a_{nt} \mid s_{nt})}{\beta(a_{nt} \mid s_{nt})}\right) \qquad (13)

:math:`\beta` is the logged propensity. It is 1 where the most probable action was taken: such episodes confirm or weaken actions, but only
drawn ones (option ``sample``) compare them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import numpy as np
from aamc_agents.state import Activation, Fault, TaskState
from aamc_agents.tasks import Task
from numpy.typing import NDArray

from aamc_puppeteer.episodes.player import ActionBatch
from aamc_puppeteer.episodes.rewards import EpisodeReward, discounted_returns
from aamc_puppeteer.episodes.trajectory import STOP
from aamc_puppeteer.policy.encoder import Encoder
from aamc_puppeteer.policy.visibility import Visibility
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import AgentOutput
from aamc_sdk.log import outcomes_of
from aamc_sdk.types import Attempt, Decision, Experience, Query, Record, Turn


def logged(decisions: Sequence[Decision], state: TaskState, names: Iterable[str]) -> tuple[list[Record], list[Attempt]]:
    """Return the log's entries for an episode along one path, with its decisions in order, its last state and the names of the agents."""
    candidates = (*names, STOP)
    history, steps = state.history, len(state.history) + state.steps_left
    records = [_record(decision, attrs.evolve(state, history=history[:n], steps_left=steps - n), candidates) for n, decision in enumerate(decisions)]
    attempts = [
        Attempt(decision.id, n=0, candidate=turn.agent, cost_usd=turn.cost, latency_ms=1000 * turn.seconds, error=turn.error)
        for decision, turn in zip(decisions, history, strict=False)
    ]
    return records, attempts


def _record(decision: Decision, state: TaskState, candidates: tuple[str, ...]) -> Record:
    faults = [turn.fault and turn.fault.value for turn in state.history]
    notes = {"steps_left": state.steps_left, "costs": [turn.cost for turn in state.history], "faults": faults}
    turns = [Turn("assistant", "" if turn.output is None else turn.text, turn.agent) for turn in state.history]
    return Record.of_step(attrs.evolve(decision, notes={**decision.notes, **notes}), Query(state.task.text, turns=turns), candidates)


def state_of(record: Record) -> TaskState:
    """Return the state in which a logged decision was made."""
    decision, query = record.decision, record.query
    turns = zip(query.turns, decision.notes["costs"], decision.notes["faults"], strict=True)
    history = tuple(
        Activation(agent=str(turn.model), cost=cost, **({"output": AgentOutput(turn.content, cost)} if fault is None else {"fault": Fault(fault)}))
        for turn, cost, fault in turns
    )
    return TaskState(task=Task(id=decision.episode or "", text=query.text), history=history, steps_left=decision.notes["steps_left"])


@attrs.frozen(eq=False)
class LoggedEpisodes:
    """The usable episodes of a log as one batch of K actions.

    Attributes:
        batch: All actions.
        episode: The number of each action's episode, ``[K]``.
        quality: The quality of each episode's feedback, ``[N]``.
        left_out: Number of episodes without feedback, with an unknown propensity, or with an agent that is not present.
    """

    batch: ActionBatch
    episode: NDArray[np.intp]
    quality: Sequence[float]
    left_out: int

    def drawn(self, rng: np.random.Generator, count: int) -> ActionBatch:
        """Return ``count`` episodes, drawn with replacement."""
        rows = np.concatenate([np.flatnonzero(self.episode == number) for number in rng.integers(len(self.quality), size=count)])
        return self.batch.take(rows, count)


def logged_episodes(experience: Experience, encoder: Encoder, names: Sequence[str], rule: EpisodeReward, trained: Sequence[bool]) -> LoggedEpisodes:
    """Return the episodes of a log that have feedback, for the present agents; raise DataError if none can be used.

    ``trained`` tells the agents of the training: the policy does not see the names of others.
    """
    episodes = _served_episodes(experience)
    outcomes = outcomes_of(experience, failure_quality=None)  # a failed turn does not judge its episode
    quality = dict(zip(outcomes.decision_ids, outcomes.quality.tolist(), strict=True))
    costs: dict[str, float] = {}
    for attempt in experience.attempts:
        costs[attempt.decision_id] = costs.get(attempt.decision_id, 0.0) + np.nan_to_num(attempt.cost_usd)
    kept = [(episode, known[-1]) for episode in episodes if (known := _known_qualities(episode, quality)) and _usable(episode, names)]
    if not kept:
        raise DataError(
            f"none of the log's {len(episodes)} episodes has feedback with a quality, known propensities and agents that are present; "
            "record feedback with: aamc feedback add ID --quality Q"
        )
    returns = []
    for episode, final_quality in kept:
        rewards = rule.rewards([costs.get(record.decision.id, 0.0) for record in episode], rule.graded(final_quality))
        returns += discounted_returns(rewards, rule.discount)
    rows = [record for episode, _ in kept for record in episode]
    actions = [*names, STOP]
    present = np.array([[name in record.candidates for name in names] for record in rows])
    return LoggedEpisodes(
        batch=ActionBatch(
            features=encoder.encode([state_of(record) for record in rows], present),
            visibility=Visibility.in_service(trained, present),
            action=np.array([actions.index(record.decision.candidate) for record in rows], np.intp),
            returns=np.array(returns),
            step=np.array([step for episode, _ in kept for step in range(len(episode))], np.intp),
            episodes=len(kept),
            propensity=np.array([record.decision.propensity for record in rows]),
        ),
        episode=np.array([number for number, (episode, _) in enumerate(kept) for _ in episode], np.intp),
        quality=[final_quality for _, final_quality in kept],
        left_out=len(episodes) - len(kept),
    )


def _served_episodes(experience: Experience) -> list[list[Record]]:
    """Return the decisions of each served episode."""
    found: dict[str, list[Record]] = {}
    for record in experience.records:
        if record.decision.episode is not None and "steps_left" in record.decision.notes:
            found.setdefault(record.decision.episode, []).append(record)
    if not found:
        raise DataError("the log has no episode of a puppeteer; serve tasks with: aamc orchestrate TASK")
    if not any(record.query.text for episode in found.values() for record in episode):
        raise DataError("the log keeps no texts, and the policy needs them; serve with the store's option store_text=true, as aamc orchestrate does")
    return list(found.values())


def _known_qualities(episode: Sequence[Record], quality: dict[str, float]) -> list[float]:
    """Return the known qualities of an episode's decisions, in order."""
    return [known for record in episode if not np.isnan(known := quality.get(record.decision.id, np.nan))]


def _usable(episode: Sequence[Record], names: Sequence[str]) -> bool:
    """Return whether the policy can compute the probability of every action, and the log knows it."""
    return all(record.decision.candidate in (*names, STOP) and not np.isnan(record.decision.propensity) and record.query.text for record in episode)
