"""The endpoints ``/metrics``, ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.types import Receive, Scope, Send

from aamc_gateway.access.callers import Refused
from aamc_gateway.observe.metrics import TRIAL_ENDED
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.answers import send_body, send_json
from aamc_gateway.server.log_watch import PATIENCE_S
from aamc_sdk.errors import AamcError

logger = logging.getLogger(__name__)
_SHARE_S = 5.0
"""Time between two notes of a worker's gauges for the other workers, in seconds."""
_CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


async def metrics(gateway: Gateway, scope: Scope, receive: Receive, send: Send, /) -> None:
    """Answer with all metrics in Prometheus' text format."""
    settings = gateway.settings.observe
    if not settings.metrics:
        raise Refused("metrics are off; turn them on with gateway.observe.metrics: true", status=404, kind="not_found")
    if not settings.metrics_public:
        (await gateway.access.caller(scope["headers"])).check_admin()
    text = await asyncio.to_thread(lambda: gateway.metrics.text(_health(gateway), _present(gateway)))
    await send_body(send, text, _CONTENT_TYPE)


async def share_gauges(gateway_of: Callable[[], Gateway]) -> None:
    """Note the gauges of this worker every few seconds for the ``/metrics`` of the others."""
    level = logging.WARNING
    while True:
        gateway = gateway_of()
        if gateway.settings.observe.metrics:
            try:
                await asyncio.to_thread(_share, gateway)
            except Exception as error:  # a store may raise anything; the next time will do
                logger.log(level, "the gauges of this worker could not be noted, so /metrics of the others lacks them: %s", error)
                level = logging.DEBUG
        await asyncio.sleep(_SHARE_S)


def _share(gateway: Gateway) -> None:
    gateway.metrics.share({**gateway.controller.process_health(), **_trial(gateway)}, _present(gateway))


async def healthz(gateway: Gateway, scope: Scope, receive: Receive, send: Send, /) -> None:
    """Answer that the process is alive."""
    await send_json(send, {"status": "ok"})


async def readyz(gateway: Gateway, scope: Scope, receive: Receive, send: Send, /) -> None:
    """Answer 200 if requests are served, otherwise 503; with the problems in both cases.

    A server that all replicas share does not make a replica unready while requests are answered without it: a load balancer would stop sending
    requests to all of them.
    """
    log_is_away, shared_is_away = await asyncio.gather(_log_is_away(gateway), _is_away(gateway.shared.get("readyz")))
    failures = _failures(gateway)
    impairments: list[str] = []
    if log_is_away:
        (impairments if gateway.controller.store.is_away else failures).append("the decision log cannot be reached")
    if shared_is_away:
        impairments.append("the shared state cannot be reached")
    if gateway.access.keys.is_lost:
        impairments.append("the shared state has lost keys: its server came back without its data")
    learner = gateway.controller.learner
    if learner is not None and learner.error is not None:
        impairments.append("the router failed to learn from the log, and has stopped")
    status = "not ready" if failures else "degraded" if impairments else "ready"
    await send_json(send, {"status": status, "problems": [*failures, *impairments]}, 503 if failures else 200)


def _failures(gateway: Gateway) -> list[str]:
    """Return the problems that keep a gateway from serving requests; they name no address, since anyone may read them."""
    found = []
    if gateway.log_watch.is_away():
        found.append("the decision log cannot be written")
    if len(_uncallable(gateway)) == len(gateway.upstreams):
        found.append("no candidate can be called: all circuit breakers are open, after failures")
    return found


async def _log_is_away(gateway: Gateway) -> bool:
    """Return whether the log cannot be read; entries for one on a server that is away wait in the spool meanwhile."""
    store = gateway.controller.store
    return store.is_away or await _is_away(asyncio.to_thread(store.position)) or store.is_away


async def _is_away(answer: Awaitable[object]) -> bool:
    try:
        await asyncio.wait_for(answer, PATIENCE_S)
    except (AamcError, asyncio.TimeoutError):
        return True
    return False


def _present(gateway: Gateway) -> Mapping[str, Mapping[str, float]]:
    """Return the present state of the candidates, by the names of :data:`aamc_gateway.observe.metrics.PRESENT`."""
    uncallable, state = _uncallable(gateway), gateway.models.tracker.state(gateway.components.pool)
    in_flight = {name: float(state.in_flight.get(name, 0) if state is not None else 0) for name in gateway.upstreams}
    queued = {}
    for name, upstream in gateway.upstreams.items():
        concurrency = upstream.endpoint.concurrency
        queued[name] = 0.0 if concurrency is None else max(0.0, in_flight[name] - concurrency)
    return {"breaker_open": {name: float(name in uncallable) for name in gateway.upstreams}, "calls_in_flight": in_flight, "queue_depth": queued}


def _uncallable(gateway: Gateway) -> frozenset[str]:
    """Return the candidates that cannot be called now: those whose circuit breakers are open, or whose provider cannot be made."""
    return frozenset(name for name, upstream in gateway.upstreams.items() if not upstream.is_available)


def _health(gateway: Gateway) -> Mapping[str, float]:
    """Return the numbers of the controller, none while its log is away, and those of a trial."""
    try:
        return {**gateway.controller.health(), **_trial(gateway)}
    except AamcError:
        return _trial(gateway)


def _trial(gateway: Gateway) -> Mapping[str, float]:
    """Return whether the canary that is served has ended; nothing for other routers."""
    router = gateway.controller.router
    return {TRIAL_ENDED: float(router.ended is not None)} if hasattr(router, "ended") else {}
