"""The ledger of a collection: a line before each call and one after it, on the disk before anything else happens."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import msgspec

from aamc_sdk.errors import DataError
from aamc_sdk.messages import write_errors
from aamc_sdk.storage import from_json, locked, plain

ANSWER, VERDICT = "answer", "verdict"
"""The kinds of entries: a candidate's answer to a prompt, and a judge model's verdict."""
BEGUN, LOST = "begun", "lost"
"""The statuses of the line before a call, and of a call whose end is missing because the process was killed: it may have been billed."""
FILE = "calls.jsonl"


def key_of(*parts: Any) -> str:
    """Return the key of a call: a digest of all that determines its answer."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode(errors="surrogatepass")).hexdigest()[:32]


@attrs.frozen(kw_only=True)
class LedgerEntry:
    """A call.

    Attributes:
        key: Digest of model, parameters and messages, see :func:`key_of`.
        kind: ``ANSWER`` or ``VERDICT``.
        candidate: The model that was called.
        status: That of :class:`aamc_sdk.Attempt`, or ``BEGUN`` or ``LOST``.
        text: The answer.
        finish_reason: Why it ended.
        error: Why the call failed; None if it did not.
        cost_usd: Cost in USD; NaN if unknown.
        cost_source: The origin of the cost, see :class:`aamc_sdk.Attempt`.
        charged_usd: The amount that counts against the budget: the cost, or the maximum cost where it is unknown.
        latency_ms: Time until the whole answer.
        prompt_tokens: Tokens of the prompt; None if unknown.
        cached_tokens: Tokens of the prompt that were read from a cache; None if unknown.
        output_tokens: Tokens of the answer; None if unknown.
        reasoning_tokens: Tokens of the answer that were reasoning; None if unknown.
        time: The end of the call, in seconds since the epoch.
    """

    key: str
    kind: str
    candidate: str
    status: str = "ok"
    text: str = ""
    finish_reason: str = ""
    error: str | None = None
    cost_usd: float = math.nan
    cost_source: str = ""
    charged_usd: float = 0.0
    latency_ms: float = math.nan
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    time: float = 0.0


class CallLedger:
    """The calls of a collection, by key, in a folder.

    Attributes:
        entries: All calls that have ended, failed and lost ones included.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.entries: list[LedgerEntry] = []
        self._by_key: dict[str, LedgerEntry] = {}
        self._begun: dict[str, list[LedgerEntry]] = {}
        self._lock = threading.Lock()
        self._file = -1

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[CallLedger]:
        """Open a ledger, or begin one; no other process can open it meanwhile.

        Raises:
            DataError: The ledger is damaged.
            OutputError: It cannot be written, or another process has it.
        """
        with locked(folder):
            ledger = cls(folder)
            with write_errors(ledger.path, "free some space, or choose another place with --out"):
                ledger._file = os.open(ledger.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                try:
                    ledger._read()
                    yield ledger
                finally:
                    os.close(ledger._file)
                    if not ledger.path.stat().st_size:
                        ledger.path.unlink()

    def _read(self) -> None:
        """Read the entries. The end of a line that a killed process did not finish is cut off."""
        lines = self.path.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            try:
                self._keep(_entry(line.decode()))
            except (ValueError, TypeError, RecursionError) as error:
                if number == len(lines) and not line.endswith(b"\n"):
                    os.ftruncate(self._file, sum(map(len, lines[:-1])))
                    break
                raise DataError(f"{self.path}, line {number} is damaged ({error}); delete that line, and run the same command again") from error
            if not line.endswith(b"\n"):  # an editor may have removed it
                os.write(self._file, b"\n")
        lost = [begun for calls in self._begun.values() for begun in calls]
        self._begun.clear()
        self.entries += [attrs.evolve(begun, status=LOST, error="the process ended during the call") for begun in lost]

    def find(self, key: str) -> LedgerEntry | None:
        """Return the call that was answered under a key; None if there is none."""
        return self._by_key.get(key)

    async def add(self, entry: LedgerEntry) -> None:
        """Add a call; it is on the disk when this returns."""
        await asyncio.get_running_loop().run_in_executor(None, self._append, entry)

    def _append(self, entry: LedgerEntry) -> None:
        line = json.dumps(plain(attrs.asdict(entry)), ensure_ascii=True) + "\n"
        with self._lock:
            size = os.fstat(self._file).st_size
            try:
                rest = line.encode()
                while rest:  # a disk that becomes full takes a part, and refuses the rest
                    rest = rest[os.write(self._file, rest) :]
            except OSError:
                os.ftruncate(self._file, size)  # else the next line would end the cut one
                raise
            os.fsync(self._file)
            self._keep(entry)

    def _keep(self, entry: LedgerEntry) -> None:
        if entry.status == BEGUN:
            self._begun.setdefault(entry.key, []).append(entry)
            return
        if self._begun.get(entry.key):
            self._begun[entry.key].pop()
        self.entries.append(entry)
        if entry.status == "ok":
            self._by_key[entry.key] = entry


def _entry(line: str) -> LedgerEntry:
    """Return the entry of a line; raise ValueError or TypeError for another line."""
    content = from_json(line)
    entry = LedgerEntry(**{**content, **{name: math.nan for name in ("cost_usd", "latency_ms") if content.get(name) is None}})
    return msgspec.convert(attrs.asdict(entry), LedgerEntry)  # checks the types
