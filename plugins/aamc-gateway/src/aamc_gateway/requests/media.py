"""The tokens of images, documents, recordings and videos in a request, of which their bytes say little."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aamc_models.dialects import IMAGE_TYPES

from aamc_sdk.types import CHARACTERS_PER_TOKEN

IMAGE_TOKENS = 6_500
"""Tokens that an image has at most with most models, since providers scale larger ones down: 1,600 at Anthropic, 1,500 with GPT-4o, 3,800 with
GPT-4.1 nano, 6,404 with Llama at Together. Exception: GPT-4o mini counts up to 48,000, which cost as much as GPT-4o's."""
PAGE_TOKENS = 3_000 + IMAGE_TOKENS
"""Usual maximum of the tokens of a page of a PDF: models read its text, by Anthropic's documentation 1,500 to 3,000 tokens, and an image of it."""
RECORDING_BYTES_PER_TOKEN = 300
"""Bytes of a token of a recording in base64: a second has at most 32 tokens, and as MP3 of 64 kbit/s 8,000 bytes, 10,700 in base64."""
VIDEO_BYTES_PER_TOKEN = 100
"""Likewise of a video: a second with sound has 290 tokens with Gemini, and at 200 kbit/s 25,000 bytes, 33,000 in base64."""
_RECORDINGS = {"input_audio": RECORDING_BYTES_PER_TOKEN, "audio_url": RECORDING_BYTES_PER_TOKEN, "video_url": VIDEO_BYTES_PER_TOKEN}
_DOCUMENTS = frozenset(("document", "file", "input_file"))
_SOURCES = ("source", "image_url", "file", *_RECORDINGS, "result")
_DATA = ("data", "file_data", "url")
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,")
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_MAX_INFLATED, _MAX_RATIO = 16_000_000, 4
"""Limits of what is decompressed of a document, in bytes and as a multiple of its size: its sender may mean to keep the gateway busy."""
_STREAM_BYTES = 1_000
"""Bytes that an object stream counts at least for these limits."""


class Media(NamedTuple):
    """The media of a request.

    Attributes:
        bytes: Their size in its body.
        images: Maximum tokens of its images.
        documents: Maximum tokens of its documents.
        recordings: Maximum tokens of its recordings and videos.
    """

    bytes: int = 0
    images: int = 0
    documents: int = 0
    recordings: int = 0

    @property
    def tokens_by_kind(self) -> dict[str, int]:
        """The maximum tokens of each kind that the request has."""
        return {kind: tokens for kind, tokens in self._asdict().items() if kind != "bytes" and tokens}

    @property
    def tokens(self) -> int:
        """The maximum tokens of all kinds."""
        return self.images + self.documents + self.recordings

    @property
    def usual_tokens(self) -> int:
        """The usual tokens of all kinds: an image has about 1,600, a page 2,400."""
        return self.tokens // 4

    @property
    def minimum_tokens(self) -> int:
        """The tokens that most models count at least: for a small image 65, for a page 95."""
        return self.tokens // 100


def media_of(body: Mapping[str, Any]) -> Media:
    """Return the images, documents and recordings of a request; of a document that is not in the body, nothing is known."""
    size, images, documents, recordings, waiting = 0, 0, 0, 0, list(body.values())
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, Mapping):
            kind, data = part.get("type"), _data(part)
            kind = kind if isinstance(kind, str) else ""  # the schema of a tool may have a list of types, or a property of that name
            if kind in IMAGE_TYPES:
                images += IMAGE_TOKENS
            elif kind in _DOCUMENTS and data:
                documents += _document_tokens(data)
            elif kind in _RECORDINGS:
                recordings += len(data) // _RECORDINGS[kind]
            else:
                waiting += part.values()
                continue
            size += len(data)
    return Media(size, images, documents, recordings)


def uploaded_media(api: str, sizes: Sequence[int]) -> Media:
    """Return the recordings or images in a form of an API, by the sizes of its files in bytes; nothing for other APIs."""
    if api.startswith("/audio/"):
        return Media(sum(sizes), recordings=sum(sizes) * 4 // 3 // RECORDING_BYTES_PER_TOKEN)  # an upload is not in base64
    return Media(sum(sizes), len(sizes) * IMAGE_TOKENS) if api.startswith("/images/") else Media()


def _data(part: Mapping[str, Any]) -> str:
    """Return the base64 data of a part; ``""`` where it has none, such as an address or text."""
    source = next((part[name] for name in _SOURCES if part.get(name)), part)
    if isinstance(source, Mapping):
        if source.get("type") == "text":
            return ""
        source = next((source[name] for name in _DATA if isinstance(source.get(name), str)), "")
    return source if isinstance(source, str) and "://" not in source[:16] else ""


def _document_tokens(data: str) -> int:
    """Return the maximum tokens of a document; of one without countable pages, those of a text of its size."""
    found = _DATA_URL.match(data)
    try:
        content = base64.b64decode(data[found.end() :] if found else data)
    except ValueError:
        content = b""
    pages = _pages(content) if b"%PDF-" in content[:1024] else 0
    return pages * PAGE_TOKENS or len(data) // CHARACTERS_PER_TOKEN


def _pages(content: bytes) -> int:
    """Return the number of a PDF's pages, those in compressed object streams too; 0 if such a stream cannot be read within the limits."""
    pages, left, end = len(_PAGE.findall(content)), min(_MAX_INFLATED, _MAX_RATIO * len(content)), 0
    while (found := content.find(b"/ObjStm", end)) >= 0:
        begin = content.find(b"stream", found)
        end = content.find(b"endstream", begin)
        if begin < 0 or end < 0:
            return 0
        try:
            objects = zlib.decompressobj().decompress(content[begin + len(b"stream") : end].lstrip(b"\r\n"), left)
        except zlib.error:
            return 0
        pages += len(_PAGE.findall(objects))
        left -= max(len(objects), _STREAM_BYTES)
        if left <= 0:
            return 0
    return pages
