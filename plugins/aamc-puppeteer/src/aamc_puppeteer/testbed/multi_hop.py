"""Suite ``multi-hop``, and the agent ``extractor`` that reads its passages: questions about a chain of one to three facts in a small corpus.

The difficulty is the number of facts. Tasks share a few corpora about invented towns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from random import Random

import attrs
from aamc_agents.retriever import PASSAGE, QUESTION
from aamc_agents.state import TaskState
from aamc_agents.tasks import Task
from aamc_agents.tool import AgentError, ReaderConfig, Tool, subject

from aamc_puppeteer.tasks.verifiers import Exact
from aamc_sdk import Candidate

WORLDS = 12
"""Number of corpora."""
FIRST = ("Ada", "Boris", "Clara", "Dmitri", "Edith", "Felix", "Gloria", "Henrik", "Irene", "Jamal", "Katja", "Leon", "Marta", "Nils", "Olga", "Pavel")
LAST = ("Brown", "Dahl", "Eriksen", "Frost", "Graham", "Holm", "Ivers", "Jansen", "Keller", "Lund", "Moreau", "Novak", "Okafor", "Petrov", "Quist")
MAKERS = ("Norvik", "Halden", "Aster", "Bluefin", "Copper", "Delta", "Evergrain", "Foxglove", "Granite", "Hollow")
TRADES = ("Mills", "Works", "Forge", "Boats", "Papers", "Glass", "Foods", "Tools", "Lamps", "Textiles")
TOWN_STEMS = ("Am", "Bel", "Cor", "Dun", "El", "Far", "Gal", "Hex", "Ist", "Jor")
TOWN_ENDS = ("bria", "mora", "vale", "mere", "stow", "row", "by", "holm", "ford", "wick")
PEOPLE, OTHERS = 16, 8
"""Number of people, and of companies and of towns, in a corpus; no two corpora share one."""
FORMS = {
    "employer": ("{0} works for {1}.", "Since last year, {0} is employed by {1}."),
    "founder": ("{0} was founded by {1} after the war.", "{1} is the founder of {0}."),
    "home town": ("{0} grew up in {1} with two brothers.", "{1} is the home town of {0}."),
    "spouse": ("{0} is married to {1}.", "{1} is the spouse of {0}."),
    "head office": ("{0} has its head office in {1}.", "{1} houses the head office of {0}."),
    "mayor": ("{1} is the mayor of {0}.", "In spring, {0} elected {1} as its mayor."),
}
"""Sentences that state a fact."""
DISTRACTORS = ("{0} once visited {1}.", "{0} and {1} have never met.", "{0} reads the paper of {1} every morning.", "A song is about {0} and {1}.")
"""Sentences with the same names that state no fact."""
LEADS_TO = {"employer": "company", "founder": "person", "home town": "town", "spouse": "person", "head office": "town", "mayor": "person"}
BEGINS_AT = {"employer": "person", "founder": "company", "home town": "person", "spouse": "person", "head office": "company", "mayor": "town"}


@attrs.frozen
class Chronicle:
    """Names by type, facts by relation and name, and the sentences that state them."""

    names: Mapping[str, tuple[str, ...]]
    facts: Mapping[str, Mapping[str, str]]
    corpus: tuple[str, ...]


def make(task_id: str, rng: Random, difficulty: int) -> Task:
    """Return a question about a chain of ``difficulty`` facts."""
    world = _world(rng.randrange(WORLDS))
    relation = rng.choice(sorted(FORMS))
    start = answer = rng.choice(world.names[BEGINS_AT[relation]])
    chain = ""
    for step in range(difficulty):
        relation = relation if step == 0 else rng.choice([name for name in sorted(FORMS) if BEGINS_AT[name] == LEADS_TO[relation]])
        answer = world.facts[relation][answer]
        chain = f"the {relation} of {chain or start}"
    asked = "Who" if LEADS_TO[relation] == "person" else "What"
    text = f"{asked} is {chain}?"
    return Task(id=task_id, text=text, kind="multi-hop", verifier=Exact(), reference=answer, difficulty=difficulty, corpus=world.corpus)


@lru_cache(maxsize=WORLDS)
def _world(number: int) -> Chronicle:
    rng = Random(f"world {number}")  # noqa: S311  # fiction, no secrets
    names = {
        "person": _share(number, PEOPLE, [f"{first} {last}" for first in FIRST for last in LAST]),
        "company": _share(number, OTHERS, [f"{maker} {trade}" for maker in MAKERS for trade in TRADES]),
        "town": _share(number, OTHERS, [f"{stem}{end}" for stem in TOWN_STEMS for end in TOWN_ENDS]),
    }
    facts = {relation: {name: rng.choice(names[LEADS_TO[relation]]) for name in names[BEGINS_AT[relation]]} for relation in FORMS}
    pairs = rng.sample(names["person"], PEOPLE)
    facts["spouse"] = {one: pairs[position ^ 1] for position, one in enumerate(pairs)}
    told = [rng.choice(FORMS[relation]).format(name, value) for relation, values in facts.items() for name, value in values.items()]
    everyone = [name for sort in names.values() for name in sort]
    told += [rng.choice(DISTRACTORS).format(*rng.sample(everyone, 2)) for _ in range(40)]
    rng.shuffle(told)
    return Chronicle(names, facts, tuple(told))


def _share(number: int, count: int, names: list[str]) -> tuple[str, ...]:
    """Return the names of one corpus."""
    Random(0).shuffle(names)  # noqa: S311  # likewise
    return tuple(names[number * count : (number + 1) * count])


NAME = r"((?<![\w-])[A-Z][\w-]*(?: [A-Z][\w-]*){0,5})"
"""A name of at most six words that starts a word: without these bounds a search takes quadratic time."""
STATED: Mapping[str, tuple[str, ...]] = {
    "employer": (r"{0} works for {1}", r"{0} is employed by {1}"),
    "founder": (r"{0} was founded by {1}", r"{1} is the founder of {0}"),
    "home town": (r"{0} grew up in {1}", r"{1} is the home town of {0}"),
    "spouse": (r"{0} is married to {1}", r"{1} is the spouse of {0}"),
    "head office": (r"{0} has its head office in {1}", r"{1} houses the head office of {0}"),
    "mayor": (r"{1} is the mayor of {0}", r"{0} elected {1} as its mayor"),
}
"""The sentences that state a relation of {0} to {1}."""

_ASKED = re.compile(rf"the ({'|'.join(STATED)}) of {NAME}")
_WHOLE = re.compile(r"(?:Who|What) is (.+)\?")


def asked(question: str) -> tuple[str, str] | None:
    """Return the innermost relation of a question and its owner; None without a relation.

    >>> asked("Who is the founder of the employer of Ada Brown?")
    ('employer', 'Ada Brown')
    """
    found = _ASKED.search(question)
    return (found[1], found[2]) if found else None


def stated(relation: str, whose: str, passages: Iterable[str]) -> str | None:
    """Return the other side of an owner's relation, by the first passage that states it."""
    for passage in passages:
        for form in STATED[relation]:
            if found := re.search(form.replace("{0}", re.escape(whose)).replace("{1}", NAME), passage):
                return found[1]
    return None


def filled(question: str, relation: str, whose: str, value: str) -> str:
    """Return the question with the relation replaced by its value; only the value if nothing else is asked."""
    replaced = question.replace(f"the {relation} of {whose}", value, 1)
    whole = _WHOLE.fullmatch(replaced)
    return value if whole and whole[1] == value else replaced


class Extractor(Tool):
    """Answers the innermost part of a question from the passages in the last output."""

    Config = ReaderConfig
    spec = Candidate("extractor", "Reads the passages that were found and takes the name from them that the question asks for, or the next question.")

    async def act(self, state: TaskState) -> str:
        """Return the answer, or the remaining question with the answer filled in."""
        first, *rest = subject(state).splitlines()
        passages = [line.removeprefix(PASSAGE) for line in rest if line.startswith(PASSAGE)]
        question = first.removeprefix(QUESTION)
        relation = asked(question)
        if not passages or relation is None:
            raise AgentError("there are no passages with a question to read")
        value = stated(*relation, passages)
        if value is None:
            raise AgentError(f"no passage says who or what is the {relation[0]} of {relation[1]}")
        return filled(question, *relation, value)
