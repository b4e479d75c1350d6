"""The evaluation of Router-R1 and of baselines on questions: the policy's direct answer, the strongest model's, and the SDK's routers."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from aamc_experiments.evaluation import Integers, Resampling, known_interval, question_units, share_interval
from rich.table import Table

from aamc_router_r1 import trace
from aamc_router_r1.data import RoutingTask, check_endpoints, tasks_of
from aamc_router_r1.episode.calls import BY_MODEL, ModelCall, lone_caller
from aamc_router_r1.episode.episode import Episode, Setup
from aamc_router_r1.protocol import answer_in, clean
from aamc_router_r1.reward import exact_match, f1
from aamc_sdk import Dataset, MetaController, Query
from aamc_sdk.cli import INTERVALS, figure_cell, new_table
from aamc_sdk.errors import ConfigError, ProviderError
from aamc_sdk.interfaces import Progress, Services
from aamc_sdk.messages import quantity, write_errors
from aamc_sdk.storage import append_text, to_json, write_bytes
from aamc_sdk.types import Floats, Pool, wilson_interval

RESAMPLES = 1000


@attrs.frozen(kw_only=True)
class AnsweredQuestion:
    """One system's answer to one question. An unknown cost is NaN; ``consulted`` names the models that were called, in order, without the policy.

    ``failed`` is whether a call failed.
    """

    answer: str | None
    exact_match: float
    f1: float
    cost_usd: float
    seconds: float
    tokens: int
    rounds: int = 0
    consulted: Sequence[str] = ()
    malformed: bool = False
    failed: bool = False
    outcome: str = "answered"


def summary(answers: Sequence[AnsweredQuestion], strongest: Sequence[str], question: Integers, seed: int = 0) -> dict[str, Any]:
    """Return the figures of a system: means with 95% intervals, by Wilson for shares of answers and by 1,000 bootstrap samples otherwise.

    A mean F1 of 0 or 1 has the exact interval, as has such a share of calls. ``strongest`` is the strongest model for each answer, ``question`` the
    number of its question: repeated answers to ten questions are information about ten questions.
    """
    columns = {
        "mean_cost_usd": [each.cost_usd for each in answers],
        "mean_seconds": [each.seconds for each in answers],
        "mean_tokens": [float(each.tokens) for each in answers],
        "mean_rounds": [float(each.rounds) for each in answers],
    }
    counts = Counter(name for each in answers for name in each.consulted)
    shares = {
        "exact_match": (sum(each.exact_match for each in answers), len(answers)),
        "malformed_share": (sum(each.malformed for each in answers), len(answers)),
        "failed_share": (sum(each.failed for each in answers), len(answers)),
    }
    figures: dict[str, Any] = {name: part / n if n else None for name, (part, n) in shares.items()}
    intervals: dict[str, Any] = {name: list(wilson_interval(part / n, len(np.unique(question)))) if n else None for name, (part, n) in shares.items()}
    for name, values in columns.items():
        figures[name], intervals[name] = _mean(np.array(values), question, seed)
    ratios = {
        "f1": [(each.f1, 1) for each in answers],
        "strongest_share": [(each.consulted.count(name), len(each.consulted)) for each, name in zip(answers, strongest, strict=True)],
    }
    for name, counts_of in ratios.items():
        figures[name], intervals[name] = _share(np.array(counts_of, dtype=np.float64), question, seed)
    return {
        "n": len(answers),
        **figures,
        "calls_per_model": {name: count / len(answers) for name, count in sorted(counts.items())},
        "outcomes": dict(Counter(each.outcome for each in answers)),
        "unknown_costs": sum(math.isnan(each.cost_usd) for each in answers),
        "ci95": intervals,
    }


def _mean(values: Floats, question: Integers, seed: int) -> tuple[float | None, list[float] | None]:
    """Return the mean of the known values and its interval over questions; None without any, and no interval of a single question."""
    known = ~np.isnan(values)
    if not known.any():
        return None, None
    return float(values[known].mean()), known_interval(_over(question[known], seed).means(values[known, None])[:, 0])


def _share(counts: Floats, question: Integers, seed: int) -> tuple[float | None, list[float] | None]:
    """Return the share of a part in a whole, both given for each answer, with its interval over questions; None without a whole."""
    called = counts[:, 1] > 0
    if not called.any():
        return None, None
    share, resampling = float(counts[:, 0].sum() / counts[:, 1].sum()), _over(question[called], seed)
    resampled = resampling.means(counts[called])
    return share, share_interval(resampled[:, 0] / resampled[:, 1], share, resampling.weights.shape[1])


def _over(question: Integers, seed: int) -> Resampling:
    """Return resamples of questions, given the number of each answer's question."""
    return Resampling.bootstrap(np.unique(question, return_inverse=True)[1], RESAMPLES, seed)


COLUMNS = {
    "exact_match": "exact match",
    "f1": "F1",
    "mean_cost_usd": "USD",
    "mean_rounds": "rounds",
    "strongest_share": "to strongest",
    "malformed_share": "malformed",
    "failed_share": "failed",
    "mean_seconds": "seconds",
}
"""The columns, each with its heading."""


def table(document: Mapping[str, Any]) -> Table:
    """Return a row for each system, with 95% intervals below the figures."""
    data = document["data"]
    answered = (
        quantity(data["queries"], "question")
        if data["queries"] == data["questions"]
        else f"{data['queries']} rows of {quantity(data['questions'], 'question')}"
    )
    title = f"{data['source']}: {answered}, policy {data['policy']}, strongest model {data['strongest']}"
    shown = new_table(["system"], COLUMNS.values(), title=title, notes=[f"{INTERVALS} Costs and times are means per question."])
    for name, system in document["systems"].items():
        shown.add_row(name, *(figure_cell(system[column], system["ci95"][column], "{:.3g}".format) for column in COLUMNS))
    return shown


EPISODES = "episodes.jsonl"
PARALLEL = 64
"""Episodes that are played in parallel."""
UNTRAINED = ("random", "thompson")
"""Routers of the SDK that need no training; others are named by --routers, also as checkpoint folders."""
DIRECT = "Answer the question with a short phrase alone, without explanation. For example: Beijing\n\nQuestion: {question}\n"


def evaluate(
    setup: Setup,
    services: Services,
    new_episode: Callable[[RoutingTask], Episode],
    dataset: Dataset,
    routers: Sequence[str] | None,
    folder: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    """Return the results of Router-R1 and its baselines on questions; ``new_episode`` plays on the loop of the services.

    Raises:
        ConfigError: The policy, or a model that may be consulted, has no endpoint.
        ProviderError: Every call failed.
    """
    pool, policy, options = services.pool, setup.policy, setup.options
    tasks = tasks_of(dataset, pool, () if options.consult_policy else [policy.name])
    check_endpoints(pool, tasks)
    if policy.endpoint is None:
        raise ConfigError(f"the policy {policy.name!r} has no endpoint; add it to the file of --pool")
    pools = [Pool(task.specs) for task in tasks]  # the models that the policy can consult
    golds, strongest = [task.golds for task in tasks], list(map(strongest_of, pools))
    chosen = {"strongest": strongest, "cheapest": list(map(cheapest_of, pools))}
    chosen |= {name: _choices(name, pools, dataset.queries, services.seed) for name in (UNTRAINED if routers is None else routers)}
    if policy.name in pool.names:
        chosen = {"direct": [policy.name] * len(tasks), **chosen}

    player = _Player(setup, services, new_episode, folder, progress)
    episodes, direct = services.loop.run(player.run(tasks, dataset.queries, chosen))
    calls = [*(call for episode in episodes for call in episode.calls), *direct.values()]
    if calls and all(call.status != "ok" for call in calls):
        raise ProviderError(f"all {quantity(len(calls), 'call')} failed, such as: {calls[0].error}; check the endpoints of the pool")
    systems = {"router-r1": [_of_episode(episode, gold) for episode, gold in zip(episodes, golds, strict=True)]}
    for name, candidates in chosen.items():
        systems[name] = [_of_call(direct[candidate, row], golds[row]) for row, candidate in enumerate(candidates)]
    question = question_units(dataset.queries)
    counts = {"queries": len(tasks), "questions": len(np.unique(question))}
    document = {
        "schema": 1,
        "data": {"source": dataset.source, **counts, "policy": policy.name, "strongest": ", ".join(dict.fromkeys(strongest))},
        "systems": {name: summary(answers, strongest, question, services.seed) for name, answers in systems.items()},
    }
    if folder is not None:
        _write(folder, document, episodes, golds)
    return document


class _Player:
    """Plays episodes and asks single models, ``PARALLEL`` of them at once.

    Episodes with calls are appended to the folder, if there is one.
    """

    def __init__(
        self, setup: Setup, services: Services, new_episode: Callable[[RoutingTask], Episode], folder: Path | None, progress: Progress
    ) -> None:
        assert services.models is not None
        self._pool, self._models, self._options = services.pool, services.models, setup.options
        self._new_episode, self._folder, self._progress = new_episode, folder, progress
        self._free = asyncio.Semaphore(PARALLEL)

    async def run(
        self, tasks: Sequence[RoutingTask], queries: Sequence[Query], chosen: Mapping[str, Sequence[str]]
    ) -> tuple[list[Episode], dict[tuple[str, int], ModelCall]]:
        """Return the episode of each task, and the calls of the models that baselines chose, by name and row."""
        self._progress.start("router-r1", len(tasks))
        episodes = await asyncio.gather(*map(self._play, tasks))
        asked = sorted({(name, row) for names in chosen.values() for row, name in enumerate(names)})
        self._progress.start("baselines", len(asked))
        calls = await asyncio.gather(*(self._ask(name, queries[row]) for name, row in asked))
        return episodes, dict(zip(asked, calls, strict=True))

    async def _play(self, task: RoutingTask) -> Episode:
        async with self._free:
            episode = self._new_episode(task)
            try:
                async for _ in episode.play():
                    pass
            finally:
                if self._folder is not None and episode.calls:  # calls that were paid for are kept even if the evaluation is interrupted
                    _append(self._folder, episode, task.golds)
        self._progress.advance()
        return episode

    async def _ask(self, name: str, query: Query) -> ModelCall:
        """Return the call of a model that is asked the question itself."""
        messages = [{"role": "user", "content": DIRECT.format(question=query.text.strip())}]
        pool, options = self._pool, self._options
        async with self._free:
            caller, about = lone_caller(self._models, options), ModelCall(role=BY_MODEL, round=0, candidate=name)
            completion, made = await caller.ask(pool.candidates[pool.index(name)], messages, options.routed_tokens, options.routed_options, about)
        self._progress.advance()
        text = "" if completion is None else clean(completion.text)
        tagged = answer_in(text)
        return attrs.evolve(made, text=text.strip() if tagged is None else tagged)


def strongest_of(pool: Pool) -> str:
    """Return the name of the strongest candidate: the one with the highest price of an answer; the last one where no prices are known."""
    prices = [candidate.prices.output if candidate.prices is not None else -1.0 for candidate in pool]
    return pool.names[len(prices) - 1 - prices[::-1].index(max(prices))]


def cheapest_of(pool: Pool) -> str:
    """Return the name of the candidate with the lowest price of an answer; the first one where no prices are known."""
    prices = [candidate.prices.output if candidate.prices is not None else math.inf for candidate in pool]
    return pool.names[prices.index(min(prices))]


def _choices(router: str, pools: Sequence[Pool], queries: Sequence[Query], seed: int) -> list[str]:
    """Return the candidate of its pool that a router chooses for each query; the same seed draws the same ones."""
    rows_of: dict[str, list[int]] = {}
    for row, pool in enumerate(pools):
        rows_of.setdefault(repr(pool.candidates), []).append(row)
    chosen = [""] * len(queries)
    for rows in rows_of.values():
        with closing(MetaController.build(router=router, pool=pools[rows[0]], store="memory:", seed=seed)) as controller:
            decisions = controller.route_batch([queries[row] for row in rows], ids=[f"{seed}-{row}" for row in rows])
        for row, decision in zip(rows, decisions, strict=True):
            chosen[row] = decision.candidate
    return chosen


def _of_episode(episode: Episode, gold: Sequence[str]) -> AnsweredQuestion:
    answer = episode.answer
    return AnsweredQuestion(
        answer=answer,
        exact_match=0.0 if answer is None else exact_match(answer, gold),
        f1=0.0 if answer is None else f1(answer, gold),
        cost_usd=episode.cost_usd if episode.budget.cost_known else math.nan,
        seconds=episode.seconds,
        tokens=episode.budget.tokens,
        rounds=episode.dialogue.rounds,
        consulted=[call.candidate for call in episode.consulted],
        malformed=episode.malformed,
        failed=any(call.status != "ok" for call in episode.calls),
        outcome=episode.outcome,
    )


def _of_call(call: ModelCall, gold: Sequence[str]) -> AnsweredQuestion:
    return AnsweredQuestion(
        answer=call.text or None,
        exact_match=exact_match(call.text, gold),
        f1=f1(call.text, gold),
        cost_usd=call.cost_usd,
        seconds=call.seconds,
        tokens=call.tokens,
        consulted=[call.candidate],
        failed=call.status != "ok",
        outcome="answered" if call.status == "ok" else "failed",
    )


def _write(folder: Path, document: Mapping[str, Any], episodes: Sequence[Episode], golds: Sequence[Sequence[str]]) -> None:
    """Write the results, the episodes as JSON lines, now in the order of the questions, and their page."""
    described = [_described(episode, gold) for episode, gold in zip(episodes, golds, strict=True)]
    write_bytes(folder / "results.json", (to_json(document) + "\n").encode())
    write_bytes(folder / EPISODES, "".join(to_json(each) + "\n" for each in described).encode())
    write_bytes(folder / "episodes.html", trace.page(described, "Router-R1: evaluation").encode())


def _append(folder: Path, episode: Episode, golds: Sequence[str]) -> None:
    with write_errors(folder / EPISODES, "choose another folder with --out"):
        folder.mkdir(parents=True, exist_ok=True)
        append_text(folder / EPISODES, to_json(_described(episode, golds)) + "\n")


def _described(episode: Episode, golds: Sequence[str]) -> dict[str, Any]:
    about = {"schema": 1, "task": episode.question, "golds": list(golds), "answer": episode.answer, "cost_usd": episode.cost_usd}
    return {**about, **trace.document(episode)}
