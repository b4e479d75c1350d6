"""A controller with two candidates, and the queue that writes its decisions."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aamc_gateway.forwarding.decisions.commit_queue import CommitQueue

from aamc_sdk import MetaController
from aamc_sdk.types import Latency, ModelSpec, Pool, Prices

POOL = Pool([ModelSpec(name, prices=Prices(price, price), latency=Latency(1.0, 1.0)) for name, price in (("small", 1.0), ("large", 9.0))])


@pytest.fixture
def controller(tmp_path: Path) -> Any:
    with MetaController.build(router="thompson", pool=POOL, store=f"sqlite:{tmp_path / 'log.db'}") as made:
        yield made


@pytest.fixture
def commits(controller: MetaController) -> Any:
    with closing(CommitQueue(controller)) as made:
        yield made
