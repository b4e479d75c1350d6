"""The candidates of a request: those that may answer it, the one for a client's own requests, and the order in which others are called."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from aamc_gateway.access.callers import Refused
from aamc_gateway.access.limit_claims import LimitedClaim
from aamc_gateway.forwarding.failures import unavailable
from aamc_gateway.requests.client_request import ClientRequest
from aamc_gateway.server.gateway import Gateway
from aamc_sdk import Decision
from aamc_sdk.messages import one_of


async def find_candidates(gateway: Gateway, request: ClientRequest) -> tuple[Sequence[str], Mapping[str, LimitedClaim]]:
    """Return the candidates that may answer a request, and those that could but have used up a limit of their own, each with its claim.

    Raises:
        Refused: There are none, or all have used up a limit.
    """
    caller, names = request.caller, gateway.upstreams.capable(request.api)
    if not names or (request.mode == "model" and request.model not in names):
        gateway.upstreams.check_api(request)
    if request.mode == "model":
        return [request.model], {}
    if caller.models:
        names = [name for name in names if caller.may_use(name)]
        if not names:
            why = f"the key {caller.name!r} allows no model of this API to choose from; it may use {one_of(caller.models)}"
            raise Refused(why, status=403, kind="permission")
    if request.api == "embeddings" and names:
        names = [_embedder(gateway, names)]
    claims = await gateway.access.full() if gateway.settings.access.models else {}
    if not claims:
        return names, {}
    full = {name: claims[name] for name in names if name in claims}
    if full and len(full) == len(names):
        raise unavailable(gateway.upstreams, full)
    return [name for name in names if name not in full], full


def _embedder(gateway: Gateway, names: Sequence[str]) -> str:
    """Return the same candidate for all requests, since embeddings of two models cannot be compared: the one with the lowest price of a prompt.

    Candidates whose option ``apis`` names the embeddings are preferred: by default, endpoints of chat models with OpenAI's API have them too.
    """
    prices = {name: gateway.upstreams[name].candidate.prices for name in names}
    named = [name for name in names if "embeddings" in gateway.upstreams[name].endpoint.options.get("apis", ())]
    return min(named or names, key=lambda name: (math.inf, 0.0) if (price := prices[name]) is None else (price.input, price.request))


def cheapest(costs_usd: Mapping[str, float], allowed: Collection[str]) -> str | None:
    """Return the allowed candidate with the lowest maximum cost of an answer, for a request of a title or a summary; None if no cost is known."""
    known = {name: cost for name, cost in costs_usd.items() if name in allowed and not math.isnan(cost)}
    return min(known, key=lambda name: known[name]) if known else None


def fallbacks(decision: Decision, costs_usd: Mapping[str, float], allowed: Collection[str], *, cheap_first: bool) -> list[str]:
    """Return the allowed candidates besides the chosen one, the best first.

    The order is the router's. Where it has scored one candidate only, the expensive ones are first, or the cheap ones, as for the request of a
    title; ``costs_usd`` are the maximum costs of an answer.
    """
    order = decision.fallback_order if len(decision.utilities) > 1 else _by_cost(costs_usd, cheap_first)
    return [name for name in order if name != decision.candidate and name in allowed]


def _by_cost(costs_usd: Mapping[str, float], cheap_first: bool) -> list[str]:
    """Return candidates by their maximum cost; an unknown one counts as 0."""
    costs = {name: 0.0 if math.isnan(cost) else cost for name, cost in costs_usd.items()}
    return sorted(costs, key=lambda name: costs[name], reverse=not cheap_first)
