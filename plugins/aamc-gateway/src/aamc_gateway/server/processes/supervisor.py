"""Running the gateway: one worker in this process, or several that share a socket."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Semaphore

import click

from aamc_gateway.observe.metrics import FOLDER, worker_ended
from aamc_gateway.observe.request_log import JsonFormatter, configure_logs
from aamc_gateway.server.processes.launch import STORE, Launch
from aamc_gateway.server.processes.worker import reloads_held, serve_worker
from aamc_gateway.server.settings import GatewaySettings
from aamc_sdk.cli import listening_socket
from aamc_sdk.errors import AamcError

logger = logging.getLogger(__name__)
_RESTART_S = 1.0
"""Time between two starts of a worker that ends."""
_TRIES = 3
"""The number of times that each worker is started before the gateway gives up, unless one of them has served."""


def check_launch(launch: Launch) -> str:
    """Describe in words what would be served.

    Raises:
        AamcError: Something cannot be used, or the port is taken.
    """
    found = check_components(launch)
    settings = launch.settings()
    listening_socket(settings.host, settings.port).close()
    return f"OK: {found}"


def check_components(launch: Launch) -> str:
    """Describe in words what would be served; the port may be taken."""

    async def check() -> str:
        gateway = launch.gateway()
        try:
            await gateway.start()
            settings, components = gateway.settings, gateway.components
            names, log = ", ".join(gateway.upstreams), components.store.name
            kept = "the log is in memory and ends with the process" if log.startswith("memory") else f"the log is {log}"
            where = _address(settings.host, settings.port) if settings.port else f"a free port of {settings.host}"
            return f"{where}, router {components.router_name}, candidates {names}; {kept}"
        finally:
            await gateway.close()

    return asyncio.run(check())


def run(launch: Launch) -> None:
    """Serve until the process is asked to end.

    Raises:
        AamcError: Something cannot be used, or the port is taken.
    """
    signal.signal(signal.SIGTERM, _end_start)
    launch, settings = launch.with_log(), launch.settings()
    configure_logs(settings.observe.logs)
    with listening_socket(settings.host, settings.port) as listener:
        listener.set_inheritable(True)
        host, port = listener.getsockname()[:2]
        address = _address(host, port)
        if settings.workers == 1:
            serve_worker(launch, listener, lambda: _announce(launch, settings, address))
        else:
            _run_workers(launch, settings, listener, address)


def _end_start(number: int, frame: object) -> None:
    """End before anything is served, which may take minutes; without a handler of its own, a container's first process ignores the signal."""
    os._exit(0)


def _announce(launch: Launch, settings: GatewaySettings, address: str) -> None:
    what = "the provider echo, which calls no model (name a pool with --pool)" if launch.is_trial else "the candidates of the pool"
    kept = f" The log is in memory. To keep it, and to use keys, name a file: --store {STORE}." if launch.in_memory else ""
    text = f"Serving {what} at {address}/v1; model aamc/auto lets the router choose.{kept}"
    if settings.observe.logs.format == "json":
        text = JsonFormatter().format(logging.makeLogRecord({"name": __name__, "levelname": "INFO", "msg": text}))
    click.echo(text, err=True)


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _work(launch: Launch, listener: socket.socket, ready: Semaphore) -> None:
    """Serve in a worker process, and say when it does."""
    threading.Thread(target=_end_with_supervisor, name="aamc-supervisor", daemon=True).start()
    try:
        configure_logs(launch.settings().observe.logs)
        serve_worker(launch.again(), listener, ready.release)
    except AamcError as error:  # the configuration may have changed since the start
        logger.error("a worker cannot start: %s", error)  # noqa: TRY400  # the traceback says nothing more
        sys.exit(1)


def _end_with_supervisor() -> None:
    """End this worker as SIGTERM does once the process that started it is gone: workers that stay would keep the port."""
    supervisor = multiprocessing.parent_process()
    assert supervisor is not None, "a worker is started by a supervisor"
    supervisor.join()
    os.kill(os.getpid(), signal.SIGTERM)


class _Workers:
    """The worker processes of one gateway."""

    def __init__(self, launch: Launch, count: int, listener: socket.socket, serving: Callable[[], None]) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._launch, self._listener, self._serving = launch, listener, serving
        self._all: dict[int, BaseProcess] = {}
        self._ready, self._waited_for, self._count = self._context.Semaphore(0), count, count
        self._ends = [0] * count
        self._gave_up = self.ending = False

    def _start(self, place: int) -> None:
        process = self._context.Process(target=_work, args=(self._launch, self._listener, self._ready), name="aamc-serve")
        self._all[place] = process
        with reloads_held():
            process.start()
        if self.ending:  # the signal may have come before there was a process that it could be passed on to
            process.terminate()

    def signal(self, number: int) -> None:
        """Send a signal to all workers."""
        for process in self._all.values():
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, number)

    def watch(self) -> int:
        """Start the workers, and again those that end by themselves, until all are asked to end; return the exit status."""
        for place in range(self._count):
            if not self.ending:
                self._start(place)
        while True:
            if self.ending:
                self._listener.close()  # else connections wait here until the last answer of the workers has ended, and are lost
            alive = [process for process in self._all.values() if process.is_alive()]
            if self.ending and not alive:
                codes = (process.exitcode or 0 for process in self._all.values())
                worst = max((abs(code) for code in codes if code != -signal.SIGTERM), default=0)  # one that was asked to end before it could answer
                return worst or int(self._gave_up)
            for place, process in list(self._all.items()):
                if not process.is_alive() and not self.ending:
                    worker_ended(process.pid or 0)
                    if self._gives_up(place):
                        break
                    logger.error("a worker ended with status %s; another one starts", process.exitcode)
                    self._start(place)
            self._pause()

    def _gives_up(self, place: int) -> bool:
        """Count a worker that has ended, and end all if none has served and each has had its tries: the reason will not go away by itself."""
        self._ends[place] += 1
        if self._waited_for < self._count or min(self._ends) < _TRIES:
            return False
        logger.error("no worker has started in %s tries, so the gateway ends; the errors above say why", sum(self._ends))
        self.ending = self._gave_up = True
        self.signal(signal.SIGTERM)
        return True

    def _pause(self) -> None:
        """Wait until a worker serves, or it is time to look at them again."""
        until = time.monotonic() + (_RESTART_S if not self.ending else 0.05)
        while (left := until - time.monotonic()) > 0 and self._ready.acquire(timeout=left):
            self._waited_for -= 1
            if not self._waited_for:
                self._serving()


def _run_workers(launch: Launch, settings: GatewaySettings, listener: socket.socket, address: str) -> None:
    with reloads_held():
        check_components(launch)  # an error is reported once, before any worker starts
        folder = os.environ[FOLDER] = tempfile.mkdtemp(prefix="aamc-metrics-")
        workers = _Workers(launch, settings.workers, listener, lambda: _announce(launch, settings, address))

        def end(number: int, frame: object) -> None:
            workers.ending = True
            workers.signal(signal.SIGTERM)

        def reload(number: int, frame: object) -> None:
            workers.signal(signal.SIGHUP)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, reload)
    status = workers.watch()
    shutil.rmtree(folder, ignore_errors=True)
    if status:
        sys.exit(1)
