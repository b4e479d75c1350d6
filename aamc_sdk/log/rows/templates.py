"""Compressed entries: decisions of one router differ little, so each is kept as its difference from a template.

A template is the JSON of an earlier decision without its user and texts. DEFLATE (RFC 1951) takes it as its dictionary. A log keeps its templates
with its entries, and they are never changed.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from aamc_sdk.errors import StoreError
from aamc_sdk.log.erasure import erased
from aamc_sdk.log.rows.json_text import decode_entry
from aamc_sdk.log.rows.row import DECISION, Row

LEVEL = 3
"""The level of compression: a higher one takes longer, and saves less than a tenth more."""
MAX_PACKED_SHARE = 0.3
"""A decision whose packed size is a larger share than this becomes a template itself."""
MIN_WINDOW_BITS = 12
"""Minimum window size, as a power of 2. 32 KB windows (256 KB per entry) take longer to clear than to compress."""
MAX_TEMPLATES = 255
MAX_ALIKE = 8
"""Templates of decisions of one router among the same candidates."""
_PLAIN = 0


class Templates:
    """The templates of a log, in the order of their numbers, which begin with 1.

    Used by one thread at a time. If the templates that :meth:`pack` returned could not be kept, this object must be discarded.
    """

    def __init__(self) -> None:
        self._contents: list[bytes] = []
        self._alike: defaultdict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._contents)

    def extend(self, contents: Iterable[bytes]) -> None:
        """Add the templates that the log has after the known ones.

        Raises:
            StoreError: One is damaged.
        """
        for number, content in enumerate(contents, 1 + len(self)):
            group = _group_of(content, f"template {number}")
            self._contents.append(content)
            self._alike[group].append(number)

    def pack(self, row: Row) -> tuple[bytes, bytes | None]:
        """Return a row's packed content, and the new template to keep with it; None if the log has its template.

        Attempts and feedback, which are short, are not compressed.
        """
        if row.kind != DECISION:
            return packed_uncompressed(row.content), None
        content = row.content.encode()
        alike = self._alike[_group_of(content, row.name)]
        packed = self._deflated(content, alike[-1]) if alike else bytes([_PLAIN]) + content
        if len(packed) <= MAX_PACKED_SHARE * len(content) or len(self) == MAX_TEMPLATES or len(alike) == MAX_ALIKE:
            return packed, None
        template = erased(row, without_tenant=True).content.encode()
        self.extend([template])
        return self._deflated(content, len(self)), template

    def unpack(self, packed: bytes | str) -> str:
        """Unpack a result of :meth:`pack`; text, as earlier versions kept it, is returned as it is.

        Raises:
            StoreError: It is damaged, or its template is missing.
        """
        (content,) = self.unpack_all([packed])
        try:
            return content if isinstance(content, str) else content.decode()
        except UnicodeDecodeError as error:
            raise StoreError(f"an entry of the log is damaged ({error}): restore a copy of the log") from error

    def unpack_all(self, packed: Sequence[bytes | str]) -> list[bytes | str]:
        """Return contents in UTF-8; text, the form of earlier versions, is returned unchanged.

        Raises:
            StoreError: One is damaged, or its template is missing.
        """
        templates, number = self._contents, 0
        unpacked: list[bytes | str] = []
        try:
            for each in packed:
                if isinstance(each, str):
                    unpacked.append(each)
                elif (number := each[0]) == _PLAIN:
                    unpacked.append(each[1:])
                else:
                    unpacked.append(zlib.decompressobj(-zlib.MAX_WBITS, templates[number - 1]).decompress(each[1:]))
        except (IndexError, TypeError, zlib.error) as error:
            raise StoreError(f"an entry of the log is damaged (template {number} of {len(self)}, {error}): restore a copy of the log") from error
        return unpacked

    def _deflated(self, content: bytes, number: int) -> bytes:
        template = self._contents[number - 1]
        bits = min(max(MIN_WINDOW_BITS, (len(template) + len(content)).bit_length()), zlib.MAX_WBITS)
        packing = _compressor(template, bits).copy()
        return b"%c%b%b" % (number, packing.compress(content), packing.flush())


def packed_uncompressed(content: str) -> bytes:
    """Return a content packed without compression."""
    return bytes([_PLAIN]) + content.encode()


@lru_cache(maxsize=16)  # a copy takes four fifths of the time of a new one, which hashes the template again
def _compressor(template: bytes, bits: int) -> zlib._Compress:
    """Return a compressor that knows a template; only copies of it are used. It takes up to 256 KB."""
    return zlib.compressobj(LEVEL, zlib.DEFLATED, -bits, bits - 7, zlib.Z_DEFAULT_STRATEGY, template)


class _RoutedBy(msgspec.Struct):
    router: str = ""


class _Group(msgspec.Struct):
    decision: _RoutedBy
    candidates: tuple[str, ...]


_groups = msgspec.json.Decoder(_Group)  # several times as fast as reading everything


def _group_of(content: bytes, name: str) -> tuple[str, tuple[str, ...]]:
    """Return the router and the candidates of a decision, which all decisions of one template share."""
    found = decode_entry(content, _groups, name)
    return found.decision.router, found.candidates
