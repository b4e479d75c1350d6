"""Soak the gateway: many requests before an upstream that fails now and then; compares the sums of log and stub, and prints JSON.

    python benchmarks/gateway_soak.py [--requests 100000] [--at-once 64] [--faults 0.05] [--folder FOLDER]

Half of the requests are streamed, a tenth of the clients judge their answer, and one in 200 sends a message in Anthropic's dialect. A share of
the calls of each model fails before its content: refused, 429, HTML, nothing, broken JSON, or an error as the second event. ``unserved`` counts
requests without a whole answer: a fallback could have served each (all six models fail at once in 0.05^6 of the requests). ``log`` and ``stub``
are the tokens and costs of all answers, which must be equal; ``acknowledged`` feedback must all be in the log, once. ``memory_mb`` is the resident
memory after each tenth. Exit status 1 if one fails. With ``--folder`` the log stays, so that the dashboard can be looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from aamc_gateway.testing import GatewayProcess, stub_candidate
from aamc_models.testing import Script, StubServer

sys.path.insert(0, str(Path(__file__).parent))
from serving.processes import resident_mb

FAULTS = ("refuse", "status", "html", "error_event", "bad_json", "empty")
PRICES = {"input": 2.0, "output": 4.0, "cached_input": 0.2, "cache_write": 2.5}


def scripts(share: float) -> dict[str, Script]:
    """Return the models, one for each fault."""
    common: dict[str, Any] = {"prompt_tokens": 200, "cached_tokens": 120, "output_tokens": 40, "prices": PRICES, "chunks": 12}
    return {f"model-{fault}": Script(fault=fault, fault_share=share, status=429 if fault == "status" else 502, **common) for fault in FAULTS}


def is_whole(streamed: bool, status: int, content: bytes) -> bool:
    """Return whether an answer has come to its end."""
    if status != 200:
        return False
    return (b"[DONE]" in content or b"message_stop" in content) and b'"error"' not in content if streamed else b'"usage"' in content


class Load:
    """Sends requests, some of them in parallel, and notes the answers."""

    def __init__(self, url: str, process: int, total: int) -> None:
        self._url, self._process, self._total = url, process, total
        self._numbers: Iterator[int] = iter(range(total))
        self.unserved: Counter[str] = Counter()
        self.served_by: Counter[str] = Counter()
        self.acknowledged: list[str] = []
        self.memory: list[float] = []

    async def run(self, at_once: int) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as session:
            await asyncio.gather(*(self._worker(session) for _ in range(at_once)))

    async def _worker(self, session: aiohttp.ClientSession) -> None:
        for number in self._numbers:
            await self._ask(session, number)
            if (number + 1) % max(1, self._total // 10) == 0:
                self.memory.append(resident_mb(self._process))

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> None:
        streamed, path = number % 2 == 0, "messages" if number % 200 == 199 else "chat/completions"
        messages = [{"role": "user", "content": f"Question {number}: what is the capital of country {number % 190}?"}]
        body = {"model": "aamc/auto", "messages": messages, "max_tokens": 100, "stream": streamed, "user": f"user-{number % 5000}"}
        if path == "messages":
            del body["user"]
        try:
            async with session.post(f"{self._url}/v1/{path}", json=body) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.unserved[type(error).__name__] += 1
            return
        if not is_whole(streamed, answer.status, content):
            self.unserved[f"{answer.status} {content[-200:].decode(errors='replace')}"] += 1
            return
        self.served_by[answer.headers.get("x-aamc-model", "")] += 1
        if number % 10 == 0:
            await self._judge(session, answer.headers["x-aamc-decision-id"], number)

    async def _judge(self, session: aiohttp.ClientSession, decision: str, number: int) -> None:
        async with session.post(f"{self._url}/v1/feedback", json={"decision_id": decision, "quality": number // 10 % 2}) as answer:
            if answer.status == 200:
                self.acknowledged.append(decision)


def logged(folder: Path) -> tuple[dict[str, float], Counter[str]]:
    """Return the sums over the log's attempts, and how often each decision was judged."""
    command = [sys.executable, "-c", "from aamc_sdk.cli import main; main()", "feedback", "export", "--store", "sqlite:state.db", "export.jsonl"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    sums: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    with (folder / "export.jsonl").open(encoding="utf-8") as lines:
        for entry in map(json.loads, lines):
            if "feedback" in entry:
                judged[entry["feedback"]["decision_id"]] += 1
            attempt = entry.get("attempt", {})
            if attempt.get("cost_usd") is not None:
                sums["cost_usd"] += attempt["cost_usd"]
                sums["prompt_tokens"] += attempt.get("prompt_tokens") or 0
                sums["output_tokens"] += attempt.get("output_tokens") or 0
    return dict(sums), judged


def billed(stub: StubServer) -> dict[str, float]:
    models = stub.all_counts()["models"].values()
    return {name: sum(model[name] for model in models) for name in ("cost_usd", "prompt_tokens", "output_tokens")}


def soak(folder: Path, requests: int, at_once: int, share: float, options: Sequence[str]) -> dict[str, Any]:
    """Run the soak and return the document; ``failed`` names the violated expectations."""
    with StubServer(scripts(share)) as stub:
        prices = {"input_price": PRICES["input"], "output_price": PRICES["output"]}
        quick = {"retries": 0, "first_token_timeout_s": 10.0, "idle_timeout_s": 10.0}
        candidates = [stub_candidate(name, f"{stub.url}/v1", **prices, **quick) for name in stub.scripts]
        with GatewayProcess(folder, candidates, router="thompson", options=options, settings={"limits": {"fallbacks": 6}}) as gateway:
            load = Load(gateway.url, gateway.process.pid, requests)
            asyncio.run(load.run(at_once))
            idle = stub.wait(lambda now: now.active == 0, 30)
        sums, judged = logged(folder)
        bill = billed(stub)
        calls = {name: counts["calls"] for name, counts in stub.all_counts()["models"].items()}
    settled, last = load.memory[len(load.memory) // 3], load.memory[-1]
    failed = {
        "a request was not served": bool(load.unserved),
        "the sums differ": any(not math.isclose(sums.get(name, 0.0), value, rel_tol=1e-9) for name, value in bill.items()),
        "acknowledged feedback is lost or twice in the log": any(judged[decision] != 1 for decision in load.acknowledged),
        "memory grows": last - settled > 0.1 * settled,
        "a request to the upstream is still open": not idle,
    }
    return {
        "requests": requests,
        "at_once": at_once,
        "unserved": dict(load.unserved.most_common(10)),
        "served_by": dict(load.served_by),
        "calls": calls,
        "log": sums,
        "stub": bill,
        "acknowledged": len(load.acknowledged),
        "memory_mb": load.memory,
        "failed": [name for name, wrong in failed.items() if wrong],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000, help="Requests (default: 100000).")
    parser.add_argument("--at-once", type=int, default=64, help="Requests at the same time (default: 64).")
    parser.add_argument("--faults", type=float, default=0.05, help="Share of the calls that fail (default: 0.05).")
    parser.add_argument("--workers", type=int, default=1, help="Workers of the gateway (default: 1).")
    parser.add_argument("--folder", type=Path, help="An empty folder that keeps the log (default: a temporary one).")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        document = soak(folder, options.requests, options.at_once, options.faults, ["--workers", str(options.workers)])
    print(json.dumps(document, indent=2))
    sys.exit(bool(document["failed"]))


if __name__ == "__main__":
    main()
