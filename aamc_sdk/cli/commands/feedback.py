"""``aamc feedback``: record feedback on decisions, export and import the log, forget a user."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from aamc_sdk.cli.invocation import plugins_of
from aamc_sdk.cli.options import JSON, RUN, SINCE, STORE, UNTIL, USER_KEY_FILE, InputFile, Number, check_range
from aamc_sdk.cli.output import write_json_line
from aamc_sdk.errors import DataError, OutputError, StoreError, UnknownComponentError, UnknownDecisionError
from aamc_sdk.messages import quantity

if TYPE_CHECKING:
    from aamc_sdk.interfaces import Store
    from aamc_sdk.log import Addition, ExportResult, RowStore, Selection

_LINES_AT_ONCE = 1000
_BINARY = {b"PAR1": ("a Parquet file", "parquet:FILE"), b"SQLite format 3\0": ("an SQLite file", "sqlite:FILE")}
"""Files that hold a log in another format, and the stores that read them, by their first bytes."""


def _on_a_log(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name a log, and ``--json``, to a command."""
    return RUN(STORE(JSON(click.pass_context(command))))


def _opened(ctx: click.Context, run: Path, url: str | None, *, existing: bool = True) -> closing[Store]:
    """Open the log that the options name."""
    from aamc_sdk.log import open_store
    from aamc_sdk.serving import Run

    return closing(open_store(url or Run.open(run).store_url, plugins_of(ctx), existing=existing))


def _show(as_json: bool, document: Mapping[str, Any], sentence: str) -> None:
    """Write the result of a command: one JSON document, or a sentence to standard error."""
    if as_json:
        write_json_line({"schema": 1, **document})
    else:
        click.echo(sentence, err=True)


def _row_store(store: Store) -> RowStore:
    """Return a store whose entries can be exported and imported."""
    from aamc_sdk.log import RowStore

    if not isinstance(store, RowStore):
        why = "it does not extend aamc_sdk.log.RowStore"
        raise StoreError(f"the store {store.name} does not support export and import, since {why}; use sqlite, redis or postgres")
    return store


@click.group()
def feedback() -> None:
    """Record feedback on decisions; export and import the log; forget a user."""


@feedback.command()
@click.argument("decision_id", metavar="ID")
@click.option("--quality", type=Number(0, 1), metavar="Q", help="Quality of the answer, from 0 to 1.")
@click.option("--over", metavar="NAME", help="Instead of a quality: the candidate with the worse answer, or with --tie an equally good one.")
@click.option("--tie", is_flag=True, help="With --over: both answers were equally good.")
@click.option("--candidate", metavar="NAME", help="The candidate that the feedback is about (default: the one that served).")
@click.option("--confidence", type=Number(0, 1), default=1.0, metavar="C", help="Confidence of the source, from 0 to 1 (default: 1).")
@click.option("--source", default="explicit", help="Source of the feedback; each source counts once per decision (default: explicit).")
@click.option("--revision", type=click.IntRange(0, 10**12), default=0, metavar="N", help="Replaces lower revisions of the source (default: 0).")
@click.option("--id", metavar="ID", help="Id of the feedback (default: the decision's id and the source).")
@click.option("--wait", is_flag=True, help="Accept feedback on a decision that is not in the log yet.")
@_on_a_log
def add(ctx: click.Context, /, decision_id: str, run: Path, store: str | None, wait: bool, as_json: bool, **fields: Any) -> None:
    """Record feedback on the decision ID.

    Example: aamc feedback add ID --quality 1 --store sqlite:state.db
    """
    from aamc_sdk.types import Feedback

    if (fields["quality"] is None) == (fields["over"] is None):
        raise click.UsageError("give --quality, or --over for a comparison" + (", not both" if fields["over"] is not None else ""))
    if fields["id"] is None:
        del fields["id"]
    given = Feedback(decision_id=decision_id, time=time.time(), **fields)
    with _opened(ctx, run, store) as log:
        if wait:
            _check_persistent(log, "--wait")
        known = _is_known(log, decision_id, wait)
        (new,) = log.add_feedback([(given, None)])
    sentence = f"Recorded as {given.id}." if new else f"{given.id} was in the log already; it counts once."
    if not known:
        sentence = f"Recorded as {given.id}; pending until decision {decision_id} is in the log."
    _show(as_json, {"id": given.id, "decision_id": decision_id, "new": new, "waits": not known}, sentence)


def _check_persistent(log: Store, what: str) -> None:
    """Check that a log keeps what a command adds to it."""
    if not log.persistent:
        raise click.UsageError(f"{what} needs a log that outlives this command: name it with --store, such as sqlite:state.db")


def _is_known(log: Store, decision_id: str, wait: bool) -> bool:
    """Return whether a decision is in the log; without ``wait``, an unknown id is an error, since it may be mistyped."""
    try:
        log.record(decision_id)
    except UnknownDecisionError as error:
        if wait:
            return False
        raise UnknownDecisionError(f"{error}; with --wait the feedback is kept until that decision is logged") from error
    return True


@feedback.command(short_help="Write the log to FILE, or to standard output.")
@click.argument("target", metavar="[FILE]", default="-", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--format", "form", default="jsonl", metavar="NAME", help="jsonl, or a store that reads such files: parquet (default: jsonl).")
@click.option("--tenant", metavar="T", help="Only decisions of a tenant, with their attempts and feedback.")
@SINCE
@UNTIL
@_on_a_log
def export(
    ctx: click.Context,
    /,
    target: Path,
    form: str,
    tenant: str | None,
    since: float | None,
    until: float | None,
    run: Path,
    store: str | None,
    as_json: bool,
) -> None:
    """Write the log to FILE, or to standard output, as JSON Lines: decisions, attempts and feedback in log order.

    With --format parquet, FILE is a folder for this log alone. One file is written per partition, or a single file with --tenant, --since or
    --until. Read it as the store parquet:FOLDER. A file is only replaced by one that has all its decisions, so partitions that retention drops stay
    in the folder. The log remembers these files, and forgetting a user erases the user there too.

    Example: aamc feedback export --format parquet --since 2026-11-01 exported/
    """
    from aamc_sdk.log import Selection

    check_range(since, until)
    if as_json and str(target) == "-":
        raise click.UsageError("--json needs a FILE, since the entries are written to standard output")
    chosen = Selection(tenant, since, until)
    with _opened(ctx, run, store) as log:
        found = _export_lines(_row_store(log), target, chosen) if form == "jsonl" else _export_files(ctx, _row_store(log), target, form, chosen)
    into = "" if form == "jsonl" else f" to {quantity(len(found.files), 'file')}"
    document = {"entries": found.entries, "files": [str(file) for file in found.files], "kept": [str(file) for file in found.kept]}
    _show(as_json, document, f"{quantity(found.entries, 'entry', 'entries')} exported{into}.")
    for file in found.kept:
        click.echo(f"{file} was kept as it is, since retention has dropped some of its decisions from the log.", err=True)


def _export_lines(log: RowStore, file: Path, chosen: Selection) -> ExportResult:
    """Write entries as JSON Lines; without a selection the pending ones too, at the end."""
    from aamc_sdk.log import ExportResult, line_of, still_has
    from aamc_sdk.storage import replacing_alone

    _check_replaceable(file)
    written, first = 0, None
    pending = log.pending_rows() if chosen.is_all else ()
    with nullcontext(sys.stdout.buffer) if str(file) == "-" else replacing_alone(file) as out:
        for position, row in itertools.chain(chosen.rows(log), ((None, row) for row in pending)):
            first = position if first is None else first
            out.write(line_of(row).encode() + b"\n")
            written += 1
        if first is not None and not still_has(log, first):
            raise StoreError(f"retention dropped decisions of the log {log.name} during the export, so entries on them are missing: export again")
    return ExportResult([file], written)


def _check_replaceable(file: Path) -> None:
    """Check that a file to be written is not a log, such as the exported one."""
    if not file.is_file():
        return
    with file.open("rb") as old:
        start = old.read(max(map(len, _BINARY)))
    if found := _binary(start):
        raise OutputError(f"{file} is {found[0]}, which may be a log, and was left as it is: choose another file for the JSON Lines")


def _binary(start: bytes) -> tuple[str, str] | None:
    """Return the noun and the store of a file that holds a log in a format other than JSON Lines, by its first bytes."""
    return next((found for sign, found in _BINARY.items() if start.startswith(sign)), None)


def _export_files(ctx: click.Context, log: RowStore, folder: Path, form: str, chosen: Selection) -> ExportResult:
    """Write entries to files of a format."""
    from aamc_sdk.log import ExportFormat

    try:
        found = plugins_of(ctx).load("store", form)
    except UnknownComponentError:
        found = None
    if found is None or not issubclass(found, ExportFormat):
        raise click.UsageError(f"--format must be jsonl or a store that reads exports, such as parquet, not {form!r}")
    if str(folder) == "-" or folder.is_file():
        raise click.UsageError(f"--format {form} writes several files: name a folder, not {folder}")
    exported: ExportResult = found.export(log, folder, chosen)
    return exported


@feedback.command()
@_on_a_log
def retain(ctx: click.Context, run: Path, store: str | None, as_json: bool) -> None:
    """Drop decisions beyond the log's retention limits now. A program that has the log open does this every minute.

    Example: aamc feedback retain --store 'sqlite:state.db?retention={days: 30}'
    """
    from aamc_sdk.log import Retention, RowStore

    with _opened(ctx, run, store) as log:
        before = {partition.number for partition in log.partitions()}
        decisions = log.retain()
        left = {partition.number for partition in log.partitions()}  # others may have begun meanwhile
        needed_gb = log.health().get("needed_gb", 0.0)  # the store has logged the advice
        limits = getattr(log.config, "retention", None)
        if isinstance(log, RowStore) and limits in (None, Retention()):
            advice = "Set one in the store's URL, such as ?retention={days: 30}, and use that URL wherever the log is opened."
            if limits is None:
                advice = "This store has no option for one."
            click.echo(f"{log.name} has no limit, so nothing is dropped. {advice}", err=True)
            if not as_json:
                return
    dropped = len(before - left)
    document = {"decisions": decisions, "partitions_dropped": dropped, "partitions": len(left), "needed_gb": needed_gb}
    _show(as_json, document, f"{quantity(decisions, 'decision')} and {quantity(dropped, 'partition')} dropped; {len(left)} left.")


@feedback.command()
@_on_a_log
def partitions(ctx: click.Context, run: Path, store: str | None, as_json: bool) -> None:
    """Show the log's partitions: their decisions, age and size.

    Example: aamc feedback partitions --store sqlite:state.db
    """
    with _opened(ctx, run, store) as log:
        found = log.partitions()
    if as_json:
        write_json_line({"schema": 1, "partitions": [attrs.asdict(partition) for partition in found]})
        return
    for each in found:
        begun = datetime.fromtimestamp(each.begun, timezone.utc).isoformat(timespec="seconds")
        last = "now" if each.last is None else f"{each.last:,}"
        click.echo(f"{each.number:>6}  {begun}  {each.first:>14,} to {last:<14}  {each.size / 1e6:,.1f} MB")


@feedback.command("import", short_help="Add the entries of FILE to the log.")
@click.argument("file", type=InputFile(allow_dash=True))
@_on_a_log
def import_(ctx: click.Context, file: Path, run: Path, store: str | None, as_json: bool) -> None:
    """Add the entries of FILE, in the export format, to the log; known entries count once.

    The first line that cannot be read or is refused ends the import, with its number in the error. The lines before it are in the log, and the
    whole file may be imported again.

    Example: aamc feedback import log.jsonl --store sqlite:state.db
    """
    lines = new = 0
    with click.open_file(str(file), "rb") as source:
        batches = _batches(source)
        first = next(batches, ([], None))
        if first[1] is not None and not first[0]:  # before a new log is made
            raise DataError(f"{file}, {first[1]}") from first[1]
        with _opened(ctx, run, store, existing=store is None) as log:
            _check_persistent(log, "an import")
            for entries, bad in itertools.chain([first], batches):
                found, refusal = _row_store(log).add([entry for _, entry in entries])
                lines, new = lines + len(found), new + sum(found)
                if refusal is not None:
                    raise StoreError(f"{file}, line {entries[len(found)][0]}: {refusal}") from refusal
                if bad is not None:
                    raise DataError(f"{file}, {bad}") from bad
    _show(as_json, {"lines": lines, "new": new}, f"{quantity(lines, 'entry', 'entries')} read, {new:,} of them new.")


def _batches(source: Iterable[bytes]) -> Iterator[tuple[list[tuple[int, Addition]], DataError | None]]:
    """Yield batches of entries with their line numbers, and the error of the line after a batch that cannot be read."""
    from aamc_sdk.log import addition_of

    numbered = ((number, line) for number, line in enumerate(source, 1) if line.strip())
    while batch := list(itertools.islice(numbered, _LINES_AT_ONCE)):
        entries: list[tuple[int, Addition]] = []
        for number, line in batch:
            try:
                entries.append((number, addition_of(line)))
            except DataError as error:
                noun, store = _binary(line) or ("", "")
                advice = f"only JSON Lines can be imported; write them with aamc feedback export LINES --store {store}, and import LINES"
                yield entries, DataError(f"{noun}: {advice}" if noun else f"line {number}: {error}")
                return
        yield entries, None


@feedback.command(short_help="Erase a user or a tenant from the log and its exports.")
@click.option("--user", help="User whose decisions to erase.")
@click.option("--tenant", metavar="T", help="Without --user, erase all users of a tenant, and its name; else the user in this tenant only.")
@USER_KEY_FILE
@_on_a_log
def forget(ctx: click.Context, user: str | None, tenant: str | None, user_key: str | None, run: Path, store: str | None, as_json: bool) -> None:
    """Erase a user or a tenant from the log and its exports: user, session, text and embedding of their decisions.

    Routers then learn the log again, and erase the user from the states that they keep of dropped entries. The exit status is 1 if an export could
    not be erased, such as on a disk that is not mounted; the command can be repeated. Exports that were deleted are no longer remembered.

    Example: aamc feedback forget --user ann --store sqlite:state.db
    """
    from aamc_sdk.log import RowStore
    from aamc_sdk.serving.pseudonyms import pseudonymizer

    if user is None and tenant is None:
        raise click.UsageError("give --user, --tenant, or both")
    log_user = None if user is None else pseudonymizer(user_key)(user)
    with _opened(ctx, run, store) as log:
        decisions = log.forget(log_user, tenant)
        unerased = log.unerased_exports if isinstance(log, RowStore) else {}
        floors = int(log.health().get("floors_to_clean", 0))
    hint = "" if decisions or user_key or user is None else " (if user ids are hashed, give the key's file with --user-key-file)"
    document = {"user": log_user, "tenant": tenant, "decisions": decisions, "exports_not_erased": list(unerased)}
    sentence = f"{quantity(decisions, 'decision')} erased{hint}."
    if floors:
        document["floors_to_clean"] = floors
        who = "user" if user is not None else "tenant"
        sentence += f" The {who} may stay in {quantity(floors, 'retention floor')} until the router of each runs again."
    _show(as_json, document, sentence)
    if unerased:  # the store has logged which and why
        click.echo(f"{quantity(len(unerased), 'export')} could not be erased; see above.", err=True)
        ctx.exit(1)
