"""Worlds of known truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from aamc_gmtrouter.options import GMTRouterConfig
from taste_world import TasteWorld, WorldSettings, WorldTrial


@pytest.fixture
def make_trial(tmp_path: Path) -> Callable[..., WorldTrial]:
    """Return a function that trains a router in a world; without the graph network unless options ask for it."""

    def make(seed: int = 0, options: GMTRouterConfig | None = None, **settings: float) -> WorldTrial:
        world = TasteWorld.drawn(seed, WorldSettings(**settings))  # type: ignore[arg-type]  # plain numbers
        return WorldTrial(world, tmp_path, options or GMTRouterConfig(model="preference"))

    return make
