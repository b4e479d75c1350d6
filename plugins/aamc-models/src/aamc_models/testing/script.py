"""The script of a model of the stub: the answer, its pace, its usage and its fault."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
from attrs.validators import ge, in_

FAULTS = (
    "",
    "refuse",  # the connection is closed before an answer
    "hang",  # no answer ever
    "hang_stream",  # headers and a stream's first event, then silence; hangs if the answer is not streamed
    "hang_content",  # half of the content, then silence; likewise
    "half",  # half of the answer, then the connection is lost
    "cut",  # half of the answer, then an end in good order: a stream without its finish, a body with half of its JSON
    "status",  # the HTTP status ``status`` with the dialect's error body, and Retry-After where it is set
    "html",  # the HTTP status ``status`` with a page of HTML
    "error_event",  # an error as the stream's second event, before any content; status 200 with an error body if not streamed
    "late_error",  # an error as an event after half of the content; likewise
    "error_finish",  # half of the content, then the finish reason "error" or a response that failed, also if not streamed; Anthropic's: late_error
    "empty",  # status 200 and no body
    "bad_json",  # status 200 and a body, or a second event, that is not JSON
)
"""The ways to fail; the first is none."""

USAGE = ("asked", "always", "never", "with_choices")
"""When a stream tells its usage: if ``stream_options`` ask for it, always, never, or always and in the chunk that has the finish reason."""


@attrs.frozen(kw_only=True)
class Script:
    """The behaviour of a model of the stub.

    Attributes:
        text: The answer.
        chunks: The number of content events of a stream.
        first_ms: Time until the answer or a stream's first event.
        pace_ms: Time from one content event of a stream to the next. The events keep to a schedule: lateness does not add up.
        prompt_tokens: Tokens of each prompt; a quarter of the body's bytes when None.
        output_tokens: Tokens of each answer, reasoning included; shared out over a stream's content events.
        cached_tokens: Part of the prompt that was read from the cache.
        cache_write_tokens: Part of the prompt that was written to the cache.
        cache_write_1h_tokens: Part of those that the cache keeps for an hour, in Anthropic's dialect.
        reasoning_tokens: Part of the answer that was reasoning.
        usage: When a stream tells its usage: one of :data:`USAGE`. Whole answers have none with ``"never"``.
        prices: USD per million tokens: ``input``, ``output``, ``cached_input``, ``cache_write``; for the counted cost.
        reported_usd: A cost that the answers report as ``usage.cost``; none if NaN.
        thinking: Reasoning before the answer, signed by the model.
        tool_arguments: Arguments of the tool call. The model calls the first tool of a request whose last message is not a tool's result.
        newest_claude: Whether requests of messages are refused with status 400 by the rules of Claude Opus 5.5: budgets of thinking, thinking that is
            switched off, temperature, top_p and top_k, forced tools, and an assistant's message at the end.
        strict: Whether reasoning, encrypted content and response ids of other models are refused with status 400.
        fault: One of :data:`FAULTS`.
        status: The HTTP status of the faults ``"status"`` and ``"html"``.
        retry_after_s: The header ``Retry-After`` of the fault ``"status"``; none if NaN.
        fault_share: Share of the calls that have the fault, evenly spread: the 20th, 40th and so on with 0.05.
        fault_calls: The number of calls that have the fault; all others are served.
    """

    text: str = "The capital of France is Paris, and it has been for a long time."
    chunks: int = attrs.field(default=8, validator=ge(1))
    first_ms: float = 0.0
    pace_ms: float = 0.0
    prompt_tokens: int | None = None
    output_tokens: int = 16
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    usage: str = attrs.field(default="asked", validator=in_(USAGE))
    prices: Mapping[str, float] = attrs.field(factory=dict)
    reported_usd: float = math.nan
    thinking: str = ""
    tool_arguments: str = '{"city": "Paris"}'
    newest_claude: bool = False
    strict: bool = False
    fault: str = attrs.field(default="", validator=in_(FAULTS))
    status: int = 500
    retry_after_s: float = math.nan
    fault_share: float = 1.0
    fault_calls: float = math.inf

    def fails(self, call: int, failed: int) -> bool:
        """Return whether a call, counted from 1, has the fault after this number of failed ones."""
        if not self.fault or failed >= self.fault_calls:
            return False
        return math.floor(call * self.fault_share + 1e-9) > math.floor((call - 1) * self.fault_share + 1e-9)


@attrs.define
class Counts:
    """The counts of a model of the stub.

    Attributes:
        calls: Requests.
        served: Answers that were sent to their end, faults excluded.
        faults: Requests that had the script's fault.
        cancelled: Answers whose client left before the end.
        refused: Requests refused for another model's state, or as Claude refuses them.
        prompt_tokens: Billed prompt tokens, cached and written ones included: those of every answer of which some content was sent.
        output_tokens: Billed output tokens: those of the content that was sent.
        cached_tokens: Billed tokens read from the cache.
        cache_write_tokens: Billed tokens written to the cache.
    """

    calls: int = 0
    served: int = 0
    faults: int = 0
    cancelled: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0

    def bill(self, script: Script, prompt_tokens: int) -> None:
        """Count the prompt of an answer whose first content is sent."""
        self.prompt_tokens += prompt_tokens
        self.cached_tokens += script.cached_tokens
        self.cache_write_tokens += script.cache_write_tokens

    def cost_usd(self, prices: Mapping[str, float]) -> float:
        """Return the cost of all billed tokens, with USD per million tokens."""
        new = self.prompt_tokens - self.cached_tokens - self.cache_write_tokens
        full = prices.get("input", 0.0)
        prompt = new * full + self.cached_tokens * prices.get("cached_input", full) + self.cache_write_tokens * prices.get("cache_write", full)
        return (prompt + self.output_tokens * prices.get("output", 0.0)) / 1e6

    def as_dict(self, script: Script) -> dict[str, Any]:
        """Return the counts with ``cost_usd``."""
        return {**attrs.asdict(self), "cost_usd": self.cost_usd(script.prices)}
