"""Suite ``critic-loop``: mend a line of text that fails some of several requirements.

The checker names one fault at a time and the reviser mends one at a time, so the best policy must return to both. The
difficulty is the number of faults, and the best sequence is as many rounds of both; one round more is paid for nothing.
"""

from __future__ import annotations

from random import Random

from aamc_agents.tasks import Task, Verdict

from aamc_puppeteer.tasks.verifiers import Callback
from aamc_puppeteer.testbed.agents.requirements import FILLERS, Requirements

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
"""Words that a line can be cut down to when it must have one more word; as it is given it is longer."""


def make(task_id: str, rng: Random, difficulty: int) -> Task:
    """Return a task whose line has as many faults as the difficulty says."""
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
    """Return whether an answer is one line that fulfils all that the task asks for."""
    wanted = Requirements.read(task.text)
    if wanted is None or len(answer.strip().splitlines()) != 1:
        return Verdict(False, "it is not one line")
    finding = next(wanted.findings(answer), None)
    return Verdict(finding is None, finding or "")
