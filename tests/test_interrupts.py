"""Ctrl-C, wherever it comes, stops one call; the controller stays usable, in other threads too, and can be closed."""

import sys
import threading
from types import FrameType

import numpy as np

from aamc_sdk import Component, Experience, MetaController, OnlineRouter, RoutingRequest, Scores, builtin, hookimpl
from aamc_sdk.plugins import Plugins

MODULES = ("close_guard.py", "concurrency.py", "memory.py", "group_commit.py", "learner.py", "threading.py", "contextlib.py", "_base.py")
"""The modules whose code holds a lock."""


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

    def __init__(self, point: int) -> None:
        self.points_left = point

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event in {"call", "c_return"} and frame.f_code.co_filename.endswith(MODULES):
            self.points_left -= 1
            if self.points_left == 0:
                raise KeyboardInterrupt


def use(controller: MetaController, decision_id: str) -> None:
    controller.route("hi", decision_id=decision_id)
    controller.feedback(decision_id, quality=1.0)


def interrupted_use(controller: MetaController, point: int) -> bool:
    """Use a controller until a point; return whether the use came to its end before."""
    sys.setprofile(InterruptAt(point))
    try:
        use(controller, "first")
    except KeyboardInterrupt:
        return False
    finally:
        sys.setprofile(None)
    return True


def test_an_interrupted_controller_goes_on() -> None:
    plugins, point, ended = Plugins({"core": builtin, "parts": Parts()}, discover=False), 0, False

    def run() -> None:
        nonlocal ended
        with MetaController.build(router="counting", plugins=plugins, store="memory:") as controller:
            ended = interrupted_use(controller, point)
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
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(60)
        assert closed[-1:] == [point]
