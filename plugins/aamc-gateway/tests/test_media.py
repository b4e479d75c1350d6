"""The tokens of images and documents are those of their pages and pixels, and not of their bytes."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest
from aamc_gateway.requests.media import IMAGE_TOKENS, PAGE_TOKENS, Media, media_of, uploaded_media

DATA = base64.b64encode(bytes(30_000)).decode()
PDF = base64.b64encode(b"%PDF-1.4 /Type /Pages /Kids [] " + b"<< /Type /Page >> " * 2 + b"<</Type/Page/Parent 1>>" + bytes(90_000)).decode()
TEXT = base64.b64encode(b"A note on PDF: each has /Type /Page." * 3000).decode()


def pdf_of_object_streams(*streams: bytes, end: bytes = b"\nendstream endobj ") -> str:
    """Return a PDF in base64 with one page outside object streams."""
    objects = (b"<< /Type /ObjStm /Filter /FlateDecode >> stream\r\n" + data + end for data in streams)
    return base64.b64encode(b"%PDF-1.5 << /Type /Page >> " + b"".join(objects) + bytes(90_000)).decode()


PAGES = zlib.compress(b"<< /Type /Pages >> " + b"<< /Type /Page /Parent 1 0 R >> " * 10)
COMPRESSED = pdf_of_object_streams(PAGES, zlib.compress(b"<< /Type /Font >>"), PAGES)
HIDDEN = base64.b64encode(b"%PDF-1.5 /Type /Page /Type /ObjStm" + bytes(90_000)).decode()


@pytest.mark.parametrize(
    ("part", "size", "tokens"),
    [
        ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}, len(DATA) + 22, IMAGE_TOKENS),
        ({"type": "image_url", "image_url": {"url": "https://images.test/cat.png"}}, 0, IMAGE_TOKENS),
        ({"type": "input_image", "image_url": f"data:image/png;base64,{DATA}"}, len(DATA) + 22, IMAGE_TOKENS),
        (
            {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": f"data:image/png;base64,{DATA}"}},
            len(DATA) + 22,
            IMAGE_TOKENS,
        ),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}, len(DATA), IMAGE_TOKENS),
        ({"type": "image_generation_call", "id": "ig_1", "result": DATA}, len(DATA), IMAGE_TOKENS),
        ({"type": "tool_result", "content": [{"type": "image", "source": {"type": "base64", "data": DATA}}]}, len(DATA), IMAGE_TOKENS),
        ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}, len(PDF), 3 * PAGE_TOKENS),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}, len(PDF) + 28, 3 * PAGE_TOKENS),
        ({"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}"}, len(PDF) + 28, 3 * PAGE_TOKENS),
        ({"type": "document", "source": {"type": "base64", "data": COMPRESSED}}, len(COMPRESSED), 21 * PAGE_TOKENS),
        ({"type": "document", "source": {"type": "base64", "data": HIDDEN}}, len(HIDDEN), len(HIDDEN) // 4),
        ({"type": "document", "source": {"type": "base64", "data": TEXT}}, len(TEXT), len(TEXT) // 4),
        ({"type": "document", "source": {"type": "base64", "data": "no base64"}}, 9, 2),
        ({"type": "document", "source": {"type": "text", "data": "plain text"}}, 0, 0),
        ({"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": {"data": DATA}}]}}, len(DATA), IMAGE_TOKENS),
        ({"type": "document", "source": {"type": "file", "file_id": "file-1"}}, 0, 0),
        ({"type": "input_audio", "input_audio": {"format": "mp3", "data": DATA}}, len(DATA), len(DATA) // 300),
        ({"type": "audio_url", "audio_url": {"url": f"data:audio/mp3;base64,{DATA}"}}, len(DATA) + 22, (len(DATA) + 22) // 300),
        ({"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{DATA}"}}, len(DATA) + 22, (len(DATA) + 22) // 100),
        ({"type": "video_url", "video_url": {"url": "https://videos.test/cat.mp4"}}, 0, 0),
        ({"type": "text", "text": DATA}, 0, 0),
    ],
)
def test_the_tokens_of_media_follow_from_their_kind(part: dict[str, Any], size: int, tokens: int) -> None:
    media = media_of({"messages": [{"role": "user", "content": [part, {"type": "text", "text": "What is this?"}]}]})
    assert (media.bytes, media.tokens) == (size, tokens)


@pytest.mark.parametrize(
    "data",
    [
        pdf_of_object_streams(PAGES, b"encrypted"),
        pdf_of_object_streams(PAGES, zlib.compress(bytes(20_000_000))),
        pdf_of_object_streams(*[zlib.compress(b"")] * 50_000),
        pdf_of_object_streams(*[b""] * 10_000, end=b""),
    ],
    ids=["unreadable", "too large", "too many", "without an end"],
)
def test_a_document_whose_pages_take_too_long_to_count_has_the_tokens_of_a_text_of_its_size(data: str) -> None:
    assert media_of({"part": {"type": "file", "file": {"file_data": data}}}) == Media(len(data), documents=len(data) // 4)


def test_an_uploaded_recording_has_as_many_tokens_as_one_in_base64() -> None:
    assert uploaded_media("/audio/transcriptions", [20_000, 10_000]) == Media(30_000, recordings=len(DATA) // 300)


def test_a_tool_whose_schema_has_a_list_of_types_or_a_property_type_holds_no_media() -> None:
    schema = {"type": "object", "properties": {"type": {"type": ["string", "null"]}}}
    image = {"type": "image_url", "image_url": {"url": "https://images.test/cat.png"}}
    body = {"messages": [{"role": "user", "content": [image]}], "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]}
    assert media_of(body) == Media(0, images=IMAGE_TOKENS)
