"""Checks of providers."""

from __future__ import annotations

import asyncio
import inspect
import threading

from aamc_sdk.interfaces import Chunk, Completion, EndpointState, Message, Provider, Usage
from aamc_sdk.testing.components import OPTION_CHECKS, require_no_threads, require_same
from aamc_sdk.testing.findings import checks_in, require, skip
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import ModelSpec

_SECONDS = 30.0


def check_a_provider_is_asynchronous(subject: Subject) -> None:
    """``complete`` is a coroutine function, ``stream`` an asynchronous iterator, and ``dialect`` a name."""
    require(issubclass(subject.target, Provider), "a provider must be a subclass of aamc_sdk.interfaces.Provider")
    require(inspect.iscoroutinefunction(subject.target.complete), "complete must be a coroutine function (async def)")
    require(not inspect.iscoroutinefunction(subject.target.stream), "stream must return an asynchronous iterator, not a coroutine")
    for name in ("complete", "stream"):
        parameters = inspect.signature(getattr(subject.target, name)).parameters.values()
        further = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        require(further, f"{name} must take **options: requests bring max_tokens, temperature, tools and others")
    require(isinstance(subject.target.dialect, str) and subject.target.dialect, "dialect must name the wire dialect")


def check_its_state_is_known(subject: Subject) -> None:
    """``state`` returns an EndpointState at once: it is called for each decision."""
    state = subject.make().state()
    require(isinstance(state, EndpointState), f"state must return aamc_sdk.interfaces.EndpointState, not {type(state).__name__}")


def check_its_threads_let_the_program_end(subject: Subject) -> None:
    """A provider that is closed leaves no threads, except daemon threads, which end with the program."""
    before = set(threading.enumerate())
    provider = subject.make()
    provider.state()
    asyncio.run(provider.close())
    require_no_threads([thread for thread in threading.enumerate() if not (thread in before or thread.daemon)], "close must end its threads")


def check_it_answers(subject: Subject) -> None:
    """With the options of a test server, ``complete`` returns a Completion and ``stream`` yields Chunks of a text."""
    if not subject.options:
        skip("no server to call: give a test server's options, as in assert_conforms('provider', NAME, plugins, {'base_url': URL})")
    messages = _messages()
    try:
        completion, chunks = asyncio.run(asyncio.wait_for(_answers(subject.make(), messages), _SECONDS))
    finally:
        require_same(_messages(), messages, "messages", "a call")
    require(isinstance(completion, Completion), f"complete must return aamc_sdk.Completion, not {type(completion).__name__}")
    require(isinstance(completion.usage, Usage), f"a completion's usage must be aamc_sdk.interfaces.Usage, not {type(completion.usage).__name__}")
    require(not completion.cost_usd < 0, f"a completion's cost must be USD of at least 0, or NaN where unknown, not {completion.cost_usd}")
    require(completion.text, "the completion has no text")
    require(chunks and all(isinstance(chunk, Chunk) for chunk in chunks), "stream must yield aamc_sdk.interfaces.Chunk objects, at least one")
    require("".join(chunk.content for chunk in chunks), "the stream has no text")


def _messages() -> list[Message]:
    return [{"role": "user", "content": "What is two and two?"}]


async def _answers(provider: Provider, messages: list[Message]) -> tuple[Completion, list[Chunk]]:
    candidate = ModelSpec("kit")
    try:
        return await provider.complete(candidate, messages), [chunk async for chunk in provider.stream(candidate, messages)]
    finally:
        await provider.close()


CHECKS = (*OPTION_CHECKS, *checks_in(__name__))
