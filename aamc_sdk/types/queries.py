"""Queries: the text of a request, its earlier turns and other inputs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import attrs

from aamc_sdk.errors import DataError
from aamc_sdk.types.checks import SEPARATOR, check_name_field, check_name_or_none, check_optional_counts, check_text_field, is_amount, names_field

CHARACTERS_PER_TOKEN = 4
"""Mean characters of a token in English, bytes of UTF-8 in any language, for estimating tokens that are not counted."""
DEFAULT_OUTPUT_TOKENS = 256
"""Assumed tokens of an answer, if the request gives none."""
_FILE_BYTES = 1_500 * CHARACTERS_PER_TOKEN
"""Bytes that a file counts: most models read an image as about 1,500 tokens, whatever its size."""
_FILE = re.compile(r"data:[^,]{0,200};base64,|[\w+/=-]{4000}", re.ASCII)
"""The beginning of a file in base64: few texts have a word of 4,000 characters."""
_FILE_FIELDS = frozenset(("data", "file_data", "image", "image_url", "result", "url"))
"""Fields that hold a file; what looks like one in another field is read as text, such as a long number."""
_NO_TEXTS = frozenset(("type", "role", "id", "call_id", "tool_call_id", "tool_use_id", "signature", "thought_signature", "encrypted_content"))
"""Fields whose texts are not part of what a model reads or writes."""


def estimated_tokens(text: str | int) -> int:
    """Return the tokens of a text, or of a number of its bytes, estimated at four bytes of UTF-8 each and rounded up."""
    return math.ceil((text if isinstance(text, int) else utf8_bytes(text)) / CHARACTERS_PER_TOKEN)


def utf8_bytes(text: str) -> int:
    """Return the bytes of a text in UTF-8: a character of English has one, of Arabic two, of Hindi or Japanese three."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def text_bytes(value: object, field_bytes: int = CHARACTERS_PER_TOKEN, file_bytes: int = _FILE_BYTES) -> int:
    """Return the bytes of the texts in a JSON value, such as messages, from which their tokens are estimated.

    Roles, ids and the like do not count.

    Args:
        value: The value.
        field_bytes: The bytes that each number, and each field of an object besides its texts, counts: about a token, as a prompt may be token ids.
        file_bytes: The bytes that a file in base64 counts, in a field for files such as ``data`` or ``url``: those of an image's 1,500 tokens.
    """
    size, waiting = 0, [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, str):
            size += utf8_bytes(inner)
        elif isinstance(inner, Mapping):
            size += field_bytes * len(inner)
            for name, each in inner.items():
                if not isinstance(each, str):
                    waiting.append(each)
                elif name in _FILE_FIELDS and _FILE.match(each):
                    size += file_bytes
                elif name not in _NO_TEXTS:
                    waiting.append(each)
        elif isinstance(inner, list | tuple):
            waiting += inner
        elif type(inner) in (int, float):
            size += field_bytes
    return size


def _check_rating(turn: Turn, attribute: attrs.Attribute[float | None], value: object) -> None:
    if value is not None and not (is_amount(value) and value <= 1):  # type: ignore[operator]  # a number here
        raise DataError(f"a turn's rating must be a number from 0 to 1, or None if unknown, not {value!r}")


@attrs.frozen
class Turn:
    """An earlier message of the conversation.

    Attributes:
        role: The speaker, such as ``"user"`` or ``"assistant"``.
        content: The message's text.
        model: The candidate that answered; None for a message of the user.
        rating: The user's rating of the answer, from 0 to 1; None without one.
    """

    role: str = attrs.field(validator=check_name_field)
    content: str = attrs.field(validator=check_text_field)
    model: str | None = attrs.field(default=None, validator=check_name_or_none)
    rating: float | None = attrs.field(default=None, validator=_check_rating)


def _turns(values: Iterable[Turn]) -> tuple[Turn, ...]:
    if values == ():  # most queries have none
        return ()
    turns = None if isinstance(values, str) or not isinstance(values, Iterable) else tuple(values)
    if turns is None or not all(isinstance(turn, Turn) for turn in turns):
        raise DataError(f"a query's turns must be a list of aamc_sdk.Turn, not {values!r:.80}")
    return turns


@attrs.frozen
class Query:
    """A request: its text, earlier turns and other inputs. Never a label.

    Attributes:
        text: The text of the request: in a conversation, its last message.
        user: The user, for personal routing.
        session: The conversation.
        needs: Abilities that the answer requires, such as ``"tools"`` or ``"vision"``.
        prompt_tokens: Tokens of the prompt; estimated from text and turns when None.
        output_tokens: Expected tokens of the answer; assumed when None.
        cached_on: The candidate that holds this conversation's prompt cache.
        turns: Earlier messages of the conversation, oldest first.
        tenant: The tenant that the user belongs to.
        cached_tokens: Tokens of the prompt in that cache (default: all except those of the text, which is new).
        window_tokens: Tokens that a context window must hold; those of prompt and answer when None.

    Raises:
        DataError: A value cannot be used.
    """

    text: str = attrs.field(validator=check_text_field)
    user: str | None = attrs.field(default=None, validator=check_name_or_none)
    session: str | None = attrs.field(default=None, validator=check_name_or_none)
    needs: frozenset[str] = attrs.field(default=frozenset(), converter=names_field)
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_on: str | None = attrs.field(default=None, validator=check_name_or_none)
    turns: tuple[Turn, ...] = attrs.field(default=(), converter=_turns, kw_only=True)
    tenant: str | None = attrs.field(default=None, validator=check_name_or_none, kw_only=True)
    cached_tokens: int | None = attrs.field(default=None, kw_only=True)
    window_tokens: int | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_optional_counts(self, ("prompt_tokens", "output_tokens", "cached_tokens", "window_tokens"))

    @property
    def expected_prompt_tokens(self) -> int:
        """Tokens of the prompt; estimated at four bytes of UTF-8 each unless counted."""
        if self.prompt_tokens is not None:
            return self.prompt_tokens
        return estimated_tokens(utf8_bytes(self.text) + sum(utf8_bytes(turn.content) for turn in self.turns))

    @property
    def expected_cached_tokens(self) -> int:
        """Tokens of the prompt that ``cached_on`` reads from its cache; estimated unless counted."""
        prompt = self.expected_prompt_tokens
        cached = prompt - estimated_tokens(self.text) if self.cached_tokens is None else self.cached_tokens
        return min(max(cached, 0), prompt)

    @property
    def expected_output_tokens(self) -> int:
        """Tokens of the answer; 256 if unknown."""
        return DEFAULT_OUTPUT_TOKENS if self.output_tokens is None else self.output_tokens


def tenant_user(user: str, tenant: str | None = None) -> str:
    """Return a user's name that is unique among tenants: ``TENANT NUL USER``, or the user alone without a tenant."""
    return user if tenant is None else f"{tenant}{SEPARATOR}{user}"
