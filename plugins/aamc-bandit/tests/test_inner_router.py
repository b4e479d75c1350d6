"""A router inside another one."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
from aamc_bandit.inner_router import InnerRouter
from aamc_bandit.pacing.options import PacedOptions
from aamc_bandit.pacing.router import Paced
from aamc_bandit.trials.canary import Canary, CanaryOptions
from aamc_bandit.trials.router_pair import RouterPairOptions
from aamc_bandit.trials.shadow import Shadow

from aamc_sdk.errors import PluginError
from aamc_sdk.interfaces import AsyncRouter, Requirements, Router, Services
from aamc_sdk.routing import LinearReward
from aamc_sdk.testing import POOL
from aamc_sdk.types import RoutingRequest, Scores


class NeedsTraining(Router):
    """A router without any state before its training."""

    requires = Requirements(outcomes=True, comparisons=True, training=True, cheap_rescoring=True)

    def score(self, request: RoutingRequest) -> Scores:
        return Scores(np.zeros(request.mask.shape))

    def save(self, folder: Path) -> None:
        raise PluginError("not trained")


class NeedsNothing(Router):
    """A router that always works."""

    def score(self, request: RoutingRequest) -> Scores:
        return Scores(np.zeros(request.mask.shape))


class Asking(AsyncRouter):
    """A router that waits for a model."""

    async def ascore(self, request: RoutingRequest) -> Scores:
        return Scores(np.zeros(request.mask.shape))


def services_of(*routers: type[Router]) -> Services:
    made = Services(pool=POOL, reward=LinearReward(), make=lambda kind, name, options: {each.__name__: each for each in routers}[name](None, made))
    return made


WHY = "router 'NeedsTraining' in it: must be trained"


def test_a_router_that_cannot_be_saved_before_its_training_can_be_wrapped() -> None:
    services = services_of(NeedsTraining)
    inner = InnerRouter.of("NeedsTraining", services)
    assert (inner.name, inner.trained) == ("NeedsTraining", False)
    assert inner.version == InnerRouter.of({"name": "NeedsTraining"}, services).version


def test_a_wrapping_router_needs_the_data_that_the_wrapped_one_needs() -> None:
    services, options = services_of(NeedsTraining, NeedsNothing), CanaryOptions(stable="NeedsNothing", candidate="NeedsTraining")
    needed = Requirements(outcomes=True, comparisons=True, training=True, training_reason=WHY)
    assert Paced(PacedOptions(router="NeedsTraining"), services).requires == needed
    assert Canary(options, services).requires == needed
    assert attrs.evolve(InnerRouter.of("NeedsTraining", services), trained=True).requires == Requirements(cheap_rescoring=True)


def test_the_error_of_an_untrained_wrapping_router_names_the_router_inside() -> None:
    services = services_of(NeedsTraining, NeedsNothing)
    assert Canary(CanaryOptions(stable="NeedsNothing", candidate="NeedsTraining"), services).requires.training_reason == WHY
    assert Paced(PacedOptions(router="NeedsTraining"), services).requires.training_reason == WHY
    assert Paced(PacedOptions(router="NeedsNothing"), services).requires.training_reason == ""


def test_a_wrapping_router_waits_for_calls_where_a_wrapped_one_does() -> None:
    services = services_of(Asking, NeedsNothing)
    for name, waits in (("Asking", True), ("NeedsNothing", False)):
        assert Paced(PacedOptions(router=name), services).waits_for_calls == waits
        assert Canary(CanaryOptions(stable="NeedsNothing", candidate=name), services).waits_for_calls == waits
        assert Shadow(RouterPairOptions(stable=name, candidate="NeedsNothing"), services).waits_for_calls == waits
