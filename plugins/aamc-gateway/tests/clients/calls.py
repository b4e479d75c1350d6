"""One call of an official client, and its result in a form that is the same for all four."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs

SDKS = ("python-openai", "python-anthropic", "node-openai", "node-anthropic")
"""The official clients."""

APIS = {"openai": ("chat", "responses"), "anthropic": ("messages",)}
"""Each maker's APIs for answers."""


@attrs.frozen(kw_only=True)
class Call:
    """A call to make.

    Attributes:
        url: The base URL, without ``/v1``.
        api: ``"chat"``, ``"responses"``, ``"completions"``, ``"embeddings"``, ``"messages"``, ``"count_tokens"`` or ``"models"``.
        body: The arguments of the client's method; ``stream`` is one.
        accumulate: Whether the client's own accumulator reads the stream.
        retries: The client's own retries.
        timeout_s: The client's timeout.
        headers: Further headers.
        key: The API key.
        leave_after: Events after which the client leaves; never when 0.
    """

    url: str
    api: str
    body: Mapping[str, Any]
    accumulate: bool = False
    retries: int = 0
    timeout_s: float = 30.0
    headers: Mapping[str, str] = attrs.field(factory=dict)
    key: str = "a-key"
    leave_after: int = 0


@attrs.frozen(kw_only=True)
class Result:
    """The result of a call.

    Attributes:
        answer: The whole answer.
        events: The events of a stream.
        headers: The answer's headers.
        error: The error: ``type`` (the class), ``status``, ``message``, ``headers``.
    """

    answer: Mapping[str, Any] = attrs.field(factory=dict)
    events: list[Mapping[str, Any]] = attrs.field(factory=list)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    error: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """The text of the answer."""
        if self.answer:
            return _whole_text(self.answer)
        return "".join(_event_text(event) for event in self.events)

    @property
    def finish(self) -> str | None:
        """The finish reason: of the answer, or of the stream's event that has one."""
        found = [_finish(event) for event in [self.answer, *self.events] if event]
        return next((reason for reason in reversed(found) if reason), None)

    @property
    def tool_call(self) -> tuple[str, Any]:
        """The name and the arguments of the tool that is called."""
        return _whole_tool(self.answer) if self.answer else _streamed_tool(self.events)

    @property
    def usage(self) -> tuple[int, int]:
        """The prompt's and the answer's tokens."""
        found: dict[str, int] = {}
        for event in [self.answer, *self.events]:
            usage = event.get("usage") or (event.get("message") or {}).get("usage") or (event.get("response") or {}).get("usage") or {}
            found.update({name: number for name, number in usage.items() if isinstance(number, int)})
        cached = found.get("cache_read_input_tokens", 0) + found.get("cache_creation_input_tokens", 0)
        return found.get("prompt_tokens", found.get("input_tokens", 0) + cached), found.get("completion_tokens", found.get("output_tokens", 0))


def _whole_text(answer: Mapping[str, Any]) -> str:
    if "choices" in answer:
        choice = answer["choices"][0]
        return str((choice.get("message") or {}).get("content") or choice.get("text") or "")
    items = answer.get("content") or [part for item in answer.get("output", ()) if item["type"] == "message" for part in item["content"]]
    return "".join(item["text"] for item in items if item["type"] in ("text", "output_text"))


def _event_text(event: Mapping[str, Any]) -> str:
    if event.get("choices"):
        choice = event["choices"][0]
        return str((choice.get("delta") or {}).get("content") or choice.get("text") or "")
    if event.get("type") == "response.output_text.delta":
        return str(event["delta"])
    delta = event.get("delta")
    return str(delta.get("text") or "") if isinstance(delta, Mapping) else ""


def _finish(event: Mapping[str, Any]) -> str | None:
    if event.get("choices"):
        reasons = [choice.get("finish_reason") for choice in event["choices"]]
        return next((reason for reason in reasons if reason), None)
    if "output" in event:
        return str(event["status"])
    if event.get("type") in ("response.completed", "response.incomplete"):
        return str(event["response"]["status"])
    delta = event.get("delta")
    return event.get("stop_reason") or (delta.get("stop_reason") if isinstance(delta, Mapping) else None)


def _whole_tool(answer: Mapping[str, Any]) -> tuple[str, Any]:
    if "choices" in answer:
        function = answer["choices"][0]["message"]["tool_calls"][0]["function"]
        return function["name"], json.loads(function["arguments"])
    if "output" in answer:
        item = next(item for item in answer["output"] if item["type"] == "function_call")
        return item["name"], json.loads(item["arguments"])
    block = next(block for block in answer["content"] if block["type"] == "tool_use")
    return block["name"], block["input"]


def _streamed_tool(events: list[Mapping[str, Any]]) -> tuple[str, Any]:
    name, arguments = "", ""
    for event in events:
        for choice in event.get("choices") or ():
            for part in (choice.get("delta") or {}).get("tool_calls") or ():
                name = (part.get("function") or {}).get("name") or name
                arguments += (part.get("function") or {}).get("arguments") or ""
        if event.get("type") == "content_block_start":
            name = event["content_block"].get("name") or name
        if event.get("type") == "content_block_delta":
            arguments += event["delta"].get("partial_json") or ""
        if event.get("type") == "response.output_item.added":
            name = event["item"].get("name") or name
        if event.get("type") == "response.function_call_arguments.delta":
            arguments += event["delta"]
    return name, json.loads(arguments)


def call_python(sdk: str, asked: Call) -> Result:
    """Make a call with a Python client."""
    import importlib

    library = importlib.import_module(sdk.removeprefix("python-"))
    options: dict[str, Any] = {"api_key": asked.key, "max_retries": asked.retries, "timeout": asked.timeout_s, "default_headers": dict(asked.headers)}
    events: list[Mapping[str, Any]] = []
    kind, failure = (library.OpenAI, library.OpenAIError) if sdk == "python-openai" else (library.Anthropic, library.AnthropicError)
    with kind(base_url=f"{asked.url}/v1" if sdk == "python-openai" else asked.url, **options) as client:
        try:
            return _called(client, asked, events)
        except failure as error:
            answer = getattr(error, "response", None)
            found = {
                "type": type(error).__name__,
                "status": getattr(error, "status_code", None),
                "message": str(error),
                "headers": dict(answer.headers) if answer is not None else {},
            }
            return Result(events=events, error=found)


def _called(client: Any, asked: Call, events: list[Mapping[str, Any]]) -> Result:
    if asked.api == "models":
        return Result(answer={"data": [model.model_dump() for model in client.models.list().data]})
    if asked.api == "count_tokens":
        return Result(answer=client.messages.count_tokens(**asked.body).model_dump())
    if asked.accumulate:
        body = {name: value for name, value in asked.body.items() if name != "stream"}
        place = client.chat.completions if asked.api == "chat" else getattr(client, asked.api)
        final = {"chat": "get_final_completion", "messages": "get_final_message", "responses": "get_final_response"}[asked.api]
        with place.stream(**body) as stream:
            return Result(answer=getattr(stream, final)().model_dump())
    method = client.chat.completions if asked.api == "chat" else getattr(client, asked.api)
    raw = method.with_raw_response.create(**asked.body)
    headers = {name.lower(): value for name, value in raw.headers.items()}
    parsed = raw.parse()
    if not asked.body.get("stream"):
        return Result(answer=parsed.model_dump(warnings=False), headers=headers)
    with parsed as stream:
        for event in stream:
            events.append(event.model_dump())
            if asked.leave_after and len(events) >= asked.leave_after:
                break
    return Result(events=events, headers=headers)


class NodeDriver:
    """The Node clients in a process of their own, which makes any number of calls at once."""

    def __init__(self, modules: Path, driver: Path) -> None:
        placed = modules / driver.name  # Node looks for modules next to the program
        if not placed.exists() or placed.read_bytes() != driver.read_bytes():
            placed.write_bytes(driver.read_bytes())
        self._process = subprocess.Popen(["node", str(placed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._results: dict[int, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._next = 0
        self._reader = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                result = json.loads(line)
                self._results[result.pop("id")] = result
                self._changed.notify_all()

    def call(self, sdk: str, asked: Call) -> Result:
        """Make a call."""
        assert self._process.stdin is not None
        with self._changed:
            self._next += 1
            number = self._next
            line = {**attrs.asdict(asked), "sdk": sdk.removeprefix("node-"), "id": number}
            self._process.stdin.write(json.dumps(line) + "\n")
            found = self._changed.wait_for(lambda: number in self._results, asked.timeout_s + 30)
            assert found, f"the Node client did not return from {asked}"
            return Result(**self._results.pop(number))

    def __enter__(self) -> NodeDriver:
        self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
