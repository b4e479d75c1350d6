"""The policy of router ``router-r1-choice``: a language model's distribution over candidates.

The probability of a candidate is that of the tokens of its name after the begun turn, up to the one that tells it from all other names, over the
sum of all candidates'.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import takewhile
from pathlib import Path
from threading import Lock
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear, one_hot
from transformers import PreTrainedTokenizerBase

from aamc_router_r1.config import AUTO, ChoiceOptions
from aamc_router_r1.protocol import render_prompt
from aamc_router_r1.tokens import context_of, in_template, plain_ids
from aamc_router_r1.training.stages import load_model
from aamc_sdk.errors import ConfigError, PluginError
from aamc_sdk.storage import write_json
from aamc_sdk.types import Candidate, Floats, Pool

TURN_START = "<think> Which model fits this question? </think>\n<search>"
"""The start of the policy's turn; a name follows."""
FULL_ATTENTION = "full_attention"
"""The kind of a layer that reads all earlier tokens, as transformers calls it."""
FILES = "files.json"
"""File that lists the others: transformers loads a folder even if some are missing."""


def load(config: ChoiceOptions, folder: str, device: str) -> ChoicePolicy:
    """Return the policy of a folder or of a name that transformers downloads; raise ConfigError if there is no model, or none that can be used."""
    policy = ChoicePolicy(config, *load_model(folder, device))
    policy.check()
    return policy


@attrs.frozen
class Frame:
    """The tokens that all prompts of a pool share.

    Attributes:
        head: Those before the question.
        tail: Those after it, up to the name.
        names: Those of each candidate's name, cut after the one that tells it from all other names.
    """

    pool: Pool
    head: Sequence[int]
    tail: Sequence[int]
    names: Sequence[Sequence[int]]


class ChoicePolicy:
    """A language model's distribution over candidates; thread-safe.

    The prompt's head is computed once, and the names of one row are computed side by side: each sees the row's prompt and itself only.
    """

    def __init__(self, config: ChoiceOptions, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        self.config, self.model, self.tokenizer = config, model.eval(), tokenizer
        self._tokenizing = Lock()  # a tokenizer keeps how it treats special tokens, which plain_ids changes
        self._frame: Frame | None = None
        self._kept_head: tuple[Frame, Any] | None = None

    def save(self, folder: Path) -> None:
        """Write the model and its tokenizer."""
        self.model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)  # nothing is generated
        with self._tokenizing:
            self.tokenizer.save_pretrained(folder, save_jinja_files=False)
        write_json(folder / FILES, sorted(file.name for file in folder.iterdir() if file.is_file()))

    def scores(self, texts: Sequence[str], pool: Pool) -> Floats:
        """Return the log-probability of each candidate ``[B, M]``."""
        frame, size = self.frame(pool), self.config.micro_batch_size
        order = np.argsort([len(text) for text in texts], kind="stable")  # questions of similar length need little padding
        scores = np.empty((len(texts), len(pool)))
        with torch.inference_mode():
            for first in range(0, len(texts), size):
                rows = order[first : first + size]
                batch = self.batch([texts[row] for row in rows.tolist()], frame)  # checks the length of the head, too
                logits = self.logits(self.model, batch, deepcopy(self._head(frame, batch["input_ids"])))
                scores[rows] = logits.double().log_softmax(dim=1).cpu().numpy()
        return scores

    def logits(self, model: Any, batch: Mapping[str, Tensor], head: Any = None) -> Tensor:
        """Return :func:`name_logits` of the model, or of one that wraps it, in the precision of the options."""
        with self._precision():
            return name_logits(model, batch, head)

    def _head(self, frame: Frame, ids: Tensor) -> Any:
        """Return the keys and values of the tokens of a frame's head ``[1, T]``; those of the last frame are kept."""
        computed = self._kept_head
        if computed is None or computed[0] is not frame:
            with self._precision():
                computed = frame, self.model.get_decoder()(input_ids=ids, use_cache=True).past_key_values
            self._kept_head = computed
        return computed[1]

    def _precision(self) -> Any:
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bf16)

    @property
    def bf16(self) -> bool:
        """Whether to compute in bfloat16."""
        return self.config.precision == "bf16" or (self.config.precision == AUTO and self.model.device.type == "cuda")

    def frame(self, pool: Pool) -> Frame:
        """Return the frame of a pool; the last one is kept. Raise ConfigError if two names cannot be told apart by their tokens."""
        frame = self._frame
        if frame is None or frame.pool != pool:
            models = sorted(pool, key=lambda candidate: candidate.name)  # the order of a pool means nothing
            rules = render_prompt("", models, {}, rounds=1).rstrip()
            with self._tokenizing:
                before, held, after = in_template(self.tokenizer, rules)
                head = [*before, *plain_ids(self.tokenizer, held)]
                tail = [*after, *plain_ids(self.tokenizer, TURN_START if self.tokenizer.chat_template else f"\n{TURN_START}")]
                # after the colon comes what no name has, so that "llama" can be told from "llama:70b"
                names = distinct([plain_ids(self.tokenizer, f" {candidate.name}:\n") for candidate in pool], pool.names)
            self._frame = frame = Frame(pool, head, tail, names)
        return frame

    def batch(self, texts: Sequence[str], frame: Frame) -> dict[str, Tensor]:
        """Return the tokens of a batch as arguments of :func:`name_logits`; raise PluginError if they are more than the model takes."""
        rests = self._rests(texts, frame)
        names, shared, width = frame.names, len(frame.head), max(map(len, rests))
        longest, window = shared + width + max(map(len, names)) - 1, getattr(self.model.config.get_text_config(), "sliding_window", None)
        if longest > (limit := min(context_of(self.model), window or sys.maxsize)):
            raise PluginError(
                f"the prompt has {longest} tokens, {shared} of them for the rules and the pool's {len(names)} descriptions, and the model takes "
                f"{limit}; shorten the descriptions, lower question_characters, or choose a model that takes more"
            )
        inner = [token for name in names for token in name[:-1]]  # the last token of a name is only predicted
        owner = torch.tensor([-1] * width + [place for place, name in enumerate(names) for _ in name[:-1]])
        depth = torch.tensor([place for name in names for place in range(len(name) - 1)], dtype=torch.long)
        order = torch.arange(width + len(inner))
        within = (order <= order[:, None]) & ((owner == -1) | (owner == owner[:, None]))
        ids, positions, masks = [], [], []
        for rest in rests:
            padding = width - len(rest)
            ids.append([0] * padding + rest + inner)
            positions.append(torch.cat((torch.zeros(padding), torch.arange(len(rest)), len(rest) + depth)).long() + shared)
            masks.append(within & (order >= padding))
        seen = torch.ones(len(rests), len(order), shared, dtype=torch.bool)
        starts = np.cumsum([width] + [len(name) - 1 for name in names[:-1]]).tolist()
        sources = [place for start, name in zip(starts, names, strict=True) for place in (width - 1, *range(start, start + len(name) - 1))]
        tensors = {
            "input_ids": torch.tensor(frame.head)[None],
            "rest_ids": torch.tensor(ids),
            "positions": torch.stack(positions),
            "mask": torch.cat((seen, torch.stack(masks)), dim=2)[:, None],
            "sources": torch.tensor(sources),
            "targets": torch.tensor([token for name in names for token in name]),
            "owners": torch.tensor([place for place, name in enumerate(names) for _ in name]),
        }
        return {key: tensor.to(self.model.device) for key, tensor in tensors.items()}

    def _rests(self, texts: Sequence[str], frame: Frame) -> list[list[int]]:
        """Return the tokens of prompts after the head."""
        half = self.config.question_characters // 2
        questions = [text if len(text) <= 2 * half else f"{text[:half]} ... {text[-half:]}" for text in texts]
        with self._tokenizing:
            return [[*plain_ids(self.tokenizer, f" {question}"), *frame.tail] for question in questions]

    def check(self) -> None:
        """Raise ConfigError unless names side by side have the probabilities of each written alone.

        Some models cannot take a mask of pairs of tokens, or misread it.
        """
        what = f"model {self.model.name_or_path!r} ({type(self.model).__name__})"
        needs = "router-r1-choice needs a model whose layers are all full attention with a mask and positions, such as a Llama"
        kinds = set(getattr(self.model.config.get_text_config(), "layer_types", None) or [FULL_ATTENTION])
        if others := kinds - {FULL_ATTENTION}:
            raise ConfigError(f"{what} has layers of the kind {min(others)!r}; {needs}")
        frame, texts = Frame(Pool([Candidate("a"), Candidate("b")]), [1, 2], [3], [[4, 5, 6], [7, 8, 9]]), ["a question", "a"]
        try:
            with torch.inference_mode():
                together = name_logits(self.model, self.batch(texts, frame))
                alone = [[self._log_probability([*frame.head, *rest], name) for name in frame.names] for rest in self._rests(texts, frame)]
        except torch.OutOfMemoryError:
            raise
        except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f"{what} cannot compute names side by side: {type(error).__name__}: {error}; {needs}") from error
        if not torch.allclose(together.cpu(), torch.tensor(alone), atol=1e-3):
            raise ConfigError(f"{what} computes wrong probabilities for names side by side; {needs}")

    def _log_probability(self, prompt: Sequence[int], name: Sequence[int]) -> float:
        """Return the log-probability with which the model writes a name after a prompt."""
        ids = torch.tensor([[*prompt, *name[:-1]]], device=self.model.device)
        logits = self.model(input_ids=ids).logits[0, -len(name) :].float().log_softmax(dim=1)
        return float(logits[range(len(name)), list(name)].sum())


def distinct(names: Sequence[Sequence[int]], labels: Sequence[str]) -> list[list[int]]:
    """Return the tokens of each name up to the one that tells it from all others; raise ConfigError if the end of a name does not."""
    found = []
    for place, name in enumerate(names):
        common = max((_common(name, other) for number, other in enumerate(names) if number != place), default=0)
        if common == len(name):
            raise ConfigError(f"to the model's tokenizer, {labels[place]!r} is the beginning of another candidate's name; rename it")
        found.append(list(name[: common + 1]))
    return found


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the number of tokens that both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def name_logits(model: Any, batch: Mapping[str, Tensor], head: Any = None) -> Tensor:
    """Return the log-probability of each candidate's distinct tokens ``[B, M]``, not normalised over candidates.

    ``head`` are the keys and values of ``input_ids``, which are used up; None to compute them. The output layer is computed in float32: its logits
    are large, and bfloat16 would round away the differences between candidates.
    """
    decoder, output = model.get_decoder(), model.get_output_embeddings()
    rest = batch["rest_ids"]
    cache = decoder(input_ids=batch["input_ids"], use_cache=True).past_key_values if head is None else head
    cache.batch_repeat_interleave(len(rest))
    states = decoder(
        input_ids=rest, attention_mask=batch["mask"], position_ids=batch["positions"], past_key_values=cache, use_cache=True
    ).last_hidden_state
    with torch.autocast(rest.device.type, enabled=False):
        bias = None if output.bias is None else output.bias.float()
        logits = linear(states[:, batch["sources"]].float(), output.weight.float(), bias)
        targets = batch["targets"].expand(len(rest), -1)
        tokens = logits.gather(-1, targets[..., None])[..., 0] - logits.logsumexp(-1)
        return tokens @ one_hot(batch["owners"]).float()  # unlike index_add, a GPU sums it in the same order every time
