"""A puppeteer that learns a real task: questions about tables, from one right in three to nearly all, in fewer steps.

Four agents may work on each question. The policy finds out, from right and wrong alone, that it takes the table agent
and, where numbers are to be combined, the calculator, and when to stop. Run it with: python examples/puppeteer_real_task.py
"""

from __future__ import annotations

from aamc_agents.tasks import Task
from aamc_puppeteer.analysis import in_words, summarise, tree
from aamc_puppeteer.orchestrator import Puppeteer
from aamc_puppeteer.testbed import load_suite, split_tasks
from rich.console import Console


def main(seed: int = 0) -> None:
    """Train for a few seconds; print what held-out questions came to before and after, and one of them as a tree."""
    train, _, test = split_tasks(load_suite("tables", seed=seed), seed)
    # Each activation costs 0.001 USD; a weight of 100 makes ten of them worth a right answer.
    puppeteer = Puppeteer.of(["table", "calculator", "parser", "strings"], seed=seed, preset="quick", max_steps=6, cost_weight=100.0, updates=120)
    report("untrained", puppeteer, test)
    puppeteer.fit(train)
    report("trained", puppeteer, test)
    Console().print(tree(puppeteer.play(test[:1])))
    puppeteer.close()


def report(name: str, puppeteer: Puppeteer, tasks: list[Task]) -> None:
    """Print what the policy, drawn from as in training, makes of tasks that it was not trained on."""
    print(f"{name}, {in_words(summarise(puppeteer.play(tasks, sample=True)))}")


if __name__ == "__main__":
    main()
