"""The content of a decision's row: the schema of its JSON.

Decoding checks every value. Fields of later versions are skipped; fields with a default may be missing, as in entries of earlier versions.
"""

from __future__ import annotations

from typing import Any

import msgspec

Numbers = list[float | None]
"""Numbers of the candidates, or of the categories, in their order; null where a number is unknown."""


class DecisionFields(msgspec.Struct, gc=False):
    """The fields of :class:`aamc_sdk.types.Decision` but for its time, which is the row's."""

    id: str
    candidate: str
    propensity: float | None
    preference: tuple[float, float, float]
    probabilities: dict[str, float] = {}
    router: str = ""
    notes: dict[str, Any] = {}
    utilities: dict[str, float | None] = {}
    episode: str | None = None


class TurnFields(msgspec.Struct, gc=False):
    """The fields of :class:`aamc_sdk.types.Turn`."""

    role: str
    content: str
    model: str | None = None
    rating: float | None = None


class QueryFields(msgspec.Struct, gc=False):
    """The fields of :class:`aamc_sdk.types.Query`."""

    text: str
    user: str | None = None
    session: str | None = None
    needs: list[str] = []
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_on: str | None = None
    turns: list[TurnFields] = []
    tenant: str | None = None


class EstimateFields(msgspec.Struct, gc=False):
    """The fields of :class:`aamc_sdk.types.Estimates` for one query but for its embedding, which is the row's."""

    complexity: float | None
    categories: Numbers
    category_names: tuple[str, ...]
    tool_use: float | None
    fingerprint: str = ""


class ExpectedFields(msgspec.Struct, gc=False):
    """The fields of :class:`aamc_sdk.types.Outcomes` for one query."""

    quality: Numbers | None
    cost_usd: Numbers
    latency_ms: Numbers
    output_tokens: Numbers | None = None


class DecisionContent(msgspec.Struct, gc=False):
    """The fields of :class:`aamc_sdk.types.Record`."""

    decision: DecisionFields
    query: QueryFields
    estimates: EstimateFields
    candidates: tuple[str, ...]
    expected: ExpectedFields
    wait_ms: Numbers
    masked_why: dict[str, str]
    preference_given: bool = True
    in_flight: Numbers | None = None
    pressure: Numbers | None = None
    budget_usd: float | None = None
    quality_floor: float | None = None
