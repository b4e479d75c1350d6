"""Compare the gateway with a direct call, a minimal pass-through and LiteLLM's proxy; prints JSON.

    python benchmarks/gateway.py [--run RUN] [--litellm ENVIRONMENT/bin/litellm] [--beside CHECKOUT] [--seconds 4] [--rounds 5]
        [--memory-requests 100000]

All servers run at the same time on one core, idle but for the one that is measured; the stub upstream and the load (wrk) run on another core. The
targets take turns in each round, and the figures are medians over the rounds:

- ``direct``: the stub; ``floor``: Starlette and aiohttp pass the request through.
- ``static``, ``bandit``: this gateway with a fixed choice, and with Thompson sampling. ``ppo_cached`` and ``ppo_uncached``: with the router of
  ``--run``, the same question again, or another one each time. All with a key, a durable log and metrics.
- ``beside``: as ``bandit``, by the code of another checkout of this repository, to see what changes have cost.
- ``litellm``, ``litellm_rust``: LiteLLM's proxy with one worker, as it is and with ``rust: true``. It needs an environment of its own:
  ``python -m venv E && E/bin/pip install 'litellm[proxy]'``.

``cpu_ms``: processor time of the server's processes a request with 16 connections. ``requests_per_s``: of one worker. ``added_ms``: the median time
of a request with one connection, less that of ``direct``. ``chunk_us_N``: processor time a streamed chunk, with 16 streams of 200 chunks every N ms.
``first_added_ms``: the median time to the first content of a stream, less that of ``direct``. ``memory_bandit``: resident memory before and after
``--memory-requests`` requests.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from aamc_gateway.testing import free_port, stub_candidate

sys.path.insert(0, str(Path(__file__).parent))
from serving.load import buffered, streams
from serving.processes import Server, processor_s, resident_mb, start

BODY = {"model": "", "messages": [{"role": "user", "content": "What is the capital of France? NUMBER"}], "max_tokens": 100}
AAMC = [sys.executable, "-c", "from aamc_sdk.cli import main; main()"]
PACES_MS = (1, 20)
CHUNKS = 200
PRICES = {"good": 2.0, "small": 1.0}
"""The candidates, with their prices in USD per million tokens; the stub answers alike for both."""
SERVER_CORE, LOAD_CORE = 0, 1


def start_stub(folder: Path) -> Server:
    """Start the stub, whose models answer at once until :func:`pace_stub` says otherwise."""
    port = free_port()
    command = [sys.executable, "-m", "aamc_models.testing", "--port", str(port)]
    return start("direct", command, f"http://127.0.0.1:{port}", "/stub/counts", folder, LOAD_CORE, model="good")


def pace_stub(stub: Server, pace_ms: int | None) -> None:
    """Let the stub send its answers in paced chunks; None: at once again."""
    text = "".join(f"w{number:03} " for number in range(CHUNKS))  # LiteLLM breaks off a stream that repeats a chunk
    script = {} if pace_ms is None else {"pace_ms": pace_ms, "chunks": CHUNKS, "text": text}
    body, headers = json.dumps(dict.fromkeys(PRICES, script)).encode(), {"content-type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{stub.url}/stub/scripts", body, headers, method="PUT"), timeout=10).close()


def start_floor(folder: Path, upstream: str) -> Server:
    port = free_port()
    command = [sys.executable, str(Path(__file__).parent / "serving" / "floor.py"), upstream, str(port)]
    return start("floor", command, f"http://127.0.0.1:{port}", "/readyz", folder, SERVER_CORE, model="good")


def program_of(checkout: Path) -> list[str]:
    """Return the command of another checkout, whose packages come before the installed ones."""
    paths = [checkout, *sorted(checkout.glob("plugins/*/src"))]
    return ["env", f"PYTHONPATH={os.pathsep.join(str(path.resolve()) for path in paths)}", *AAMC]


def start_gateway(
    name: str, folder: Path, upstream: str, arguments: list[str], prices: Mapping[str, float] = PRICES, program: Sequence[str] = AAMC
) -> Server:
    """Start this gateway with a key; all candidates are the stub."""
    (folder / name).mkdir()
    candidates = [stub_candidate(model, f"{upstream}/v1", input_price=price) for model, price in prices.items()]
    (folder / name / "pool.yaml").write_text(yaml.safe_dump({"candidates": candidates}))
    store = ["--store", "sqlite:log.db"]
    added = subprocess.run([*program, "keys", "add", "bench", *store, "--json"], cwd=folder / name, check=True, capture_output=True, text=True)
    port = free_port()
    command = [*program, "serve", "--port", str(port), *store, *arguments]
    headers = {"authorization": f"Bearer {json.loads(added.stdout)['key']}"}
    return start(name, command, f"http://127.0.0.1:{port}", "/readyz", folder / name, SERVER_CORE, headers=headers)


def start_litellm(name: str, folder: Path, upstream: str, program: str) -> Server:
    port = free_port()
    rust = {"rust": True} if name == "litellm_rust" else {}
    parameters = {"api_base": f"{upstream}/v1", "api_key": "none", **rust}
    models = [{"model_name": "good", "litellm_params": {"model": "openai/good", **parameters}}]
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"model_list": models, "general_settings": {"master_key": "sk-bench"}}))
    command = [program, "--config", f"{name}.yaml", "--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    headers = {"authorization": "Bearer sk-bench"}
    return start(name, command, f"http://127.0.0.1:{port}", "/health/liveliness", folder, SERVER_CORE, headers=headers, model="good")


def measure_buffered(server: Server, folder: Path, seconds: float, varied: bool) -> dict[str, float]:
    url, body, headers = f"{server.url}/v1/chat/completions", json.dumps({**BODY, "model": server.model}), dict(server.headers)
    common = {"seconds": seconds, "varied": varied, "core": LOAD_CORE, "folder": folder}
    before = processor_s(server.process.pid)
    many = buffered(url, body, headers, at_once=16, **common)  # type: ignore[arg-type]  # as its signature says
    used = processor_s(server.process.pid) - before
    one = buffered(url, body, headers, at_once=1, **common)  # type: ignore[arg-type]  # likewise
    return {
        "cpu_ms": 1000 * used / many["requests"],
        "requests_per_s": many["requests"] / many["seconds"],
        "p99_ms": many["p99_ms"],
        "median_ms": one["p50_ms"],
        "errors": many["errors"] + one["errors"],
    }


def warm_up(server: Server) -> None:
    """Answer one request: the first one loads a run's estimator."""
    body, headers = json.dumps({**BODY, "model": server.model}).encode(), {"content-type": "application/json", **server.headers}
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}/v1/chat/completions", body, headers), timeout=120) as answer:
        answer.read()


def measure_streams(server: Server, stub: Server) -> dict[str, float]:
    found: dict[str, float] = {}
    url, headers = f"{server.url}/v1/chat/completions", dict(server.headers)
    body = {**BODY, "model": server.model, "stream": True, "max_tokens": 10_000}
    for pace in () if server.name == "ppo" else PACES_MS:  # a run's candidates have no pace
        pace_stub(stub, pace)
        before = processor_s(server.process.pid)
        read = streams(url, body, headers, count=16, at_once=16, core=LOAD_CORE)
        found[f"chunk_us_{pace}"] = 1e6 * (processor_s(server.process.pid) - before) / read["chunks"]
        found[f"stream_errors_{pace}"] = read["errors"]
    pace_stub(stub, None)
    found["first_ms"] = streams(url, body, headers, count=100, at_once=1, core=LOAD_CORE)["first_ms"]
    return found


def summary(samples: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the medians over the rounds, and the differences from ``direct``; errors are summed up."""
    found = {
        name: {key: (sum if "errors" in key else statistics.median)(sample[key] for sample in rounds) for key in rounds[0]}
        for name, rounds in samples.items()
    }
    for name, figures in found.items():
        if name != "direct":
            figures["added_ms"] = figures["median_ms"] - found["direct"]["median_ms"]
            if "first_ms" in figures:
                figures["first_added_ms"] = figures["first_ms"] - found["direct"]["first_ms"]
    return found


def targets(options: argparse.Namespace, folder: Path, upstream: str, skipped: dict[str, str]) -> list[Server]:
    """Start all servers to compare; ``skipped`` gets the reason of each that cannot be."""
    pool = ["--pool", "pool.yaml"]
    servers = [
        start_floor(folder, upstream),
        start_gateway("static", folder, upstream, [*pool, "--router", "llm-only"]),
        start_gateway("bandit", folder, upstream, [*pool, "--router", "thompson"]),
    ]
    if options.beside is not None:
        servers.append(start_gateway("beside", folder, upstream, [*pool, "--router", "thompson"], program=program_of(Path(options.beside))))
    if options.run is None:
        skipped["ppo"] = "no --run with a trained PPO router was given"
    else:
        names = json.loads((Path(options.run) / "metrics.json").read_text())["data"]["models"]
        servers.append(start_gateway("ppo", folder, upstream, [*pool, "--run", str(Path(options.run).resolve())], dict.fromkeys(names, 1.0)))
    for name in ("litellm", "litellm_rust"):
        if options.litellm is None:
            skipped[name] = "no --litellm was given"
            continue
        try:
            servers.append(start_litellm(name, folder, upstream, options.litellm))
        except (RuntimeError, OSError) as error:
            skipped[name] = str(error)[-300:]
    return servers


def memory(server: Server, folder: Path, requests: int) -> dict[str, float]:
    """Return the memory before and after so many requests."""
    figures = {"before_mb": resident_mb(server.process.pid)}
    url, body, done = f"{server.url}/v1/chat/completions", json.dumps({**BODY, "model": server.model}), 0.0
    while done < requests:
        sent = buffered(url, body, dict(server.headers), at_once=16, seconds=5, varied=True, core=LOAD_CORE, folder=folder)
        done += sent["requests"]
        figures.setdefault("first_5_s_mb", resident_mb(server.process.pid))
    return {**figures, "after_mb": resident_mb(server.process.pid), "requests": done}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="Folder of a run with a PPO router.")
    parser.add_argument("--litellm", help="The program litellm of an environment of its own.")
    parser.add_argument("--beside", help="Another checkout of this repository, whose gateway is measured too.")
    parser.add_argument("--seconds", type=float, default=4.0, help="Time of each measurement (default: 4).")
    parser.add_argument("--rounds", type=int, default=5, help="Rounds (default: 5).")
    parser.add_argument("--memory-requests", type=int, default=100_000, help="Requests of the memory's measurement (default: 100000).")
    parser.add_argument("--no-streams", action="store_true", help="Leave the streams out.")
    options = parser.parse_args()
    skipped: dict[str, str] = {}
    started: list[Server] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            started = [start_stub(folder)]
            started += targets(options, folder, started[0].url, skipped)
            for server in started:
                warm_up(server)
            samples: dict[str, list[dict[str, float]]] = defaultdict(list)
            for _ in range(options.rounds):
                for server in started:
                    ways = {"ppo_cached": False, "ppo_uncached": True} if server.name == "ppo" else {server.name: True}
                    for way, varied in ways.items():
                        figures = measure_buffered(server, folder, options.seconds, varied)
                        if not options.no_streams and way != "ppo_uncached":
                            figures |= measure_streams(server, started[0])
                        samples[way].append(figures)
            bandit = next(server for server in started if server.name == "bandit")
            document: dict[str, Any] = {
                "cores": os.cpu_count(),
                "figures": summary(samples),
                "start_s": {server.name: server.start_s for server in started},
                "memory_bandit": memory(bandit, folder, options.memory_requests) if options.memory_requests else {},
                "skipped": skipped,
            }
        finally:
            for server in started:
                server.stop()
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
