"""Options of the router ``router-r1``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from aamc_router_r1.config import PolicyOptions
from aamc_sdk import option

ROUTE, CHAT = "route", "chat"
ERROR = "error"
"""The fallback that raises."""


@attrs.frozen(kw_only=True, slots=False)
class ServerOptions:
    """Options of asking a server, named as in vLLM Semantic Router."""

    router_r1_server_url: str = option("", "Address of a server with POST /route, such as aamc serve-router; '' to ask the policy itself.")
    server_api: str = option(ROUTE, "How the server is asked: POST /route, or a chat completion.", choices=(ROUTE, CHAT))
    server_model: str = option("router-r1", "The policy's name on the server, for chat completions.")
    enable_llm_routing: bool = option(True, "Whether a policy is asked; otherwise the fallback decides.")
    llm_routing_fallback: str = option("thompson", "Router that decides where the policy gives no usable answer; error to raise instead.")
    fallback_options: Mapping[str, Any] = option({}, "Options of the fallback.")
    use_router_r1_rewards: bool = option(False, "Whether the fallback learns from rewards of quality and cost instead of quality alone.")
    cost_reward_alpha: float = option(0.3, "Weight of the cost in these rewards.", at_least=0, at_most=1)
    format_reward_penalty: float = option(-1.0, "Reward of a failed call; the fallback learns it as 0.", at_most=0)
    note_thinking: bool = option(False, "Whether decisions note the policy's thinking; it may quote the request, and the log keeps notes.")
    timeout_seconds: float = option(10.0, "Time limit of a decision, retries included, in seconds.", above=0)
    retries: int = option(1, "Further attempts after a lost connection, a timeout, or an answer 408, 409, 429 or 5xx.", at_least=0)
    breaker_failures: int = option(5, "Failures in a row after which the server is not asked for a while.", at_least=1)
    breaker_rest_seconds: float = option(10.0, "Seconds of that rest.", above=0)
    cache_size: int = option(1000, "Number of decisions that are remembered, by query and candidates; 0 for none.", at_least=0)
    cache_seconds: float = option(300.0, "Time for which a decision is remembered, in seconds.", at_least=0)


@attrs.frozen(kw_only=True)
class RouterOptions(PolicyOptions, ServerOptions):
    """Options of the router ``router-r1``."""
