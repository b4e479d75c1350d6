"""Gateways in processes that are forked from one that has imported them already: each starts with a tenth of the work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import uvicorn.server
from aamc_gateway.testing import GatewayProcess
from impatient_uvicorn import IMPATIENT

from aamc_sdk.cli import main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "aamc_bandit.thompson",
        "aamc_baselines.simple",
        "aamc_gateway.access.shared.sqlite_backend",
        "aamc_gateway.server.processes.command",
        "aamc_gateway.server.processes.launch",
        "aamc_gateway.server.processes.supervisor",
        "aamc_models.providers.anthropic",
        "aamc_models.providers.openai",
    ]
)


class ForkedGateway(GatewayProcess):
    """``aamc serve`` in a process of its own, which has not imported its modules anew."""

    def _launched(self) -> ForkedCommand:
        return ForkedCommand(["serve", *self.arguments], self.folder, self._environment, self.folder / "serve.log")


class ForkedCommand:
    """The command ``aamc`` in a forked process, with the methods of ``subprocess.Popen`` that tests of gateways use."""

    def __init__(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path) -> None:
        self._process = FORKS.Process(target=_run, args=(arguments, folder, environment, output))
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (status := self.poll()) is None:
            raise subprocess.TimeoutExpired("aamc", timeout)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    with output.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["aamc", *arguments]
    uvicorn.server.asyncio = IMPATIENT  # type: ignore[attr-defined]
    main()
