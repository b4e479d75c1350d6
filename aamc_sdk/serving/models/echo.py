"""The provider ``echo``: answers without a model, for tests and first steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs

from aamc_sdk.config import option
from aamc_sdk.errors import ProviderError
from aamc_sdk.interfaces import Chunk, Completion, Message, Provider, Usage
from aamc_sdk.types import Candidate, estimated_tokens


@attrs.frozen(kw_only=True)
class EchoOptions:
    """The options of an endpoint of the provider ``echo``."""

    reply: str | None = option(None, "The answer; the last message's text when none.")
    delay_ms: float = option(0.0, "Time until the answer, in milliseconds.", at_least=0)
    error: str | None = option(None, "Message of the error that every call raises; none to answer.")


class Echo(Provider):
    """Answers with the last message's text, or a fixed reply."""

    Config = EchoOptions

    async def complete(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> Completion:
        """Return the answer."""
        await asyncio.sleep(self.config.delay_ms / 1000)
        if self.config.error is not None:
            raise ProviderError(f"calling {candidate.name!r} failed: {self.config.error}")
        content = _text(messages[-1]) if self.config.reply is None and messages else self.config.reply or ""
        usage = Usage(prompt_tokens=sum(estimated_tokens(_text(message)) for message in messages), output_tokens=estimated_tokens(content))
        return Completion(message={"role": "assistant", "content": content}, usage=usage)

    async def stream(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> AsyncIterator[Chunk]:
        """Yield the answer word by word; errors as for :meth:`complete`."""
        answer = await self.complete(candidate, messages, **options)
        for i, word in enumerate(answer.text.split(" ")):
            yield Chunk(content=word if i == 0 else f" {word}")
        yield Chunk(usage=answer.usage, finish_reason=answer.finish_reason)


def _text(message: Message) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else ""
