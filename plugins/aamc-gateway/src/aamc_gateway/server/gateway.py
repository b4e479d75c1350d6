"""The gateway: the objects that a worker shares among requests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from aamc_gateway.access.access import Access
from aamc_gateway.access.erasable_values import ErasableValues
from aamc_gateway.access.settings import AccessSettings, Limits
from aamc_gateway.access.shared import LASTING, is_lasting, open_shared, state_store
from aamc_gateway.arena.ballots import Ballots
from aamc_gateway.dashboard.overview import Overview
from aamc_gateway.feedback.implicit_signals import ImplicitSignals
from aamc_gateway.forwarding.answers.cache import AnswerCache
from aamc_gateway.forwarding.calls.upstreams import Upstreams
from aamc_gateway.forwarding.calls.usage import UsageEstimator
from aamc_gateway.forwarding.decisions.commit_queue import CommitQueue
from aamc_gateway.forwarding.decisions.gateway_decider import GatewayDecider
from aamc_gateway.observe.metrics import Metrics
from aamc_gateway.observe.observer import Observer
from aamc_gateway.orchestrations.served_orchestrator import ServedOrchestrator
from aamc_gateway.requests.bodies import LargeBodies
from aamc_gateway.requests.object_owners import ObjectOwners
from aamc_gateway.requests.request_reader import RequestReader
from aamc_gateway.requests.routing_arguments import ARENA, PREFIX
from aamc_gateway.requests.sessions import CALL_KEEP_S, Sessions
from aamc_gateway.server.log_watch import LogWatch
from aamc_gateway.server.settings import GatewaySettings, check_arena
from aamc_sdk import MetaController
from aamc_sdk.concurrency import run_on_own_thread
from aamc_sdk.errors import AamcError, ConfigError, NoCandidateError, PluginError, ProviderError
from aamc_sdk.messages import file_errors, unknown_name
from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.serving import ServedComponents, estimates_fingerprint
from aamc_sdk.types import Pool, PoolState

logger = logging.getLogger(__name__)
_LIMITED_UNITS = ("requests_per_minute", "tokens_per_minute")
_CLOSE_EVERY_S = 0.02
"""Time between two looks at whether the last request has ended, once the gateway closes."""
_CHECK_S = 10.0
"""Time limit of the router's first scores, in seconds: one that hangs must not keep the gateway from starting and ending."""
_STATE_S = 0.01
"""Time for which the state of the pool is taken for the present one: making it takes as long as a tenth of a request."""


class Gateway:
    """The objects that a worker shares among requests; ``source`` is the configuration file, for messages.

    Attributes:
        commits: Writes decisions and calls to the log.
        decider: Decides requests.
        signals: Infers feedback from how conversations go on.
        erasable: What is kept for users, and goes when they are forgotten.
        sessions: The candidate that answered each conversation last.
        calls: The same of single tool calls, apart so that a conversation of many calls leaves the others their places.
        owners: The tenants and candidates of files, batches and stored responses.
        large_bodies: The sizes of large bodies in progress.
        ballots: Answers of the arena that wait for a vote.
        ties: State that keeps a conversation on its candidate.
        own_models: The gateway's own models besides ``aamc/auto``.
        began: When it was made, in seconds since the epoch.
        in_progress: The number of requests in progress.

    Raises:
        PoolError: No candidate can be called, or one is the gateway itself.
        ConfigError: The router cannot be served.
    """

    def __init__(
        self, components: ServedComponents, settings: GatewaySettings, *, metrics: Metrics | None = None, source: str | Path | None = None
    ) -> None:
        self.controller = MetaController(components)
        self.commits = CommitQueue(self.controller)
        self.decider = GatewayDecider(self.controller, self.commits)
        self.components, self._source = components, source
        self.models = components.models
        self.metrics = metrics or Metrics()
        self.upstreams = Upstreams(components.pool, self.models, settings.limits.output_tokens)
        self._plugins = components.plugins or get_plugin_manager()
        try:
            self.upstreams.check(settings.host, settings.port)
            self.observer = Observer(settings.observe, self.metrics)
            self._state_store = state_store(components.store, settings.shared_state, self._plugins)
            self.shared = open_shared(self._state_store)
        except AamcError:
            self.controller.close()
            raise
        is_local = self._state_store.url.partition(":")[0] in ("sqlite", "memory")  # only processes of this machine can open it
        shares = settings.workers > 1 or not is_local
        if shares:
            settings = attrs.evolve(settings, access=with_endpoint_limits(settings.access, components.pool))
        self.settings = settings
        self.access = Access(settings.access, self.shared)
        self.erasable = ErasableValues(self.shared, components.store)
        self.cache = AnswerCache(settings.cache, self.shared, self.erasable, [each.candidate for each in self.upstreams.values()])
        self.overview = Overview(self.controller)
        self.signals = ImplicitSignals(settings.implicit)
        self.ballots = Ballots(settings.arena, self.shared, self.erasable, self.controller)
        self.orchestrators = {name: ServedOrchestrator(name, given, self._plugins, components.pool) for name, given in settings.orchestrators.items()}
        self.reader = RequestReader(settings, [each.candidate for each in self.upstreams.values()], components.preferences, self.orchestrators)
        self.sessions = Sessions(settings.sessions, self.shared if shares else None)
        call_settings = attrs.evolve(settings.sessions, keep_s=min(settings.sessions.keep_s, CALL_KEEP_S))
        self.calls = Sessions(call_settings, self.shared if shares else None)
        self.large_bodies = LargeBodies(settings.limits)
        self.owners = ObjectOwners(self.shared, self.access)
        self.usage_estimator = UsageEstimator()
        self.ties = frozenset(settings.sessions.ties)
        self.log_watch = LogWatch()
        self.own_models = (*((ARENA,) if len(self.upstreams) > 1 else ()), *(PREFIX + name for name in self.orchestrators))
        self.began = time.time()
        self._names = frozenset(components.pool.names)
        self._state: PoolState | None = None
        self._state_until = 0.0
        self.in_progress = 0

    async def start(self) -> None:
        """Start the parts that need the worker's event loop.

        Raises:
            ConfigError: It listens beyond this machine and has no keys, a limited model is not in the pool, a budget would refuse every request,
                the store cannot hold a budget or several workers, the log is only read, the router can score no request, or the arena or an
                orchestrator cannot work as configured.
            StoreError: The log takes no decisions.
            PluginError: A provider failed to return its unset keys.
        """
        self._check_store()
        await self.access.check_listening(self.settings.host)
        with file_errors(self._source):
            check_arena(self.settings.arena, self.upstreams)
            self._check_limits()
            for orchestrator in self.orchestrators.values():
                await asyncio.to_thread(orchestrator.check)
        for upstream in self.upstreams.values():
            if (problem := upstream.problem) is not None:
                if self._can_load(upstream.endpoint.provider):  # else the pool's check has warned
                    logger.warning("candidate %r of the pool cannot be called: %s", upstream.name, problem)
                continue
            for name in self.models.unset_keys(upstream.candidate):
                logger.warning(
                    'calls of candidate %r carry no API key: $%s is not set; set it, or write api_key_env: "" if the server needs none',
                    upstream.name,
                    name,
                )
        await asyncio.to_thread(self._check_log)
        await self._warn_if_open()
        try:
            await asyncio.wait_for(asyncio.wrap_future(run_on_own_thread(self._check_scores, "aamc-check")), _CHECK_S)
        except asyncio.TimeoutError:
            logger.warning("router %r has not scored a request within %g s; requests wait for it", self.controller.router_name, _CHECK_S)
        self.erasable.start()

    def _can_load(self, provider: str) -> bool:
        try:
            self._plugins.load("provider", provider)
        except PluginError:
            return False
        return True

    def _check_log(self) -> None:
        """Refuse a log that is only read: each decision is logged."""
        store = self.components.store
        if getattr(store.config, "read_only", False):
            raise ConfigError(f"the gateway logs each decision, and {store.name} would only be read; leave out read_only")
        with self.components.store_errors():
            store.add_decisions([])  # refused by an export

    async def _warn_if_open(self) -> None:
        """Warn if the log was used before and there are no keys: those of a moved log stay where it was."""
        store = self.components.store
        if is_lasting(self._state_store) and await asyncio.to_thread(store.position) > 0 and await self.access.is_open():
            what = f"{store.name} has decisions and no keys, so every request of this machine is answered, as an admin's"
            logger.warning("%s: make a key with aamc keys add, or, if the log was moved here, move its keys with aamc keys export and import", what)

    def _check_scores(self) -> None:
        """Let the estimator describe a request, and the router score it unless that calls a model."""
        try:
            if self.controller.router.waits_for_calls:
                estimates_fingerprint(self.controller.estimator)
            else:
                self.controller.draw("Good morning")
        except (NoCandidateError, ProviderError):  # other requests, or the same one later, may be decided
            logger.debug("no candidate for a request at the start", exc_info=True)
        except AamcError as error:
            raise ConfigError(f"router {self.controller.router_name!r} can score no request: {error}") from error

    def _check_store(self) -> None:
        """Refuse several workers and budgets where the shared state ends with its process; a log that ends with it too keeps no budget."""
        store, access = self.components.store, self.settings.access
        if self.settings.workers > 1 and not store.persistent:
            raise ConfigError(f"several workers cannot share {store.name}, which ends with its process; give {LASTING}")
        if is_lasting(self._state_store):
            return
        advice = f"give {LASTING}, or set gateway.shared_state to one of these URLs"
        if self.settings.workers > 1:
            raise ConfigError(f"several workers cannot share {store.name} and its keys, budgets and sessions; {advice}")
        given = (access.limits, *access.tenants.values(), *access.users.values(), *access.models.values())
        if store.persistent and any(limits.has_budget for limits in given):
            raise ConfigError(f"gateway.access has a budget, and {store.name} keeps none over a restart; {advice}")

    def _check_limits(self) -> None:
        access, known = self.settings.access, self.components.pool.names
        for name, limits in access.models.items():
            if name not in known:
                raise ConfigError(unknown_name("gateway.access.models must name candidates, not", name, known, "there are"))
            if limits.has_budget and name in self.upstreams and not self.upstreams[name].max_cost.is_known:
                raise ConfigError(
                    f"gateway.access.models gives {name!r} a budget, and it has no prices, so no request would fit; add them to the pool"
                )
        budgets = [limits for limits in (access.limits, *access.tenants.values(), *access.users.values()) if limits.has_budget]
        if budgets and not any(upstream.max_cost.is_known for upstream in self.upstreams.values()):
            raise ConfigError("gateway.access has a budget in USD, and no candidate has prices, so no request would fit it; add them to the pool")

    def take_over(self, earlier: Gateway) -> None:
        """Keep what the replaced gateway remembers: conversations, requests for inferred feedback, large bodies, and ratios of bytes to tokens.

        A candidate with another endpoint loses its ratios, since its tokens may be others.
        """
        self.sessions.take_over(earlier.sessions)
        self.calls.take_over(earlier.calls)
        self.signals.take_over(earlier.signals)
        self.large_bodies.take_over(earlier.large_bodies)
        before = {name: upstream.candidate.endpoint for name, upstream in earlier.upstreams.items()}
        same = [name for name, upstream in self.upstreams.items() if before.get(name) == upstream.candidate.endpoint]
        self.usage_estimator.take_over(earlier.usage_estimator, same)

    async def close(self) -> None:
        """Wait for the requests in progress, then close everything."""
        while self.in_progress:
            await asyncio.sleep(_CLOSE_EVERY_S)
        self.erasable.close()
        for orchestrator in self.orchestrators.values():
            orchestrator.close()
        await self.models.close()
        await self.shared.close()
        await asyncio.to_thread(self._close_log)
        await self.observer.close()  # last, as it waits for a collector

    def _close_log(self) -> None:
        """Write what waits for the log, then close it."""
        self.commits.close()
        self.decider.close()  # afterwards, as a router may never return
        self.controller.close()

    def pool_state(self, *, forced: bool) -> PoolState | None:
        """Return the present state of the pool; if the request names its candidate, that of this worker's own calls only."""
        pool, now = self.components.pool, time.monotonic()
        if forced:
            return self.models.tracker.state(pool)
        if now >= self._state_until:
            self._state, self._state_until = self.models.present_state(pool, None), now + _STATE_S
        return self._state

    def others(self, names: Sequence[str]) -> Collection[str]:
        """Return the names of all other candidates of the pool."""
        return () if len(names) == len(self._names) else self._names.difference(names)


def with_endpoint_limits(access: AccessSettings, pool: Pool) -> AccessSettings:
    """Return the settings of access with the limits a minute of the candidates' endpoints.

    A provider counts the calls of its own process only. What the settings limit is counted in the state that all workers share.
    """
    models = dict(access.models)
    for candidate in pool:
        if candidate.endpoint is not None:
            own = models.get(candidate.name, Limits())
            found = _limits_of(candidate.endpoint.options)
            lower = {unit: limit for unit, limit in found.items() if limit < (getattr(own, unit) or limit + 1)}
            if lower:
                models[candidate.name] = attrs.evolve(own, **lower)
    return attrs.evolve(access, models=models)


def _limits_of(options: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits of an endpoint: the sum over its deployments, unless one has none."""
    deployments: Sequence[Mapping[str, Any]] = options.get("deployments") or ({},)
    found = {}
    for unit in _LIMITED_UNITS:
        given = (deployment.get(unit) or options.get(unit) for deployment in deployments)
        limits = [limit for limit in given if isinstance(limit, int)]
        if len(limits) == len(deployments):
            found[unit] = sum(limits)
    return found
