"""``aamc orchestrate``: one task, solved by an orchestrator."""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from aamc_sdk.cli.invocation import leave_threads_behind, plugins_of
from aamc_sdk.cli.options import JSON, Folder, InputFile, Number, split_names, text_argument
from aamc_sdk.cli.output import console, write_json_line
from aamc_sdk.cli.printable_text import printable
from aamc_sdk.concurrency import EventLoopThread
from aamc_sdk.errors import AamcError, ConfigError, OutputError, PluginError
from aamc_sdk.interfaces import Orchestrator, Store, public_url
from aamc_sdk.messages import quantity, read_errors

if TYPE_CHECKING:
    from aamc_sdk.plugins import Plugins
    from aamc_sdk.serving import Orchestration, TaskQuery, TeamOptions

TRAJECTORIES = "trajectories.jsonl"
GRACE_S = 5.0
"""Time after the limit of ``--seconds`` in which a step may end, in seconds; then its thread is left behind."""
INTERRUPT_GRACE_S = 1.0
"""Time after Ctrl-C in which a step may end, in seconds."""
WAKE_S = 0.2
"""Time after which the main thread looks again, in seconds: Python notices a Ctrl-C that came just before a wait only after it."""


@click.command()
@text_argument("task")
@click.option("--orchestrator", "name", metavar="NAME", help="Orchestrator (default: the one trained last, else puppeteer).")
@click.option("--run", type=Folder(path_type=Path), help="Folder of a trained orchestrator (default: the newest under runs/).")
@click.option("--agents", metavar="A,B,...", help="Use only these agents; without a training, each once in this order (default: as trained).")
@click.option("--pool", metavar="NAME|FILE", help="Models that agents call by their endpoints (default: as trained).")
@click.option("--steps", type=click.IntRange(min=0), help="Maximum number of steps (default: as trained).")
@click.option("--paths", type=click.IntRange(min=1), help="Maximum number of parallel paths, whose answers are joined (default: as trained).")
@click.option("--budget-usd", type=Number(min=0), default=float("inf"), metavar="USD", help="Stop when the cost reaches this (default: no limit).")
@click.option("--budget", type=Number(min=0), default=float("inf"), hidden=True)  # the name in 0.1
@click.option("--seconds", type=Number(min=0), default=float("inf"), help="Stop after this time, even within a step (default: no limit).")
@click.option("--file", "files", multiple=True, type=InputFile(), help="Text file that agents may read, such as a table; repeatable.")
@click.option("--documents", type=InputFile(), help="Text file of documents that agents may search, one per line.")
@click.option(
    "--config", "configs", multiple=True, type=InputFile(), help="YAML file with agent_options and orchestrator; repeatable, later files win."
)
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one option, such as agent_options.reasoner.model=large-1; repeatable."
)
@click.option(
    "--trajectory",
    "kept",
    type=click.Path(path_type=Path),
    help=f"File to append the episode to (default: {TRAJECTORIES} in the run's folder; without a run, in the working folder).",
)
@click.option("--store", metavar="URL", help="Log of the policy's decisions, for feedback (default: log.db of the run).")
@click.option("--graph", type=click.Path(path_type=Path), help="PNG file to draw the order of the agents to (default: none).")
@JSON
@click.pass_context
def orchestrate(
    ctx: click.Context, /, task: str, kept: Path | None, graph: Path | None, as_json: bool, name: str | None, run: Path | None, **given: Any
) -> None:
    """Solve TASK with an orchestrator: show each step, and print the answer.

    Example: aamc orchestrate "What is 12 * (3 + 4)?" --steps 4
    """
    from aamc_sdk.serving import find_orchestrator

    query = _query(task, given["files"], given["documents"])
    team, options = _options(given)
    orchestrator, folder = find_orchestrator(name, run, team, plugins_of(ctx), given["pool"], options)
    path = kept or (folder or Path()) / TRAJECTORIES
    _check_outputs(path, graph)
    url: str = given["store"] or ("" if folder is None else f"sqlite:{folder / 'log.db'}")
    orchestration = _orchestration(orchestrator, query, given)
    orchestration.check_file(path)
    if graph is not None:
        orchestration.check_graph()
    with ExitStack() as opened:
        log = cache(lambda: opened.enter_context(closing(_open_log(url, plugins_of(ctx))))) if url else None
        if log is not None and given["store"]:
            log()  # before the first call
        began = time.monotonic()
        try:
            with closing(orchestration.orchestrator), console(stderr=True).status("working") as status:
                _run(ctx, orchestration, status.console.print)
        except (Exception, KeyboardInterrupt):
            _save_unfinished(orchestration, path, log)
            raise
        records = () if log is None else orchestration.log()[0]
        logged = {"id": records[-1].decision.id} if records else {}
        _show(orchestration, {**logged, "run": folder, "seconds": time.monotonic() - began, "trajectory": path}, as_json)
        try:
            _save(orchestration, path, log)
            if logged:
                click.echo(f"Record feedback with: aamc feedback add {logged['id']} --quality Q --store {shlex.quote(public_url(url))}", err=True)
            elif given["store"]:
                click.echo(f"Nothing was logged: {orchestrator.message_name} has no decisions of this episode to log.", err=True)
            if graph is not None:
                orchestration.write_graph(graph)
        except (AamcError, OSError) as error:  # the answer is printed, and no second JSON document may follow it
            click.echo(printable(f"aamc: {error}"), err=True)
            ctx.exit(1)
    click.echo(f"The episode is in {path}", err=True)
    ctx.exit(1 if orchestration.answer is None else 0)


def _open_log(url: str, plugins: Plugins) -> Store:
    """Open the log, with the texts that a policy learns from if the store can keep them."""
    from aamc_sdk.log import open_store

    scheme, colon, _ = url.partition(":")
    keeps_texts = bool(colon) and "store_text" in attrs.fields_dict(plugins.load("store", scheme).Config)
    return open_store(url, plugins, {"store_text": True} if keeps_texts else None)


def _query(text: str, files: Sequence[Path], documents: Path | None) -> TaskQuery:
    from aamc_sdk.serving import TaskQuery

    found = [] if documents is None else [line for line in _read(documents).splitlines() if line.strip()]
    by_name = {path.name: path for path in files}
    for path in files:
        if by_name[path.name] != path:
            raise click.UsageError(f"agents read files by name, and --file {path} and {by_name[path.name]} have the same one; rename one of them")
    return TaskQuery(text, files={name: _read(path) for name, path in by_name.items()}, documents=tuple(found))


def _read(path: Path) -> str:
    with read_errors(path, "give a text file in UTF-8"):
        return path.read_text(encoding="utf-8")


def _options(given: Mapping[str, Any]) -> tuple[TeamOptions, Mapping[str, Any]]:
    """Return the agents with their options, and the orchestrator's options, from the command line and its files."""
    from aamc_sdk.serving import OrchestrationOptions, TeamOptions

    options = OrchestrationOptions.of(given["configs"], given["assignments"], "aamc orchestrate")
    names = None if given["agents"] is None else split_names(given["agents"], "--agents", "calculator,python")
    return TeamOptions(agents=names, agent_options=options.agent_options, paths=given["paths"]), options.orchestrator


def _orchestration(orchestrator: Orchestrator, query: TaskQuery, given: Mapping[str, Any]) -> Orchestration:
    """Return an orchestration on a task."""
    from aamc_sdk.serving import TeamOrchestrator, start_orchestration

    if (query.files or query.documents) and not isinstance(orchestrator, TeamOrchestrator):
        raise ConfigError(f"{orchestrator.message_name} passes no files to agents; leave --file and --documents out")
    budget_usd = min(given["budget_usd"], given["budget"])
    return start_orchestration(orchestrator, query, steps=given["steps"], cost_usd=budget_usd, seconds=given["seconds"])


def _check_outputs(trajectory: Path, graph: Path | None) -> None:
    """Check, before the first call, that the results can be written."""
    if graph is not None and graph.suffix.lower() != ".png":
        raise click.UsageError(f"--graph draws a PNG; name a file that ends in .png, not {str(graph)!r}")
    for place in (trajectory, *([] if graph is None else [graph])):
        if place.is_dir():
            raise OutputError(f"cannot write {place}: it is a folder; name a file in it")
        if not place.parent.is_dir():
            raise OutputError(f"cannot write {place}: there is no folder {place.parent}; create it, or choose another folder")
        if not os.access(place if place.exists() else place.parent, os.W_OK):
            raise OutputError(f"cannot write {place}: it is not writable; choose another place with --trajectory or --graph")


def _save(orchestration: Orchestration, path: Path, log: Callable[[], Store] | None) -> None:
    """Write the episode's decisions and their calls to the log, if there is one, and append it to a file; if one of them fails, the other is done."""
    try:
        records, attempts = ((), ()) if log is None else orchestration.log()
        if log is not None and records:
            log().add_decisions(records)
            log().add_attempts(attempts)
    finally:
        orchestration.keep(path)


def _save_unfinished(orchestration: Orchestration, path: Path, log: Callable[[], Store] | None) -> None:
    """Save the steps before an error or Ctrl-C; if that fails too, the message comes in addition to the first error."""
    if not orchestration.count:
        return
    try:
        _save(orchestration, path, log)
        click.echo(f"The episode so far is in {path}", err=True)
    except Exception as error:  # an orchestration of a plugin, broken off, may raise anything
        click.echo(printable(f"aamc: {error}"), err=True)


def _run(ctx: click.Context, orchestration: Orchestration, show: Callable[[Any], None]) -> None:
    """Work on the task in a thread of its own, and show each step as it is done.

    A step that goes on beyond the time limit, or beyond Ctrl-C, is left behind with its threads.
    """
    from aamc_sdk.serving import LoggedOrchestrator

    ended = threading.Event()

    async def work() -> None:
        try:
            async for step in orchestration.steps():
                for line in orchestration.describe(step):
                    show(printable(line) if isinstance(line, str) else line)
        finally:
            ended.set()

    leave_threads_behind(ctx)
    loop = EventLoopThread()
    seconds = orchestration.budget.seconds
    until = time.monotonic() + seconds + GRACE_S
    future: Future[None] | None = None
    try:
        future = loop.submit(work())
        while not future.done() and (left := until - time.monotonic()) > 0:
            wait([future], min(left, WAKE_S))
    except KeyboardInterrupt:
        orchestration.stop = "interrupted"
        if future is not None:
            future.cancel()
        ended.wait(INTERRUPT_GRACE_S)
        raise
    if future.done():
        future.result()
        loop.close()
    elif isinstance(orchestration.orchestrator, LoggedOrchestrator):
        raise PluginError(f"{orchestration.orchestrator.message_name} did not end at its time limit of {seconds:g} s; its results are lost")
    else:
        orchestration.break_off()


def _show(orchestration: Orchestration, about: Mapping[str, Any], as_json: bool) -> None:
    """Print the answer, or one JSON document."""
    if as_json:
        document = {"schema": 1, "task": orchestration.task.text, "answer": orchestration.answer, "cost_usd": orchestration.cost_usd}
        write_json_line({**document, **about, **orchestration.document()})
        return
    if (overview := orchestration.overview()) is not None:
        console(stderr=True).print(overview)
    click.echo(printable(f"{orchestration.ending()} after {quantity(orchestration.count, 'step')}, {orchestration.cost_usd:.3g} USD"), err=True)
    if orchestration.answer is not None:
        click.echo(printable(orchestration.answer))
