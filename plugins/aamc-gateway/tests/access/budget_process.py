"""A worker of the tests: it admits requests when it is told so, and says how many it admitted.

Arguments: the log's URL, the seconds of its lease. Each line of standard input is a command: ``admit N`` (at the same time), ``settle USD`` (all that
are open), ``end``.
"""

from __future__ import annotations

import asyncio
import sys

import click
from aamc_gateway.access.access import Access
from aamc_gateway.access.admission import Admission
from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.access.settings import AccessSettings, Limits
from aamc_gateway.access.shared import open_shared

from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager

CALLER = Caller(key_id="k", name="ci", limits=Limits(usd_total=1.0))
COST_USD = 0.1


async def main(url: str, lease_s: float) -> None:
    store = open_store(url, get_plugin_manager())
    shared = open_shared(store, lease_s=lease_s)
    access = Access(AccessSettings(), shared)
    opened: list[Admission] = []

    async def admit() -> int:
        try:
            opened.append(await access.admit(CALLER, max_cost_usd=COST_USD))
        except Refused as error:
            assert error.kind == "budget", error  # noqa: PT017  # not a test
            return 0
        return 1

    click.echo("ready")
    while (line := await asyncio.to_thread(sys.stdin.readline)) and line != "end\n":
        command, number = line.split()
        if command == "admit":
            click.echo(sum(await asyncio.gather(*(admit() for _ in range(int(number))))))
        else:
            for admission in opened:
                admission.settle(float(number))
            opened.clear()
            await shared.read(["k"])  # settlements are applied in order
            click.echo("settled")
    await shared.close()
    store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
