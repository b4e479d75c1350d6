"""The body of a request, for each deployment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter

from aamc_models.dialects.messages.claude_rules import claude_model, claude_rules
from aamc_models.dialects.messages.thinking import accepted_parameters
from aamc_models.transport.failures import Failure
from aamc_models.transport.retries import SentAttempts
from aamc_sdk import Candidate
from aamc_sdk.interfaces import WireRequest, output_limit, without_replaced_limits
from aamc_sdk.types import CHARACTERS_PER_TOKEN, text_bytes

_WITHOUT_PARAMETERS = frozenset({"count_tokens", "embeddings"})
"""APIs to which the parameters of a candidate, such as ``reasoning_effort``, are unknown, as they are to those that pass through (``/images``)."""
_OF_COMPLETIONS = frozenset(
    (
        *("best_of", "echo", "frequency_penalty", "ignore_eos", "length_penalty", "logit_bias", "logprobs", "max_tokens", "min_p", "min_tokens"),
        *("n", "presence_penalty", "repetition_penalty", "seed", "stop", "stop_token_ids", "suffix", "temperature", "top_k", "top_p", "typical_p"),
        "user",
    )
)
"""Parameters that OpenAI's older completions know, and those of sampling that many other servers do."""
_RENAMED = {
    "completions": (("max_completion_tokens", "max_tokens"),),
    "responses": (("max_tokens", "max_output_tokens"), ("max_completion_tokens", "max_output_tokens"), ("reasoning_effort", "reasoning")),
}
"""Parameters of chat that other APIs have by another name."""
_BODILESS = frozenset({"GET", "HEAD", "DELETE"})


class _Payload(aiohttp.BytesPayload):
    """Bytes that tell ``on_sent`` when they are written to a connection; aiohttp before 3.12 does so by :meth:`write`."""

    def __init__(self, data: bytes, on_sent: Callable[[bool], None]) -> None:
        super().__init__(data)
        self._on_sent = on_sent

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._on_sent(True)
        await super().write(writer)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._on_sent(True)
        await super().write_with_length(writer, content_length)


class RequestBody:
    """A request's body without the omitted fields, for each of the deployments."""

    def __init__(self, candidate: Candidate, request: WireRequest, omitted: Collection[str] = (), *, stream: bool = False) -> None:
        self.candidate, self.request, self._omitted, self._stream = candidate, request, omitted, stream
        self.attempts = SentAttempts(request.on_sent)

    def data(self, model: str) -> bytes | None:
        """Return the bytes to send to a server on which the model has a name."""
        body = self.request.body
        if not body and self.request.method in _BODILESS:
            return None
        if isinstance(body, bytes):
            return body
        sent = {field: value for field, value in {**self._parameters(body), **body}.items() if field not in self._omitted}
        streamed = {"stream": True} if self._stream else {}
        try:
            return orjson.dumps({**sent, **streamed, "model": model or self.candidate.name}, option=orjson.OPT_SERIALIZE_NUMPY)
        except TypeError as error:
            raise Failure(f"cannot be asked: the request is not JSON: {error}", "request") from error

    def payload(self, model: str) -> aiohttp.BytesPayload | None:
        """Return the bytes of :meth:`data`, which tell when they are sent: a connection comes first."""
        data = self.data(model)
        return None if data is None else _Payload(data, self.request.on_sent)

    def _parameters(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the candidate's parameters in the words of the request's API, without those that contradict the request.

        A limit of the request replaces theirs, whatever its name. Anthropic's models refuse some parameters beside those of the request.
        """
        api = self.request.api
        if not self.candidate.parameters or api in _WITHOUT_PARAMETERS or api.startswith("/"):
            return {}
        parameters = dict(self.candidate.parameters)
        for chat, own in _RENAMED.get(api, ()):
            if (value := parameters.pop(chat, None)) is not None:
                parameters.setdefault(own, {"effort": value} if own == "reasoning" else value)
        if api == "completions":
            parameters = {name: value for name, value in parameters.items() if name in _OF_COMPLETIONS}
        if api == "messages":
            parameters = accepted_parameters(parameters, body, claude_rules(claude_model(self.candidate)))
        return without_replaced_limits(parameters, body)

    @property
    def estimated_tokens(self) -> float:
        """Tokens of the prompt, by the length of its texts, and of the longest answer, as servers count them before they answer."""
        body = self.request.body
        if isinstance(body, bytes):
            return len(body) / CHARACTERS_PER_TOKEN
        return text_bytes(body) / CHARACTERS_PER_TOKEN + (output_limit(body) or 0)
