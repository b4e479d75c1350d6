"""Queries, candidates, preferences, decisions, feedback, datasets, and arrays over many requests."""

from aamc_sdk.types.arithmetic import NORMAL_QUANTILE, ROUNDING, Floats, read_only, sigmoid, wilson_interval
from aamc_sdk.types.arrays import AnswerLengths, Estimates, Outcomes, RoutingRequest, Scores
from aamc_sdk.types.candidates import Candidate, Endpoint, Latency, ModelSpec, Prices
from aamc_sdk.types.checks import SEPARATOR, check_name, check_text, is_figure, json_figures
from aamc_sdk.types.datasets import Dataset, Experience, Labels, check_dataset
from aamc_sdk.types.decisions import Attempt, Decision, Feedback, NamedValues, is_implicit, new_ids
from aamc_sdk.types.lazy_property import lazy_property
from aamc_sdk.types.pools import Pool, PoolState
from aamc_sdk.types.preferences import Preference, without_latency
from aamc_sdk.types.queries import CHARACTERS_PER_TOKEN, DEFAULT_OUTPUT_TOKENS, Query, Turn, estimated_tokens, tenant_user, text_bytes, utf8_bytes
from aamc_sdk.types.records import Aggregate, LoggedOutcomes, Partition, Record, Records, Snapshot, StateDelta, request_fingerprint
from aamc_sdk.types.texts import last_box, last_number, normalized_answer, normalized_text, same_number, text_hash, visible_text

__all__ = [
    "CHARACTERS_PER_TOKEN",
    "DEFAULT_OUTPUT_TOKENS",
    "NORMAL_QUANTILE",
    "ROUNDING",
    "SEPARATOR",
    "Aggregate",
    "AnswerLengths",
    "Attempt",
    "Candidate",
    "Dataset",
    "Decision",
    "Endpoint",
    "Estimates",
    "Experience",
    "Feedback",
    "Floats",
    "Labels",
    "Latency",
    "LoggedOutcomes",
    "ModelSpec",
    "NamedValues",
    "Outcomes",
    "Partition",
    "Pool",
    "PoolState",
    "Preference",
    "Prices",
    "Query",
    "Record",
    "Records",
    "RoutingRequest",
    "Scores",
    "Snapshot",
    "StateDelta",
    "Turn",
    "check_dataset",
    "check_name",
    "check_text",
    "estimated_tokens",
    "is_figure",
    "is_implicit",
    "json_figures",
    "last_box",
    "last_number",
    "lazy_property",
    "new_ids",
    "normalized_answer",
    "normalized_text",
    "read_only",
    "request_fingerprint",
    "same_number",
    "sigmoid",
    "tenant_user",
    "text_bytes",
    "text_hash",
    "utf8_bytes",
    "visible_text",
    "wilson_interval",
    "without_latency",
]
