"""``aamc complete``: route a query, call the chosen model, and print its answer."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
from click.core import ParameterSource

from aamc_sdk.cli.invocation import plugins_of
from aamc_sdk.cli.options import JSON, PREFERENCE, RUN, STORE, USER, USER_KEY_FILE, request_parameters, text_argument
from aamc_sdk.cli.output import write_json_line
from aamc_sdk.cli.printable_text import printable
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import Completion, public_url
from aamc_sdk.types import Attempt

if TYPE_CHECKING:
    from aamc_sdk.plugins import Plugins
    from aamc_sdk.serving import ServedComponents

UNTRAINED_ROUTER = "thompson"
"""The router for a pool without a run: it needs no training, and learns from feedback."""


@click.command()
@text_argument("text")
@RUN
@click.option("--router", metavar="NAME|FOLDER", help="Router of the run, or the folder of a trained one; with --pool, an untrained router.")
@click.option(
    "--pool",
    metavar="NAME|FILE",
    help="Models to call. With --run: endpoints for its candidates. Without: the candidates of an untrained router (thompson unless --router "
    "names one).",
)
@click.option("--estimator", metavar="NAME|FOLDER", help="Folder of a trained estimator; with --pool, also a name (default: the run's own, or none).")
@STORE
@PREFERENCE
@USER
@USER_KEY_FILE
@click.option(
    "--option", "assignments", multiple=True, metavar="KEY=VALUE", help="Request parameter for the model, such as temperature=0; repeatable."
)
@click.option("--stream", "streamed", is_flag=True, help="Print the answer as it arrives.")
@JSON
@click.pass_context
def complete(
    ctx: click.Context,
    /,
    text: str,
    assignments: Sequence[str],
    preference: str | None,
    user: str | None,
    user_key: str | None,
    streamed: bool,
    as_json: bool,
    **named: Any,
) -> None:
    """Choose a model for the query TEXT, call it, and print its answer.

    If the call fails, the router's next allowed choice is called. Every call is logged with its cost and latency.

    Example: aamc complete "What is 6 x 7?" --pool examples/pools/openai.yaml --store sqlite:state.db
    """
    from aamc_sdk.controller import MetaController

    if streamed and as_json:
        raise click.UsageError("--stream prints text and --json one document at the end; leave one of them out")
    options = request_parameters(assignments)
    has_run = ctx.get_parameter_source("run") is not ParameterSource.DEFAULT
    components = _components(plugins_of(ctx), has_run=has_run, **named)
    with MetaController(components, user_key=user_key) as controller:
        before = controller.store.position()
        came: list[str] = []

        def show(piece: str) -> None:
            came.append(piece)
            click.echo(printable(piece), nl=False)

        try:
            answer = controller.complete(text, preference, user=user, options=options, on_text=show if streamed else None)
        finally:
            if came:
                click.echo()
        logged = controller.store.experiences(before)
        attempts = [attempt for batch in logged for attempt in batch.attempts if attempt.decision_id == answer.decision_id]
        log = public_url(named["store"] or controller.store.url) if controller.store.persistent else None
    if as_json:
        _write_document(answer, attempts)
        return
    if not came:
        click.echo(printable(answer.text))
    _show_figures(answer.decision_id, attempts, log)


def _components(
    plugins: Plugins, *, has_run: bool, run: Path, router: str | None, pool: str | None, estimator: str | None, store: str | None
) -> ServedComponents:
    """Return the components of the run, with the endpoints of the pool if there is one; without a run, untrained ones for the pool."""
    from aamc_sdk.config import ServingSettings
    from aamc_sdk.serving import components_from_run, components_from_settings

    if pool is not None and not has_run:
        settings = ServingSettings.of({"router": router or UNTRAINED_ROUTER, "estimator": estimator, "pool": pool})
        return components_from_settings(settings, plugins, store=store or "memory:")
    try:
        return components_from_run(run, plugins, router=router, estimator=estimator, store=store, pool=pool)
    except CheckpointError as error:
        raise error if has_run else CheckpointError(f"{error}, or name your models with --pool") from error


def _write_document(answer: Completion, attempts: Sequence[Attempt]) -> None:
    keys = ("candidate", "status", "error", "cost_usd", "cost_source", "latency_ms", "first_token_ms")
    write_json_line(
        {
            "schema": 1,
            "id": answer.decision_id,
            "candidate": answer.candidate,
            "text": answer.text,
            "message": answer.message,
            "finish_reason": answer.finish_reason,
            "cost_usd": answer.cost_usd,
            "latency_ms": answer.latency_ms,
            "usage": attrs.asdict(answer.usage),
            "attempts": [{key: getattr(attempt, key) for key in keys} for attempt in attempts],
        }
    )


def _show_figures(decision_id: str, attempts: Sequence[Attempt], log: str | None) -> None:
    """Print the figures of every call to standard error, and the command for feedback if its log is there for a later command."""
    for attempt in attempts:
        if attempt.status != "ok":
            click.echo(printable(f"{attempt.candidate} failed: {' '.join((attempt.error or '').split())}"), err=True)
            continue
        tokens = "unknown" if attempt.output_tokens is None else f"{attempt.output_tokens:,}"
        cost = "unknown" if math.isnan(attempt.cost_usd) else f"{attempt.cost_usd:.3g} USD"
        click.echo(printable(f"{attempt.candidate}: cost {cost}, latency {attempt.latency_ms:,.0f} ms, output tokens {tokens}"), err=True)
    if log is not None:
        click.echo(f"Record feedback with: aamc feedback add {decision_id} --quality Q --store {shlex.quote(log)}", err=True)
