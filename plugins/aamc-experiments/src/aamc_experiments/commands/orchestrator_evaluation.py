"""``aamc evaluate --orchestrator``: an orchestrator and baselines on tasks with right answers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from aamc_sdk.cli import plugins_of, print_table, progress, split_names, write_json_line
from aamc_sdk.errors import ConfigError, component_errors


def evaluate_orchestrator(ctx: click.Context, options: Mapping[str, Any], folder: Path | None, as_json: bool) -> None:
    """Evaluate the orchestrator of a folder, or without one the newest trained one, else an untrained one, and show the results.

    Raises:
        ConfigError: The orchestrator has no evaluation of its own, or an option is wrong.
        OutputError: The folder to write is not empty.
    """
    from aamc_experiments.run_folder import RunFolder
    from aamc_experiments.settings import Source
    from aamc_experiments.training.orchestrator_training import read_evaluation_tasks
    from aamc_sdk.interfaces import EvaluatedOrchestrator
    from aamc_sdk.serving import OrchestrationOptions, TeamOptions, find_orchestrator, trained_name
    from aamc_sdk.storage import locked

    own = OrchestrationOptions.of(options["configs"], options["assignments"], "aamc evaluate --orchestrator").orchestrator
    plugins, out = plugins_of(ctx), options["out"]
    component, trained = find_orchestrator(options["orchestrator"], folder, TeamOptions(), plugins, options["pool"], own)
    name = options["orchestrator"] if trained is None else trained_name(trained)
    if not isinstance(component, EvaluatedOrchestrator):
        raise ConfigError(f"orchestrator {name!r} has no evaluation of its own; derive its class from EvaluatedOrchestrator")
    source = None if options["dataset"] is None else Source.of(options["dataset"], "--dataset")
    routers = None if options["routers"] is None else split_names(options["routers"])
    try:
        dataset = read_evaluation_tasks(trained, source, plugins, component.services)
        with progress() as shown, nullcontext() if out is None else locked(out), component_errors(f"{component.message_name} failed", passes=OSError):
            if out is not None:
                RunFolder(out).refuse_to_overwrite(resumes=False)
            document = component.evaluate(dataset, routers, out, shown)
    finally:
        component.close()
    if as_json:
        write_json_line(document)
    else:
        print_table(component.table(document))
