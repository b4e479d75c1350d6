"""The candidates that may answer a request: those with its API that the caller's key allows, and that are within their own limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aamc_gateway.access.callers import Refused
from aamc_gateway.forwarding.failures import unavailable
from aamc_sdk.errors import one_of

if TYPE_CHECKING:
    from aamc_gateway.access.limit_claims import LimitedClaim
    from aamc_gateway.requests.client_request import ClientRequest
    from aamc_gateway.server.gateway import Gateway


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
    claims = await gateway.access.full()
    if not claims:
        return names, {}
    full = {name: claims[name] for name in names if name in claims}
    if full and len(full) == len(names):
        raise unavailable(gateway.upstreams, full)
    return [name for name in names if name not in full], full
