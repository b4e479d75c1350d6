"""A synthetic world: four domains with a specialist each, an expensive generalist, and questions of one or two hops.

A question such as ``What is the songs of the metals of item6?`` needs the facts of two domains, one after the other. Every task has a pool of
its own: size, names and qualities are drawn anew, so that only the descriptions, prices and statistics of the prompt reveal the models' knowledge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_router_r1.data import Consultation, RoutingDataset, RoutingTask, as_dataset
from aamc_router_r1.training.replies import UNSURE, Asked, ConsultedReply, priced, spec_of, uniform
from aamc_sdk import DatasetFormat, option
from aamc_sdk.errors import DataError
from aamc_sdk.types import ModelSpec, Prices

DOMAINS = ("rivers", "metals", "songs", "games")
SYLLABLES = tuple(consonant + vowel for consonant in "bdklmnrst" for vowel in "aio")
LEVELS = tuple(round(0.5 + 0.05 * level, 2) for level in range(10))
"""Possible qualities of specialists: 0.50 to 0.95."""
GOOD = 6
"""The place in ``LEVELS`` from which a specialist is good: 0.80."""
GENERALIST_QUALITY = 0.98
SPECIALIST_PRICE, GENERALIST_PRICE = 0.5, 5.0
REASONING_TOKENS = 200
"""Output tokens of every reply: these models reason before they answer."""
OTHER_DOMAIN = 0.05
"""Quality of a specialist outside its domain."""
SPECIALIST, GENERALIST, NOBODY = "specialist", "generalist", "nobody"
EVERYTHING = "everything"
"""The domain in the generalist's description."""
_PAIRS = tuple((first, second) for first in range(len(SYLLABLES)) for second in range(len(SYLLABLES)) if first != second)
NAMES = tuple(SYLLABLES[first] + SYLLABLES[second] for first, second in _PAIRS if (first + second) % 5)
"""Names of models: two syllables each."""
UNSEEN_NAMES = tuple(SYLLABLES[first] + SYLLABLES[second] for first, second in _PAIRS if (first + second) % 5 == 0)
"""Names that no training of the policy uses; each of their syllables is part of other names."""
ALPHAS = (0.0, 0.3, 0.75)
"""Weights of the cost, for which different ways are best: the generalist; the specialists; the specialist for one hop, nobody for two."""
COUNTS = ("none", "one", "two")
"""Words for the number of hops left."""
ROUNDS = 2
"""Routing rounds that a question needs at most."""


def draw_names(rng: np.random.Generator, n: int, names: Sequence[str] = NAMES, taken: Sequence[str] = ()) -> list[str]:
    """Return random names that share no syllable with each other or with those that are taken."""
    used = {part for name in taken for part in (name[:2], name[2:])}
    drawn: list[str] = []
    for place in rng.permutation(len(names)):
        if len(drawn) == n:
            break
        parts = {names[place][:2], names[place][2:]}
        if not parts & used:
            drawn.append(names[place])
            used |= parts
    return drawn


@attrs.frozen(eq=False)
class Truth:
    """The truth about a task: its domains in order, the entity of its first fact, each model's quality by domain, and the best specialists."""

    world: FactWorld
    hops: tuple[int, ...]
    entity: int
    quality: Mapping[str, Mapping[str, float]]
    best: Mapping[int, str]
    generalist: str

    def facts(self) -> Iterator[tuple[int, int, int]]:
        """Yield each fact: its domain, its entity, and its value."""
        entity = self.entity
        for hop in self.hops:
            value = int(self.world.tables[hop][entity])
            yield hop, entity, value
            entity = value


class FactWorld:
    """A world: each domain has a fact about each entity, another entity. The seed draws the facts and the models' knowledge."""

    def __init__(self, seed: int, entities: int = 20) -> None:
        self.seed, self.entities = seed, entities
        rng = np.random.default_rng((seed, 17))
        self.tables: list[NDArray[np.int64]] = [rng.permutation(entities) for _ in DOMAINS]

    def tasks(self, n: int, seed: int) -> list[RoutingTask]:
        """Return tasks, the same for the same seed; their models' names are drawn from ``NAMES``."""
        rng = np.random.default_rng((self.seed, seed))
        return [self.task(rng) for _ in range(n)]

    def task(self, rng: np.random.Generator) -> RoutingTask:
        """Return a task with a pool of its own: a good specialist of each domain, worse rivals of up to two of them, and the generalist."""
        contested = rng.permutation(len(DOMAINS))[: rng.integers(3)].tolist()
        drawn = draw_names(rng, len(DOMAINS) + len(contested) + 1)
        specialists, rivals, generalist = drawn[: len(DOMAINS)], drawn[len(DOMAINS) : -1], drawn[-1]
        levels = rng.integers(GOOD, len(LEVELS), size=len(DOMAINS)).tolist()
        quality = {name: {DOMAINS[domain]: LEVELS[levels[domain]]} for domain, name in enumerate(specialists)}
        for name, domain in zip(rivals, contested, strict=True):
            quality[name] = {DOMAINS[domain]: LEVELS[int(rng.integers(0, levels[domain] - 1))]}
        quality[generalist] = dict.fromkeys(DOMAINS, GENERALIST_QUALITY)
        hops = tuple(rng.integers(len(DOMAINS), size=int(rng.integers(1, 3))).tolist())
        order = [drawn[place] for place in rng.permutation(len(drawn))]
        truth = Truth(self, hops, int(rng.integers(self.entities)), quality, dict(enumerate(specialists)), generalist)
        return self.described(truth, order, rng)

    def described(self, truth: Truth, order: Sequence[str], rng: np.random.Generator) -> RoutingTask:
        """Return the task of a truth, with the models listed in an order and a demonstration of a way to answer it."""
        asked, gold = f"item{truth.entity}", list(truth.facts())[-1][2]
        for hop in truth.hops:
            asked = f"the {DOMAINS[hop]} of {asked}"
        specs = [model_spec(name, truth.quality[name], name == truth.generalist) for name in order]
        alpha = float(rng.choice(ALPHAS))
        consultations, conclusion, answer = self.demonstrated(truth, alpha, rng)
        return RoutingTask(
            question=f"What is {asked}?",
            golds=[f"item{gold}"],
            specs=specs,
            kind=DOMAINS[truth.hops[-1]],
            consultations=consultations,
            conclusion=conclusion,
            answer=answer,
            alpha=alpha,
            simulation=truth,
        )

    def demonstrated(self, truth: Truth, alpha: float, rng: np.random.Generator) -> tuple[list[Consultation], str, str]:
        """Return the consultations, conclusion and answer of a demonstration.

        It states the number of hops left and the weight of the cost, then consults specialists, the generalist, or nobody at random, the
        generalist more often where the cost weighs less: so the weight is read. Specialists are the most frequent at every weight, so a policy
        that imitates consults them even where the cost has no weight, and the generalist is for reinforcement learning to find. Some replies
        are wrong, so that the answer is learned from the reply.
        """
        way = str(rng.choice([SPECIALIST, GENERALIST, NOBODY], p=[0.5, 0.4 - 0.4 * alpha, 0.1 + 0.4 * alpha]))
        if way == NOBODY:
            return [], f"{stated(alpha, len(truth.hops))} {NOBODY} is worth the price", "unknown"
        steps, entity = [], truth.entity
        for place, hop in enumerate(truth.hops):
            name = truth.best[hop] if way == SPECIALIST else truth.generalist
            wrong = rng.random() < 0.15
            value = int(rng.integers(self.entities)) if wrong else int(self.tables[hop][entity])
            domain = EVERYTHING if way == GENERALIST else DOMAINS[hop]  # as the model's description says
            about = f"{way} {domain} {truth.quality[name][DOMAINS[hop]]:.2f} {name}"
            thinking = f"{stated(alpha, len(truth.hops) - place)} {about}"
            steps.append(Consultation(thinking, name, f"{DOMAINS[hop]} of item{entity}", f"item{value}"))
            entity = value
        return steps, f"item{entity} answers it", f"item{entity}"


def stated(alpha: float, hops: int) -> str:
    """Return the beginning of a demonstrated thought: the number of hops left and the weight of the cost."""
    return f"{COUNTS[hops]} left, low cost {alpha:g}"


def model_spec(name: str, quality: Mapping[str, float], generalist: bool) -> ModelSpec:
    """Return a model. Its description holds domain, quality, and its name again, so a policy that finds the domain reads the name next."""
    price = GENERALIST_PRICE if generalist else SPECIALIST_PRICE
    domain, level = (EVERYTHING, GENERALIST_QUALITY) if generalist else next(iter(quality.items()))
    about = f"{GENERALIST if generalist else SPECIALIST} {domain} {level:.2f} {name}"
    return ModelSpec(name, description=about, prices=Prices(price, price))


_FACT = re.compile(rf"\s*({'|'.join(DOMAINS)}) of item(\d+)\s*")


class WorldReplies:
    """Replies of a world's models: right with their quality, else another entity; the same question always gets the same reply."""

    def __call__(self, asked: Sequence[Asked]) -> list[ConsultedReply]:
        """Return the replies to questions."""
        return [self._reply(task, call.model, call.question) for task, call in asked]

    @staticmethod
    def simulates(task: RoutingTask) -> bool:
        """Return whether a task has its truth."""
        return isinstance(task.simulation, Truth)

    @staticmethod
    def _reply(task: RoutingTask, model: str, question: str) -> ConsultedReply:
        truth = task.simulation
        assert isinstance(truth, Truth)
        world, fact = truth.world, _FACT.fullmatch(question)
        text = UNSURE
        if fact is not None and int(fact[2]) < world.entities:
            value = int(world.tables[DOMAINS.index(fact[1])][int(fact[2])])
            right = uniform(world.seed, model, task.question, question) < truth.quality[model].get(fact[1], OTHER_DOMAIN)
            text = f"item{value if right else (value + 1 + int(7 * uniform(model, question))) % world.entities}"
        return priced(spec_of(task, model), question, text, REASONING_TOKENS)


@attrs.frozen(kw_only=True)
class WorldOptions:
    """Options of the world's tasks."""

    rows: int = option(512, "Number of tasks.", at_least=1)


class WorldTasks(DatasetFormat):
    """Tasks of a synthetic world: ``router-r1-world:SEED``."""

    Config: ClassVar[type] = WorldOptions
    config: WorldOptions

    def read(self, path: str) -> RoutingDataset:
        """Return the tasks of the world with a seed, a number."""
        if not path.isdecimal():
            raise DataError(f"router-r1-world needs the seed of a world, such as router-r1-world:0, not {path!r}")
        return as_dataset(FactWorld(int(path)).tasks(self.config.rows, 0), f"router-r1-world:{path}", lambda _: WorldReplies())
