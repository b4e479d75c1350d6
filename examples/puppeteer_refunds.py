"""A business process: refund requests, decided at the lowest cost of checks.

Each request is decided by a clerk, who needs findings first: whether the request came in time, whether the goods are back, and for
large orders whether the customer's record is clean. Checks cost money, and one failed check makes the others superfluous. No rule says
which check comes next: the puppeteer finds it out from right and wrong decisions and from the costs. Run it with:
python examples/puppeteer_refunds.py
"""

from __future__ import annotations

import random
from typing import ClassVar

from aamc_agents.state import ANSWER, TaskState
from aamc_agents.tasks import Task
from aamc_puppeteer.analysis import in_words, summarise, tree
from aamc_puppeteer.orchestrator import Puppeteer
from aamc_puppeteer.tasks import Exact
from rich.console import Console

from aamc_sdk import Agent, AgentOutput, Candidate
from aamc_sdk.interfaces import NoOptions

RECORDS = "records"
"""The file of a request that the checks look into."""


class Check(Agent):
    """Looks up one fact of a request."""

    fact: ClassVar[str]
    cost: ClassVar[float]

    def __init__(self) -> None:
        self.config = NoOptions()

    async def execute(self, state: TaskState) -> AgentOutput:
        """Return the fact, such as ``goods: back``."""
        return AgentOutput(next(line for line in state.task.files[RECORDS].splitlines() if line.startswith(self.fact)), self.cost)


class Calendar(Check):
    """Compares the date of the request with the terms of sale."""

    spec = Candidate("calendar", "Finds out whether a refund request came in time.")
    fact, cost = "request", 0.01


class Warehouse(Check):
    """Asks the warehouse."""

    spec = Candidate("warehouse", "Finds out whether the goods of a refund request are back.")
    fact, cost = "goods", 0.03


class Records(Check):
    """Asks an external service, which is expensive."""

    spec = Candidate("records", "Finds out whether the record of the customer of a large order is clean.")
    fact, cost = "record", 0.15


class Clerk(Agent):
    """Decides a request from the findings so far."""

    spec = Candidate("clerk", "Decides whether a refund request is approved or declined, from all findings.")

    def __init__(self) -> None:
        self.config = NoOptions()

    async def execute(self, state: TaskState) -> AgentOutput:
        """Return the decision, which ends the episode, or the missing finding."""
        found = {output.content for output in state.outputs}
        if found & {"request: too late", "goods: missing", "record: bad"}:
            return AgentOutput("declined", 0.02, {ANSWER: True})
        needed = ["request: in time", "goods: back", *(["record: clean"] if "large order" in state.task.text else [])]
        missing = [finding for finding in needed if finding not in found]
        return AgentOutput(f"not known yet: {missing[0]}?", 0.02) if missing else AgentOutput("approved", 0.02, {ANSWER: True})


def requests(count: int, seed: int) -> list[Task]:
    """Return refund requests, with the records that the checks look into."""
    rng, made = random.Random(seed), []  # noqa: S311  # fiction, no secrets
    for number in range(count):
        large, in_time, back, clean = rng.random() < 0.4, rng.random() < 0.7, rng.random() < 0.8, rng.random() < 0.7
        request, goods, record = "in time" if in_time else "too late", "back" if back else "missing", "clean" if clean else "bad"
        size, usd = ("large", rng.randint(100, 2000)) if large else ("small", rng.randint(5, 99))
        made.append(
            Task(
                id=f"request-{number}",
                text=f"Refund request {rng.randint(1000, 9999)} for a {size} order of {usd} USD",
                verifier=Exact(),
                reference="approved" if in_time and back and (clean or not large) else "declined",
                files={RECORDS: f"request: {request}\ngoods: {goods}\nrecord: {record}"},
            )
        )
    return made


def main(seed: int = 0) -> None:
    """Train for a few seconds; print the outcome of other requests before and after, and one of them as a tree."""
    team = [Calendar(), Warehouse(), Records(), Clerk()]
    puppeteer = Puppeteer.of(team, seed=seed, preset="quick", max_steps=6, cost_weight=1.0, updates=150)
    test = requests(200, seed + 1)
    report("untrained", puppeteer, test)
    puppeteer.fit(requests(300, seed))
    report("trained", puppeteer, test)
    small = [task for task in test if "small" in task.text]
    print(f"external checks of small orders: {summarise(puppeteer.play(small))['utilisation'].get('records', 0.0):.0%} of all turns")
    Console().print(tree(puppeteer.play(test[:1])))
    puppeteer.close()


def report(name: str, puppeteer: Puppeteer, tasks: list[Task]) -> None:
    """Print the success and the cost of requests that it was not trained on."""
    figures = summarise(puppeteer.play(tasks, sample=True))
    print(f"{name}, {in_words(figures)}, {figures['mean_cost_usd']:.3f} USD per request")


if __name__ == "__main__":
    main()
