"""Logs on standard error: of each request a line without prompts and keys, and everything else with its keys redacted."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import orjson

from aamc_gateway.observe.request_figures import RequestFigures
from aamc_gateway.server.settings import LogSettings

_SECRET = re.compile(
    r"(\b(?:(?:sk|pk|key|xai)-|(?:hf|gsk|ghp)_|AIza)[A-Za-z0-9]{0,4})[A-Za-z0-9_-]{8,}"  # keys of known forms
    r"|((?:Bearer|Basic)\s+)[^\s'\"]+"
    r"|(://[^/@\s:]*:)[^/@\s]+(?=@)",
    re.IGNORECASE,
)


_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters by which a message could begin another line or steer a terminal; tabs are left."""

_REPEATED_S = 10.0
"""Time between two lines of one cause that every request meets, in seconds."""
_MAX_CAUSES = 100
"""Maximum number of causes that are remembered."""


def redacted(text: str) -> str:
    """Return a text without keys and passwords."""
    return _SECRET.sub(lambda found: f"{found[1] or found[2] or found[3]}[redacted]", text)


def _escaped(line: str) -> str:
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], line)


class TextFormatter(logging.Formatter):
    """Lines for people, without keys."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, and a traceback in further lines."""
        return "\n".join(map(_escaped, redacted(super().format(record)).split("\n")))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the line without the traceback: control characters of a message, which may quote a request, are escaped."""
        return _escaped(super().formatMessage(record))


class JsonFormatter(logging.Formatter):
    """JSON objects, one a line, with the record's ``fields``. An error is given by its type and places, since its message may quote a prompt."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        document: dict[str, Any] = {"time": _time(record.created), "level": record.levelname.lower(), "logger": record.name}
        document["message"] = redacted(record.getMessage())
        document |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            frames = traceback.extract_tb(record.exc_info[2])
            document["error"] = record.exc_info[0].__name__
            document["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return orjson.dumps(document).decode()


class RepetitionFilter(logging.Filter):
    """Leaves out lines whose record has the same ``cause`` as a line of the last 10 s, such as the full disk that every request meets."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[float, int]] = {}  # by cause: when its next line is written, and how many were left out

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is written; it then has the number of those of its cause that were left out before it."""
        cause = getattr(record, "cause", None)
        if cause is None:
            return True
        until, left_out = self._seen.get(cause, (0.0, 0))
        if record.created < until:
            self._seen[cause] = (until, left_out + 1)
            return False
        if left_out:
            record.msg = f"{record.getMessage()} ({left_out:,} such lines before were left out)"
            record.args = ()
        if len(self._seen) >= _MAX_CAUSES:
            self._seen.clear()
        self._seen[cause] = (record.created + _REPEATED_S, 0)
        return True


def configure_logs(settings: LogSettings) -> None:
    """Write all logs of this process in the form of the settings; a worker calls it at its start and after a reload."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    handler.addFilter(RepetitionFilter())
    logging.basicConfig(handlers=[handler], level=logging.getLogger().level, force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def log_request(figures: RequestFigures) -> None:
    """Write the line of a request that has ended."""
    document = {
        "time": _time(figures.ended),
        "level": "info",
        "logger": "aamc_gateway.requests",
        "request_id": figures.request_id,
        "decision_id": figures.decision_id,
        "route": figures.route,
        "model": figures.candidate,
        "status": figures.status,
        "cost_usd": figures.cost_usd,  # orjson writes NaN as null
        "cost_source": figures.cost_source,
        "ms": round(1000 * (figures.ended - figures.began), 3),
        "first_token_ms": figures.first_token_ms,
        "calls": len(figures.calls),
        "streamed": figures.streamed,
        "cached": figures.cached,
        "key_id": figures.key_id,
        "tenant": figures.tenant,
        "error": figures.error_kind,
    }
    with suppress(OSError):  # a log that nobody reads any more must not end requests
        sys.stderr.write(orjson.dumps(document).decode() + "\n")


def _time(when: float) -> str:
    return datetime.fromtimestamp(when, timezone.utc).isoformat(timespec="milliseconds")
