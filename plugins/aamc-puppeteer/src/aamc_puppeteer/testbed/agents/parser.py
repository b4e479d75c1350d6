"""Agent ``parser``: writes a word problem about a number of things, or a list of commands, as an expression or a program.

Sentences have a few forms (:data:`CHANGES`); a sentence of another form changes nothing.
"""

from __future__ import annotations

import re

from aamc_agents.state import TaskState
from aamc_agents.tool import AgentError, ReaderConfig, Tool, subject

from aamc_puppeteer.testbed.agents.strings import as_program
from aamc_sdk import Candidate

_START = re.compile(r"\b[A-Z]\w+ has (\d+) \w+")
_REPEAT = re.compile(r"Every \w+ for (\d+) \w+, (.*)")
_THEN = re.compile(r",? and then ")

CHANGES = tuple(
    (re.compile(pattern), change)
    for pattern, change in (
        (r"\bbuys (\d+) \w+ of (\d+)\b", "{total} + {0} * {1}"),
        (r"\bfinds (\d+) more\b", "{total} + {0}"),
        (r"\bgives (\d+) \w+ away\b", "{total} - {0}"),
        (r"\b(\d+) \w+ break\b", "{total} - {0}"),
        (r"\bdoubles\b", "({total}) * 2"),
        (r"\btriples\b", "({total}) * 3"),
        (r"\bkeeps one of (\d+) equal shares\b", "({total}) / {0}"),
        (r"\bone in (\d+) of all \w+, rounded down, spoils?\b", "({total}) - ({total}) // {0}"),
    )
)
"""The expression of each form of sentence, from the number so far."""


def formulate(story: str) -> str | None:
    """Return an expression, or a program if something is repeated; None without a starting number.

    >>> formulate("Mia has 12 pears. Mia buys 3 crates of 8 pears.")
    '12 + 3 * 8'
    """
    start = _START.search(story)
    if start is None:
        return None
    sentences = re.split(r"(?<=[.?!])\s+", story[start.end() :])
    if not any(map(_REPEAT.search, sentences)):
        total = start[1]
        for sentence in sentences:
            total = _changed(sentence, total) or total
        return total
    return "\n".join((f"total = {start[1]}", *(line for sentence in sentences for line in _lines(sentence)), "print(total)"))


def _changed(clause: str, total: str) -> str | None:
    for pattern, change in CHANGES:
        if found := pattern.search(clause):
            return change.format(*found.groups(), total=total)
    return None


def _lines(sentence: str) -> list[str]:
    """Return the program's lines for a sentence."""
    repeat = _REPEAT.search(sentence)
    clauses = _THEN.split(repeat[2]) if repeat else [sentence]
    changes = [f"total = {changed}" for clause in clauses if (changed := _changed(clause, "total"))]
    return [f"for _ in range({repeat[1]}):", *(f"    {change}" for change in changes)] if repeat and changes else changes


class Parser(Tool):
    """Writes the computation of an answer, without computing it."""

    Config = ReaderConfig
    spec = Candidate("parser", "Reads a word problem or a list of commands and writes it as an arithmetic expression or a Python program.")

    async def act(self, state: TaskState) -> str:
        """Return the expression or program for the last output."""
        text = subject(state)
        written = as_program(text) or formulate(text)
        if written is None:
            raise AgentError(f"there is no word problem in {text!r:.80}")
        return written
