"""Servers of the tests' own, on free ports and in folders that go afterwards."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis


def program(name: str) -> str:
    """Return a program's path; PostgreSQL's are outside PATH on Debian."""
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None)
    if found is None:
        assert not os.environ.get("AAMC_REQUIRE_SERVICES"), f"no {name}: install apt-packages.txt"
        pytest.skip(f"no {name} here")
    return found


def free_port() -> int:
    """Return a port below those of outgoing connections, one of which could take it while a server is down."""
    while True:
        port = secrets.choice(range(22_000, 32_000))
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


class Server:
    """A server's process, which can be stopped, crashed and started again on the same port and data.

    PostgreSQL's own children outlive a killed parent for a while; a quit signal makes all of them leave at once, without tidying up.
    """

    folder: Path

    def __init__(self, command: list[str], url: str, ready: Callable[[], bool], crash: signal.Signals, **options: Any) -> None:
        self.url = url
        self._command, self._ready, self._crash, self._options = command, ready, crash, options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it unless it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._options)
        end = time.monotonic() + 120
        while not self._ready():
            assert self._process.poll() is None, f"{self._command[0]} ended at once"
            assert time.monotonic() < end, f"{self._command[0]} did not get ready"
            time.sleep(0.05)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # PostgreSQL would wait for its clients after SIGTERM
        self._process.wait(60)

    def kill(self) -> None:
        self._process.send_signal(self._crash)
        self._process.wait(60)


def _has_loaded(port: int) -> bool:
    """Return whether a Redis server takes commands; it answers before it has read its append-only file."""
    try:
        with redis.Redis(port=port, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    redis_program = program("redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--dir", folder, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        server = Server([redis_program, *options], f"redis://127.0.0.1:{port}/0", lambda: _has_loaded(port), signal.SIGKILL)
        server.folder = Path(folder)
        yield server
        server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server; it refuses to run as root, who lends it an account without rights."""
    initdb, postgres, ready = program("initdb"), program("postgres"), program("pg_isready")
    account = pwd.getpwnam("nobody") if os.getuid() == 0 else None
    options: dict[str, Any] = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    with tempfile.TemporaryDirectory() as folder:
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        data = f"{folder}/data"
        made = [initdb, "--pgdata", data, "--username", "aamc", "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **options)
        port = free_port()  # now, as another program may take it before the server does
        command = [postgres, "-D", data, "-p", str(port), "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        url = f"postgres://aamc@127.0.0.1:{port}/postgres"
        answers = [ready, "-q", "-d", url]
        server = Server(command, url, lambda: subprocess.run(answers, check=False).returncode == 0, signal.SIGQUIT, cwd=folder, **options)
        yield server
        server.stop()


@pytest.fixture(params=["redis", "postgres"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each server in turn; one that a failed test left down is up for the next."""
    running: Server = request.getfixturevalue(f"{request.param}_server")
    yield running
    running.start()
