"""The order of tool calls and their results in the messages of chat."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

from aamc_models.dialects.content import calls_of, result_id
from aamc_models.dialects.fields import JSON, objects
from aamc_sdk.errors import DataError

_RESULTS = ("tool", "function")


def with_results_after_calls(body: JSON) -> JSON:
    """Return a canonical request with each tool result directly after the message of its call, as servers of chat and messages want them.

    Responses may have other messages in between.

    Raises:
        DataError: A result has no call, or a call has no result: every server refuses that in its own words.
    """
    messages = list(objects(body.get("messages"), "messages"))
    results: defaultdict[str, deque[JSON]] = defaultdict(deque)  # an id may be used again, such as that of a function_call
    for field, message in messages:
        if message.get("role") in _RESULTS:
            results[result_id(message, field)].append(message)
    ordered: list[Any] = []
    called: set[str] = set()
    for field, message in messages:
        if message.get("role") in _RESULTS:
            continue
        ordered.append(message)
        for call in calls_of(message, field) if message.get("role") == "assistant" else ():
            if not results[call.id]:
                raise DataError(f"the tool call {call.id!r:.80} has no result; add it after the assistant's message, or leave out the call")
            ordered.append(results[call.id].popleft())
            called.add(call.id)
    if alone := [call_id for call_id, left in results.items() if left]:
        if alone[0] in called:
            raise DataError(f"the tool call {alone[0]!r:.80} has more than one result; leave out the others")
        raise DataError(f"the tool result {alone[0]!r:.80} answers no tool call; add the assistant's message with the call before it")
    return {**body, "messages": ordered} if results else body
