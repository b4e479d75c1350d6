"""A process that serves beside others on one log, and answers to commands: ``python replica_process.py URL NAME``.

It decides and judges until it is told to stop; each line of its standard input is a command, each line of its output an answer in JSON.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from aamc_sdk.controller import MetaController
from aamc_sdk.log import open_store
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving import state_of
from aamc_sdk.testing import POOL

ROUTER = {"name": "thompson", "max_users": 30, "max_sessions": 40}
USERS = 60


class Replica:
    """The process, from outside.

    Args:
        url: The log.
        name: Its name; decisions are named by it.
        pause_s: Time between two decisions.
    """

    def __init__(self, url: str, name: str, pause_s: float) -> None:
        command = [sys.executable, str(Path(__file__)), url, name, str(pause_s)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answering = threading.Lock()
        self.name = name

    def ask(self, command: str) -> Any:
        """Return the answer to a command: ``health``, ``stop`` (the traffic) or ``state``, a digest of the router's state."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._answering:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def acknowledged(self, command: str) -> list[str]:
        """Return the decisions whose feedback was acknowledged, after the command ``health`` or ``stop``."""
        return [f"{self.name}/{number}" for number in range(self.ask(command)["acknowledged"])]

    def kill(self) -> None:
        """End it as by kill -9."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        """Close it; one that was killed too."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(60)


def learner_of(replicas: list[Replica]) -> Replica | None:
    """Return the elected process; None if there is none, or if the lease passed on while they were asked, as on a busy machine."""
    return next((replica for replica in replicas if replica.ask("health")["is_learner"]), None)


def single_state(url: str) -> tuple[str, list[str]]:
    """Return the digest of the state of one router that learns the whole log, and the decision of each of the log's pieces of feedback."""
    plugins = get_plugin_manager()
    with MetaController.build(router=ROUTER, pool=POOL, plugins=plugins, seed=1) as controller, closing(open_store(url, plugins)) as log:
        position, judged = 0, list[str]()
        while (batch := log.experience(position)).position > position:
            position = batch.position
            judged += [feedback.decision_id for feedback in batch.feedback]
            controller.router.learn(batch)  # type: ignore[attr-defined]  # thompson learns
        return digest(controller), judged


def digest(controller: MetaController) -> str:
    """Return a digest of the router's state."""
    return hashlib.sha256(state_of(controller.router)).hexdigest()


def serve(url: str, name: str, pause_s: float) -> None:
    """Serve until the input ends."""
    stopped = threading.Event()
    with MetaController.build(router=ROUTER, pool=POOL, store=url, plugins=get_plugin_manager(), seed=1) as controller:
        assert controller.learner is not None
        acknowledged = 0

        def decide() -> None:
            nonlocal acknowledged
            while not stopped.wait(pause_s):
                user = f"user {hash((name, acknowledged)) % USERS}"
                decision = controller.route("Hi", user=user, session=f"session {acknowledged % 50}", decision_id=f"{name}/{acknowledged}")
                controller.feedback(decision.id, quality=acknowledged % 7 / 6)
                acknowledged += 1

        traffic = threading.Thread(target=decide)
        traffic.start()
        for line in sys.stdin:
            command = line.strip()
            if command == "stop":
                stopped.set()
                traffic.join()
            if command == "state":
                controller.learner.flush(60)
                answer: Any = {"state": digest(controller), "position": controller.learner.position}
            else:
                answer = controller.health() | {"acknowledged": acknowledged, "cpu_s": time.process_time()}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        stopped.set()
        traffic.join()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], float(sys.argv[3]))
