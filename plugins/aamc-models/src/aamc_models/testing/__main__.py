"""The stub as a process: ``python -m aamc_models.testing --port 9000 --scripts scripts.json``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
from pathlib import Path

import orjson

from aamc_models.testing.script import FAULTS, USAGE, Script
from aamc_models.testing.server import StubServer


async def _serve(stub: StubServer) -> None:
    server = await stub.start()
    print(stub.url, flush=True)  # noqa: T201  # whoever started the process reads the port
    await server.serve_forever()


def main() -> None:
    """Serve until the process is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m aamc_models.testing",
        description="Serve a stub of OpenAI's and Anthropic's APIs.",
        epilog=f"{inspect.getdoc(Script)}\n\nFAULTS: {', '.join(filter(None, FAULTS))}\nUSAGE: {', '.join(USAGE)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="Address to listen on (default: 127.0.0.1).")
    parser.add_argument("--port", type=int, default=0, help="Port (default: a free one, which is printed).")
    parser.add_argument("--scripts", type=Path, help='JSON file of scripts: {"MODEL": {"pace_ms": 20}}.')
    options = parser.parse_args()
    given = orjson.loads(options.scripts.read_bytes()) if options.scripts else {}
    stub = StubServer({name: Script(**script) for name, script in given.items()}, port=options.port, host=options.host)
    with contextlib.suppress(ImportError):  # faster where it is installed
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(stub))


if __name__ == "__main__":
    main()
