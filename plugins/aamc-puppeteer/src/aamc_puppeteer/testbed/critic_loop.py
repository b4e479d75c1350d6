"""Suite ``critic-loop``, and its agents ``checker`` and ``reviser``: correct a line of text that violates some of several requirements.

The checker names one error at a time and the reviser corrects one at a time, so the best policy returns to both. The
difficulty is the number of errors, and the best sequence has as many rounds of both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

import attrs
from aamc_agents.state import TaskState
from aamc_agents.tasks import Task, Verdict
from aamc_agents.tool import AgentError, ReaderConfig, Tool, subject

from aamc_puppeteer.tasks.verifiers import Callback
from aamc_sdk import Candidate

TOPICS = (
    *("harbours", "gardens", "bridges", "markets", "forests", "mountains", "libraries", "kitchens", "stations", "islands"),
    *("orchards", "festivals", "museums", "deserts", "rivers", "villages", "castles", "meadows", "theatres", "bakeries"),
    *("canals", "valleys", "schools", "beaches"),
)
WORDS = (
    *("boats", "lamps", "music", "bread", "rain", "birds", "stories", "stones", "children", "snow", "letters", "horses"),
    *("clocks", "colours", "apples", "shadows", "bicycles", "sailors", "painters", "bells", "foxes", "lanterns", "songs"),
    *("tourists"),
)
AVOID = ("very", "always", "certainly", "obviously", "totally", "literally", "utterly", "truly", "never", "absolutely", "often", "deeply")
SHORT = 6
"""Maximum words of a shortened line; the given line is longer."""


def make(task_id: str, rng: Random, difficulty: int) -> Task:
    """Return a task whose line has ``difficulty`` errors."""
    topic, avoid = rng.choice(TOPICS), rng.choice(AVOID)
    requirements = (
        (f"Use the word {rng.choice(WORDS)}.", ""),
        (f"Do not use the word {avoid}.", avoid),
        (f"End with '{rng.choice('!?')}'.", ""),
        (f"At most {SHORT} words.", ""),
    )
    broken = [requirements[number] for number in sorted(rng.sample(range(len(requirements)), difficulty))]
    extra = [word for _, word in broken if word]
    line = " ".join(("We", *rng.sample(FILLERS, 3), *extra, "like", "the", f"{topic}."))
    text = " ".join((f"Mend this line about {topic}: '{line}'", *(requirement for requirement, _ in broken)))
    return Task(id=task_id, text=text, kind="critic-loop", verifier=Callback(fulfilled), reference="", difficulty=difficulty)


def fulfilled(task: Task, answer: str) -> Verdict:
    """Return whether an answer is one line that meets all of the task's requirements."""
    wanted = LineRequirements.read(task.text)
    if wanted is None or len(answer.strip().splitlines()) != 1:
        return Verdict(False, "it is not one line")
    finding = next(wanted.findings(answer), None)
    return Verdict(finding is None, finding or "")


_TOPIC = re.compile(r"Mend this line about (\w+): '([^']+)'")
_USE = re.compile(r"Use the word (\w+)\.")
_AVOID = re.compile(r"Do not use the word (\w+)\.")
_AT_MOST = re.compile(r"At most (\d+) words\.")
_ENDING = re.compile(r"End with '(.)'\.")
FILLERS = ("really", "quite", "rather", "simply", "just")
"""Words that can be removed from a line."""


@attrs.frozen
class LineRequirements:
    """The requirements on a line: required and forbidden words, the maximum number of words, and the last character; and the given draft."""

    topic: str
    draft: str
    use: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    at_most: int | None = None
    ending: str = "."

    @classmethod
    def read(cls, text: str) -> LineRequirements | None:
        """Return the requirements in a text, or None if it asks for no line."""
        topic, most, ending = (pattern.search(text) for pattern in (_TOPIC, _AT_MOST, _ENDING))
        if topic is None:
            return None
        return cls(
            topic=topic[1],
            draft=topic[2],
            use=tuple(_USE.findall(text)),
            avoid=tuple(_AVOID.findall(text)),
            at_most=int(most[1]) if most else None,
            ending=ending[1] if ending else ".",
        )

    def findings(self, line: str) -> Iterator[str]:
        """Yield the violated requirements of a line, in a fixed order."""
        words = words_of(line)
        yield from (f"the word {word} is missing" for word in (self.topic, *self.use) if word not in words)
        yield from (f"the word {word} is not allowed" for word in self.avoid if word in words)
        if self.at_most is not None and len(words) > self.at_most:
            yield f"it has {len(words)} words instead of at most {self.at_most}"
        if not line.rstrip().endswith(self.ending):
            yield f"it does not end with '{self.ending}'"


def words_of(line: str) -> list[str]:
    """Return a line's words in lower case."""
    return re.findall(r"\w+", line.lower())


def mended(line: str, finding: str) -> str | None:
    """Return a line with one finding corrected, or None if the finding is not understood."""
    body, ending = line.rstrip()[:-1], line.rstrip()[-1:]
    if found := re.search(r"the word (\w+) is missing", finding):
        return f"{body} with {found[1]}{ending}"
    if found := re.search(r"the word (\w+) is not allowed", finding):
        return f"{_without(body, found[1])}{ending}"
    if found := re.search(r"it has (\d+) words instead of at most (\d+)", finding):
        surplus = [word for word in words_of(body) if word in FILLERS][: int(found[1]) - int(found[2])]
        for word in surplus:
            body = _without(body, word)
        return f"{body}{ending}"
    if found := re.search(r"it does not end with '(.)'", finding):
        return f"{body}{found[1]}"
    return None


def _without(body: str, word: str) -> str:
    return " ".join(re.sub(rf"\b{re.escape(word)}\b", "", body, count=1, flags=re.IGNORECASE).split())


FINDING, LINE = "Finding: ", "Line: "
"""Prefixes of the checker's two lines."""


class Checker(Tool):
    """Compares a line with the task's requirements: the last output, else the task's draft."""

    Config = ReaderConfig
    spec = Candidate("checker", "Checks a line of text against what was asked for, and names the first thing that is wrong; passes on a good one.")

    async def act(self, state: TaskState) -> str:
        """Return the first finding with the line, or the line alone without a finding."""
        wanted = LineRequirements.read(state.task.text)
        if wanted is None:
            raise AgentError(f"the task asks for no line of text: {state.task.text!r:.80}")
        line = state.outputs[-1].content if state.outputs else wanted.draft
        if "\n" in line:
            raise AgentError("the last output is not a line; there is nothing new to check")
        finding = next(wanted.findings(line), None)
        return line if finding is None else f"{FINDING}{finding}\n{LINE}{line}"


class Reviser(Tool):
    """Corrects the checker's finding, and nothing else."""

    Config = ReaderConfig
    spec = Candidate("reviser", "Revises a line of text: puts right the one thing that the checker found wrong with it.")

    async def act(self, state: TaskState) -> str:
        """Return the revised line."""
        finding, _, line = subject(state).partition("\n")
        if not (finding.startswith(FINDING) and line.startswith(LINE)):
            raise AgentError("there is no finding to act upon; let the checker look first")
        revised = mended(line.removeprefix(LINE), finding)
        if revised is None:
            raise AgentError(f"the reviser cannot correct: {finding.removeprefix(FINDING)}")
        return revised
