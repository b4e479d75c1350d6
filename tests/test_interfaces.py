"""Base classes of components."""

import asyncio

import numpy as np
import pytest
from tiny import TinyRouter

from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import AsyncRouter, Budget
from aamc_sdk.types import Scores


def test_base_classes_hold_only_what_every_component_of_a_kind_needs():
    for left in ("serve", "begin", "learn", "ascore", "export", "check_device", "needs_estimator"):
        assert not hasattr(TinyRouter, left)


def test_an_asynchronous_router_scores_inside_and_outside_a_running_loop():
    class Asking(AsyncRouter):
        async def ascore(self, request):
            await asyncio.sleep(0)
            return Scores(np.ones((len(request), 2)))

    router = Asking(None, None)
    assert router.score([1, 2, 3]).utility.shape == (3, 2)

    async def inside():
        return router.score([1])

    assert asyncio.run(inside()).utility.shape == (1, 2)


def test_an_asynchronous_routers_error_reaches_the_caller_inside_a_running_loop():
    class Failing(AsyncRouter):
        async def ascore(self, request):
            raise ConfigError("not now")

    async def inside():
        return Failing(None, None).score([1])

    with pytest.raises(ConfigError, match="not now"):
        asyncio.run(inside())


@pytest.mark.parametrize("limit", [{"steps": -1}, {"cost_usd": float("nan")}, {"seconds": -0.5}, {"cost_usd": None}])
def test_a_budget_that_limits_nothing_is_refused(limit):
    with pytest.raises(ConfigError, match=f"{next(iter(limit))} of a budget must be at least 0"):
        Budget(**limit)
