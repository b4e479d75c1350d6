"""The headers of a request that are passed on to its provider; all others stay here, such as the client's key."""

from __future__ import annotations

PASSED_HEADERS = (b"anthropic-beta", b"anthropic-version", b"openai-beta", b"idempotency-key", b"traceparent")
"""Headers that every API passes on."""
RAW_BODY_HEADERS = (b"content-type", b"accept")
"""Headers that are passed on, too, with a body that passes through as it came."""
