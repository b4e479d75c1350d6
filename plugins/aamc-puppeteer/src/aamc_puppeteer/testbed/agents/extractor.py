"""Agent ``extractor``: reads the answer to a question in passages.

A question names a chain of relations, such as ``Who is the founder of the employer of Ada Brown?``. Passages state
them one by one, in a few forms each (:data:`STATED`); other sentences state nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from aamc_agents.retriever import PASSAGE, QUESTION
from aamc_agents.state import TaskState
from aamc_agents.tool import AgentError, ReaderConfig, Tool, subject

from aamc_sdk import Candidate

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
