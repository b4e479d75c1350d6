"""Load: wrk for whole answers, and streams that are read chunk by chunk.

As a program it reads streams: ``python load.py URL BODY HEADERS COUNT AT_ONCE``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_LOADS = itertools.count()
"""The numbers of the loads with varied bodies: wrk counts from 1 in each."""
LUA = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
for name, value in string.gmatch(os.getenv("BENCH_HEADERS"), "([^\\n:]+):([^\\n]+)") do wrk.headers[name] = value end
local body, varied, count = os.getenv("BENCH_BODY"), os.getenv("BENCH_VARIED") == "1", 0
request = function()
  count = count + 1
  return wrk.format(nil, nil, nil, varied and string.gsub(body, "NUMBER", string.format("%07d", count)) or body)
end
local failed = 0
response = function(status) if status ~= 200 then failed = failed + 1 end end
done = function(summary, latency)
  local wrong = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format('JSON{"requests":%d,"seconds":%f,"errors":%d,"p50_ms":%f,"p99_ms":%f}\\n',
    summary.requests, summary.duration / 1e6, wrong, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


def buffered(
    url: str, body: str, headers: dict[str, str], *, at_once: int, seconds: float, varied: bool, core: int, folder: Path
) -> dict[str, float]:
    """Send requests over ``at_once`` connections for some time; return ``requests``, ``seconds``, ``errors``, ``p50_ms`` and ``p99_ms``.

    If ``varied``, ``NUMBER`` in the body becomes another number in each request of this process, all of one length. The folder gets wrk's script.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("this benchmark needs wrk: apt-get install wrk")
    script = folder / "load.lua"
    script.write_text(LUA)
    environment = {
        **os.environ,
        "BENCH_BODY": body.replace("NUMBER", f"{next(_LOADS):04}-NUMBER") if varied else body,
        "BENCH_HEADERS": "\n".join(f"{name}:{value}" for name, value in headers.items()),
        "BENCH_VARIED": "1" if varied else "0",
    }
    command = [wrk, "-t1", f"-c{at_once}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(script), url]
    ended = subprocess.run([*pinned(core), *command], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(next(line[4:] for line in ended.stdout.splitlines() if line.startswith("JSON")))
    return found


def pinned(core: int) -> list[str]:
    """Return the prefix of a command that pins it to a core."""
    return ["taskset", "-c", str(core % (os.cpu_count() or 1))]


def streams(url: str, body: dict[str, Any], headers: dict[str, str], *, count: int, at_once: int, core: int) -> dict[str, float]:
    """Read streams on a core; return ``chunks``, ``streams``, ``errors`` and ``first_ms``, the median time to the first content."""
    command = [sys.executable, __file__, url, json.dumps(body), json.dumps(headers), str(count), str(at_once)]
    ended = subprocess.run([*pinned(core), *command], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(ended.stdout)
    return found


async def read_streams(url: str, body: str, headers: dict[str, str], count: int, at_once: int) -> dict[str, float]:
    """Read streams, so many at once."""
    import aiohttp

    left, first_ms, chunks, errors = iter(range(count)), [], 0, 0
    headers = {"content-type": "application/json", **headers}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def reader() -> None:
            nonlocal chunks, errors
            for _ in left:
                began, content = time.perf_counter(), b""
                async with session.post(url, data=body, headers=headers) as answer:
                    first = 0.0
                    async for data in answer.content.iter_any():
                        if not first and b'"content":"' in data.replace(b'"content":""', b""):
                            first = time.perf_counter() - began
                        chunks += data.count(b"data: ")
                        content = (content + data)[-400:]
                    errors += answer.status != 200 or b"[DONE]" not in content
                    first_ms.append(1000 * first)

        await asyncio.gather(*(reader() for _ in range(at_once)))
    return {"streams": count, "chunks": chunks, "errors": errors, "first_ms": statistics.median(first_ms)}


if __name__ == "__main__":
    _, address, asked, further, total, parallel = sys.argv
    print(json.dumps(asyncio.run(read_streams(address, asked, json.loads(further), int(total), int(parallel)))))
