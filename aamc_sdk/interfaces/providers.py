"""Providers: how a candidate's endpoint is called."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from aamc_sdk.interfaces.models import Chunk, Completion, Message
from aamc_sdk.interfaces.parts import Part

if TYPE_CHECKING:
    from aamc_sdk.types import Candidate


class Provider(Part):
    """Calls the endpoints of one wire dialect. Its ``Config`` holds the options of an ``endpoint``.

    Attributes:
        dialect: The dialect of messages and options, which pass untouched: ``"openai"`` or ``"anthropic"``.
    """

    dialect: ClassVar[str] = "openai"

    @abc.abstractmethod
    async def complete(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> Completion:
        """Return the whole answer.

        Args:
            candidate: The candidate to call.
            messages: The conversation.
            **options: Parameters of the request, such as ``temperature``.

        Raises:
            ProviderError: The call failed.
        """

    @abc.abstractmethod
    def stream(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> AsyncIterator[Chunk]:
        """Yield the answer piece by piece; arguments and errors as for :meth:`complete`."""
