"""Checks of providers."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Sequence
from contextlib import nullcontext

import attrs

from aamc_sdk.errors import DataError
from aamc_sdk.interfaces import Chunk, Completion, EndpointState, Message, Provider
from aamc_sdk.storage import to_json
from aamc_sdk.testing.checks.components import OPTION_CHECKS, require_asynchronous_iterator, require_no_threads, require_same
from aamc_sdk.testing.findings import checks_in, may_refuse, require, require_type, skip
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import ModelSpec, check_text

_SECONDS = 30.0
_OF_A_SERVER = ("url", "host", "server", "endpoint", "api_key")
"""Words in the names of options by which a provider calls a server."""
_OPENAI_MESSAGE = '{"role": "assistant", "content": TEXT}'


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
    server = [field.name for field in attrs.fields(subject.target.Config) if any(word in field.name for word in _OF_A_SERVER)]
    if server and not subject.options:
        skip("no server to call: give a test server's options, as in assert_conforms('provider', NAME, plugins, {'base_url': URL})")
    messages = _messages()
    try:
        with nullcontext() if subject.options else may_refuse("it does not answer without options"):
            completion, chunks = asyncio.run(asyncio.wait_for(_answers(subject.make(), messages), _SECONDS))
    finally:
        require_same(_messages(), messages, "messages", "a call")
    _require_completion(completion, subject.target.dialect)
    _require_chunks(chunks)


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


async def _answers(provider: Provider, messages: list[Message]) -> tuple[Completion, list[Chunk]]:
    candidate = ModelSpec("kit")
    try:
        completion, streamed = await provider.complete(candidate, messages), provider.stream(candidate, messages)
        require_asynchronous_iterator(streamed, "stream")
        return completion, [chunk async for chunk in streamed]
    finally:
        await provider.close()


CHECKS = (*OPTION_CHECKS, *checks_in(__name__))
