"""The components that a controller serves with: loaded from a run, or made from names."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from aamc_sdk.config import Choice, ServingSettings, configure
from aamc_sdk.errors import CheckpointError, ConfigError, PluginError, PoolError, StoreError
from aamc_sdk.interfaces import Estimator, OnlineRouter, Router, Services, Store
from aamc_sdk.log import open_store
from aamc_sdk.messages import check_type, component_errors, one_of, router_error
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import find_pool, fit_reward, typical_request
from aamc_sdk.serving.models.model_client import ModelClient
from aamc_sdk.serving.run import Run, find_checkpoint, names_checkpoint
from aamc_sdk.serving.services import services_with_reward
from aamc_sdk.storage import load_component, to_json
from aamc_sdk.types import ROUNDING, Floats, Outcomes, Pool, Preference, Query, Record, check_name

logger = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class ServedComponents:
    """The components that a controller serves with.

    Attributes:
        services: The services of the components: the candidates, reward, client for calling models, event loop.
        router: Scores the candidates.
        store: The decision log.
        estimator: Describes queries; None for none.
        preference: The default preference of requests.
        preference_given: Whether the application chose that preference.
        seed: The seed of the draws.
        plugins: The plugins that receive events; None for none.
        router_name: The router's name in decisions; by default that of its class.
        preferences: Preferences that requests may give by name, such as a run's calibrated ones.
        candidate_means: Each candidate's mean quality, cost and latency ``[M, 3]``, for candidates without prices or figures.
    """

    services: Services
    router: Router
    store: Store
    estimator: Estimator | None = None
    preference: Preference = attrs.field(factory=Preference)
    preference_given: bool = False
    seed: int = 0
    plugins: Plugins | None = None
    router_name: str = attrs.field(default=attrs.Factory(lambda self: type(self.router).__name__, takes_self=True))
    preferences: Mapping[str, Preference] = attrs.field(factory=dict)
    candidate_means: Floats | None = None

    @property
    def pool(self) -> Pool:
        """The candidates."""
        return self.services.pool

    @property
    def models(self) -> ModelClient:
        """The client for calling the candidates."""
        assert isinstance(self.services.models, ModelClient)  # of make_services
        return self.services.models

    def record(self, decision_id: str) -> Record:
        """Return a decision's record; errors as of :meth:`aamc_sdk.interfaces.Store.record`, and a DataError for a value that is not an id."""
        check_name(decision_id, "a decision's id")
        with self.store_errors():
            return check_type(self.store.record(decision_id), Record, "record must return aamc_sdk.types.Record, or raise UnknownDecisionError")

    def store_errors(self) -> AbstractContextManager[None]:
        """Return a context that turns the store's exceptions into errors of the SDK that name it."""
        return component_errors(f"{self.store.message_name} failed", raises=StoreError)

    def close_router(self) -> None:
        """Close the router; an error of it is logged, so that the caller can still close the log."""
        try:
            self.router.close()
        except (Exception, SystemExit) as error:  # a plugin may raise anything
            logger.error("while closing: %s", router_error(self.router_name, error))  # noqa: TRY400  # without a traceback


def components_from_run(
    folder: str | Path,
    plugins: Plugins,
    *,
    router: str | Mapping[str, Any] | None = None,
    estimator: str | None = None,
    store: str | None = None,
    pool: str | None = None,
    seed: int | None = None,
    existing_store: bool = False,
    allow_untrained: bool = False,
    check_endpoints: bool = True,
) -> ServedComponents:
    """Return the components that a run trained, or others in their place; arguments as for :meth:`aamc_sdk.MetaController.load`.

    ``estimator`` is a trained estimator's folder, in place of the run's own; a warning names one that differs from that of the router's training.
    ``pool`` is the name or file of a pool with endpoints and prices for the run's candidates. With ``existing_store`` a missing log is an error.
    ``check_endpoints`` loads the clients of the candidates' endpoints, which only calls need, to check their options.

    Raises:
        ConfigError: The estimator is not a folder, a router of options requires training, or the router requires an estimator.
        PoolError: The pool lacks a candidate of the run.
        CheckpointError: A run or checkpoint is missing or damaged, the run has no such router, or the router's checkpoint is outside a run.
        StoreError: The log cannot be opened.
    """
    trained = find_checkpoint(router, "router") if isinstance(router, str) else None
    run = Run.open(folder) if trained is None else Run.holding(trained)
    if run is None:
        raise CheckpointError(f"{router} is outside a run, which holds the candidates and the reward; name the run's folder, or copy all of it")
    run.require_routers()
    candidates = run.pool if pool is None else _same_candidates(run.pool, find_pool(pool, plugins))
    if check_endpoints:
        _check_endpoints(candidates, plugins)
    services = run.services(plugins, candidates)
    if isinstance(router, Mapping):
        choice = Choice.of(router, "router")
        name = choice.name
        served = _new_router(choice, services, allow_untrained)
    else:
        name = trained.name if trained is not None else router or run.router_name
        served = run.router(plugins, services, name)
    used = _served_estimator(estimator, served, run, services, plugins)
    _check_router(name, served, used)
    return ServedComponents(
        services=services,
        router=served,
        router_name=name,
        estimator=used,
        preference=run.settings.preference,
        preference_given=True,
        preferences=run.calibrated_preferences,
        seed=run.settings.seed if seed is None else seed,
        plugins=plugins,
        candidate_means=run.candidate_means,
        store=open_store(store or run.store_url, plugins, existing=existing_store),  # last, since whatever fails must not leave it open
    )


def _served_estimator(name: str | None, router: Router, run: Run, services: Services, plugins: Plugins) -> Estimator | None:
    """Return the run's estimator, or the one of a named folder in its place."""
    own = run.estimator(plugins, services)
    if name is None:
        return own
    folder = find_checkpoint(name, "estimator")
    if folder is None:
        raise ConfigError(f"--estimator must be the folder of a trained estimator, not {name!r}; train one with: aamc train --estimator {name}")
    other: Estimator = load_component(folder, "estimator", plugins, services)
    if router.uses_estimates and estimates_fingerprint(other) != estimates_fingerprint(own):
        logger.warning("the router of %s was trained with an estimator other than %s: its choices do not carry over", run.folder, folder)
    return other


def _same_candidates(pool: Pool, endpoints: Pool) -> Pool:
    """Return the candidates of a pool with the endpoints and prices of another one."""
    if lacking := set(pool.names) - set(endpoints.names):
        them = "it" if len(lacking) == 1 else "them"
        raise PoolError(f"the pool has no {one_of(lacking)}, among which the run chooses; add {them} to the pool file")
    return endpoints.subset(pool.names)


def estimates_fingerprint(estimator: Estimator | None) -> str:
    """Return the fingerprint of an estimator's estimates; ``""`` without an estimator."""
    if estimator is None:
        return ""
    with component_errors(f"{estimator.message_name} failed"):
        return estimator.estimate([Query("fingerprint")]).fingerprint


def components_from_settings(
    settings: ServingSettings,
    plugins: Plugins,
    *,
    pool: Pool | None = None,
    store: str = "memory:",
    preference_given: bool = False,
    allow_untrained: bool = False,
) -> ServedComponents:
    """Return untrained components, as :meth:`aamc_sdk.MetaController.build` does; the estimator of the settings may be the folder of a trained one.

    Without a ``pool``, the candidates are those that the settings name. ``preference_given``: whether the application chose the preference.

    Raises:
        ConfigError: A component or an option is unknown, an option is wrong, or the router requires training or an estimator.
        StoreError: The log cannot be opened.
    """
    candidates = find_pool(settings.pool or "default", plugins) if pool is None else pool
    services = services_with_reward(candidates, plugins, settings)
    fit_reward(services.reward, _scale_outcomes(candidates))
    router = _new_router(settings.router, services, allow_untrained, settings)
    estimator = None if settings.estimator is None else _estimator(settings.estimator, plugins, services)
    _check_router(settings.router.name, router, estimator)
    _check_endpoints(candidates, plugins)
    return ServedComponents(
        services=services,
        router=router,
        router_name=settings.router.name,
        estimator=estimator,
        preference=settings.preference,
        preference_given=preference_given,
        seed=settings.seed,
        plugins=plugins,
        store=open_store(store, plugins),
    )


def _estimator(choice: Choice, plugins: Plugins, services: Services) -> Estimator:
    """Return an estimator by its name, or the trained one of a folder."""
    folder = find_checkpoint(choice.name, "estimator")
    if folder is not None:
        return load_component(folder, "estimator", plugins, services, choice.options)  # type: ignore[no-any-return]  # of any kind
    return services.make("estimator", choice.name, choice.options)  # type: ignore[no-any-return]  # likewise


def _scale_outcomes(pool: Pool) -> Outcomes:
    """Return the outcomes from which a reward without training data takes its scales: those of a typical request.

    If all candidates cost the same, the scale begins at 0, so that a lost prompt cache still has a cost.
    """
    expected = typical_request(pool).expected
    cost_usd, latency_ms = expected.cost_usd, expected.latency_ms
    known = cost_usd[np.isfinite(cost_usd)]
    if not len(known) or known.max() - known.min() > ROUNDING * known.max():
        return expected
    return Outcomes(None, np.append(cost_usd, [[0.0]], axis=1), np.append(latency_ms, latency_ms[:, :1], axis=1))


def _new_router(choice: Choice, services: Services, allow_untrained: bool, settings: ServingSettings | None = None) -> Router:
    """Return an untrained router; one that requires training is refused, with the command that trains it for the same settings."""
    if names_checkpoint(choice.name):
        how = "serve a trained router's folder with aamc serve --router FOLDER, or a run with aamc serve --run RUN or MetaController.load"
        raise ConfigError(f"the router must be a name such as thompson, not the folder {choice.name!r}; {how}")
    router: Router = services.make("router", choice.name, choice.options)
    if router.requires.training and not allow_untrained:
        command = ["aamc", "run"]
        for kind, named in (("router", choice), ("estimator", settings.estimator if settings else None)):
            if named is not None:
                command += [f"--{kind}", named.name]
                for key, value in named.options.items():
                    command += ["--set", f"{kind}.{key}={value if isinstance(value, str) else to_json(value)}"]
        if settings and isinstance(settings.pool, str):
            command += ["--pool", settings.pool]
        why = f" ({reason})" if (reason := router.requires.training_reason) else ""
        how = f"train it with: {shlex.join(command)}; then pass --run RUN (Python: MetaController.load(RUN), or allow_untrained=True)"
        raise ConfigError(f"router {choice.name!r} must be trained first{why}; {how}")
    return router


def check_privileged(name: str, router: Router, option: str = "router") -> None:
    """Refuse a router that must know outcomes in advance; the error has its name, and the option that named it.

    Raises:
        ConfigError: The router is privileged.
    """
    if router.privileged:
        raise ConfigError(f"router {name!r} must know outcomes in advance, so it is for evaluation only; choose another {option}")


def warn_of_wrapped_learners(router: Router) -> None:
    """Warn of online routers in the attributes of a router that is not one: nothing attaches them to the log."""
    for inner in vars(router).values():
        if isinstance(inner, OnlineRouter):
            lost = f"{router.message_name} is not an OnlineRouter, so {inner.message_name}, which it wraps, learns nothing from feedback"
            logger.warning("%s; a wrapper derives from OnlineRouter and passes its methods on", lost)


def _check_router(name: str, router: Router, estimator: Estimator | None) -> None:
    """Refuse a router that could not score any request."""
    check_privileged(name, router)
    if router.requires.estimator and estimator is None:
        raise ConfigError(
            f"router {name!r} needs an estimator, and none is named; train one with: aamc run --router {name} --estimator tce, and serve the run's "
            "folder by MetaController.load or aamc serve --run; or name the folder of a trained one as estimator"
        )


def _check_endpoints(pool: Pool, plugins: Plugins) -> None:
    """Check the candidates' endpoints now instead of at the first call."""
    for candidate in pool:
        if candidate.endpoint is not None:
            endpoint = candidate.endpoint
            try:
                provider = plugins.load("provider", endpoint.provider)
            except PluginError as error:  # it can still be chosen
                logger.warning("candidate %r of the pool cannot be called: %s", candidate.name, error)
            else:
                configure(provider.Config, endpoint.options, where=f"the endpoint of candidate {candidate.name!r} ({endpoint.provider})")
