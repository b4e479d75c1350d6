"""Suite ``critic-loop``: correct a line of text that violates some of several requirements.

The checker names one error at a time and the reviser corrects one at a time, so the best policy returns to both. The
difficulty is the number of errors, and the best sequence has as many rounds of both.
"""

from __future__ import annotations

from random import Random

from aamc_agents.tasks import Task, Verdict

from aamc_puppeteer.tasks.verifiers import Callback
from aamc_puppeteer.testbed.agents.proofreaders import FILLERS, LineRequirements

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
