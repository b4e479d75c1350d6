"""The puppeteer in worlds whose optimum is known, its speed, and its overhead per step: prints JSON.

``worlds``: for each world and seed, what the trained policy earns on fresh tasks over the optimum by dynamic programming, sampled
and greedy, and how success and activations changed from the first to the last twentieth of the training. ``training``: 400 updates of
32 episodes on the built-in suite. ``overhead``: milliseconds that a step of the orchestrator takes with agents that do nothing, less
those of a plain loop over the same agents. Times are wall-clock, each with that of the processor.

    OMP_NUM_THREADS=1 python benchmarks/puppeteer.py --seeds 0 1 2 3 4
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from aamc_agents.state import Activation, TaskState
from aamc_agents.tasks import Task
from aamc_puppeteer.orchestrator import Puppeteer
from aamc_puppeteer.testbed import TOOLS, AgentWorld, Kind, WorldAgent, load_suite, split_tasks
from speed.clock import cpu_and_wall_s

from aamc_sdk import Agent, AgentOutput, Candidate
from aamc_sdk.interfaces import Budget

SORTS = ("algebra", "history", "code")
MEMBERS = ("planner", "retriever", "calculator", "coder", "writer", "critic")
EPISODES = 3000


def specialists(seed: int) -> AgentWorld:
    """Return a world in which one good turn is enough; the agents' abilities and costs are drawn."""
    rng = np.random.default_rng(seed)
    costs = {name: float(rng.choice([0.1, 0.3, 1.0, 2.0])) for name in MEMBERS}
    return AgentWorld.of_table({sort: {name: float(rng.uniform()) for name in MEMBERS} for sort in SORTS}, costs)


def sequences(seed: int) -> AgentWorld:
    """Return a world in which each sort of task needs two or three agents in an order that is drawn, and any may fail to help."""
    rng = np.random.default_rng(seed)
    agents = [WorldAgent(name=name, description=f"Does the work of a {name}.", cost=float(rng.choice([0.1, 0.2, 0.5]))) for name in MEMBERS]
    kinds = []
    for number, sort in enumerate(SORTS):
        order = rng.permutation(len(MEMBERS))[: 2 + number % 2]
        stages = ["start", *(f"stage {place}" for place in range(1, len(order) + 1))]
        moves: dict[tuple[str, str], Mapping[str, float]] = {}
        for place, member in enumerate(order):
            chance = float(rng.uniform(0.7, 0.95))
            moves[stages[place], MEMBERS[member]] = {stages[place + 1]: chance, stages[place]: 1 - chance}
        solved = {stages[-1]: float(rng.uniform(0.85, 1.0)), stages[-2]: 0.2}
        kinds.append(Kind(name=sort, text=f"A task about {sort}.", moves=moves, solved=solved))
    return AgentWorld(agents=tuple(agents), kinds=tuple(kinds))


def loops(seed: int) -> AgentWorld:
    """Return a world in which a critic and a solver take turns, as often as the sort of task asks for; the seed changes nothing."""
    costs = {"solver": 0.2, "critic": 0.1, "guesser": 0.1, "planner": 0.1, "searcher": 0.3, "summarizer": 0.1}
    kinds = []
    for rounds, sort in enumerate(("easy", "medium", "hard"), start=1):
        moves: dict[tuple[str, str], Mapping[str, float]] = {("start", "solver"): {"draft 0": 1.0}, ("start", "guesser"): {"guess": 1.0}}
        solved = {"guess": 0.1, f"draft {rounds}": 1.0}
        for turn in range(rounds):
            moves[f"draft {turn}", "critic"] = {f"faults {turn}": 1.0}
            moves[f"faults {turn}", "solver"] = {f"draft {turn + 1}": 1.0}
            solved[f"draft {turn}"] = 0.6 * (turn + 0.2) / (rounds + 0.2)
        kinds.append(Kind(name=sort, text=f"A task that is {sort}.", moves=moves, solved=solved))
    agents = [WorldAgent(name=name, description=f"Does the work of a {name}.", cost=cost) for name, cost in costs.items()]
    return AgentWorld(agents=tuple(agents), kinds=tuple(kinds))


def practice(_: int) -> AgentWorld:
    """Return a doctor's practice: each sort of case needs other agents in turn, who may fail, lose or muddle what there was."""
    agents = {
        "nurse": ("Takes samples and readings.", 0.05),
        "laboratory": ("Analyses what was taken.", 0.4),
        "radiologist": ("Takes and reads pictures.", 0.8),
        "pharmacist": ("Prepares medicines.", 0.15),
        "professor": ("Knows everything, at a price.", 4.0),
        "student": ("Guesses.", 0.02),
    }
    fever = Kind(
        name="fever",
        text="Patient {number} has had a fever since Monday. Treat it.",
        moves={
            ("start", "nurse"): {"sample": 0.8, "start": 0.2},
            ("sample", "laboratory"): {"germ": 0.85, "lost": 0.15},
            ("lost", "nurse"): {"sample": 1.0},
            ("germ", "pharmacist"): {"cured": 0.95, "germ": 0.05},
            ("start", "professor"): {"cured": 1.0},
            ("start", "student"): {"guess": 1.0},
        },
        solved={"germ": 0.35, "cured": 0.95, "guess": 0.15},
    )
    fall = Kind(
        name="fall",
        text="The man in room {number} fell off a ladder and cannot move his arm.",
        moves={
            ("start", "radiologist"): {"picture": 0.75, "start": 0.25},
            ("picture", "nurse"): {"cast": 0.9, "picture": 0.1},
            ("cast", "radiologist"): {"healed": 1.0},
            ("cast", "student"): {"start": 1.0},
            ("start", "student"): {"guess": 1.0},
        },
        solved={"picture": 0.3, "cast": 0.75, "healed": 0.95, "guess": 0.2},
    )
    check = Kind(
        name="check",
        text="Insurance number {number}: say whether she may fly.",
        moves={
            ("start", "nurse"): {"readings": 1.0},
            ("readings", "laboratory"): {"values": 0.7, "muddle": 0.3},
            ("readings", "student"): {"muddle": 1.0},
            ("muddle", "nurse"): {"readings": 1.0},
            ("values", "professor"): {"verdict": 1.0},
            ("values", "pharmacist"): {"verdict": 0.6, "values": 0.4},
        },
        solved={"readings": 0.2, "values": 0.5, "verdict": 0.97},
    )
    made = tuple(WorldAgent(name=name, description=description, cost=cost) for name, (description, cost) in agents.items())
    return AgentWorld(agents=made, kinds=(fever, fall, check), steps=7)


def workshop(_: int) -> AgentWorld:
    """Return a workshop: a piece is measured and carved again, two to four times, either of which may fail; varnish undoes a measure."""
    agents = {
        "carver": ("Carves wood.", 0.25),
        "gauge": ("Measures.", 0.1),
        "varnisher": ("Varnishes.", 0.05),
        "porter": ("Carries things.", 0.02),
        "painter": ("Paints.", 0.3),
        "master": ("Makes fine things, slowly.", 2.5),
    }
    kinds = []
    for rounds, piece in enumerate(("spoon", "chair", "violin"), start=1):
        moves: dict[tuple[str, str], Mapping[str, float]] = {("start", "carver"): {"draft 0": 1.0}}
        for turn in range(rounds):
            moves[f"draft {turn}", "gauge"] = {f"sized {turn}": 0.9, f"draft {turn}": 0.1}
            moves[f"sized {turn}", "carver"] = {f"draft {turn + 1}": 0.95, f"draft {turn}": 0.05}
            moves[f"sized {turn}", "varnisher"] = {f"draft {turn}": 1.0}
        solved = {f"draft {turn}": 0.1 + 0.15 * turn for turn in range(rounds)} | {f"draft {rounds}": 0.97}
        if rounds == 1:
            moves["start", "master"] = {"masterpiece": 0.7, "start": 0.3}
            solved["masterpiece"] = 0.9
        kinds.append(Kind(name=piece, text=f"Make a {piece} of {{number}} mm.", moves=moves, solved=solved))
    made = tuple(WorldAgent(name=name, description=description, cost=cost) for name, (description, cost) in agents.items())
    return AgentWorld(agents=made, kinds=tuple(kinds), steps=9)


WORLDS: Mapping[str, Callable[[int], AgentWorld]] = {
    "specialists": specialists,
    "sequences": sequences,
    "loops": loops,
    "practice": practice,
    "workshop": workshop,
}


def learn(world: AgentWorld, seed: int) -> dict[str, float]:
    """Return a trained policy's figures with the optimum, and the change of its episodes in training."""
    puppeteer = world.puppeteer(seed=seed)
    curve = puppeteer.fit(world.tasks(600, seed=seed))["curve"]
    figures = {"optimum": world.optimum}
    for name, sample in (("sampled", True), ("greedy", False)):
        trajectories = puppeteer.play(world.tasks(EPISODES, seed=seed + 1000), sample=sample, seed=1)
        figures[f"{name}_over_optimum"] = world.share_of_optimum(trajectories)
    puppeteer.close()
    twentieth = max(1, len(curve) // 20)
    for name in ("success", "activations"):
        for when, part in (("first", curve[:twentieth]), ("last", curve[-twentieth:])):
            figures[f"{name}_{when}"] = float(np.mean([point[name] for point in part]))
    return figures


def timed(work: Callable[[], Any]) -> dict[str, float]:
    processor, wall = cpu_and_wall_s(work)
    return {"seconds": wall, "processor_seconds": processor}


def training() -> dict[str, float]:
    """Return the time of 400 updates of 32 episodes on the built-in suite, with the tools."""
    train, _, _ = split_tasks(load_suite("mixed", size=400))
    puppeteer = Puppeteer.of(TOOLS, preset="quick", updates=400)
    figures = timed(lambda: puppeteer.fit(train))
    puppeteer.close()
    return figures


class Idle(Agent):
    """Says something at once."""

    def __init__(self, name: str) -> None:
        self.spec = Candidate(name, f"Does {name}.")

    async def execute(self, state: TaskState) -> AgentOutput:
        return AgentOutput("done")


async def plain_loop(agents: Sequence[Agent], steps: int) -> None:
    """Activate agents in turn, without anything else."""
    state = TaskState(task=Task(id="t", text="Do something."), steps_left=steps)
    for number in range(steps):
        agent = agents[number % len(agents)]
        state = state.after(Activation(agent=agent.spec.name, output=await agent.execute(state)))


def overhead(steps: int = 8, episodes: int = 100) -> dict[str, float]:
    """Return milliseconds of a step, those of a plain loop, and the difference."""
    agents = [Idle(name) for name in MEMBERS]
    puppeteer = Puppeteer.of(agents, sample=False)

    async def orchestrated() -> int:
        return sum([1 async for _ in puppeteer.run(Task(id="t", text="Do something."), Budget(steps=steps))])

    async def all_of(one: Callable[[], Any]) -> None:
        for _ in range(episodes):
            await one()

    def each_step(one: Callable[[], Any]) -> dict[str, float]:
        asyncio.run(one())  # what is loaded once counts in no step
        return {name: seconds / (episodes * steps) for name, seconds in timed(lambda: asyncio.run(all_of(one))).items()}

    orchestrated_step, plain_step = each_step(orchestrated), each_step(lambda: plain_loop(agents, steps))
    puppeteer.close()
    return {f"added_{name.replace('seconds', 'ms')}": 1000 * (orchestrated_step[name] - plain_step[name]) for name in plain_step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--worlds", nargs="*", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--no-speed", action="store_true", help="leave the times out")
    given = parser.parse_args()
    results: dict[str, Any] = {"worlds": {name: {seed: learn(WORLDS[name](seed), seed) for seed in given.seeds} for name in given.worlds}}
    if not given.no_speed:
        results |= {"training": training(), "overhead": overhead()}
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
