"""The launch of ``aamc serve``: from the command's options to settings, components and a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from aamc_gateway.observe.metrics import Metrics
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.settings import GatewaySettings
from aamc_sdk.config import EXPERIMENT_KEYS, SERVER_KEYS, SERVING_KEYS, ServingSettings, configure, load_yaml
from aamc_sdk.errors import ConfigError
from aamc_sdk.messages import check_type, file_errors
from aamc_sdk.plugins import Plugins, get_plugin_manager
from aamc_sdk.serving import (
    Run,
    ServedComponents,
    components_from_file,
    components_from_run,
    components_from_settings,
    find_checkpoint,
    names_checkpoint,
)

ROUTER = "thompson"
"""The router where none is named: it learns from feedback which candidate is worth its price."""
TRIAL_STORE = "memory:"
STORE = "sqlite:aamc-gateway.db"
"""The log where none is named, unless the gateway is only tried."""
_OWN_KEYS = {*SERVING_KEYS, *EXPERIMENT_KEYS, *SERVER_KEYS}
"""The keys of a configuration file of this SDK; a file of another system has others, and its own candidates."""
_TRIAL_POOL = {
    "candidates": [
        {
            "name": f"echo-{size}",
            "prices": {"input": price, "output": 4 * price},
            "abilities": ["tools", "vision", "json"],
            "endpoint": {"provider": "echo"},
        }
        for size, price in (("small", 0.1), ("large", 2.0))
    ]
}


@attrs.frozen(kw_only=True)
class Launch:
    """The options of ``aamc serve``, None for those that are not given, and the content of the configuration file.

    Raises:
        ConfigError: The configuration file cannot be read.
    """

    host: str | None = None
    port: int | None = None
    workers: int | None = None
    run: str | None = None
    router: str | None = None
    config: str | Path | None = None
    pool: str | None = None
    estimator: str | None = None
    store: str | None = None
    content: Mapping[str, Any] = attrs.field(init=False, repr=False)

    @content.default
    def _read_config(self) -> Mapping[str, Any]:
        return {} if self.config is None else load_yaml(Path(self.config))

    def again(self) -> Launch:
        """Return the launch with the content that the configuration file has now."""
        return attrs.evolve(self)

    def with_log(self) -> Launch:
        """Return the launch with the URL of its run's log: where ``runs/latest`` moves, a reload keeps the log, and the keys that belong to it.

        Raises:
            CheckpointError: There is no such run.
        """
        trained = find_checkpoint(self.router or "", "router")
        run = Run.holding(trained) if trained is not None else Run.open(self.run) if self.run is not None else None
        return self if run is None or self.store is not None else attrs.evolve(self, store=run.store_url)

    @property
    def is_trial(self) -> bool:
        """Whether no pool is named, so that the gateway serves the provider ``echo``."""
        named = self.run, self.pool, self.content.get("pool")
        return named == (None, None, None) and not names_checkpoint(self.router or "") and self.content.keys() <= _OWN_KEYS

    @property
    def config_names_components(self) -> bool:
        """Whether the configuration file has more than a section ``gateway``: a router, a pool, or another system's content."""
        return bool(self.content.keys() - {"gateway"})

    @property
    def in_memory(self) -> bool:
        """Whether the log is in memory."""
        return self._store() == TRIAL_STORE

    def settings(self) -> GatewaySettings:
        """Return the settings: the options, and the section ``gateway`` of the configuration file.

        Raises:
            ConfigError: A setting is unknown or wrong, or the workers cannot share the log.
        """
        section = self.content.get("gateway", {})
        check_type(section, Mapping, f"{self.config}: gateway must be keys and values such as {{port: 8000}}", ConfigError)
        if self.config is not None and "router" not in self.content:
            section = _with_arena(self.config, section)
        given = {name: value for name in ("host", "port", "workers") if (value := getattr(self, name)) is not None}
        with file_errors(self.config):
            settings = configure(GatewaySettings, {**section, **given}, where="gateway")
        if settings.workers > 1 and self.in_memory:
            raise ConfigError(
                "several workers cannot share a log in memory: give one in a file or on a server, such as --store sqlite:aamc-gateway.db"
            )
        return settings

    def components(self, plugins: Plugins) -> ServedComponents:
        """Return the components to serve with."""
        store = self._store()
        if self.run is not None or names_checkpoint(self.router or ""):
            return components_from_run(self.run or "", plugins, router=self.router, estimator=self.estimator, store=store, pool=self.pool)
        given = {name: value for name in ("router", "pool", "estimator") if (value := getattr(self, name)) is not None}
        if self.is_trial:
            given["pool"] = _TRIAL_POOL
        if self.config is not None:
            return components_from_file(
                self.config, plugins, store=store or STORE, changes=given, defaults={"router": ROUTER}, other_keys=SERVER_KEYS
            )
        return components_from_settings(ServingSettings.of({"router": ROUTER, **given}), plugins, store=store or STORE)

    def gateway(self, metrics: Metrics | None = None) -> Gateway:
        """Return a gateway that is not started yet."""
        settings = self.settings()
        components = self.components(get_plugin_manager())
        with file_errors(self.config if self.pool is None and self.run is None else None):
            return Gateway(components, settings, metrics=metrics, source=self.config)

    def _store(self) -> str | None:
        return TRIAL_STORE if self.store is None and self.is_trial else self.store


def _with_arena(path: str | Path, section: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the section ``gateway`` of a configuration file, with the arena's options of a ``concurrent`` algorithm in the same file."""
    from aamc_bandit.semantic_router import read_arena

    found = read_arena(path)
    if found is None:
        return section
    own = section.get("arena")
    return {**section, "arena": {"candidates": None, "share": 1.0, "share_streams": True, **found, **(own if isinstance(own, Mapping) else {})}}
