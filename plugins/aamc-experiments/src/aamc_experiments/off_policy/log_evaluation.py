"""Evaluation of routers on the decisions of a log: ``aamc evaluate --logs``.

Requests are rebuilt from the records, and each router scores them as it was trained, without learning on the way: the state that it has learned in
service comes from the same log. The logged policy is the baseline; its means need no weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_experiments.off_policy.betting import mean_interval
from aamc_experiments.off_policy.bounded_outcomes import BoundedOutcome, bounded_outcomes
from aamc_experiments.off_policy.logged_decisions import LEFT_OUT, LoggedDecisions, read_log
from aamc_experiments.off_policy.logged_policies import STORE_TEXT, LoggedPolicies
from aamc_experiments.off_policy.overlap import Choices, refusal
from aamc_experiments.off_policy.value_estimates import estimate
from aamc_experiments.settings import read_settings
from aamc_sdk.errors import AamcError, ConfigError, DataError, StoreError
from aamc_sdk.interfaces import OnlineRouter, Reward, Router, Services, public_url
from aamc_sdk.log import is_within, open_store
from aamc_sdk.messages import one_of, quantity
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import fit_reward
from aamc_sdk.serving import estimates_fingerprint, services_with_reward
from aamc_sdk.storage import load_component, plain
from aamc_sdk.types import Aggregate, Candidate, Floats, ModelSpec, Outcomes, Pool, Preference, Prices, normalized_text, tenant_user

if TYPE_CHECKING:
    from aamc_experiments.run_folder import RunFolder

SUPPORT = ("n_eff", "expected_n_eff", "mean_weight", "max_weight", "unsupported")
"""The keys of the figures of overlap between a router and the logged one."""
MAX_DEVIATION = 4.0
"""The maximum deviation of the mean weight from 1, in standard errors, that chance explains."""
REPEATED = 2
"""The minimum mean number of decisions of a user for a remark on the intervals."""


def evaluate_log(
    url: str,
    plugins: Plugins,
    *,
    names: Sequence[str] | None = None,
    run: RunFolder | None = None,
    run_optional: bool = False,
    pool: Pool | None = None,
    preference: Preference | None = None,
    estimator: str | None = None,
    failure_quality: float | None = 0.0,
    since: float | None = None,
    until: float | None = None,
    strict: bool = False,
) -> dict[str, Any]:
    """Return the estimates of routers on a log's decisions: the document of ``aamc evaluate --logs --json``.

    Args:
        url: The URL of the log.
        plugins: The plugins that offer components.
        names: The routers: those of the run, and others that need no training; all of the run's when None.
        run: The run, whose routers, reward and candidates are used; without one the log's expected outcomes scale the reward.
        run_optional: Whether to ignore a run that lacks a candidate of the log; else it is an error if it has none of them.
        pool: Describes the candidates where there is no run; when None, their prices follow from the log's expected costs.
        preference: The preference of all requests; each request's own when None.
        estimator: The trained estimator that estimates the log's texts again, as for
            :func:`aamc_experiments.run_folder.estimator_checkpoint`; the logged estimates count when None.
        failure_quality: The quality of a failed call without feedback; None leaves such decisions out.
        since: Time of the first decisions, in seconds since the epoch; None for all.
        until: Time before which decisions were made; None for all.
        strict: Whether a decision that the run or the estimator was trained on is an error; else it is left out.

    Raises:
        StoreError: The log does not exist, or the run has none of its candidates.
        DataError: The log has no usable decision, or no texts to estimate again; or ``strict`` is set, and decisions were trained on.
        ConfigError: No router is named, or a privileged one, or the pool lacks a candidate of the log.
    """
    log_name = public_url(url)
    log, dropped = _decisions(url, plugins, failure_quality, since, until)
    if run is not None and run_optional and not set(log.candidates) <= set(run.pool.names):
        run = None  # its pool does not have the prices of all candidates
    if run is not None and not set(log.candidates) & set(run.pool.names):
        raise StoreError(f"the candidates of {log_name} are not those of {run.folder}: {one_of(log.candidates)}; name the run that made it")
    services = _services(log, plugins, run, pool)
    routers = _routers(services, plugins, names, run)
    checkpoints = [] if run is None else [run.folder / "routers" / name for name in routers if name in run.router_names]
    again = None
    if estimator is not None:
        from aamc_experiments.run_folder import estimator_checkpoint  # its imports would slow down those who read logs alone

        if not log.with_text.any():
            raise DataError(f"{log_name} keeps no texts that could be estimated again; leave out --estimator, or log with {STORE_TEXT}")
        checkpoints.append(estimator_checkpoint(estimator, run))
        again = load_component(checkpoints[-1], "estimator", plugins, services)
    trained = _trained(log, checkpoints, strict)
    policies = LoggedPolicies(log, services.pool, trained, preference, again, **_of_run(run, plugins, services, routers))
    preferences = log.columns["preference"] if preference is None else np.broadcast_to(preference.array, (len(log), 3))
    outcomes = partial(_outcomes, log, services.reward, preferences)
    logged = outcomes(log.spent)
    document = {
        "schema": 1,
        "log": log_name,
        "run": None if run is None else str(run.folder),
        "preference": None if preference is None else preference.array,
        "decisions": {"total": log.total, "counted": len(log), "left_out": log.left_out, "measured": log.measured},
        "range": {"since": _iso(since), "until": _iso(until), "next_since": _iso(log.end if until is None else until)},
        "logged": {"n": len(log), **{name: _mean(outcome) for name, outcome in logged.items()}},
        "routers": {
            name: _estimated(name, router, policies, outcomes, logged, of_run=run is not None and name in run.router_names)
            for name, router in routers.items()
        },
        "notes": [*_notes(log, described=run is not None or pool is not None), *_router_notes(log, routers, run, trained), *dropped],
    }
    result: dict[str, Any] = plain(document)
    return result


def _outcomes(log: LoggedDecisions, reward: Reward, preferences: Floats, spent: Floats) -> dict[str, BoundedOutcome]:
    """Return the outcomes if the decisions themselves took USD and milliseconds ``[n, 2]``."""
    usd, ms = spent.T[:, :, None]
    observed = Outcomes(log.quality[:, None], log.cost_usd[:, None] + usd, log.latency_ms[:, None] + ms)
    expected = attrs.evolve(log.expected, cost_usd=log.expected.cost_usd + usd, latency_ms=log.expected.latency_ms + ms)
    return bounded_outcomes(observed, expected, log.probabilities > 0, reward, preferences)


def _decisions(
    url: str, plugins: Plugins, failure_quality: float | None, since: float | None, until: float | None
) -> tuple[LoggedDecisions, Sequence[str]]:
    """Read the decisions of a log, and remark on those that it had.

    Raises:
        DataError: None of them can be used.
    """
    log_name, period = public_url(url), "" if since is until is None else " of that time"
    with closing(open_store(url, plugins, existing=True)) as store:
        log = read_log(store, failure_quality, since, until)
        dropped = list(_dropped([each for each in store.aggregates() if is_within(_begin(each.day), since, until)], period))
    if not log.total and (period or dropped):
        advice = dropped[0] if dropped else "give an earlier --since or a later --until"
        raise DataError(f"{log_name} has no decision {'in that time' if period else 'left'}; {advice}")
    if not log.total:
        raise DataError(f"the log {log_name} is empty; name one that decisions were written to, such as sqlite:state.db")
    if not len(log):
        unjudged = log.left_out["not_judged"] + log.left_out["only_compared"]
        advice = "give feedback on quality first" if unjudged else "log some of a router that knows its probabilities, such as thompson"
        raise DataError(f"of {quantity(log.total, 'decision')} of {log_name} none counts: {_reasons(log)}; {advice}")
    return log, dropped


def _begin(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=timezone.utc).timestamp()


def _dropped(sums: Sequence[Aggregate], period: str) -> Iterator[str]:
    """Yield a remark on the decisions of a period that retention has dropped, if there are some."""
    count, judged, costs = (sum(getattr(each, name) for each in sums) for name in ("decisions", "judged", "costs"))
    if count:
        figures = [f"mean quality {sum(each.quality for each in sums) / judged:.3f} of {judged:,}"] if judged else []
        figures += [f"mean cost {sum(each.cost_usd for each in sums) / costs:.3g} USD of {costs:,}"] if costs else []
        yield f"retention has dropped {quantity(count, 'decision')}{period} ({', '.join(figures) or 'none judged'}), which no estimate counts"


def _iso(when: float | None) -> str | None:
    """Return a time as --since and --until take it; None for one beyond the calendar."""
    with suppress(OverflowError, ValueError, OSError):
        return None if when is None else datetime.fromtimestamp(when, timezone.utc).isoformat()
    return None


def _services(log: LoggedDecisions, plugins: Plugins, run: RunFolder | None, pool: Pool | None) -> Services:
    if run is not None:
        return run.services(plugins)
    if pool is not None and (lacking := [name for name in log.candidates if name not in pool.names]):
        raise ConfigError(f"the pool lacks {one_of(lacking)}, which the log has; name the pool that served it")
    services = services_with_reward(pool or _logged_pool(log), plugins, read_settings({}))
    fit_reward(services.reward, log.expected)
    return services


def _logged_pool(log: LoggedDecisions) -> Pool:
    """Return a log's candidates with a price per request: the mean of their expected costs, which were those of the same tokens for each."""
    expected = log.columns["expected_cost_usd"]
    known = ~np.isnan(expected)
    means = np.where(known, expected, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return Pool(
        ModelSpec(name, prices=Prices(input=0.0, output=0.0, request=float(mean))) if counted else Candidate(name)
        for name, mean, counted in zip(log.candidates, means, known.any(axis=0), strict=True)
    )


def _routers(services: Services, plugins: Plugins, names: Sequence[str] | None, run: RunFolder | None) -> dict[str, Router]:
    """Return routers by name, those of the run trained.

    Raises:
        ConfigError: No router is named, or a privileged one.
    """
    held = [] if run is None else run.router_names
    if names is None and run is None:
        lacking = "there is no run with all candidates of the log, and no router is named"
        raise ConfigError(f"{lacking}; name routers that need no training with --routers A,B, or a run")
    routers = {}
    for name in held if names is None else names:
        router: Router = services.make("router", name, {}) if run is None or name not in held else run.router(plugins, services, name)
        if not router.privileged:
            routers[name] = router
        elif names is not None:
            raise ConfigError(f"router {name!r} must know outcomes in advance, and a log holds only those of chosen candidates; leave it out")
    return routers


def _mean(outcome: BoundedOutcome) -> dict[str, Any] | None:
    values = outcome.values[outcome.known]
    return {"n": len(values), "value": values.mean(), "ci95": mean_interval(values, outcome.low, outcome.high)} if len(values) else None


def _trained(log: LoggedDecisions, checkpoints: Sequence[Path], strict: bool) -> NDArray[np.bool_]:
    """Return whether some checkpoint's run was trained on each decision, or on a near-duplicate of it, ``[n]``.

    Raises:
        DataError: ``strict`` is set, and there is such a decision, or the training rows of a checkpoint are unknown.
    """
    if not checkpoints:
        return np.zeros(len(log), dtype=bool)
    from aamc_experiments.data import decision_name
    from aamc_experiments.leak_guard import checkpoint_fingerprints, trained_rows

    texts = map(normalized_text, log.columns["text"])
    names = [text or decision_name(decision_id) for text, decision_id in zip(texts, log.ids, strict=True)]
    trained = trained_rows(names, checkpoint_fingerprints(checkpoints, strict))
    if strict and trained.any():
        raise DataError(f"{_of_trained(trained)}; choose later ones with --since, or leave out --strict to evaluate on the rest")
    return trained


def _router_notes(log: LoggedDecisions, routers: Mapping[str, Router], run: RunFolder | None, trained: NDArray[np.bool_]) -> Iterator[str]:
    """Yield the remarks on a run's routers."""
    if run is not None and (lacking := [name for name in log.candidates if name not in run.pool.names]):
        yield f"the routers do not know the prices and descriptions of {one_of(lacking)}: {run.folder} has no such candidate"
    if learning := [name for name, router in routers.items() if run is not None and name in run.router_names and isinstance(router, OnlineRouter)]:
        yield f"evaluated as trained, without what they learned in service: {one_of(learning)}"
    if trained.any():
        yield f"{_of_trained(trained)}; they do not count for routers and estimators that were trained on them"


def _of_trained(trained: NDArray[np.bool_]) -> str:
    return f"{trained.sum()} of {quantity(len(trained), 'decision')} were trained on, or are near-duplicates of training rows"


def _of_run(run: RunFolder | None, plugins: Plugins, services: Services, routers: Mapping[str, Router]) -> dict[str, Any]:
    """Return what a run's routers see in service, as arguments of :class:`LoggedPolicies`; its estimates where one of them depends on these."""
    if run is None:
        return {}
    means = dict(zip(run.pool.names, run.candidate_means, strict=True))
    if not any(router.uses_estimates for name, router in routers.items() if name in run.router_names):
        return {"means": means}
    own = run.estimator(plugins, services)
    return {"own": own, "fingerprint": estimates_fingerprint(own), "means": means}


def _estimated(
    name: str,
    router: Router,
    policies: LoggedPolicies,
    outcomes: Callable[[Floats], Mapping[str, BoundedOutcome]],
    logged: Mapping[str, BoundedOutcome],
    *,
    of_run: bool,
) -> dict[str, Any]:
    """Return the entry of one router; its figures are null if the log cannot evaluate it, or it cannot decide the requests."""
    log, nothing, readable = policies.log, dict[str, Any].fromkeys(logged), policies.readable(router, of_run=of_run)
    try:
        probabilities, spent = policies.scored(name, router, of_run=of_run)
        choices = Choices(log.chosen, log.probabilities, probabilities).take(readable)
    except AamcError as error:  # the other routers are still evaluated
        return {"refused": str(error), "warning": None, **dict.fromkeys(SUPPORT), **nothing}
    figures = (choices.effective, choices.expected_effective, choices.weights.mean(), choices.max_weight, choices.unsupported)
    support = dict(zip(SUPPORT, figures, strict=True))
    refused = refusal(choices)
    if refused:
        return {"refused": refused, "warning": None, **support, **nothing}
    found = {name: _estimates(each.take(readable), logged[name].values[readable], choices) for name, each in outcomes(spent).items()}
    return {"refused": None, "warning": _warning(choices), **support, **found}


def _estimates(outcome: BoundedOutcome, logged: Floats, choices: Choices) -> dict[str, Any] | None:
    known = outcome.known
    counted = choices if known.all() else choices.take(known)
    if not known.any() or refusal(counted):
        return None
    found = estimate(outcome.values[known], counted, outcome.prior[known], outcome.low, outcome.high, logged[known])
    return {"n": int(known.sum()), **{name: attrs.asdict(each) for name, each in found.items()}}


def _warning(choices: Choices) -> str | None:
    """Return a warning if weights do not average 1, which they do unless feedback depends on the choice."""
    mean, n = float(choices.weights.mean()), len(choices.weights)
    error = math.sqrt(max(n / choices.expected_effective - 1, 0.0) / n)
    if abs(mean - 1) <= MAX_DEVIATION * error + choices.unsupported:
        return None
    return f"weights average {mean:.2f} instead of 1: feedback seems to depend on the choice, which biases every estimate"


def _reasons(log: LoggedDecisions) -> str:
    return "; ".join(f"{LEFT_OUT[reason]} ({count})" for reason, count in log.left_out.items() if count)


def _notes(log: LoggedDecisions, *, described: bool) -> Iterator[str]:
    """Yield the remarks on the log."""
    if not described:
        yield "routers see prices that follow from the log's expected costs; --pool FILE gives them those of the candidates"
    if any(log.left_out.values()):
        yield f"left out of {log.total} decisions: {_reasons(log)}"
    if log.left_out["fallback"]:
        yield "estimates cover only requests that the chosen candidate answered itself: a candidate that often fails looks better than it is"
    if log.left_out["not_judged"] and log.failed:
        failures = quantity(log.failed, "failed call")
        yield f"{failures} counted, but only answers with feedback, so quality looks too low; leave failures out with --failure-quality none"
    if log.left_out["not_judged"]:
        yield "estimates cover all decisions only if feedback depends neither on the choice nor on its quality"
    users = [tenant_user(query.user, query.tenant) for query in log.columns["query"] if query.user is not None]
    if len(users) >= REPEATED * (distinct := len(set(users))) > 0:
        named = f"{quantity(len(users), 'decision')} of {quantity(distinct, 'user')}"
        yield f"intervals take {named} as independent: they are too narrow if users differ in quality"
