"""The maximum cost of a request, which budgets reserve for it, and the limit of its answer that a budget imposes."""

from __future__ import annotations

import math
from collections.abc import Callable

from aamc_models.dialects import OUTPUT_LIMITS, thinking_budget

from aamc_gateway.access.limit_claims import Advice
from aamc_gateway.requests.client_request import ClientRequest
from aamc_sdk.interfaces import ANY_OUTPUT_LIMIT
from aamc_sdk.types import CHARACTERS_PER_TOKEN, Candidate, Prices

DENSE_BYTES_PER_TOKEN = 2
"""Bytes of a token in digits and code, which budgets count for text: prose has twice as many."""
_USUAL_COMPLETION = 16
"""Tokens of an answer of the API completions without a limit."""


class MaxCost:
    """The maximum cost of a candidate's answers, and their maximum tokens.

    Args:
        candidate: The candidate.
        api_of: Returns the API by which it answers requests of an API; None if it cannot.
        messages_tokens: The maximum tokens of an answer by the API ``messages`` to a request without a limit.
        default_tokens: The limit of an answer that a budget imposes, ``gateway.limits.output_tokens``.

    Attributes:
        is_known: Whether the candidate has prices.
    """

    def __init__(self, candidate: Candidate, api_of: Callable[[str], str | None], messages_tokens: int, default_tokens: int) -> None:
        self._candidate, self._api_of = candidate, api_of
        self._messages_tokens, self._default_tokens = messages_tokens, default_tokens
        self._prices = None if candidate.prices is None else maximum_prices(candidate.prices)
        self.is_known = self._prices is not None

    def usd(self, request: ClientRequest) -> float:
        """Return the maximum cost of the answers to a request in USD; NaN if it is unknown, as without prices."""
        if request.priced == "nothing":
            return 0.0
        if self._prices is None or request.priced == "unknown" or request.is_background:
            return math.nan
        prompt, output, per_request, written = self._prices
        if request.caches_for_an_hour:
            prompt = max(prompt, written)
        return (
            request.prompt_tokens(DENSE_BYTES_PER_TOKEN) * prompt + self.output_tokens(request) * output
        ) / 1e6 + request.priced_requests * per_request

    def output_tokens(self, request: ClientRequest) -> int:
        """Return the maximum tokens of all answers to a request of limited cost."""
        api, window = self._api_of(request.api) or request.api, self._candidate.context_window
        limit = request.max_tokens or self._own_limit(api) or self.imposed_limit(request)
        if limit is None and api == "messages":
            limit = self._messages_tokens + thinking_budget(self._candidate.parameters)
        elif limit is None:
            limit = self._default_tokens if window is None else max(1, window - _usual_prompt_tokens(request) // 2)
        return int(limit) * request.answers

    def imposed_limit(self, request: ClientRequest) -> int | None:
        """Return the limit of an answer's tokens that a request of limited cost gets; None where there is one without it.

        The request, the candidate's parameters, the API ``messages`` and a context window that is nearly full limit the answer.
        """
        api = self._api_of(request.api) or request.api
        if request.max_tokens or self._own_limit(api) or api not in OUTPUT_LIMITS or api == "messages":
            return None
        at_most = self._default_tokens
        if api == "completions":
            return min(at_most, _USUAL_COMPLETION)
        window = self._candidate.context_window
        return at_most if window is None or window >= 2 * at_most + _usual_prompt_tokens(request) else None

    def _own_limit(self, api: str) -> int | None:
        """Return the limit of an answer's tokens among the candidate's parameters, by the fields that are sent to an API."""
        translated = {"completions": OUTPUT_LIMITS["chat"], "responses": ANY_OUTPUT_LIMIT}  # the provider renames those of chat
        names = translated.get(api, OUTPUT_LIMITS.get(api, ()))
        parameters = self._candidate.parameters  # the gateway starts only if these are numbers above 0
        return max((int(parameters[name]) for name in names if name in parameters), default=None)


def maximum_prices(prices: Prices) -> tuple[float, float, float, float]:
    """Return the maximum prices of the prompt, the answer, the request, and of a prompt that is written to a cache for an hour."""
    hour = 2 * prices.input if prices.cache_write_1h is None else prices.cache_write_1h
    return max(prices.input, prices.cache_write or 0.0), prices.output, prices.request, hour


def _usual_prompt_tokens(request: ClientRequest) -> int:
    """Return the usual tokens of a prompt of text; of one with images or documents little is known."""
    return 0 if request.has_media else request.body_bytes // CHARACTERS_PER_TOKEN


def claimed_tokens(request: ClientRequest, default_tokens: int) -> int:
    """Return the tokens of the prompt and the maximum of the answers, for limits per minute; 0 where they cost nothing."""
    if request.priced != "tokens":
        return 0
    output = (request.max_tokens or default_tokens) * request.answers
    return request.prompt_tokens(CHARACTERS_PER_TOKEN) + output


def advice_for(request: ClientRequest) -> Advice:
    """Return the advice to a client whose request does not fit a limit, by the fields that its API has."""
    limits = OUTPUT_LIMITS.get(request.api)
    if request.answers > 1 and not limits:
        return Advice(too_long="ask for fewer images (n)")
    too_long = f"ask for fewer tokens ({limits[0]})" if limits else "send a shorter text, or fewer or smaller files"
    if request.priced == "unknown":
        return Advice(too_long=too_long, unpriced="send the requests of a batch one by one")
    if request.is_background:
        return Advice(too_long=too_long, unpriced="leave out background, as the cost of such an answer never comes here")
    return Advice(too_long=too_long)
