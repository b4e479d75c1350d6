"""Checks of providers."""

from __future__ import annotations

import asyncio
import copy
import inspect
import re
import socket
import threading
import time
from collections.abc import Coroutine, Sequence
from contextlib import aclosing, nullcontext, suppress
from functools import partial
from pathlib import Path
from types import CoroutineType
from typing import Any, TypeVar

import attrs

from aamc_sdk.errors import DataError, ProviderError
from aamc_sdk.interfaces import Chunk, Completion, EndpointState, Message, Provider
from aamc_sdk.storage import to_json
from aamc_sdk.testing.checks.components import OPTION_CHECKS, require_asynchronous_iterator, require_no_threads, require_same
from aamc_sdk.testing.findings import checks_in, may_refuse, must_raise, require, require_type, skip
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import ModelSpec, check_text

_SECONDS = 30.0
_OF_A_SERVER = ("url", "host", "server", "endpoint", "api_key")
"""Words in the names of options by which a provider calls a server."""
_ADDRESS = re.compile(r"(https?://)[^/]+")
_END_S = 5.0
"""Seconds in which the connections of a closed provider must end."""
_CANCEL_S = 0.05
"""Seconds in which the tasks of a closed provider must end: short, as a test server soon ends its answer, and a task that reads it."""
_OPENAI_MESSAGE = '{"role": "assistant", "content": TEXT}'

T = TypeVar("T")


def check_calls_take_options(subject: Subject) -> None:
    """``complete`` and ``stream`` take further options, and ``dialect`` is a name."""
    for name in ("complete", "stream"):
        parameters = inspect.signature(getattr(subject.target, name)).parameters.values()
        further = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        require(further, f"{name} must take **options: requests bring max_tokens, temperature, tools and others")
    require(isinstance(subject.target.dialect, str) and subject.target.dialect, "dialect must name the wire dialect")


def check_its_state_is_known(subject: Subject) -> None:
    """``state`` returns an EndpointState at once: it is called for each decision."""
    state = subject.make().state()
    require_type(state, EndpointState, "state must return aamc_sdk.interfaces.EndpointState")


def check_its_threads_let_the_program_end(subject: Subject) -> None:
    """A provider that is closed leaves no threads, except daemon threads, which end with the program."""
    before = set(threading.enumerate())
    provider = subject.make()
    provider.state()
    asyncio.run(provider.close())
    require_no_threads([thread for thread in threading.enumerate() if not (thread in before or thread.daemon)], "close must end its threads")


def check_it_answers(subject: Subject) -> None:
    """``complete`` returns a Completion and ``stream`` yields Chunks of a text: with the options of a test server, if it calls a server."""
    _skip_without_a_server(subject)
    messages = _messages()
    try:
        with nullcontext() if subject.options else may_refuse("it does not answer without options"):
            completion, chunks = _answered(subject, messages)
    finally:
        require_same(_messages(), messages, "messages", "a call")
    _require_completion(completion, subject.target.dialect)
    _require_chunks(chunks)


def check_closing_ends_its_connections(subject: Subject) -> None:
    """No connection is left open after ``close``; checked on Linux."""
    _skip_without_an_address(subject)
    _answered(subject, _messages())  # opens what all providers share
    before = _open_sockets()
    _answered(subject, _messages())
    end = time.monotonic() + _END_S
    while (left := _open_sockets() - before) > 0 and time.monotonic() < end:  # a server in this process closes its own a moment later
        time.sleep(0.01)
    require(left <= 0, "sockets are open after close that were not open before: close each connection, at the latest in close")


def check_a_stream_that_is_closed_early_ends(subject: Subject) -> None:
    """No task of the provider goes on after a stream is closed at its first chunk, and the provider with it."""
    _skip_without_an_address(subject)
    left = _run(_left_by_a_closed_stream(subject))
    require(not left, f"{', '.join(left)} goes on after its stream was closed, and the provider too: cancel it, as the model goes on and costs")


def check_a_server_that_is_away_is_an_error(subject: Subject) -> None:
    """``complete`` and ``stream`` raise ProviderError if nothing answers at the server's address; the core then calls another candidate."""
    _skip_without_an_address(subject)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = rf"\g<1>127.0.0.1:{unused.getsockname()[1]}"
    away = copy.copy(subject)
    away.options = {name: _ADDRESS.sub(address, value) if isinstance(value, str) else value for name, value in subject.options.items()}
    for name, call in (("complete", _complete), ("stream", _stream)):
        failing = partial(_run, _closing(provider := away.make(), call(provider, _messages())))
        must_raise(ProviderError, failing, f"{name} without a server at its address, within {_SECONDS:g} s,")


def _skip_without_a_server(subject: Subject) -> None:
    if not subject.options and any(word in field.name for field in attrs.fields(subject.target.Config) for word in _OF_A_SERVER):
        skip("no server to call: give a test server's options, as in assert_conforms('provider', NAME, plugins, {'base_url': URL})")


def _skip_without_an_address(subject: Subject) -> None:
    _skip_without_a_server(subject)
    if not any(isinstance(value, str) and _ADDRESS.search(value) for value in subject.options.values()):
        skip("none of its options is an address such as http://127.0.0.1:8000")


def _answered(subject: Subject, messages: list[Message]) -> tuple[Completion, list[Chunk]]:
    provider = subject.make()
    return _run(_closing(provider, _answers(provider, messages)))


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, _SECONDS))


def _open_sockets() -> int:
    found = 0
    for file in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # closed meanwhile
            found += str(file.readlink()).startswith("socket:")
    return found


async def _left_by_a_closed_stream(subject: Subject) -> list[str]:
    """Close a stream at its first chunk, and its provider; return the names of the package's coroutines that go on."""
    provider = subject.make()
    await _closing(provider, _first_chunk(provider))
    await asyncio.sleep(_CANCEL_S)
    coroutines = [task.get_coro() for task in asyncio.all_tasks() - {asyncio.current_task()}]
    return [coroutine.__qualname__ for coroutine in coroutines if isinstance(coroutine, CoroutineType) and _package(coroutine) == subject.package]


def _package(coroutine: CoroutineType[Any, Any, Any]) -> str:
    frame = coroutine.cr_frame
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] if frame else ""


def _require_completion(completion: Completion, dialect: str) -> None:
    require_type(completion, Completion, "complete must return aamc_sdk.Completion")
    message = completion.message
    if dialect == "openai":
        written = message.get("role") == "assistant" and isinstance(message.get("content"), str)
        require(written, f"a completion's message must be {_OPENAI_MESSAGE}, not {message!r:.80}")
    require(completion.text, "the completion has no text")
    try:
        check_text(completion.text, "the text")
        to_json(message)
    except (DataError, TypeError, ValueError) as error:
        raise AssertionError(f"a client cannot receive a completion's message: {error}") from error


def _require_chunks(chunks: Sequence[Chunk]) -> None:
    require(chunks, "stream must yield at least one aamc_sdk.interfaces.Chunk")
    for chunk in chunks:
        require_type(chunk, Chunk, "stream must yield aamc_sdk.interfaces.Chunk objects")
    require("".join(chunk.content for chunk in chunks), "the stream has no text")
    ended = any(chunk.finish_reason is not None for chunk in chunks)
    require(ended, "the last chunk must have a finish_reason, such as 'stop': without one, the gateway takes the answer for one that was cut")


def _messages() -> list[Message]:
    return [{"role": "user", "content": "What is two and two?"}]


async def _first_chunk(provider: Provider) -> None:
    async with aclosing(provider.stream(ModelSpec("kit"), _messages())) as stream:  # type: ignore[type-var]  # a generator
        async for _ in stream:
            return


async def _closing(provider: Provider, call: Coroutine[Any, Any, T]) -> T:
    try:
        return await call
    finally:
        await provider.close()


async def _answers(provider: Provider, messages: list[Message]) -> tuple[Completion, list[Chunk]]:
    return await _complete(provider, messages), await _stream(provider, messages)


async def _complete(provider: Provider, messages: list[Message]) -> Completion:
    return await provider.complete(ModelSpec("kit"), messages)


async def _stream(provider: Provider, messages: list[Message]) -> list[Chunk]:
    streamed = provider.stream(ModelSpec("kit"), messages)
    require_asynchronous_iterator(streamed, "stream")
    return [chunk async for chunk in streamed]


CHECKS = (*OPTION_CHECKS, *checks_in(__name__))
