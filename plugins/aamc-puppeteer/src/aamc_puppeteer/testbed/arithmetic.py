"""Suite ``arithmetic``, and the agent ``parser`` that understands it: expressions and word problems about a number of things.

Difficulty 1 is an expression in a sentence, for the calculator; 2 a word problem, which must be parsed first; 3 a word
problem with a repetition, which becomes a program that must be run.
"""

from __future__ import annotations

import re
from random import Random

from aamc_agents.state import TaskState
from aamc_agents.tasks import Task
from aamc_agents.tool import AgentError, ReaderConfig, Tool, subject

from aamc_puppeteer.tasks.verifiers import Numeric
from aamc_puppeteer.testbed.strings import as_program
from aamc_sdk import Candidate

NAMES = ("Ada", "Ben", "Chloe", "David", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kira", "Liam", "Mia", "Noor", "Oscar", "Petra")
THINGS = ("pears", "marbles", "stamps", "shells", "candles", "tulips", "buttons", "melons", "postcards", "walnuts", "lanterns", "pencils")
BOXES = ("crates", "boxes", "bags", "trays")
PERIODS = (("day", "days"), ("week", "weeks"), ("month", "months"))


def make(task_id: str, rng: Random, difficulty: int) -> Task:
    """Return a task of a difficulty from 1 to 3."""
    text, answer = (_expression, _story, _repetition)[difficulty - 1](rng)
    return Task(id=task_id, text=text, kind="arithmetic", verifier=Numeric(), reference=str(answer), difficulty=difficulty)


def _expression(rng: Random) -> tuple[str, int]:
    a, b, c, d = rng.randint(11, 99), rng.randint(2, 12), rng.randint(3, 30), rng.randint(2, 9)
    text, value = rng.choice(
        (
            (f"{a} + {b} * {c}", a + b * c),
            (f"({a} + {b}) * {d}", (a + b) * d),
            (f"{a} * {b} - {c}", a * b - c),
            (f"({a} - {d}) * {b} + {c}", (a - d) * b + c),
        )
    )
    asked = rng.choice(("What is {}?", "Work out {}.", "How much is {}?", "Calculate {} for me."))
    return asked.format(text), value


def _story(rng: Random) -> tuple[str, int]:
    name, things, total = rng.choice(NAMES), rng.choice(THINGS), rng.randint(20, 90)
    sentences = [f"{name} has {total} {things}."]
    for _ in range(rng.randint(2, 4)):
        sentence, total = _event(rng, name, things, total)
        sentences.append(sentence)
    sentences.insert(rng.randint(1, len(sentences)), _aside(rng, name))
    return f"{' '.join(sentences)} How many {things} does {name} have now?", total


def _event(rng: Random, name: str, things: str, total: int) -> tuple[str, int]:
    """Return a sentence, and the number of things after its event."""
    boxes, each, some = rng.randint(2, 9), rng.randint(3, 12), rng.randint(3, 17)
    events = [
        (f"{name} buys {boxes} {rng.choice(BOXES)} of {each} {things}.", total + boxes * each),
        (f"{name} finds {some} more {things}.", total + some),
        (f"An aunt of {name} doubles that.", total * 2),
        (f"{name} gives {some} {things} away.", total - some),
        (f"Then {some} {things} break.", total - some),
    ]
    events += [(f"{name} keeps one of {parts} equal shares.", total // parts) for parts in (2, 3, 4, 5) if total % parts == 0]
    return rng.choice([event for event in events if event[1] > 0])


def _aside(rng: Random, name: str) -> str:
    """Return a sentence with an irrelevant number."""
    asides = ("{name} is {number} years old.", "It is {number} degrees outside.", "The shop is {number} miles away.")
    return rng.choice(asides).format(name=name, number=rng.randint(8, 30))


def _repetition(rng: Random) -> tuple[str, int]:
    name, things, total = rng.choice(NAMES), rng.choice(THINGS), rng.randint(40, 200)
    (period, periods), times = rng.choice(PERIODS), rng.randint(4, 12)
    boxes, each, share = rng.randint(2, 6), rng.randint(3, 9), rng.randint(3, 9)
    start = f"{name} has {total} {things}."
    happens = f"Every {period} for {times} {periods}, {name} buys {boxes} {rng.choice(BOXES)} of {each} {things}"
    for _ in range(times):
        total += boxes * each
        total -= total // share
    spoiled = f"one in {share} of all {things}, rounded down, spoils."
    return f"{start} {happens}, and then {spoiled} {_aside(rng, name)} How many {things} does {name} have in the end?", total


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
