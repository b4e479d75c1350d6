"""The client overhead of Router-R1, and 64 episodes side by side in one process: prints JSON.

A stub server in a process of its own answers every call after a fixed time. An episode has ``--rounds`` rounds of one turn and one consulted
model each, and the last turn. ``overhead_ms_per_round`` is the time of an episode less that of as many plain calls of the same client, one after
the other, for each round; episodes and plain calls take turns. ``overhead_cpu_ms_per_round`` counts this process's CPU time, which other
programs on the machine do not change. ``parallel`` plays episodes side by side: ``seconds`` is the time of all of them,
``seconds_of_models`` that of the calls of one episode alone, which is the least possible.

    python benchmarks/router_r1.py --episodes 200 --parallel 64
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from aamc_router_r1.orchestrator import RouterR1
from numpy.typing import NDArray

from aamc_sdk import Query, get_plugin_manager
from aamc_sdk.config import configure
from aamc_sdk.interfaces import Message
from aamc_sdk.routing import pool_from_dict
from aamc_sdk.serving import make_services

TURN = "<think> Which model knows it? </think><search> small: Who wrote Emma? </search>"
QUESTION = "Who wrote Emma, and when?"
Times = NDArray[np.float64]


@contextmanager
def stub(delay_ms: float) -> Iterator[str]:
    """Run a stub server in a process of its own, and yield its address."""
    program = (
        "import sys, threading; from aamc_models.testing import Script, StubServer\n"
        f"script = Script(text={TURN!r}, first_ms={delay_ms!r})\n"
        f"with StubServer({{'policy': script, 'small': Script(first_ms={delay_ms!r})}}) as server:\n"
        "    print(server.url, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def make(url: str, rounds: int) -> RouterR1:
    """Return an orchestrator whose policy consults a model in each round, and never answers."""
    endpoint = {"provider": "openai", "base_url": f"{url}/v1", "retries": 0}
    candidates = [{"name": name, "prices": {"input": 1, "output": 2}, "endpoint": endpoint} for name in ("policy", "small")]
    services = make_services(pool_from_dict({"candidates": candidates}, "benchmark"), get_plugin_manager())
    return RouterR1(configure(RouterR1.Config, {"policy": "policy", "rounds": rounds}), services)


def clocks() -> Times:
    return np.array([time.perf_counter(), time.process_time()])


async def episode(router_r1: RouterR1) -> Times:
    """Play one episode and return its wall and CPU seconds."""
    began = clocks()
    played = router_r1.episode(Query(QUESTION), on_loop=True)
    async for _ in played.play():
        pass
    assert played.outcome == "no_answer", played.reason
    return clocks() - began


async def plain_calls(router_r1: RouterR1, rounds: int) -> Times:
    """Make the calls of one episode without it, with messages as long as in its middle, and return the wall and CPU seconds."""
    setup, client = router_r1.setup, router_r1.client
    prompt: list[Message] = [{"role": "user", "content": router_r1.prompt(Query(QUESTION))}]
    middle: list[Message] = [*prompt, *({"role": role, "content": TURN} for _ in range(rounds // 2) for role in ("assistant", "user"))]
    asked: list[Message] = [{"role": "user", "content": QUESTION}]
    began = clocks()
    for _ in range(rounds):
        await client.complete(setup.policy, middle, max_tokens=1024, **setup.codec.options(1, True))
        await client.complete(setup.models["small"], asked, max_tokens=512, temperature=0)
    await client.complete(setup.policy, middle, max_tokens=1024, **setup.codec.options(1, True))
    return clocks() - began


async def overhead(router_r1: RouterR1, episodes: int, rounds: int) -> dict[str, Any]:
    """Return the overhead of each round: the median difference of an episode and its calls made plainly."""
    await episode(router_r1)
    played, plain = [], []
    for number in range(episodes):
        for first in (True, False) if number % 2 else (False, True):
            if first:
                played.append(await episode(router_r1))
            else:
                plain.append(await plain_calls(router_r1, rounds))
    differences = 1000 * (np.array(played) - np.array(plain)) / rounds
    wall, cpu = np.quantile(differences, (0.25, 0.5, 0.75), axis=0).T.tolist()
    return {
        "n": episodes,
        "episode_ms": 1000 * float(np.median(played, axis=0)[0]),
        "plain_calls_ms": 1000 * float(np.median(plain, axis=0)[0]),
        "overhead_ms_per_round": wall[1],
        "overhead_cpu_ms_per_round": cpu[1],
        "quartiles": {"wall": wall[::2], "cpu": cpu[::2]},
    }


async def side_by_side(router_r1: RouterR1, parallel: int) -> dict[str, Any]:
    """Return the time of episodes that are played side by side, and of the first step of the last to begin."""
    began = time.perf_counter()
    alone = await asyncio.gather(*(episode(router_r1) for _ in range(parallel)))
    return {"episodes": parallel, "seconds": time.perf_counter() - began, "slowest_episode_seconds": float(np.max(alone, axis=0)[0])}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--parallel", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--delay-ms", type=float, default=100.0, help="time of each call in the parallel part")
    given = parser.parse_args(arguments)
    document: dict[str, Any] = {"schema": 1, "rounds": given.rounds}
    for name, delay_ms in (("sequential", 0.0), ("parallel", given.delay_ms)):
        with stub(delay_ms) as url:
            router_r1 = make(url, given.rounds)
            work = overhead(router_r1, given.episodes, given.rounds) if name == "sequential" else side_by_side(router_r1, given.parallel)
            document[name] = router_r1.services.loop.submit(work).result()
            router_r1.close()
    document["parallel"]["seconds_of_models"] = given.delay_ms / 1000 * (2 * given.rounds + 1)
    json.dump(document, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
