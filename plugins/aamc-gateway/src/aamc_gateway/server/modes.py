"""The handlers of requests, by mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aamc_gateway.arena.arena_handler import serve_arena, serve_route
from aamc_gateway.forwarding.model_handler import serve
from aamc_gateway.orchestrations.orchestrator_handler import serve_orchestrator
from aamc_gateway.requests.routing_arguments import ARENA, PREFIX

if TYPE_CHECKING:
    from aamc_gateway.requests.ask import Mode
    from aamc_gateway.server.gateway import Gateway
    from aamc_gateway.server.interfaces import Handler


def handlers(gateway: Gateway) -> dict[Mode, Handler]:
    """Return the handler of each mode, from the gateway's own packages."""
    return {"route": serve_route, "model": serve, "arena": serve_arena, "orchestrator": serve_orchestrator}


def own_models(gateway: Gateway) -> tuple[str, ...]:
    """Return the gateway's own models besides ``aamc/auto``."""
    arena = (ARENA,) if len(gateway.upstreams) > 1 else ()
    return (*arena, *(PREFIX + name for name in gateway.orchestrations))
