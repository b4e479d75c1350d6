"""What routers would have earned on the decisions of a log: ``aamc evaluate --logs``.

Requests are rebuilt from what was recorded, and each router is asked again as it is: what it would have learned on the way is not
played. The logged policy is the baseline; its means need no weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aamc_experiments.off_policy.betting import interval
from aamc_experiments.off_policy.estimators import Choices, by_name, estimate, refusal
from aamc_experiments.off_policy.bounded_outcomes import Figure, figures_of
from aamc_experiments.off_policy.logged_decisions import LEFT_OUT, LoggedDecisions, read_log
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import Settings, read_settings
from aamc_sdk.errors import AamcError, ConfigError, DataError, StoreError, one_of
from aamc_sdk.interfaces import Reward, Router, Services
from aamc_sdk.log import open_store
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import choice_probabilities, default_pool, recorded_request
from aamc_sdk.serving import bare_services, services
from aamc_sdk.storage import plain
from aamc_sdk.types import Candidate, Floats, Outcomes, Pool, Preference, RoutingRequest

BATCH = 1000
"""Recorded requests that a router is asked at once."""
STRANGE = 4.0
"""So many standard errors from 1, weights cannot average by chance."""


def measure_log(
    url: str,
    plugins: Plugins,
    *,
    names: Sequence[str] | None = None,
    run: RunFolder | None = None,
    only_if_it_fits: bool = False,
    preference: Preference | None = None,
) -> dict[str, Any]:
    """Return what routers would have earned on a log's decisions; the document of ``aamc evaluate --logs --json``.

    Args:
        url: The log's.
        plugins: Where components come from.
        names: Which routers: the run's own, and others that need no training; all of the run's when None.
        run: Whose routers, reward and descriptions of candidates; without one the reward's scales come from what the log expected.
        only_if_it_fits: Whether to do without the run where the log's candidates are not the run's, rather than refuse.
        preference: What each request asks for instead of its own preference.

    Raises:
        StoreError: There is no such log, or its candidates are not the run's.
        DataError: No decision of it counts.
        ConfigError: No router is named, or one that must know outcomes in advance.
    """
    store = open_store(url, plugins, existing=True)
    try:
        log = read_log(store)
    finally:
        store.close()
    if not len(log):
        raise DataError(f"no decision of {url} counts, of {log.total}: {_counts(log)}; give feedback on quality first")
    if run is not None and not set(log.candidates) & set(run.pool.names):
        if not only_if_it_fits:
            raise StoreError(f"the candidates of {url} are not those of {run.folder}: {one_of(log.candidates)}; name the run that made it")
        run = None
    lent = _services(log, plugins, run)
    routers = _routers(lent, plugins, names, run)
    preferences = np.stack([(preference or record.decision.preference).array for record in log.records])
    figures = _figures(log, lent.reward, preferences)
    document = {
        "schema": 1,
        "log": url,
        "run": None if run is None else str(run.folder),
        "preference": None if preference is None else preference.array,
        "decisions": {"total": log.total, "counted": len(log), "left_out": log.left_out, "measured": log.measured},
        "logged": {"n": len(log), **{name: _mean(figure) for name, figure in figures.items()}},
        "routers": {name: _earned(router, log, lent.pool, figures, preference) for name, router in routers.items()},
        "notes": list(_notes(log)),
    }
    result: dict[str, Any] = plain(document)
    return result


def _services(log: LoggedDecisions, plugins: Plugins, run: RunFolder | None) -> Services:
    if run is not None:
        return run.services(plugins)
    settings: Settings = read_settings({})
    known = {candidate.name: candidate for candidate in default_pool()}
    pool = Pool(known.get(name, Candidate(name)) for name in log.candidates)
    reward: Reward = plugins.make("reward", settings.reward.name, bare_services(pool, plugins, settings), settings.reward.options)
    reward.fit(log.expected)
    return services(pool, reward, plugins, settings)


def _routers(lent: Services, plugins: Plugins, names: Sequence[str] | None, run: RunFolder | None) -> dict[str, Router]:
    """Return routers by name: trained ones of the run, others as they are made."""
    held = [] if run is None else run.router_names
    if names is None and run is None:
        raise ConfigError("without a run no router is known; name some that need no training with --routers A,B, or a run")
    routers = {}
    for name in held if names is None else names:
        router: Router = lent.make("router", name, {}) if run is None or name not in held else run.router(plugins, lent, name)
        if not router.privileged:
            routers[name] = router
        elif names is not None:
            raise ConfigError(f"router {name!r} must know outcomes in advance, and a log holds those of one candidate each; leave it out")
    return routers


def _figures(log: LoggedDecisions, reward: Reward, preferences: Floats) -> dict[str, Figure]:
    earned = Outcomes(log.quality[:, None], log.cost_usd[:, None], log.latency_ms[:, None])
    return figures_of(earned, log.expected, log.probabilities > 0, reward, preferences)


def _mean(figure: Figure) -> dict[str, Any] | None:
    values = figure.values[figure.known]
    return {"n": len(values), "value": values.mean(), "ci95": interval(values, figure.low, figure.high)} if len(values) else None


def _earned(router: Router, log: LoggedDecisions, pool: Pool, figures: Mapping[str, Figure], preference: Preference | None) -> dict[str, Any]:
    """Return what is reported of one router; every figure is null where the log, or the router, refuses."""
    nothing: dict[str, Any] = dict.fromkeys(figures)
    try:
        choices = Choices(log.chosen, log.probabilities, target_probabilities(router, log, pool, preference))
    except AamcError as error:  # one router that cannot decide recorded requests leaves the others their answers
        return {"refused": str(error), **nothing}
    support = {
        "n_eff": choices.effective,
        "expected_n_eff": choices.expected_effective,
        "mean_weight": choices.weights.mean(),
        "greatest_weight": choices.greatest_weight,
        "unsupported": choices.unsupported,
    }
    refused = refusal(choices)
    found = nothing if refused else {name: _estimates(figure, choices) for name, figure in figures.items()}
    return {"refused": refused, "warning": None if refused else _warning(choices), **support, **found}


def _estimates(figure: Figure, choices: Choices) -> dict[str, Any] | None:
    known = figure.known
    told = choices if known.all() else choices.take(known)
    if not known.any() or refusal(told):
        return None
    found = estimate(figure.values[known], told, figure.prior[known], figure.low, figure.high)
    return {"n": int(known.sum()), **by_name(found)}


def _warning(choices: Choices) -> str | None:
    """Say where weights do not average 1, which they do unless who is judged depends on who was chosen."""
    mean, n = float(choices.weights.mean()), len(choices.weights)
    error = math.sqrt(max(n / choices.expected_effective - 1, 0.0) / n)
    if abs(mean - 1) <= STRANGE * error + choices.unsupported:
        return None
    return f"weights average {mean:.2f} instead of 1: who is judged seems to depend on who was chosen, which biases every estimate"


def target_probabilities(router: Router, log: LoggedDecisions, pool: Pool, preference: Preference | None = None) -> Floats:
    """Return with which probability a router chooses each candidate in each recorded request, ``[n, K]``.

    Args:
        router: Who is asked.
        log: The recorded requests.
        pool: Describes the candidates.
        preference: What each request asks for instead of its own preference.

    Raises:
        ConfigError: It reads texts that the log does not hold, or cannot know the probabilities of its choices.
        AamcError: It cannot decide such requests.
    """
    if router.needs_text and not all(record.query.text for record in log.records):
        raise ConfigError(
            "it reads the texts of requests, which this log lacks; log with the store's option store_text, as in sqlite:log.db?store_text=true"
        )
    probabilities = np.zeros((len(log), len(log.candidates)))
    for rows in _alike(log):
        request = recorded_request([log.records[row] for row in rows], pool)
        if preference is not None:
            request = request.with_preference(preference.array)
        probabilities[np.ix_(rows, log.columns(request.pool.names))] = _choices(router, request)
    return probabilities


def _alike(log: LoggedDecisions) -> Iterator[NDArray[np.intp]]:
    """Yield the rows of requests that can be asked at once."""
    groups: dict[tuple[tuple[str, ...], bool], list[int]] = {}
    for row, record in enumerate(log.records):
        groups.setdefault((record.candidates, record.preference_given), []).append(row)
    for rows in groups.values():
        for start in range(0, len(rows), BATCH):
            yield np.array(rows[start : start + BATCH], dtype=np.intp)


def _choices(router: Router, request: RoutingRequest) -> Floats:
    """Return the probabilities of a router's choices, ``[B, M]``: those that it draws from, else all on the greatest utility."""
    scores = router.score(request)
    if router.samples and not scores.propensity_known:
        raise ConfigError("it cannot know the probabilities of its own choices")
    return choice_probabilities(scores, request, router.samples)


def _counts(log: LoggedDecisions) -> str:
    return "; ".join(f"{LEFT_OUT[reason]} ({count})" for reason, count in log.left_out.items() if count) or "it is empty"


def _notes(log: LoggedDecisions) -> Iterator[str]:
    """Yield what the reader of the estimates has to know of the log."""
    if any(log.left_out.values()):
        yield f"left out of {log.total} decisions: {_counts(log)}"
    if log.left_out["fallback"]:
        yield "estimates hold of requests that the chosen candidate answered itself: one that often needs a fallback looks better than it is"
    if log.left_out["not_judged"]:
        yield "estimates speak of all decisions only if who is judged depends neither on who was chosen nor on how well it did"
