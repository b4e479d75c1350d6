"""Limits of an endpoint hold for all workers together."""

from __future__ import annotations

from typing import Any

import pytest
from aamc_gateway.access.settings import AccessSettings, Limits
from aamc_gateway.server.gateway import with_endpoint_limits
from aamc_gateway.testing import stub_candidate
from aamc_models.testing import Script, StubServer

from aamc_sdk.routing import pool_from_dict


@pytest.mark.parametrize(("limits", "allowed"), [({"requests_per_minute": 2}, 2), ({"tokens_per_minute": 200}, 1)])
def test_workers_call_a_server_no_more_often_than_one_may(serve: Any, stub: StubServer, limits: dict[str, int], allowed: int) -> None:
    workers = [serve({"workers": 3}, {"good": limits}, good=Script()) for _ in range(3)]  # three with one log, as --workers 3 starts them
    statuses = [worker.chat(max_tokens=150).status for worker in workers for _ in range(3)]
    assert allowed <= stub.counts("good").calls <= 2 * allowed  # a minute may end between two requests
    assert {200} < set(statuses) <= {200, 429, 503}


def test_limits_add_up_over_deployments_and_the_lower_limit_counts() -> None:
    two = stub_candidate("two", "http://127.0.0.1:1/v1", requests_per_minute=10, deployments=[{"weight": 1.0}, {"requests_per_minute": 5}])
    free = stub_candidate("free", "http://127.0.0.1:1/v1", deployments=[{"tokens_per_minute": 5}, {"weight": 1.0}])
    own = stub_candidate("own", "http://127.0.0.1:1/v1", requests_per_minute=10, tokens_per_minute=100)
    access = AccessSettings(models={"own": Limits(requests_per_minute=3, usd_per_day=1.0)})
    found = with_endpoint_limits(access, pool_from_dict({"candidates": [two, free, own]}, "a test")).models
    assert found["two"].requests_per_minute == 15
    assert "free" not in found
    assert (found["own"].requests_per_minute, found["own"].tokens_per_minute, found["own"].usd_per_day) == (3, 100, 1.0)
