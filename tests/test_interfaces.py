"""Base classes of components."""

import asyncio
from typing import ClassVar

import numpy as np
import pytest
from tiny import TinyRouter

from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import ANY_OUTPUT_LIMIT, AsyncRouter, Budget, Services, output_limit, without_replaced_limits
from aamc_sdk.testing import POOL, make_dataset, make_reward
from aamc_sdk.types import Scores


def test_base_classes_hold_only_what_every_component_of_a_kind_needs():
    for left in ("serve", "begin", "learn", "ascore", "export", "check_device", "needs_estimator"):
        assert not hasattr(TinyRouter, left)


@pytest.fixture
def services():
    made = Services(pool=POOL, reward=make_reward(make_dataset(20)), make=lambda *_: None)
    yield made
    made.loop.close()


def test_an_asynchronous_router_scores_on_one_event_loop_inside_and_outside_a_running_loop(services):
    class Asking(AsyncRouter):
        loops: ClassVar[set] = set()

        async def ascore(self, request):
            self.loops.add(asyncio.get_running_loop())
            await asyncio.sleep(0)
            return Scores(np.ones((len(request), 2)))

    router = Asking(None, services)
    assert router.score([1, 2, 3]).utility.shape == (3, 2)

    async def inside():
        return router.score([1])

    assert asyncio.run(inside()).utility.shape == (1, 2)
    assert len(router.loops) == 1


def test_an_asynchronous_routers_error_reaches_the_caller(services):
    class Failing(AsyncRouter):
        async def ascore(self, request):
            raise ConfigError("not now")

    with pytest.raises(ConfigError, match="not now"):
        Failing(None, services).score([1])


def test_a_loop_that_was_never_used_starts_no_thread(services):
    assert not services.loop.started
    services.loop.close()
    assert not services.loop.started


def test_the_limit_of_an_answer_is_the_largest_whole_number_under_any_of_its_names():
    assert output_limit({"max_tokens": 5, "max_output_tokens": 7, "max_completion_tokens": None, "n": 9}) == 7
    assert output_limit({"max_tokens": "many", "max_completion_tokens": 0, "max_output_tokens": 1.5}) is None
    assert [output_limit({name: 3}) for name in ANY_OUTPUT_LIMIT] == [3, 3, 3]


def test_a_limit_of_a_request_replaces_the_candidates_own_under_any_name():
    own = {"effort": "low", "max_completion_tokens": 500, "max_output_tokens": 9}
    assert [without_replaced_limits(own, {name: 5}) for name in ANY_OUTPUT_LIMIT] == [{"effort": "low"}] * 3
    assert without_replaced_limits(own, {"max_tokens": None, "effort": "high"}) == own


@pytest.mark.parametrize("limit", [{"steps": -1}, {"cost_usd": float("nan")}, {"seconds": -0.5}, {"cost_usd": None}])
def test_a_budget_that_limits_nothing_is_refused(limit):
    with pytest.raises(ConfigError, match=f"{next(iter(limit))} of a budget must be at least 0"):
        Budget(**limit)
