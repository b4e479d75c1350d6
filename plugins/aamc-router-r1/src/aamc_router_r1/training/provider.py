"""Provider ``router-r1``: a trained checkpoint, or any folder of a causal language model, computes answers in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk import option
from aamc_sdk.errors import AamcError, ProviderError
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
    """Return the folder of the model that a user's folder holds.

    Raises:
        ProviderError: It holds none.
    """
    for place in PLACES:
        if folder and (Path(folder) / place / "config.json").is_file():
            return Path(folder) / place
    raise ProviderError(f"{folder!r} holds no trained policy; name the folder of a training, such as the --out of aamc train, or of a model")


class CheckpointProvider(Provider):
    """Computes answers with transformers. The model is loaded with the first call; calls take turns.

    The conversation is laid out as in training: after the prompt, turns and informations are one text, which the model continues to the
    end of its next action.
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
            ProviderError: There is no such checkpoint, or it cannot be loaded.
        """
        return await asyncio.to_thread(self._complete, messages, options)

    async def stream(self, candidate: Candidate, messages: Sequence[Message], **options: Any) -> AsyncIterator[Chunk]:
        """Yield the next turn as one chunk; errors as for :meth:`complete`."""
        answer = await self.complete(candidate, messages, **options)
        yield Chunk(content=answer.text)
        yield Chunk(usage=answer.usage, finish_reason=answer.finish_reason)

    def _complete(self, messages: Sequence[Message], options: dict[str, Any]) -> Completion:
        with self._turn:
            if self._loaded is None:
                self._loaded = self._load()
            return _answer(*self._loaded, messages, options, self.config.temperature)

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


def _answer(model: Any, tokenizer: Any, messages: Sequence[Message], options: dict[str, Any], temperature: float) -> Completion:
    import torch

    from aamc_router_r1.protocol import cut_turn
    from aamc_router_r1.training.rollout import generation_options, plain_ids, prompt_ids

    first, *rest = [str(message.get("content") or "") for message in messages] or [""]
    said = "".join(text if message.get("role") == "assistant" else f"\n\n{text}\n\n" for text, message in zip(rest, messages[1:], strict=True))
    ids = prompt_ids(tokenizer, first) + plain_ids(tokenizer, said)
    limit = int(options.get("max_tokens") or options.get("max_completion_tokens") or 1024)
    asked = options.get("temperature")
    chosen = generation_options(tokenizer, limit, temperature if asked is None else float(asked))
    row = torch.tensor([ids], device=model.device)
    with torch.no_grad():
        made = model.generate(input_ids=row, attention_mask=torch.ones_like(row), **chosen)[0, len(ids) :].tolist()
    text = cut_turn(tokenizer.decode(made, skip_special_tokens=True))
    finish = "length" if len(made) >= limit and not text.rstrip().endswith(">") else "stop"
    return Completion(
        message={"role": "assistant", "content": text}, usage=Usage(prompt_tokens=len(ids), output_tokens=len(made)), finish_reason=finish
    )
