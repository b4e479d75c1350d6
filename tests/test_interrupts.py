"""Ctrl-C, wherever it comes, stops one call; the controller stays usable, in other threads too, and can be closed."""

import sys
import threading
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from aamc_sdk import Component, Experience, MetaController, OnlineRouter, RoutingRequest, Scores, builtin, hookimpl
from aamc_sdk.plugins import Plugins

MODULES = {
    "memory:": ("close_guard.py", "concurrency.py", "memory.py", "learner.py", "threading.py", "contextlib.py"),
    "sqlite:log.db": ("group_commit.py", "threading.py"),
}
"""The modules whose code holds a lock, by the store that is used."""


class Counting(OnlineRouter):
    """Learns nothing but a number of entries."""

    learned = 0

    def score(self, request: RoutingRequest) -> Scores:
        return Scores(np.zeros(request.mask.shape))

    def learn(self, experience: Experience) -> None:
        self.learned += len(experience.feedback)


class Parts:
    @hookimpl
    def aamc_routers(self) -> list[Component]:
        return [Component("counting", f"{__name__}:Counting", "Counts feedback.")]


class InterruptAt:
    """A profiler that raises KeyboardInterrupt at one of the points at which Python runs a signal's handler: begins of functions, ends of C calls."""

    def __init__(self, point: int, modules: tuple[str, ...]) -> None:
        self.points_left, self.modules = point, modules

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if sys.version_info < (3, 11) and event == "call" and frame.f_lasti >= 0:
            return  # a generator goes on: there, unlike a signal's handler, a profiler's exception skips the generator's own blocks
        if event in {"call", "c_return"} and frame.f_code.co_filename.endswith(self.modules):
            self.points_left -= 1
            if self.points_left == 0:
                raise KeyboardInterrupt


def use(controller: MetaController, decision_id: str) -> None:
    controller.route("hi", decision_id=decision_id)
    controller.feedback(decision_id, quality=1.0)


def interrupted_use(controller: MetaController, interrupt: InterruptAt) -> bool:
    """Use a controller until its interrupt; return whether the use came to its end before."""
    sys.setprofile(interrupt)
    try:
        use(controller, "first")
    except KeyboardInterrupt:
        return False
    finally:
        sys.setprofile(None)
    return True


@pytest.mark.parametrize("store", MODULES)
def test_an_interrupted_controller_goes_on(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins, point, ended = Plugins({"core": builtin, "parts": Parts()}, discover=False), 0, False

    def run() -> None:
        nonlocal ended
        with MetaController.build(router="counting", plugins=plugins, store=store) as controller:
            ended = interrupted_use(controller, InterruptAt(point, MODULES[store]))
            for decision_id in ("first", "second"):
                other = threading.Thread(target=use, args=(controller, decision_id), daemon=True)
                other.start()
                other.join(60)
                assert not other.is_alive()
            assert controller.learner is not None
            controller.learner.flush()
            assert controller.router.learned == 2
        closed.append(point)

    closed: list[int] = []
    while not ended:
        point += 1
        (tmp_path / str(point)).mkdir()
        monkeypatch.chdir(tmp_path / str(point))
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(60)
        assert closed[-1:] == [point]
