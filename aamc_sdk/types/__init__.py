"""The nouns of the SDK: what is asked, what may be chosen, what was decided, what came of it.

Arrays of many requests are in :mod:`aamc_sdk.batch`, tables of outcomes in
:mod:`aamc_sdk.dataset`. Prices are USD per million tokens, latencies milliseconds.
"""

from aamc_sdk.types.candidates import Candidate, Latency, ModelSpec, Pool, Prices
from aamc_sdk.types.checks import GREATEST_COUNT
from aamc_sdk.types.entries import GREATEST_WEIGHT, Attempt, Decision, Feedback, new_ids
from aamc_sdk.types.preferences import Preference
from aamc_sdk.types.queries import CHARACTERS_PER_TOKEN, DEFAULT_OUTPUT_TOKENS, Query

__all__ = [
    "CHARACTERS_PER_TOKEN",
    "DEFAULT_OUTPUT_TOKENS",
    "GREATEST_COUNT",
    "GREATEST_WEIGHT",
    "Attempt",
    "Candidate",
    "Decision",
    "Feedback",
    "Latency",
    "ModelSpec",
    "Pool",
    "Preference",
    "Prices",
    "Query",
    "new_ids",
]
