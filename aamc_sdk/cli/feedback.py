"""``aamc feedback``: telling a router what came of its decisions, and taking the log elsewhere."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aamc_sdk.cli.main import plugins_of
from aamc_sdk.cli.options import JSON
from aamc_sdk.errors import DataError, StoreError, UnknownDecisionError

if TYPE_CHECKING:
    from aamc_sdk.interfaces import Store
    from aamc_sdk.log import Entry, LedgerStore

F = TypeVar("F", bound=Callable[..., Any])
_LINES_AT_ONCE = 1000


def log_options(function: F) -> F:
    """Add the options that say whose log is meant."""
    function = click.option("--store", metavar="URL", help="The log, such as sqlite:state.db, instead of a run's.")(function)
    return click.option("--run", default="runs/latest", type=click.Path(path_type=Path), help="Whose log; runs/latest by default.")(function)


@contextmanager
def _opened(ctx: click.Context, run: Path, url: str | None, *, existing: bool = True) -> Iterator[Store]:
    """Open the log that the options name."""
    from aamc_sdk.log import open_store
    from aamc_sdk.serving import Run

    store = open_store(url or Run.open(run).store_url, plugins_of(ctx), existing=existing)
    try:
        yield store
    finally:
        store.close()


def _ledger(store: Store) -> LedgerStore:
    """Return a store as one whose entries can be read and added as they are kept."""
    from aamc_sdk.log import LedgerStore

    if not isinstance(store, LedgerStore):
        raise StoreError(f"the store {store.url} keeps its log in a way of its own, and cannot be exported or imported")
    return store


@click.group()
def feedback() -> None:
    """Tell a router what came of its decisions, and take its log elsewhere."""


@feedback.command()
@click.argument("decision_id", metavar="ID")
@click.option("--quality", type=float, metavar="Q", help="How good the answer was, from 0 to 1.")
@click.option("--over", metavar="NAME", help="Instead of a quality: the candidate that was beaten, or tied with.")
@click.option("--tie", is_flag=True, help="With --over: the two were equally good.")
@click.option("--candidate", metavar="NAME", help="Who is judged; the candidate that served by default.")
@click.option("--confidence", type=float, default=1.0, metavar="C", help="How sure this is, from 0 to 1; 1 by default.")
@click.option("--source", default="explicit", help="Who says so; each source counts once a decision.")
@click.option("--wait", is_flag=True, help="Keep it also where the decision has not come yet.")
@log_options
@JSON
@click.pass_context
def add(ctx: click.Context, /, decision_id: str, run: Path, store: str | None, wait: bool, as_json: bool, **judgement: Any) -> None:
    """Say how good the answer was that followed the decision ID."""
    from aamc_sdk.cli.output import write_json_line
    from aamc_sdk.types import Feedback

    if (judgement["quality"] is None) == (judgement["over"] is None):
        raise click.UsageError("give --quality, or --over for a comparison, and not both")
    given = Feedback(decision_id=decision_id, time=time.time(), **judgement)
    with _opened(ctx, run, store) as log:
        known = _is_known(log, decision_id, wait)
        new = log.add_feedback([(given, None)])[0]
    if as_json:
        write_json_line({"schema": 1, "id": given.id, "decision_id": decision_id, "new": new, "waits": not known})
    elif not known:
        click.echo(f"Noted as {given.id}; it waits for decision {decision_id}.", err=True)
    else:
        click.echo(f"Noted as {given.id}." if new else f"{given.id} was there before; it counts once.", err=True)


def _is_known(log: Store, decision_id: str, wait: bool) -> bool:
    """Return whether a decision is in the log; without ``wait``, a mistyped id is an error and not feedback that waits."""
    try:
        log.record(decision_id)
    except UnknownDecisionError as error:
        if wait:
            return False
        raise UnknownDecisionError(f"{error}; with --wait the feedback is kept until that decision comes") from error
    return True


@feedback.command()
@click.argument("file", default="-", type=click.Path(path_type=Path, allow_dash=True))
@log_options
@click.pass_context
def export(ctx: click.Context, file: Path, run: Path, store: str | None) -> None:
    """Write the log as JSON Lines to FILE, or to standard output: decisions, attempts and feedback in their order."""
    from aamc_sdk.log import line_of
    from aamc_sdk.storage import replacing

    written = 0
    with _opened(ctx, run, store) as log, nullcontext(sys.stdout.buffer) if str(file) == "-" else replacing(file) as out:
        for entry in _entries(_ledger(log)):
            out.write(line_of(entry).encode() + b"\n")
            written += 1
    click.echo(f"{written} entries exported.", err=True)


def _entries(log: LedgerStore) -> Iterator[Entry]:
    """Yield all that the log holds, what waits for its decision at the end."""
    position = 0
    while rows := log.rows(position):
        yield from rows
        position += len(rows)
    yield from log.pending_rows()


@feedback.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@log_options
@JSON
@click.pass_context
def import_(ctx: click.Context, file: Path, run: Path, store: str | None, as_json: bool) -> None:
    """Add the entries of FILE, as export writes them, to the log; what is there already counts once.

    A line that cannot be read or does not fit is named and ends the import; those before it are in the log, and the whole file may be imported again.
    """
    from aamc_sdk.cli.output import write_json_line

    lines = new = 0
    with _opened(ctx, run, store, existing=store is None) as log, click.open_file(str(file), "rb") as source:
        for entries, bad in _batches(source):
            found, refusal = _ledger(log).add([entry for _, entry in entries])
            lines, new = lines + len(found), new + sum(found)
            if refusal is not None:
                raise StoreError(f"{file}, line {entries[len(found)][0]}: {refusal}") from refusal
            if bad is not None:
                raise DataError(f"{file}, {bad}") from bad
    if as_json:
        write_json_line({"schema": 1, "lines": lines, "new": new})
    else:
        click.echo(f"{lines} entries read, {new} of them new.", err=True)


def _batches(source: Iterable[bytes]) -> Iterator[tuple[list[tuple[int, Entry]], DataError | None]]:
    """Yield entries with the numbers of their lines, many at once, and why the line after the last of them cannot be read."""
    from aamc_sdk.log import entry_of

    numbered = ((number, line) for number, line in enumerate(source, 1) if line.strip())
    while batch := list(itertools.islice(numbered, _LINES_AT_ONCE)):
        entries: list[tuple[int, Entry]] = []
        for number, line in batch:
            try:
                entries.append((number, entry_of(line)))
            except DataError as error:
                yield entries, DataError(f"line {number}: {error}")
                return
        yield entries, None


@feedback.command()
@click.option("--user", required=True, help="Whose decisions to erase.")
@click.option("--user-key-file", type=click.Path(path_type=Path), help="The key that turns user ids into the log's pseudonyms.")
@log_options
@JSON
@click.pass_context
def forget(ctx: click.Context, user: str, user_key_file: Path | None, run: Path, store: str | None, as_json: bool) -> None:
    """Erase a user from the log: who asked, in which session, and what. Routers learn the rest again."""
    from aamc_sdk.cli.output import write_json_line
    from aamc_sdk.serving.pseudonyms import pseudonym, read_key

    known_as = user if user_key_file is None else pseudonym(user, read_key(user_key_file))
    with _opened(ctx, run, store) as log:
        decisions = log.forget(known_as)
    if as_json:
        write_json_line({"schema": 1, "user": known_as, "decisions": decisions})
    else:
        hint = "" if decisions or user_key_file else " (where user ids are hashed, name the key's file with --user-key-file)"
        click.echo(f"{decisions} decisions erased{hint}.", err=True)
