"""The tokens of prompts: a chat template's around a message, in which the words of special tokens are plain text."""

from __future__ import annotations

import sys
from typing import Any

from transformers import PreTrainedTokenizerBase

from aamc_sdk.errors import ConfigError

THINK = "<think>"
MESSAGE = "The message."
"""Stands for a message while a template is applied: a message may itself hold the template's words."""


def plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the tokens of a text; the words of special tokens are plain text, since a question or a reply may hold them."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def in_template(tokenizer: PreTrainedTokenizerBase, message: str) -> tuple[list[int], str, list[int]]:
    """Return the tokens before a user's message, the message, which some chat templates strip, and the tokens up to the policy's turn.

    Raises:
        ConfigError: The tokenizer's chat template does not hold the message as it is.
    """
    if not tokenizer.chat_template:
        first = list(tokenizer(message)["input_ids"])[:1]
        return (first if first == [tokenizer.bos_token_id] else []), message, []
    spaced = f"\n{MESSAGE}\n"
    rendered: Any = tokenizer.apply_chat_template([{"role": "user", "content": spaced}], add_generation_prompt=True, tokenize=False)
    is_kept = spaced in rendered
    before, found, after = rendered.rpartition(spaced if is_kept else MESSAGE)
    if not found:
        raise ConfigError(f"the chat template of {tokenizer.name_or_path!r} changes a user's message; use a model whose template does not")
    if after.rstrip().endswith(THINK):
        after = after.rstrip().removesuffix(THINK)  # the policy begins its turn with it
    first, last = (list(tokenizer(part, add_special_tokens=False)["input_ids"]) for part in (before, after))
    return first, message if is_kept else message.strip(), last


def context_of(model: Any) -> int:
    """Return the number of tokens that a causal language model takes; ``sys.maxsize`` if its configuration does not say."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Return the tokens of a prompt, in the tokenizer's chat template if it has one, up to where the policy's turn begins."""
    before, held, after = in_template(tokenizer, prompt)
    return [*before, *plain_ids(tokenizer, held), *after]
