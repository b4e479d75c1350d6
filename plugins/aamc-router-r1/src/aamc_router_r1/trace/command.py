"""``aamc trace``: episodes of Router-R1 in the terminal, and as a page of HTML."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aamc_sdk.cli import InputFile, console, plugins_of, printable
from aamc_sdk.errors import DataError

if TYPE_CHECKING:
    from aamc_sdk.interfaces import Store
    from aamc_sdk.types import Attempt


@click.command()
@click.argument("file", required=False, type=InputFile())
@click.option("--store", metavar="URL", help="Log with the episode, such as sqlite:log.db, instead of FILE.")
@click.option("--episode", metavar="ID", help="Show this episode only; with --store, its id or a decision's.")
@click.option("--html", "page_file", type=click.Path(path_type=Path), help="Write the episodes as a page of HTML.")
@click.pass_context
def trace(ctx: click.Context, /, file: Path | None, store: str | None, episode: str | None, page_file: Path | None) -> None:
    """Show episodes of router-r1 from FILE, the trajectories of aamc orchestrate, or from a log.

    Example: aamc trace trajectories.jsonl --html trace.html
    """
    if (file is None) == (store is None):
        raise click.UsageError("name either a file of episodes, such as trajectories.jsonl, or a log by --store")
    if store is not None and episode is None:
        raise click.UsageError("--store needs --episode, the id of an episode or of one of its decisions")
    found = _of_file(file, episode) if file is not None else [_of_log(ctx, str(store), str(episode))]
    if page_file is not None:
        from aamc_router_r1.trace import page
        from aamc_sdk.storage import write_text

        write_text(page_file, page(found))
        click.echo(f"The page is in {page_file}", err=True)
        return
    _show(found)


def _of_file(file: Path, episode: str | None) -> list[Mapping[str, Any]]:
    """Return the episodes of a file of JSON lines.

    Raises:
        DataError: A line is not an episode of router-r1, or there is none with the id.
    """
    from aamc_datasets.json_rows import json_lines

    found = []
    for number, document in json_lines(file):
        if not isinstance(document, Mapping) or not document.keys() >= {"task", "episode", "steps", "outcome"}:
            raise DataError(f"{file}, line {number}: no episode of router-r1; give trajectories of aamc orchestrate --orchestrator router-r1")
        if episode in (None, document["episode"]):
            found.append(document)
    if not found:
        raise DataError(f"{file} has no episode{'' if episode is None else f' {episode!r}'}; check the file and the id")
    return found


def _of_log(ctx: click.Context, url: str, episode: str) -> Mapping[str, Any]:
    """Return an episode from a log.

    Raises:
        DataError: The log has no episode with the id.
    """
    from aamc_router_r1.trace import document_of
    from aamc_sdk.errors import UnknownDecisionError
    from aamc_sdk.log import open_store

    with closing(open_store(url, plugins_of(ctx), existing=True)) as store:
        records = store.episode(episode)
        if not records:
            try:
                named = store.record(episode).decision.episode
            except UnknownDecisionError as error:
                raise DataError(f"the log {url} has no episode {episode!r}; give the id that aamc orchestrate printed") from error
            records = store.episode(named) if named is not None else []
        attempts = _calls_of(store, {record.decision.id for record in records})
    if not records or records[0].decision.router != "router-r1":
        raise DataError(f"{episode!r} of the log {url} is not an episode of router-r1; give the id that aamc orchestrate printed")
    return document_of(records, attempts)


def _calls_of(store: Store, decisions: Collection[str]) -> Mapping[str, Attempt]:
    """Return the first attempt of each decision; the log is read until all are found."""
    found: dict[str, Attempt] = {}
    for batch in store.experiences():
        for attempt in batch.attempts:
            if attempt.decision_id in decisions:
                found.setdefault(attempt.decision_id, attempt)
        if len(found) == len(decisions):
            break
    return found


def _show(episodes: Sequence[Mapping[str, Any]]) -> None:
    from aamc_router_r1.episode import ModelCall
    from aamc_router_r1.trace import line

    shown = console()
    for document in episodes:
        shown.print(printable(document["task"] or "(the log keeps no texts)"))
        for step in document["steps"]:
            call = ModelCall(
                **{key: step[key] for key in ("role", "round", "candidate", "text", "question", "seconds", "error")},
                output_tokens=step["tokens"],
                cost_usd=math.nan if step["cost_usd"] is None else step["cost_usd"],
                faults=tuple(step["faults"]),
            )
            shown.print(line(call))
        answer = document["answer"]
        shown.print(f"{document['outcome']}, {document['cost_usd']:.3g} USD: {'no answer' if answer is None else printable(answer)}\n")
