"""``aamc explain``: an explanation of a logged decision."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from aamc_sdk.cli.invocation import plugins_of
from aamc_sdk.cli.options import JSON, RUN, STORE
from aamc_sdk.cli.output import show_explanation
from aamc_sdk.errors import CheckpointError

if TYPE_CHECKING:
    from aamc_sdk.types import Record


@click.command()
@click.argument("decision_id", metavar="ID")
@RUN
@STORE
@JSON
@click.pass_context
def explain(ctx: click.Context, decision_id: str, run: Path, store: str | None, as_json: bool) -> None:
    """Explain the logged decision ID.

    With --store alone, runs/latest is used only if it has the decision's router and candidates. Without a run, the explanation is complete except for
    expected rewards and the preference that would have changed the choice.

    Example: aamc explain ID --store sqlite:state.db
    """
    from aamc_sdk.explain import explain
    from aamc_sdk.log import open_store
    from aamc_sdk.serving import components_from_run

    if store is not None and ctx.get_parameter_source("run") is ParameterSource.DEFAULT:
        with closing(open_store(store, plugins_of(ctx), existing=True)) as log:
            record = log.record(decision_id)
        if not _may_have_decided(run, record):
            show_explanation(explain(record), as_json)
            return
    components = components_from_run(run, plugins_of(ctx), store=store, existing_store=True, check_endpoints=False)  # reading creates no log
    with closing(components.store) as log, components.store_errors():  # without a controller, whose router would learn the log
        record = log.record(decision_id)
    show_explanation(explain(record, components.router, components.services.reward, components.pool), as_json)


def _may_have_decided(folder: Path, record: Record) -> bool:
    """Return whether a folder holds a run with a decision's router and candidates: the reward of another one would be wrong."""
    from aamc_sdk.serving import Run

    try:
        run = Run.open(folder)
        return record.decision.router in run.router_names and not set(record.candidates).isdisjoint(run.pool.names)
    except CheckpointError:
        return False
