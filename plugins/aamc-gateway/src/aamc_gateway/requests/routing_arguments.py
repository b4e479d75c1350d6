"""The arguments of routing that a request gives: in the model's name, a header, or the field ``aamc`` of its body."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import attrs

from aamc_gateway.access.callers import Refused
from aamc_sdk.log import MAX_NAME_BYTES
from aamc_sdk.messages import check_known
from aamc_sdk.types import Preference

ROUTE = "aamc/auto"
"""The model's name that lets the router choose."""
ARENA = "aamc/arena"
"""The model's name that asks several candidates."""
PREFIX = "aamc/"
"""Begins the names of the gateway's own models."""
NAMES = ("preference", "quality_floor", "budget_usd", "user", "session")


@attrs.define(kw_only=True)
class RoutingArguments:
    """The arguments of routing, see :class:`aamc_gateway.requests.client_request.ClientRequest`; None for each that is not given."""

    preference: Preference | None = None
    quality_floor: float | None = None
    budget_usd: float | None = None
    user: str | None = None
    session: str | None = None


def split_model(model: str) -> tuple[str, dict[str, str]]:
    """Return a model's name and the arguments behind it: ``aamc/auto?preference=0.7,0.2,0.1``."""
    name, mark, arguments = model.partition("?")
    if not mark or not name.startswith(PREFIX):
        return model, {}
    return name, dict(parse_qsl(arguments, keep_blank_values=True))


def routing_arguments(in_model: Mapping[str, str], in_header: str | None, in_body: Any, named: Mapping[str, Preference]) -> RoutingArguments:
    """Return the arguments of a request; those of the body win over the header, and the header over the model's name.

    Raises:
        Refused: An argument is unknown, or its value cannot be used.
        PreferenceError: The preference cannot be used.
    """
    if in_body is None and in_header is None and not in_model:
        return RoutingArguments()
    if in_body is not None and not isinstance(in_body, Mapping):
        raise Refused(f'the field aamc must be an object such as {{"preference": [0.7, 0.2, 0.1]}}, not {in_body!r:.80}')
    given: dict[str, Any] = {**in_model, **({} if in_header is None else {"preference": in_header}), **(in_body or {})}
    check_known(given, NAMES, "aamc has no argument", Refused)
    return RoutingArguments(
        preference=None if given.get("preference") is None else Preference.of(given["preference"], named),
        quality_floor=_number(given, "quality_floor", 1.0),
        budget_usd=_number(given, "budget_usd", math.inf),
        user=_name(given, "user"),
        session=_name(given, "session"),
    )


def _number(given: Mapping[str, Any], name: str, at_most: float) -> float | None:
    value = given.get(name)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise Refused(f"{name} must be a number, not {value!r:.80}") from None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= at_most:
        limit = "" if at_most == math.inf else f" to {at_most:g}"
        raise Refused(f"{name} must be a number from 0{limit}, not {value!r:.80}")
    return float(value)


def _name(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and (not isinstance(value, str) or not value or length_error(value)):
        raise Refused(f"{name} must be a text of 1 to {MAX_NAME_BYTES} bytes in UTF-8, not {value!r:.80}")
    return value


def length_error(name: str) -> str:
    """Return what a name that is too long must have instead, for its error; ``""`` for others."""
    size = len(name.encode(errors="surrogatepass"))
    return f"must have at most {MAX_NAME_BYTES} bytes in UTF-8, not {size:,}" if size > MAX_NAME_BYTES else ""
