"""What a controller is put together from: the parts that a run trained, or untrained ones by their names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aamc_sdk import plugins as installed
from aamc_sdk.interfaces import Reward
from aamc_sdk.plugins import Plugins
from aamc_sdk.pools import find_pool
from aamc_sdk.requests import build_request
from aamc_sdk.runs import Run
from aamc_sdk.services import bare_services, services
from aamc_sdk.settings import read_settings
from aamc_sdk.stores import open_store
from aamc_sdk.types import Pool, Query

TYPICAL_QUERY = Query("", prompt_tokens=256, output_tokens=256)
"""What a reward's scales are taken from where there are no training data."""


def parts_of_run(
    run: str | Path,
    router: str | Mapping[str, Any] | None,
    store: str | None,
    seed: int | None,
    plugins: Plugins | None,
    *,
    existing: bool = False,
) -> dict[str, Any]:
    """Return what :class:`aamc_sdk.MetaController` is made with from a run.

    Its ``load`` has the other arguments; ``existing`` is that of :func:`aamc_sdk.stores.open_store`.
    """
    opened, plugins = Run.open(run), plugins or installed.get_plugin_manager()
    lent = opened.services(plugins)
    if isinstance(router, Mapping):
        new = read_settings({"router": router}).router
        name, deciding = new.name, lent.make("router", new.name, new.options)
    else:
        name, deciding = router or opened.router_name, opened.router(plugins, lent, router)
    return {
        "pool": opened.pool,
        "reward": lent.reward,
        "router": deciding,
        "estimator": opened.estimator(plugins, lent),
        "store": open_store(store or opened.store_url, plugins, existing=existing),
        "preference": opened.settings.preference,
        "seed": opened.settings.seed if seed is None else seed,
        "plugins": plugins,
        "router_name": name,
        "preferences": opened.calibrated_preferences,
        "typical": opened.candidate_means,
    }


def parts_by_name(named: Mapping[str, Any], pool: str | Path | Pool, store: str, plugins: Plugins | None) -> dict[str, Any]:
    """Return what :class:`aamc_sdk.MetaController` is made with from components' names, as its ``build`` is given them.

    Args:
        named: Router, estimator, reward, preference and seed, as a configuration file has them.
        pool: A pool, its name or its YAML file.
        store: The log's URL.
        plugins: The installed ones when None.
    """
    plugins = plugins or installed.get_plugin_manager()
    settings = read_settings(named)
    candidates = pool if isinstance(pool, Pool) else find_pool(pool, plugins)
    reward: Reward = plugins.make("reward", settings.reward.name, bare_services(candidates, plugins, settings), settings.reward.options)
    reward.fit(build_request([TYPICAL_QUERY], candidates, settings.preference.array).expected)
    lent = services(candidates, reward, plugins, settings)
    described_by = settings.estimator
    return {
        "pool": candidates,
        "reward": reward,
        "router": lent.make("router", settings.router.name, settings.router.options),
        "estimator": None if described_by is None else lent.make("estimator", described_by.name, described_by.options),
        "store": open_store(store, plugins),
        "preference": named.get("preference"),
        "seed": settings.seed,
        "plugins": plugins,
        "router_name": settings.router.name,
    }
