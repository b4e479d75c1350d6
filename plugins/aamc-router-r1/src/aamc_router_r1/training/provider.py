"""Provider ``router-r1``: a trained checkpoint, or any folder of a causal language model, computes answers in this process."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk import option
from aamc_sdk.errors import AamcError, DataError, ProviderError
from aamc_sdk.interfaces import Chunk, Completion, Message, Provider, Services, Usage
from aamc_sdk.types import Candidate

PLACES = ("best", "orchestrator/best", ".")
"""Places of a checkpoint in the user's folder: of a trained orchestrator, of a training, or of the model itself."""


@attrs.frozen(kw_only=True)
class CheckpointOptions:
    """The options of an endpoint of the provider ``router-r1``."""

    checkpoint: str = option("", "Folder of a training, of its checkpoint best or last, or of any causal language model.")
    temperature: float = option(0.0, "Temperature, unless the request sets one; 0 for the most probable tokens.", at_least=0)


def model_folder(folder: str) -> Path:
    """Return the folder of the model that a user's folder holds; raise ProviderError if it holds none."""
    for place in PLACES:
        if folder and (Path(folder) / place / "config.json").is_file():
            return Path(folder) / place
    raise ProviderError(f"{folder!r} holds no trained policy; name the folder of a training, such as the --out of aamc train, or of a model")


class CheckpointProvider(Provider):
    """Computes answers with transformers. The model is loaded with the first call; calls take turns.

    The conversation is laid out as in training: the messages before the first turn are the prompt, after it turns and informations are one
    text, which the model continues to the end of its next action.
    """

    Config = CheckpointOptions
    config: CheckpointOptions

    def __init__(self, config: CheckpointOptions, services: Services) -> None:
        super().__init__(config, services)
        self._turn = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    async def complete(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> Completion:
        """Return the next turn.

        Raises:
            DataError: The temperature is not a number of at least 0.
            ProviderError: There is no such checkpoint, it cannot be loaded, or its context has no room for an answer.
        """
        given_up = threading.Event()
        try:
            return await asyncio.to_thread(self._complete, messages, options, given_up)
        finally:
            given_up.set()  # a caller that is late or gone ends the computation, for which later calls wait

    async def stream(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> AsyncIterator[Chunk]:
        """Yield the next turn as one chunk; errors as for :meth:`complete`."""
        answer = await self.complete(candidate, messages, **options)
        yield Chunk(content=answer.text)
        yield Chunk(usage=answer.usage, finish_reason=answer.finish_reason)

    def _complete(self, messages: Sequence[Message], options: dict[str, Any], given_up: threading.Event) -> Completion:
        with self._turn:
            if given_up.is_set():
                raise ProviderError("the caller has given the call up")
            if self._loaded is None:
                self._loaded = self._load()
            return _answer(*self._loaded, messages, options, self.config.temperature, given_up.is_set)

    def _load(self) -> tuple[Any, Any]:
        folder = model_folder(self.config.checkpoint)
        try:
            from aamc_router_r1.training.stages import load_model

            model, tokenizer = load_model(str(folder), self.services.device)
        except ImportError as error:
            raise ProviderError(f"a trained policy needs {error.name}: pip install 'aamc-router-r1[train]'") from error
        except AamcError as error:
            raise ProviderError(str(error)) from error
        ready: Any = model
        return ready.eval(), tokenizer


def _text(content: Any) -> str:
    """Return the text of a message's content: a text, or parts with texts."""
    if isinstance(content, Sequence) and not isinstance(content, str):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return str(content or "")


def _temperature(asked: Any, default: float) -> float:
    """Return the temperature of a request; that of the endpoint if it has none."""
    if asked is None:
        return default
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not 0 <= asked <= sys.float_info.max:
        raise DataError(f"temperature must be a number of at least 0, not {asked!r:.80}")
    return float(asked)


def _answer(
    model: Any, tokenizer: Any, messages: Sequence[Message], options: dict[str, Any], temperature: float, stops: Callable[[], bool]
) -> Completion:
    import torch

    from aamc_router_r1.protocol import cut_turn
    from aamc_router_r1.tokens import context_of, plain_ids, prompt_ids
    from aamc_router_r1.training.rollout import generation_options

    turns = [(message.get("role") == "assistant", _text(message.get("content"))) for message in messages]
    asked = list(takewhile(lambda turn: not turn[0], turns))
    said = "".join(text if by_policy else f"\n\n{text}\n\n" for by_policy, text in turns[len(asked) :])
    ids = prompt_ids(tokenizer, "\n\n".join(text for _, text in asked)) + plain_ids(tokenizer, said)
    if len(ids) >= (context := context_of(model)):
        message = f"the conversation has {len(ids)} tokens, and the trained policy's maximum context length is {context}; shorten it"
        raise ProviderError(message, kind="request", status=400)
    limit = min(int(options.get("max_tokens") or options.get("max_completion_tokens") or 1024), context - len(ids))
    chosen = generation_options(tokenizer, limit, _temperature(options.get("temperature"), temperature))
    row = torch.tensor([ids], device=model.device)
    criteria = [lambda ids, _, **__: torch.full((len(ids),), stops(), device=ids.device)]
    with torch.no_grad():
        made = model.generate(input_ids=row, attention_mask=torch.ones_like(row), stopping_criteria=criteria, **chosen)[0, len(ids) :].tolist()
    text = cut_turn(tokenizer.decode(made, skip_special_tokens=True))
    finish = "length" if len(made) >= limit and not text.rstrip().endswith(">") else "stop"
    return Completion(
        message={"role": "assistant", "content": text}, usage=Usage(prompt_tokens=len(ids), output_tokens=len(made)), finish_reason=finish
    )
