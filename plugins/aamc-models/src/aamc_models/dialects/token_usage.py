"""Tokens and costs that answers report."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import attrs

from aamc_models.dialects.content import chosen
from aamc_models.dialects.events import event_of, object_of
from aamc_models.dialects.fields import object_or_empty, objects_or_empty
from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Usage

MAX_TOKENS = 10**8
"""A higher count in one call is taken for a server's error."""
MAX_COST_USD = 1e4
"""A higher cost of one call is taken for a server's error."""
_TICKS_PER_USD = 1e10
_COST_HEADERS = ("x-aamc-cost-usd", "x-litellm-response-cost")
_AT_LIST_PRICES = {
    "service_tier": ("", "auto", "default", "standard", "on_demand"),
    "speed": ("", "standard"),
    "inference_geo": ("", "global", "not_available"),
}
"""The values, in lower case, in answers or their usage, with which list prices apply; ``on_demand`` is Groq's."""
_BILLED_CALLS = ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call")
"""Items of responses that are calls of the server's own tools, billed besides tokens."""
_BILLED_COUNTS = ("num_sources_used", "num_server_side_tools_used", "num_search_queries", "prompt_audio_seconds")
"""Counts of searches and other tools in the usage of xAI and Perplexity, and of Mistral's audio, billed besides tokens."""
_SEARCHING = re.compile("-search-(?:preview|api)")
"""A part of the names of OpenAI's models that search for each answer, billed besides tokens, also where they cite nothing."""
_BESIDE_TOTALS = ("compaction", "advisor_message")
"""Types of Anthropic's iterations that its totals leave out: a summary of the conversation, and another model's advice."""
_OTHER_MODELS = ("advisor_message", "fallback_message")
"""Types of its iterations by another model, which has other prices."""
_PRICED_IMAGES = ("completion_tokens_details", "input_tokens_details")
_DETAILS = ("prompt_tokens_details", "input_token_details", "output_tokens_details", *_PRICED_IMAGES)
"""The fields of the details of the prompt and of the answer in all APIs; ``input_token_details`` is that of transcriptions."""


def reported_usage(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``usage`` object of a whole answer; an empty one if it has none, or something that is not an object."""
    return object_or_empty(answer.get("usage"))


def usage_of(dialect: str, answer: Mapping[str, Any]) -> Usage:
    """Return the tokens that a whole answer of a dialect or of ``embeddings`` reports; a count that is missing or no plausible number is None."""
    counted = reported_usage(answer)
    if dialect == "embeddings":  # Voyage has the total alone
        return Usage(prompt_tokens=_count(counted.get("prompt_tokens", counted.get("total_tokens"))), output_tokens=0)
    if dialect == "messages":
        usage = _messages_usage(counted)
    elif dialect == "responses":
        usage = _openai_usage(counted, "input_tokens", "output_tokens")
    else:
        usage = _openai_usage(counted, "prompt_tokens", "completion_tokens")
    return usage if _at_list_prices({**answer, **counted}) else attrs.evolve(usage, at_list_prices=False)


def _at_list_prices(answer: Mapping[str, Any]) -> bool:
    """Return whether list prices apply to an answer with the fields of its usage."""
    tools = object_or_empty(answer.get("server_tool_use"))
    if any(count for name, count in tools.items() if name != "web_fetch_requests"):  # fetching costs only tokens
        return False
    credit = object_or_empty(object_or_empty(answer.get("fallback_credit")).get("status"))
    if credit.get("type") == "redeemed":  # Anthropic's prompt costs less after another model refused it
        return False
    if any(iteration.get("type") in _OTHER_MODELS for iteration in objects_or_empty(answer.get("iterations"))):
        return False
    if any(item.get("type") in _BILLED_CALLS for item in objects_or_empty(answer.get("output"))):
        return False
    if any(_has_billed_work(object_or_empty(choice.get("message"))) for choice in objects_or_empty(answer.get("choices"))):
        return False
    if any(map(answer.get, _BILLED_COUNTS)) or _has_media_tokens(answer) or _SEARCHING.search(str(answer.get("model"))):
        return False
    return all(not isinstance(value := answer.get(name), str) or value.lower() in usual for name, usual in _AT_LIST_PRICES.items())


def _has_media_tokens(counted: Mapping[str, Any]) -> bool:
    """Return whether tokens of media are counted that have their own prices: audio, images that a chat model draws, or those in an edit's prompt.

    Images in prompts of chat mostly cost the same as text, and those that a model for images draws are what its output price is for.
    """
    for name in _DETAILS:
        details = object_or_empty(counted.get(name))
        if details.get("audio_tokens") or (name in _PRICED_IMAGES and details.get("image_tokens")):
            return True
    return False


def _has_billed_work(message: Mapping[str, Any]) -> bool:
    """Return whether tools of the server worked for a message or delta of chat: a search, whose sources it annotates, or Groq's."""
    cited = any(source.get("type") == "url_citation" for source in objects_or_empty(message.get("annotations")))
    return cited or bool(message.get("executed_tools"))


def _messages_usage(counted: Mapping[str, Any]) -> Usage:
    """Return Anthropic's counts; its ``input_tokens`` exclude tokens read from and written to the cache, and its totals some iterations."""
    parts = [counted, *(each for each in objects_or_empty(counted.get("iterations")) if each.get("type") in _BESIDE_TOTALS)]

    def total(*path: str) -> int | None:
        known = [count for part in parts if (count := _count_at(part, *path)) is not None]
        return sum(known) if known else None

    uncached, read, written = total("input_tokens"), total("cache_read_input_tokens"), total("cache_creation_input_tokens")
    return Usage(
        prompt_tokens=None if uncached is None else uncached + (read or 0) + (written or 0),
        cached_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=total("cache_creation", "ephemeral_1h_input_tokens"),
        output_tokens=total("output_tokens"),
        reasoning_tokens=_count_at(counted, "output_tokens_details", "thinking_tokens"),
    )


def _openai_usage(counted: Mapping[str, Any], prompt: str, answer: str) -> Usage:
    prompt_tokens, output_tokens = _count(counted.get(prompt)), _count(counted.get(answer))
    details = object_or_empty(counted.get(f"{prompt}_details"))
    cached, reasoning = _count(details.get("cached_tokens")), _count_at(counted, f"{answer}_details", "reasoning_tokens")
    written, written_1h = _count(details.get("cache_write_tokens")), _count_at(details, "cache_write_tokens_details", "ttl_12h_tokens")
    if written_1h is None:  # LiteLLM's name
        written_1h = _count_at(details, "cache_creation_token_details", "ephemeral_1h_input_tokens")
    for holder in (details, counted):  # as Qwen and LiteLLM name it
        written = _count(holder.get("cache_creation_input_tokens")) if written is None else written
    for name in ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens"):  # as DeepSeek, Kimi and Portkey name it
        cached = _count(counted.get(name)) if cached is None else cached
    total, of_cache = _count(counted.get("total_tokens")), (cached or 0) + (written or 0)
    if prompt_tokens is not None and total == prompt_tokens + (output_tokens or 0) + of_cache:
        prompt_tokens += of_cache  # Portkey counts them beside the prompt
    if prompt_tokens is not None and of_cache > prompt_tokens:
        cached = written = written_1h = None  # they are parts of the prompt: its rest, and so its cost, would be negative
    audio = counted.get("prompt_audio_seconds")  # whose tokens Mistral counts in the total alone
    if total is not None and prompt_tokens is not None and total > prompt_tokens + (output_tokens or 0) and not audio:
        if reasoning is None and (output_tokens is not None or counted.get(answer) is None):  # nothing follows from a count that cannot be read
            reasoning = total - prompt_tokens - (output_tokens or 0)
        output_tokens = total - prompt_tokens  # xAI counts reasoning apart from the answer, Gemini in the total alone
    return Usage(
        prompt_tokens=prompt_tokens,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        output_tokens=output_tokens,
        reasoning_tokens=reasoning,
    )


class StreamedUsage:
    """Tokens and cost that the events of a stream have reported so far; an event may repeat some counts only."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._counts: dict[str, Any] = {}
        self._has_billed_work = False
        self.tokens = Usage()
        self.cost_usd = math.nan

    def note(self, holder: Mapping[str, Any]) -> bool:
        """Take the cost and the counts of an event or message; return whether it has a ``usage`` object."""
        cost = reported_cost(holder)
        self.cost_usd = self.cost_usd if math.isnan(cost) else cost
        usage = holder.get("usage")
        if not isinstance(usage, dict):
            return False
        self._counts.update((name, count) for name, count in usage.items() if count or self._counts.get(name) is None)  # a last event may have zeros
        usage_so_far = usage_of(self._dialect, {**holder, "usage": self._counts})
        self.tokens = attrs.evolve(usage_so_far, at_list_prices=False) if self._has_billed_work else usage_so_far
        return True

    def note_delta(self, delta: Mapping[str, Any]) -> None:
        """Take a piece of an answer of chat, which may come before its usage: tools of the server may have worked for it."""
        if _has_billed_work(delta):
            self._has_billed_work = True
            self.tokens = attrs.evolve(self.tokens, at_list_prices=False)

    def to(self, dialect: str) -> dict[str, Any]:
        """Return the ``usage`` object in a dialect, with the cost that the server has put into its own."""
        return {**usage_object(dialect, self.tokens), **chosen(self._counts, "cost")}


def usage_object(dialect: str, usage: Usage) -> dict[str, Any]:
    """Return the ``usage`` object of an answer in a dialect; unknown counts are 0 where the dialect requires a number."""
    prompt, output = usage.prompt_tokens or 0, usage.output_tokens or 0
    cached, written, reasoning = usage.cached_tokens or 0, usage.cache_write_tokens or 0, usage.reasoning_tokens
    if dialect == "messages":
        counted: dict[str, Any] = {
            "input_tokens": max(prompt - cached - written, 0),
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": cached,
            "output_tokens": output,
        }
        if usage.cache_write_1h_tokens:
            hour = min(usage.cache_write_1h_tokens, written)
            counted["cache_creation"] = {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour}
        return counted if reasoning is None else {**counted, "output_tokens_details": {"thinking_tokens": reasoning}}
    total = {"total_tokens": prompt + output}
    if dialect == "responses":
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": reasoning or 0},
            **total,
        }
    counted = {"prompt_tokens": prompt, "completion_tokens": output, **total}
    if usage.cached_tokens is not None or usage.cache_write_tokens is not None:
        details = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens}
        counted["prompt_tokens_details"] = {name: count for name, count in details.items() if count is not None}
    if reasoning is not None:
        counted["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return counted


def reported_cost(answer: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> float:
    """Return the cost in USD that the server reports in an answer or its headers (names in lower case); NaN without.

    OpenRouter reports ``usage.cost``, with a caller's own key the price of the call too; xAI ``usage.cost_in_usd_ticks``; Perplexity
    ``usage.cost.total_cost``; LiteLLM's proxy a header; this project's gateway a header, and ``aamc.cost_usd`` in streams.
    """
    cost = _usage_cost(answer.get("usage"))
    if math.isnan(cost) and isinstance(own := answer.get("aamc"), dict):
        cost = _usd(own.get("cost_usd"))
    if math.isnan(cost) and headers:
        cost = next((_usd(headers[name]) for name in _COST_HEADERS if name in headers), math.nan)
    return cost


def _usage_cost(usage: object) -> float:
    if not isinstance(usage, dict):
        return math.nan
    cost = usage.get("cost")
    if isinstance(cost, dict):
        return _usd(cost.get("total_cost"))
    if cost is None and "cost_in_usd_ticks" in usage:
        return _usd(usage["cost_in_usd_ticks"], _TICKS_PER_USD)
    details = usage.get("cost_details")
    if usage.get("is_byok") is True and isinstance(details, dict):
        upstream = _usd(details.get("upstream_inference_cost"))
        return _usd(cost) + (0.0 if math.isnan(upstream) else upstream)
    return _usd(cost)


def _usd(value: object, per_usd: float = 1.0) -> float:
    try:
        cost = float(value) / per_usd if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        cost = math.nan
    return cost if 0 <= cost <= MAX_COST_USD else math.nan


def _count(value: object) -> int | None:
    value = int(value) if isinstance(value, float) and value.is_integer() else value  # as servers in Java may write it
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def _count_at(counted: Mapping[str, Any], *path: str) -> int | None:
    *kinds, name = path
    for kind in kinds:
        counted = object_or_empty(counted.get(kind))
    return _count(counted.get(name))


def wants_usage(body: Mapping[str, Any]) -> bool:
    """Return whether a request of chat or completions asks for the usage in its stream."""
    options = body.get("stream_options")
    return isinstance(options, Mapping) and options.get("include_usage") is True


def with_usage(dialect: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a streamed request of chat or completions that asks for the usage; other requests as they are."""
    if dialect not in ("chat", "completions") or body.get("stream") is not True or wants_usage(body):
        return dict(body)
    return {**body, "stream_options": {**object_or_empty(body.get("stream_options")), "include_usage": True}}


def without_usage(event: bytes) -> bytes:
    """Return a chat or completions event without its usage; ``b""`` if it holds nothing else."""
    if b'"usage"' not in event:
        return event
    try:
        chunk = object_of(event)
        if chunk is None or "usage" not in chunk:
            return event
        usage = chunk.pop("usage")
        return b"" if usage and not chunk.get("choices") and not chunk.get("error") else event_of(chunk)
    except DataError:  # not an event of these dialects: it passes as it is
        return event
