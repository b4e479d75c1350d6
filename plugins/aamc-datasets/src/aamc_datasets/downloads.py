"""Downloads of public question-answering datasets, with checksums and resumption."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping, Sequence
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import attrs
import click

from aamc_sdk.cli import JSON, progress, write_json_line
from aamc_sdk.errors import CheckpointError, DataError
from aamc_sdk.interfaces import NoProgress, Progress
from aamc_sdk.messages import check_known, nearest, one_of, write_errors
from aamc_sdk.storage import file_hashes, locked, read_json, write_json

HOST = "https://huggingface.co/datasets/RUC-NLPIR/FlashRAG_datasets/resolve/main"
"""FlashRAG's rows of the datasets (arXiv 2405.13576), which Router-R1 was trained on: ``question`` and ``golden_answers``."""
CHECKSUMS = "checksums.json"
SECONDS = 60.0
"""Time limit of each answer of the server, and the longest wait for a busy one."""
_ATTEMPTS, _PIECE = 3, 1 << 20
_BUSY = (http.client.TOO_MANY_REQUESTS, *range(500, 600))

FILES: Mapping[str, tuple[str, Sequence[str]]] = {
    "nq": ("nq", ("train", "dev", "test")),
    "hotpotqa": ("hotpotqa", ("train", "dev")),
    "triviaqa": ("triviaqa", ("train", "dev", "test")),
    "popqa": ("popqa", ("test",)),
    "2wiki": ("2wikimultihopqa", ("train", "dev")),
    "musique": ("musique", ("train", "dev")),
    "bamboogle": ("bamboogle", ("test",)),
}
"""The folder of each dataset on the server, and its splits, each a file of JSON lines."""


@attrs.frozen
class Fetched:
    """A downloaded file.

    Attributes:
        file: The file.
        sha256: Its checksum.
        bytes: Its size.
        new: Whether it was downloaded now.
    """

    file: Path
    sha256: str
    bytes: int
    new: bool


def fetch(names: Sequence[str], folder: Path, *, splits: Sequence[str] = (), host: str = HOST, progress: Progress | None = None) -> list[Fetched]:
    """Download datasets into ``folder/NAME/SPLIT.jsonl``; files that are there and whole stay.

    A checksum is recorded in ``checksums.json`` when a file is first downloaded; later it must be the same. An interrupted download goes on
    where it stopped.

    Args:
        names: Names in ``FILES``.
        folder: The folder to write.
        splits: The splits to download; all of them by default.
        host: Base address of the files.
        progress: Shows the pieces of each file.

    Raises:
        DataError: A name or split is unknown, the server does not send a file, or a file differs from its recorded checksum.
        OutputError: The folder cannot be written, or another process fetches into it.
    """
    for name in names:
        if name not in FILES:
            raise DataError(f"there is no dataset {name!r} to fetch{nearest(name, FILES)} (there are: {one_of(FILES)})")
    known = {split for name in names for split in FILES[name][1]}
    check_known(splits, known, f"{one_of(names)} has no split", DataError, "there are")
    if not host.startswith(("http://", "https://")):
        raise DataError(f"the address of a host must begin with https:// or http://, not {host!r}")
    wanted = [(name, split) for name in names for split in FILES[name][1] if not splits or split in splits]
    fetched = []
    with locked(folder):
        recorded = _recorded(folder)
        for name, split in wanted:
            key, url = f"{name}/{split}.jsonl", f"{host.rstrip('/')}/{FILES[name][0]}/{split}.jsonl"
            found = _one(url, folder / key, recorded.get(key), progress or NoProgress())
            fetched.append(found)
            recorded[key] = {"sha256": found.sha256, "bytes": found.bytes}
            write_json(folder / CHECKSUMS, {"schema": 1, "files": recorded})
    return fetched


def _recorded(folder: Path) -> dict[str, Any]:
    if not (folder / CHECKSUMS).is_file():
        return {}
    try:
        return dict(read_json(folder / CHECKSUMS)["files"])
    except (CheckpointError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / CHECKSUMS} is damaged; remove it to record the checksums again") from error


def _one(url: str, file: Path, recorded: Mapping[str, Any] | None, progress: Progress) -> Fetched:
    """Return a file, downloaded unless it is there."""
    new = not file.is_file()
    if new:
        with write_errors(file, "free some space or choose another folder"):
            file.parent.mkdir(parents=True, exist_ok=True)
            _download(url, file.with_suffix(".part"), progress)
    arrived = file.with_suffix(".part") if new else file
    if new and (fault := _fault(arrived)):
        arrived.unlink()
        raise DataError(f"{url} is {fault}, not a dataset; sign in to the network, check the address, or name another --host")
    checksum = file_hashes(arrived.parent, [arrived])[arrived.name]
    if recorded is not None and recorded.get("sha256") != checksum:
        where = f"{url} has changed since it was first fetched" if new else f"{file} has changed since it was fetched"
        raise DataError(
            f"{where}: its SHA-256 is {checksum}, not {recorded.get('sha256')}; remove {arrived} and its line in {CHECKSUMS} to accept it"
        )
    if new:
        arrived.replace(file)
        _tag(arrived).unlink(missing_ok=True)
    return Fetched(file, checksum, file.stat().st_size, new)


def _fault(file: Path) -> str:
    """Return the reason why a file is not a dataset; ``""`` if it may be one."""
    with file.open("rb") as content:
        start = content.read(_PIECE).lstrip()
    return "empty" if not start else "a web page" if start.startswith(b"<") else ""


def _tag(part: Path) -> Path:
    """Return the file that keeps the server's version of a partial download."""
    return part.with_suffix(".etag")


def _download(url: str, part: Path, progress: Progress) -> None:
    """Download into a partial file, from where it stops; try again when the connection breaks or the server is busy."""
    failure: Exception | None = None
    for attempt in range(_ATTEMPTS):
        if isinstance(failure, HTTPError) and failure.code in _BUSY:
            wait_s = _wait_s(failure.headers.get("Retry-After", ""), attempt)
            progress.say(f"{_reason(failure)}: trying again in {wait_s:.0f} s")
            time.sleep(wait_s)
        try:
            _receive(url, part, progress)
        except HTTPError as error:
            error.close()
            failure = error
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and part.is_file():
                part.unlink()  # it is not the beginning of the server's file
            elif error.code not in _BUSY:
                raise DataError(f"{url} cannot be fetched: {_reason(error)}; check the address, or name another --host") from error
        except (URLError, TimeoutError, http.client.HTTPException, ConnectionError) as error:
            failure = error
        else:
            return
    assert failure is not None  # each attempt failed
    raise DataError(f"{url} cannot be fetched: {_reason(failure)}; run the same command again later to resume") from failure


def _wait_s(retry_after: str, attempt: int) -> float:
    """Return the seconds to wait for a busy server: those of its header ``Retry-After``, else twice as many for each attempt."""
    return min(float(retry_after) if retry_after.isdecimal() else 2.0**attempt, SECONDS)


def _reason(failure: Exception) -> str:
    if isinstance(failure, HTTPError):
        return f"the server answers {failure.code} {failure.reason}"
    return str(getattr(failure, "reason", None) or failure)


def _version(headers: Message) -> str | None:
    """Return a file's version for the header ``If-Range``: its ETag, unless that is weak, else its date; None if the server names none."""
    etag = headers.get("ETag", "W/")
    return headers.get("Last-Modified") if etag.startswith("W/") else etag


def _receive(url: str, part: Path, progress: Progress) -> None:
    have, tag = (part.stat().st_size if part.is_file() else 0), _tag(part)
    request = Request(url, headers={"User-Agent": "aamc-datasets"})  # noqa: S310  # fetch allows http and https only
    if have and tag.is_file():  # only of the same version of the file
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag.read_text(encoding="utf-8"))
    with urlopen(request, timeout=SECONDS) as answer:  # noqa: S310  # as above
        resumed = answer.status == http.client.PARTIAL_CONTENT
        if not resumed:
            have = 0
            tag.unlink(missing_ok=True)
            if version := _version(answer.headers):
                tag.write_text(version, encoding="utf-8")
        length = answer.headers.get("Content-Length")
        if length is not None:
            progress.start(f"fetching {part.parent.name}/{part.stem}.jsonl, MiB", -(-int(length) // _PIECE))
        with part.open("ab" if resumed else "wb") as file:
            while piece := answer.read(_PIECE):
                file.write(piece)
                progress.advance()
    size = part.stat().st_size
    if length is not None and size != have + int(length):
        raise ConnectionError(f"the connection broke after {size:,} of {have + int(length):,} bytes")


@click.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for NAME/SPLIT.jsonl and checksums.json.")
@click.option("--split", "splits", multiple=True, metavar="NAME", help="Split to download, such as train; repeatable (default: all).")
@click.option("--host", default=HOST, metavar="URL", help="Base URL of the files, for a mirror (default: FlashRAG's on Hugging Face).")
@JSON
def fetch_datasets(names: tuple[str, ...], out: Path, splits: tuple[str, ...], host: str, as_json: bool) -> None:
    """Download datasets: nq, hotpotqa, triviaqa, popqa, 2wiki, musique, bamboogle. Use them with aamc data and aamc train as nq:FILE.

    Checksums are recorded at the first download and compared at later ones. An interrupted download continues where it stopped.

    Example: aamc data fetch nq hotpotqa --out data/questions
    """
    with progress() as shown:
        files = fetch(names, out, splits=splits, host=host, progress=shown)
    if as_json:
        rows = [{"file": found.file, "sha256": found.sha256, "bytes": found.bytes, "new": found.new} for found in files]
        write_json_line({"schema": 1, "out": out, "files": rows})
        return
    for found in files:
        click.echo(f"{found.file}: {found.bytes:,} bytes, {'fetched' if found.new else 'already there'}", err=True)
    click.echo(f"use with --dataset {names[0]}:{files[0].file}", err=True)
