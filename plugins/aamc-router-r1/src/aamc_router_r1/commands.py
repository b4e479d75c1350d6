"""The commands ``aamc serve-router``, a policy as a server of single decisions, and ``aamc trace``, which shows episodes."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aamc_sdk.cli import Folder, InputFile, console, listening_socket, plugins_of, printable
from aamc_sdk.errors import ConfigError, DataError, UnknownDecisionError

if TYPE_CHECKING:
    from aamc_sdk.interfaces import Store
    from aamc_sdk.types import Attempt


@click.command("serve-router")
@click.option("--run", type=Folder(path_type=Path), help="Folder of a trained router-r1 (default: the policy from --set orchestrator.policy).")
@click.option("--pool", metavar="NAME|FILE", help="Candidates for requests without any, and the policy (default: as trained).")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one option, such as orchestrator.policy=NAME; repeatable.")
@click.option("--host", default="127.0.0.1", help="Address to listen on (default: 127.0.0.1).")
@click.option("--port", default=8100, type=click.IntRange(0, 65535), help="Port to listen on; 0 for a free one (default: 8100).")
@click.pass_context
def serve_router(ctx: click.Context, /, run: Path | None, pool: str | None, assignments: tuple[str, ...], host: str, port: int) -> None:
    """Serve a Router-R1 policy over HTTP, such as to vLLM Semantic Router. POST /route with a query and candidates returns the model to call.

    Requests must send the key in the environment variable AAMC_ROUTER_KEY, if it is set. Without one, only this machine can send requests.

    Example: aamc serve-router --pool pool.yaml --set orchestrator.policy=small
    """
    import uvicorn
    from aamc_models import is_loopback

    from aamc_router_r1.orchestrator import RouterR1
    from aamc_router_r1.single.server import KEY_VARIABLE, DecisionServer
    from aamc_sdk.serving import ModelClient, OrchestrationOptions, TeamOptions, find_orchestrator

    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key and not is_loopback(host):
        raise ConfigError(f"without a key serve-router listens on 127.0.0.1 only, not on {host!r}: set the environment variable {KEY_VARIABLE}")
    listening_socket(host, port).close()  # a port in use ends this before the policy is loaded
    options = OrchestrationOptions.of((), assignments, "aamc serve-router").orchestrator
    router_r1, _ = find_orchestrator("router-r1", run, TeamOptions(), plugins_of(ctx), pool, options)
    assert isinstance(router_r1, RouterR1)
    policy, client = router_r1.setup.policy, router_r1.client
    if isinstance(client, ModelClient):
        client.provider(policy)  # a wrong option of its endpoint ends this before a request does
    server = DecisionServer(router_r1.config, policy, router_r1.services.pool, client, router_r1.quality, key=key)
    uvicorn.run(server.app(), host=host, port=port, http="h11", log_level="info")  # httptools limits no headers


@click.command()
@click.argument("file", required=False, type=InputFile())
@click.option("--store", metavar="URL", help="Log with the episode, such as sqlite:log.db, instead of FILE.")
@click.option("--episode", metavar="ID", help="Show only this episode; with --store, its id or the id of one of its decisions.")
@click.option("--html", "page_file", type=click.Path(path_type=Path), help="Write the episodes as an HTML page.")
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
    """Return the episodes of a file of JSON lines."""
    from aamc_sdk.storage import json_lines

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
    """Return an episode from a log."""
    from aamc_router_r1.trace import document_of
    from aamc_sdk.interfaces import public_url
    from aamc_sdk.log import open_store

    with closing(open_store(url, plugins_of(ctx), existing=True)) as store:
        records = store.episode(episode)
        if not records:
            try:
                named = store.record(episode).decision.episode
            except UnknownDecisionError as error:
                raise DataError(f"the log {public_url(url)} has no episode {episode!r}; give the id that aamc orchestrate printed") from error
            records = store.episode(named) if named is not None else []
        attempts = _calls_of(store, {record.decision.id for record in records})
    if not records or records[0].decision.router != "router-r1":
        raise DataError(f"{episode!r} of the log {public_url(url)} is not an episode of router-r1; give the id that aamc orchestrate printed")
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
    from aamc_router_r1.trace import line

    shown = console()
    for document in episodes:
        shown.print(printable(document["task"] or "(the log keeps no texts)"), highlight=False)  # highlighting a long word takes minutes
        for step in document["steps"]:
            shown.print(line(step))
        answer = document["answer"]
        ending = f"{document['outcome']}, {document['cost_usd']:.3g} USD: {'no answer' if answer is None else printable(answer)}\n"
        shown.print(ending, highlight=False)
