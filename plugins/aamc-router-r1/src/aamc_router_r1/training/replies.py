"""Replies of the consulted models in training: of live endpoints, recorded, or simulated."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import attrs
from aamc_datasets.json_rows import MAX_TOKENS, bounded_number, parse_lines, require, text
from aamc_datasets.recognition import existing

from aamc_router_r1.config import PolicyOptions
from aamc_router_r1.data import RoutingTask
from aamc_router_r1.episode.calls import CONSULTED, consult, lone_caller
from aamc_router_r1.protocol import SubQuestion
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import Services, Usage
from aamc_sdk.serving import price
from aamc_sdk.storage import append_text
from aamc_sdk.types import ModelSpec, estimated_tokens, normalized_text

UNSURE = "I do not know."
NO_RECORD = "There is no recorded reply to this question; ask another model."
SIMULTANEOUS = 64
"""Live calls at a time."""


@attrs.frozen
class ConsultedReply:
    """A consulted model's reply, or the error in its place if the call ``failed``; an unknown cost is NaN."""

    text: str
    cost_usd: float
    output_tokens: int
    failed: bool = False


Asked = tuple[RoutingTask, SubQuestion]
Replies = Callable[[Sequence[Asked]], list[ConsultedReply]]
"""Makes the replies to questions, each a task and its call."""


class Simulator(Protocol):
    """Simulates the replies to the tasks of a dataset; made with a seed."""

    def __call__(self, asked: Sequence[Asked]) -> list[ConsultedReply]:
        """Return the replies to questions, each a task and its call."""

    def simulates(self, task: RoutingTask) -> bool:
        """Return whether a task has what its replies depend on."""


def spec_of(task: RoutingTask, name: str) -> ModelSpec:
    """Return the model of a task with this name."""
    return next(spec for spec in task.specs if spec.name == name)


def priced(spec: ModelSpec, question: str, reply: str, output_tokens: int | None = None) -> ConsultedReply:
    """Return a reply with its cost by list prices; tokens that are not given are estimated."""
    made = estimated_tokens(reply) if output_tokens is None else output_tokens
    usage = Usage(prompt_tokens=estimated_tokens(CONSULTED.format(question=question)), output_tokens=made)
    return ConsultedReply(reply, price(spec, usage)[0], made)


def uniform(*parts: object) -> float:
    """Return a number in [0, 1) that depends on these values alone."""
    return int.from_bytes(sha256("\0".join(map(str, parts)).encode(errors="replace")).digest()[:8], "big") / 2**64


class SimulatedReplies:
    """Replies that are right with the model's measured quality, else unsure; the same question always gets the same reply.

    Where a record has no measured quality, its optimal model and every model that costs as much or more reply right, the others unsure.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def __call__(self, asked: Sequence[Asked]) -> list[ConsultedReply]:
        """Return the replies to questions."""
        return [self._reply(task, call) for task, call in asked]

    @staticmethod
    def simulates(task: RoutingTask) -> bool:
        """Return whether a record has an optimal model, or the measured quality of each of its models."""
        return bool(task.consultations) or all(task.quality.get(spec.name, {}).keys() & {task.kind, ""} for spec in task.specs)

    def _reply(self, task: RoutingTask, call: SubQuestion) -> ConsultedReply:
        spec = spec_of(task, call.model)
        right = uniform(self._seed, call.model, task.question, call.question) < self._quality(task, spec)
        demonstrated = {step.query: step.reply for step in task.consultations}
        return priced(spec, call.question, demonstrated.get(call.question, task.golds[0]) if right else UNSURE)

    @staticmethod
    def _quality(task: RoutingTask, spec: ModelSpec) -> float:
        measured = task.quality.get(spec.name, {})
        for category in (task.kind, ""):
            if category in measured:
                return measured[category]
        enough = max(_price(spec_of(task, step.model)) for step in task.consultations)
        return float(_price(spec) >= enough)


def _price(spec: ModelSpec) -> float:
    return math.inf if spec.prices is None else spec.prices.output


def _recorded(row: Any) -> tuple[tuple[str, str], tuple[str, int | None]]:
    """Return a line's model and query, and its reply and tokens."""
    require(row, ("model", "query", "reply"))
    tokens = bounded_number(row.get("output_tokens"), "'output_tokens'", MAX_TOKENS)
    reply = text(row, "reply"), None if math.isnan(tokens) else int(tokens)
    return (text(row, "model"), normalized_text(text(row, "query"))), reply


class RecordedReplies:
    """Replies from a file of JSON lines: ``model``, ``query``, ``reply``, and perhaps ``output_tokens``.

    Raises:
        DataError: The file is missing or empty, or has a bad line, which the message names.
    """

    def __init__(self, path: str) -> None:
        self._replies = dict(parse_lines(existing(path, "file of recorded replies, live or simulated"), _recorded))

    def __call__(self, asked: Sequence[Asked]) -> list[ConsultedReply]:
        """Return the replies to questions."""
        replies = []
        for task, call in asked:
            found, tokens = self._replies.get((call.model, normalized_text(call.question)), (NO_RECORD, None))
            replies.append(priced(spec_of(task, call.model), call.question, found, tokens))
        return replies


class LiveReplies:
    """Replies of the endpoints of the pool, asked in parallel. Each is also appended to the file ``record``, which :class:`RecordedReplies` reads.

    The costs are those of an episode in service: reported, else by list prices, else estimated from the texts.
    """

    def __init__(self, services: Services, options: PolicyOptions, record: Path | None = None) -> None:
        if services.models is None:
            raise ConfigError("there is no client for models; give the candidates endpoints in a pool file, or set orchestrator.replies")
        self._models, self._loop = services.models, services.loop
        self._candidates = {candidate.name: candidate for candidate in services.pool}
        self._options, self._record = options, record

    def __call__(self, asked: Sequence[Asked]) -> list[ConsultedReply]:
        """Return the replies to questions; an error of a model becomes the text of its reply."""
        replies = self._loop.run(self._all(asked))
        if self._record is not None and replies:
            self._record.parent.mkdir(parents=True, exist_ok=True)
            rows = [
                {"model": call.model, "query": call.question, "reply": reply.text, "output_tokens": reply.output_tokens}
                for (_, call), reply in zip(asked, replies, strict=True)
                if not reply.failed
            ]
            append_text(self._record, "".join(json.dumps(row) + "\n" for row in rows))
        return replies

    async def _all(self, asked: Sequence[Asked]) -> list[ConsultedReply]:
        slots = asyncio.Semaphore(SIMULTANEOUS)
        return list(await asyncio.gather(*(self._one(call, slots) for _, call in asked)))

    async def _one(self, call: SubQuestion, slots: asyncio.Semaphore) -> ConsultedReply:
        """Ask one model, as an episode in service does."""
        async with slots:
            made = await consult(lone_caller(self._models, self._options), self._candidates[call.model], call.question, self._options)
        return ConsultedReply(made.reply, made.cost_usd, made.output_tokens, made.status != "ok")
