"""A worker: uvicorn with uvloop and httptools, reload by SIGHUP, and a shutdown that lets answers end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import gc
import linecache
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import uvicorn
import uvloop

from aamc_gateway.observe.endpoints import share_gauges
from aamc_gateway.observe.metrics import FOLDER, Metrics
from aamc_gateway.observe.request_log import configure_logs
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.app import GatewayApp
from aamc_gateway.server.processes.launch import Launch
from aamc_gateway.server.processes.limited_protocol import limited_protocol
from aamc_gateway.server.settings import GatewaySettings
from aamc_sdk.concurrency import run_on_own_thread

logger = logging.getLogger(__name__)
_KEEP_ALIVE_S = 75
"""Time for which an idle connection is kept; longer than that of usual proxies."""
_CLOSE_S = 10.0
"""Time that closing the components and the log may take after the answers in progress, in seconds."""
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
"""The numbers of these settings in glibc's ``mallopt``."""
_MALLOC_VARIABLES = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""Variables by which the user chooses these settings."""
_LARGE_BYTES = 128 * 1024
"""Size from which a block of memory goes back to the system as soon as it is freed: glibc's own value, which it raises with each such block."""
_YOUNG_OBJECTS = 10_000
"""New objects after which garbage is looked for: requests make few cycles, and each search takes longer than a request."""


class Server(uvicorn.Server):
    """uvicorn's server, with the signals of :func:`serve_worker`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave signals to :func:`serve_worker`."""
        yield


def uvicorn_config(app: Any, settings: GatewaySettings) -> uvicorn.Config:
    """Return uvicorn's configuration."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=limited_protocol(settings.limits),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.shutdown_s),
        backlog=2048,
    )


@contextlib.contextmanager
def reloads_held() -> Iterator[None]:
    """Hold back SIGHUP, which would end a process that cannot reload yet, and processes that are started meanwhile; it comes at the end."""
    if hasattr(signal, "SIGHUP"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        _let_reloads()


def _let_reloads() -> None:
    if hasattr(signal, "SIGHUP"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def serve_worker(launch: Launch, listener: socket.socket, started: Callable[[], None]) -> None:
    """Serve in this process until it is asked to end."""
    _limit_freed_memory()
    _allow_files()
    configure_logs(launch.settings().observe.logs)
    metrics = Metrics()

    async def make() -> Gateway:
        if launch.in_memory:
            lost = "" if launch.settings().shared_state else ", and new budgets"
            logger.warning("the log is in memory: the reload begins a new one%s; to keep what is in it, give --store sqlite:FILE", lost)
        _collect_and_freeze()  # the gateway before this one, whose objects refer to one another: a large router would wait for many reloads
        return await asyncio.wrap_future(run_on_own_thread(lambda: launch.again().gateway(metrics), "aamc-reload"))  # the end waits for no reload

    with reloads_held():
        app = GatewayApp(launch.gateway(metrics), make)
        linecache.clearcache()  # attrs keeps the source of generated methods there, for tracebacks: more than a megabyte
        _collect_and_freeze()
        gc.set_threshold(_YOUNG_OBJECTS)
        uvloop.run(_serve(app, listener, started))


async def _serve(app: GatewayApp, listener: socket.socket, started: Callable[[], None]) -> None:
    """Serve an application until a signal ends it; SIGHUP reloads its pool and configuration."""
    loop, settings = asyncio.get_running_loop(), app.gateway.settings
    server = Server(uvicorn_config(app, settings))
    reloads: set[asyncio.Task[None]] = set()

    async def reload_all() -> None:
        await app.reload()
        configure_logs(app.gateway.settings.observe.logs)

    def reload() -> None:
        task = loop.create_task(reload_all())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, partial(_end, server, settings.shutdown_s))
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, reload)
    _let_reloads()
    await app.start()
    serving = loop.create_task(server.serve([listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        started()
    sharing = loop.create_task(share_gauges(lambda: app.gateway)) if FOLDER in os.environ else None
    await serving
    if sharing is not None:
        sharing.cancel()
    if not server.force_exit:
        await app.close()


def _collect_and_freeze() -> None:
    """Free garbage; what was made until here stays, and need not be searched for garbage."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _limit_freed_memory() -> None:
    """Let glibc's malloc keep less freed memory: one arena serves all threads, which wait for Python's lock anyway, and large blocks go back."""
    if sys.platform == "linux" and not any(name in os.environ for name in _MALLOC_VARIABLES):
        with contextlib.suppress(AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_ARENA_MAX, 1)
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def _allow_files() -> None:
    """Raise the limit of open files as far as this process may: beyond it, libuv closes new connections, and no log says so."""
    if sys.platform != "win32":
        import resource

        with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit than it says
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _end(server: Server, shutdown_s: float, number: int, frame: object) -> None:
    """Let the server end, at a second Ctrl-C without waiting for open answers. A plugin's call that hangs ends with the process."""
    if number == signal.SIGINT and server.should_exit:
        server.force_exit, shutdown_s = True, 0.0
    server.should_exit = True
    faulthandler.dump_traceback_later(shutdown_s + _CLOSE_S, exit=True)
