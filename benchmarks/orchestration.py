"""The puppeteer on the built-in task suites with the real tool agents, and its baselines: prints JSON.

For each suite and seed: tasks are generated and divided 70/10/20, the policy practises on the training tasks with the options of preset
``quick``, and all policies work on the same test tasks. ``learned`` takes the most probable action, ``learned-sampled`` draws it;
``untrained`` and ``untrained-sampled`` are the same policy before training. ``random`` activates any agent or stops. ``pipeline`` is the
fixed order of agents that pays most on the training tasks, built greedily from their cheapest routes; the other ``pipeline-...`` are
the five most frequent of these routes, alone. ``cheapest-route`` is found by search with the answer known: nobody can do better.

Figures are means over the test tasks of all seeds with 95% intervals by the bootstrap over tasks. ``learned_above`` has the paired differences in
reward between ``learned`` and each other one. A reward is 1 for success less ``--cost-weight`` for each USD.

    python benchmarks/orchestration.py --suites mixed --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from aamc_agents.tasks import Task
from aamc_puppeteer.analysis import gain, summarise
from aamc_puppeteer.config import PuppeteerConfig
from aamc_puppeteer.episodes import Executor, Trajectory, by_chance, in_order, play
from aamc_puppeteer.orchestrator import Puppeteer
from aamc_puppeteer.testbed import SUITES, TOOLS, best_pipeline, cheapest_route, load_suite, split_tasks

from aamc_sdk import Agent, get_plugin_manager
from aamc_sdk.config import ServingSettings, configure
from aamc_sdk.routing import default_pool
from aamc_sdk.serving import make_services
from aamc_sdk.storage import plain

PIPELINES = 5
Played = dict[str, list[Trajectory]]


def team() -> list[Agent]:
    services = make_services(default_pool(), get_plugin_manager(), ServingSettings(preset="full"))
    return [services.make("agent", name, {}) for name in TOOLS]


async def routes_of(tasks: Sequence[Task], agents: Sequence[Agent], steps: int) -> list[tuple[str, ...]]:
    """Return the cheapest route of each task, an empty one where there is none."""
    found = [await cheapest_route(task, agents, steps) for task in tasks]
    return [() if route is None else route.agents for route in found]


def one_seed(suite: str, seed: int, given: argparse.Namespace) -> tuple[Played, dict[str, Any]]:
    """Train and play on one draw of tasks; return each policy's episodes on the test tasks, and how the training went."""
    train, _, test = split_tasks(load_suite(suite, seed=seed, size=given.size), seed)
    agents = team()
    puppeteer = Puppeteer.of(agents, seed=seed, preset="quick", updates=given.updates, cost_weight=given.cost_weight, max_steps=given.steps)
    executor = Executor({agent.spec.name: agent for agent in agents}, timeout=30.0, max_characters=20_000)
    rule, rng, played = puppeteer.config.rule, np.random.default_rng(seed), Played()
    played["untrained"], played["untrained-sampled"] = puppeteer.play(test), puppeteer.play(test, sample=True, seed=seed)
    began = time.perf_counter(), time.process_time()
    metrics = puppeteer.fit(train)
    about = {"seconds": time.perf_counter() - began[0], "cpu_seconds": time.process_time() - began[1], "episodes": metrics["episodes"]}
    played["learned"], played["learned-sampled"] = puppeteer.play(test), puppeteer.play(test, sample=True, seed=seed)
    played["random"] = play(test, by_chance(TOOLS, rng), executor, rule, given.steps)
    routes = Counter(route for route in asyncio.run(routes_of(train, agents, given.steps)) if route)
    order, _ = best_pipeline(train, routes, executor, rule, given.steps)
    played["pipeline"] = play(test, in_order(order), executor, rule, given.steps)
    frequent = [route for route, _ in routes.most_common(PIPELINES)]
    for number, route in enumerate(frequent, start=1):
        played[f"pipeline-{number}"] = play(test, in_order(route), executor, rule, given.steps)
    best = asyncio.run(routes_of(test, agents, given.steps))
    played["cheapest-route"] = [play([task], in_order(route), executor, rule, given.steps)[0] for task, route in zip(test, best, strict=True)]
    puppeteer.close()
    executor.close()
    return played, about | {"pipeline": order, "frequent_routes": frequent}


def by_kind(trajectories: Sequence[Trajectory]) -> Mapping[str, float]:
    """Return the success rate of each kind of task and difficulty."""
    groups: dict[str, list[bool]] = {}
    for trajectory in trajectories:
        task = trajectory.state.task
        groups.setdefault(f"{task.kind} {task.difficulty}", []).append(trajectory.succeeded)
    return {name: float(np.mean(groups[name])) for name in sorted(groups)}


def measure(suite: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one suite over all seeds."""
    results = [one_seed(suite, seed, given) for seed in given.seeds]
    names = [name for name in results[0][0] if all(name in played for played, _ in results)]
    pooled = {name: [trajectory for played, _ in results for trajectory in played[name]] for name in names}
    return {
        "policies": {name: {**summarise(trajectories), "success_by_kind": by_kind(trajectories)} for name, trajectories in pooled.items()},
        "learned_above": {name: gain(pooled["learned"], trajectories) for name, trajectories in pooled.items() if name != "learned"},
        "trainings": [about for _, about in results],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", nargs="+", choices=SUITES, default=["mixed"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=600, help="tasks of a suite")
    defaults = configure(PuppeteerConfig, {}, preset="quick")
    parser.add_argument("--updates", type=int, default=defaults.updates)
    parser.add_argument("--steps", type=int, default=defaults.max_steps, help="most activations of an episode")
    parser.add_argument("--cost-weight", type=float, default=defaults.cost_weight, help="reward that a USD takes away")
    given = parser.parse_args()
    document: dict[str, Any] = {"options": vars(given), "suites": {}}
    for suite in given.suites:
        document["suites"][suite] = measure(suite, given)
        figures = {name: round(policy["success_rate"], 3) for name, policy in document["suites"][suite]["policies"].items()}
        print(suite, figures, file=sys.stderr, flush=True)
    print(json.dumps(plain(document), indent=1))


if __name__ == "__main__":
    main()
