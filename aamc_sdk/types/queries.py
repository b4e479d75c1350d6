"""What is asked."""

from __future__ import annotations

import math

import attrs

from aamc_sdk.types.checks import check_name_or_none, check_text_field, check_tokens, names_field

CHARACTERS_PER_TOKEN = 4
"""A token's usual length in English; estimates prompt tokens where a request does not count them."""
DEFAULT_OUTPUT_TOKENS = 256
"""The answer's length that is assumed where a request does not say."""


@attrs.frozen
class Query:
    """A request's text and what is known with it. Never a label.

    Attributes:
        text: What is asked.
        user: Who asks, for personal routing.
        session: The conversation it belongs to.
        needs: Abilities that the answer requires, such as ``"tools"`` or ``"vision"``.
        prompt_tokens: Tokens of the prompt; estimated from the text when None.
        output_tokens: Tokens that the answer is expected to have; assumed when None.
        cached_on: The candidate that holds this conversation's prompt cache.
    """

    text: str = attrs.field(validator=check_text_field)
    user: str | None = attrs.field(default=None, validator=check_name_or_none)
    session: str | None = attrs.field(default=None, validator=check_name_or_none)
    needs: frozenset[str] = attrs.field(default=frozenset(), converter=names_field)
    prompt_tokens: int | None = attrs.field(default=None, validator=check_tokens)
    output_tokens: int | None = attrs.field(default=None, validator=check_tokens)
    cached_on: str | None = attrs.field(default=None, validator=check_name_or_none)

    @property
    def expected_prompt_tokens(self) -> int:
        """The prompt's tokens, at four characters each where they were not counted."""
        if self.prompt_tokens is not None:
            return self.prompt_tokens
        return math.ceil(len(self.text) / CHARACTERS_PER_TOKEN)

    @property
    def expected_output_tokens(self) -> int:
        """The answer's tokens, 256 where they are not known."""
        return DEFAULT_OUTPUT_TOKENS if self.output_tokens is None else self.output_tokens
