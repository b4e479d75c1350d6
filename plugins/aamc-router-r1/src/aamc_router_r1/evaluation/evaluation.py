"""Playing questions with Router-R1 and with its baselines: the policy's direct answer, the strongest model's, and the SDK's routers."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import attrs

from aamc_router_r1 import trace
from aamc_router_r1.episode import Episode, ModelCall
from aamc_router_r1.episode.calls import BY_MODEL, EpisodeCaller, prompt_tokens, request_options
from aamc_router_r1.episode.episode import Setup
from aamc_router_r1.episode.episode_budget import EpisodeBudget
from aamc_router_r1.evaluation.results import AnsweredQuestion, summary
from aamc_router_r1.protocol import clean, elements
from aamc_router_r1.protocol.errors import ProtocolError
from aamc_router_r1.questions import golds_of
from aamc_router_r1.reward import exact_match, f1
from aamc_sdk import Dataset, MetaController, Query
from aamc_sdk.interfaces import Message, ModelCaller, Progress, Services
from aamc_sdk.storage import to_json, write_bytes
from aamc_sdk.types import Candidate, ModelSpec, Pool

PARALLEL = 64
"""Episodes that are played in parallel."""
UNTRAINED = ("random", "thompson")
"""Routers of the SDK that need no training; others are named by --routers, also as checkpoint folders."""
DIRECT = "Answer the question with a short phrase alone, without explanation. For example: Beijing\n\nQuestion: {question}\n"


class EpisodeSource(Protocol):
    """The part of :class:`aamc_router_r1.orchestrator.RouterR1` that an evaluation uses."""

    services: Services

    @property
    def setup(self) -> Setup:
        """The shared parts of all episodes."""

    @property
    def client(self) -> ModelCaller:
        """The client for models."""

    def episode(self, task: Query, budget: None = None, *, on_loop: bool = False) -> Episode:
        """Return a new episode."""


def evaluate(player: EpisodeSource, dataset: Dataset, routers: Sequence[str] | None, folder: Path | None, progress: Progress) -> dict[str, Any]:
    """Return the results of Router-R1 and its baselines on questions.

    Args:
        player: Plays the episodes.
        dataset: Questions with gold answers.
        routers: Routers to compare with; ``UNTRAINED`` when None.
        folder: The folder for traces; None to write none.
        progress: Receives the progress.

    Raises:
        DataError: The dataset has no gold answers.
    """
    golds, setup = golds_of(dataset), player.setup
    strongest, names = strongest_of(player.services.pool), UNTRAINED if routers is None else routers
    fixed = {"strongest": strongest, "cheapest": cheapest_of(player.services.pool)}
    chosen = {name: [candidate] * len(dataset) for name, candidate in fixed.items()}
    chosen |= {name: _choices(name, player.services.pool, dataset.queries, player.services.seed) for name in names}
    if setup.policy.name in player.services.pool.names:
        chosen = {"direct": [setup.policy.name] * len(dataset), **chosen}

    async def work() -> tuple[list[Episode], dict[tuple[str, int], ModelCall]]:
        free = asyncio.Semaphore(PARALLEL)
        progress.start("router-r1", len(dataset))
        episodes = await asyncio.gather(*(_play(player, query, free, progress) for query in dataset.queries))
        asked = sorted({(name, row) for names in chosen.values() for row, name in enumerate(names)})
        progress.start("baselines", len(asked))
        calls = await asyncio.gather(*(_direct(player, name, dataset.queries[row], free, progress) for name, row in asked))
        return episodes, dict(zip(asked, calls, strict=True))

    episodes, direct = player.services.loop.run(work())
    systems = {"router-r1": [_of_episode(episode, gold) for episode, gold in zip(episodes, golds, strict=True)]}
    for name, candidates in chosen.items():
        systems[name] = [_of_call(direct[candidate, row], golds[row]) for row, candidate in enumerate(candidates)]
    document = {
        "schema": 1,
        "data": {"source": dataset.source, "queries": len(dataset), "policy": setup.policy.name, "strongest": strongest},
        "systems": {name: summary(answers, strongest, player.services.seed) for name, answers in systems.items()},
    }
    if folder is not None:
        _write(folder, document, episodes, golds)
    return document


def strongest_of(pool: Pool) -> str:
    """Return the name of the strongest candidate: the one with the highest price of an answer; the last one where no prices are known."""
    prices = [candidate.prices.output if isinstance(candidate, ModelSpec) and candidate.prices is not None else -1.0 for candidate in pool]
    return pool.names[len(prices) - 1 - prices[::-1].index(max(prices))]


def cheapest_of(pool: Pool) -> str:
    """Return the name of the candidate with the lowest price of an answer; the first one where no prices are known."""
    prices = [candidate.prices.output if isinstance(candidate, ModelSpec) and candidate.prices is not None else math.inf for candidate in pool]
    return pool.names[prices.index(min(prices))]


def _choices(router: str, pool: Pool, queries: Sequence[Query], seed: int) -> list[str]:
    """Return the candidate that a router chooses for each query.

    Raises:
        AamcError: There is no such router, or it needs a training.
    """
    with closing(MetaController.build(router=router, pool=pool, store="memory:", seed=seed)) as controller:
        return [decision.candidate for decision in controller.route_batch(list(queries))]


async def _play(player: EpisodeSource, query: Query, free: asyncio.Semaphore, progress: Progress) -> Episode:
    async with free:
        episode = player.episode(query, on_loop=True)
        async for _ in episode.play():
            pass
    progress.advance()
    return episode


async def _direct(player: EpisodeSource, name: str, query: Query, free: asyncio.Semaphore, progress: Progress) -> ModelCall:
    """Return the call of a model that is asked the question itself."""
    setup, pool = player.setup, player.services.pool
    candidate: Candidate = pool.candidates[pool.index(name)]
    messages: list[Message] = [{"role": "user", "content": DIRECT.format(question=query.text.strip())}]
    about = ModelCall(role=BY_MODEL, round=0, candidate=name, question=query.text)
    async with free:
        budget = EpisodeBudget(math.inf, sys.maxsize, math.inf)
        reservation = budget.reserve(candidate, prompt_tokens(messages), setup.limits.routed_tokens)
        options = request_options(candidate, reservation.answer_tokens, setup.routed_options)
        answered = await EpisodeCaller(player.client, None, budget, setup.call_seconds).ask(candidate, messages, reservation, options, about)
    progress.advance()
    text = "" if answered.completion is None else clean(answered.completion.text)
    return attrs.evolve(answered.call, text=_answer(text))


def _answer(text: str) -> str:
    """Return the answer in a direct reply: that in its answer tag, if it has one."""
    try:
        found = [element.text for element in elements(text) if element.tag == "answer"]
    except ProtocolError:
        found = []
    return found[-1] if found else text.strip()


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
        outcome="answered" if call.status == "ok" else "failed",
    )


def _write(folder: Path, document: Mapping[str, Any], episodes: Sequence[Episode], golds: Sequence[Sequence[str]]) -> None:
    """Write the results, the episodes as JSON lines, and their page."""
    described = [_described(episode, gold) for episode, gold in zip(episodes, golds, strict=True)]
    write_bytes(folder / "results.json", (to_json(document) + "\n").encode())
    write_bytes(folder / "episodes.jsonl", "".join(to_json(each) + "\n" for each in described).encode())
    write_bytes(folder / "episodes.html", trace.page(described, "Router-R1: evaluation").encode())


def _described(episode: Episode, golds: Sequence[str]) -> dict[str, Any]:
    about = {"schema": 1, "task": episode.question, "golds": list(golds), "answer": episode.answer, "cost_usd": episode.cost_usd}
    return {**about, **trace.document(episode)}
