"""The worker processes of a gateway."""

from __future__ import annotations

import signal
import socket
from typing import Any, cast

import pytest
from aamc_gateway.server.processes.supervisor import _Workers


class Worker:
    """A process during whose start the gateway is asked to end."""

    exitcode = -signal.SIGTERM

    def __init__(self, workers: _Workers) -> None:
        self._workers, self.pid = workers, None
        self.ends = False

    def start(self) -> None:
        self._workers.ending = True
        self._workers.signal(signal.SIGTERM)

    def is_alive(self) -> bool:
        return not self.ends

    def terminate(self) -> None:
        self.ends = True


def test_a_gateway_that_is_asked_to_end_while_a_worker_starts_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = _Workers(cast("Any", None), 2, socket.socket(), lambda: None)
    made: list[Worker] = []

    def process(**_: Any) -> Worker:
        made.append(Worker(workers))
        return made[-1]

    monkeypatch.setattr(workers._context, "Process", process)
    monkeypatch.setattr(workers, "_pause", lambda: pytest.fail("it waits for a worker that was not asked to end"))
    assert workers.watch() == 0
    assert [each.ends for each in made] == [True]
