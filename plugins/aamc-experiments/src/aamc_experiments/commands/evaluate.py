"""``aamc evaluate``: compare routers on other data or with baselines, estimate their results from a log, or score an estimator or orchestrator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from aamc_experiments.commands.options import CONFIG, SET, notify_finished, settings_from_options
from aamc_experiments.run_folder import Goal, RunFolder, estimator_checkpoint
from aamc_experiments.settings import Settings, Source
from aamc_sdk.cli import JSON, PREFERENCE, SINCE, UNTIL, Folder, check_range, plugins_of, print_table, progress, split_names, write_json_line
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import EvaluatedOrchestrator
from aamc_sdk.messages import component_errors, slash_hint
from aamc_sdk.routing import find_pool
from aamc_sdk.serving import OrchestrationOptions, TeamOptions, find_checkpoint, find_orchestrator, names_checkpoint, trained_name
from aamc_sdk.storage import locked
from aamc_sdk.types import Preference

if TYPE_CHECKING:
    from aamc_experiments.measurement import EvaluationRequest

BASELINE_OPTIONS = ("configs", "assignments", "n_episodes")
"""Options of a comparison with baselines, which is an experiment of its own."""
COMPARISON_OPTIONS = ("dataset", "split", "out", "gate", "router", *BASELINE_OPTIONS)
"""Options without effect on a log."""
NOT_OF_ORCHESTRATORS = ("router", "estimator", "split", "strict", "logs", "since", "until", "failure_quality", "n_episodes", "preference", "gate")
"""Options without a meaning for orchestrators."""
NOT_THE_POOL = "--pool belongs to an orchestrator, or to --logs without RUN"
ROUTING_OPTIONS = (*BASELINE_OPTIONS, "routers", "preference", "gate")
"""Options without effect on an estimator alone."""


@click.command()
@click.argument("run", default="runs/latest", type=click.Path(path_type=Path))
@click.option("--router", metavar="FOLDER", help="Trained router to compare with the baselines, instead of RUN: a checkpoint or a run.")
@click.option(
    "--estimator",
    metavar="[FOLDER]",
    is_flag=False,
    flag_value="",
    help="Trained estimator (default: the run's own). Alone: report its errors. With --router: use its estimates. With --logs: estimate texts again.",
)
@click.option("--orchestrator", metavar="NAME", help="Orchestrator to evaluate on tasks, trained in RUN or with --set orchestrator.KEY=VALUE.")
@click.option(
    "--pool", metavar="NAME|FILE", help="With an orchestrator: models that it calls (default: as trained); with --logs, without RUN: the candidates."
)
@click.option("--dataset", metavar="FORMAT:PATH", help="Data to evaluate on (default: the run's own rows).")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), help="Split of the run's own rows (default: test).")
@click.option("--strict", is_flag=True, help="Fail if a component was trained on a row, instead of leaving the row out.")
@click.option("--logs", metavar="URL", help="Estimate results from this decision log instead, such as sqlite:state.db.")
@SINCE
@UNTIL
@click.option(
    "--routers", metavar="A,B,...", help="Routers (default: those of the run, or all baselines); with --logs also any that need no training."
)
@click.option(
    "--failure-quality", metavar="Q|none", default="0", help="With --logs: quality of a failed call (default: 0); none excludes these calls."
)
@CONFIG
@SET
@click.option("--n-episodes", type=click.IntRange(min=1, max=10_000), help="With --router, streams of the simulator per preference (default: 64).")
@PREFERENCE
@click.option("--out", type=Folder(path_type=Path), help="Folder to write (default: nothing is written).")
@click.option(
    "--gate",
    is_flag=True,
    help="Exit with status 1 unless the run's router beats the best single model, or mixture of two models, at the same cost.",
)
@JSON
@click.pass_context
def evaluate(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Compare routers, or score an estimator or an orchestrator. There are five modes.

    A run (RUN, default: runs/latest): compare its routers on its test rows, on another --split, or on other data (--dataset). Queries that the run
    was trained on, and near-duplicates, are excluded.

    A trained router (--router, or RUN is from aamc train): compare it with baselines that are trained on the same rows. With --router, --dataset
    names other rows for this training and the comparison; --config and --set change settings, such as those of the simulator.

    An estimator (--estimator alone, or RUN contains only one): report errors of complexity, category and tool use, and the calibration of
    expected quality.

    A decision log (--logs): estimate how routers would have performed, with 95% intervals. --since and --until choose the decisions. Without RUN,
    runs/latest is used only if it has all candidates of the log.

    An orchestrator (--orchestrator, or RUN contains one): play tasks with right answers. Compare the orchestrator with baselines, and router-r1 also
    with --routers, on its own test tasks or on the tasks of --dataset that were not in its training.

    Example: aamc evaluate runs/latest --dataset outcomes:mine/

    Example: aamc evaluate --router checkpoints/ppo --n-episodes 20

    Example: aamc evaluate --estimator checkpoints/tce --dataset outcomes:mine/

    Example: aamc evaluate --logs sqlite:state.db --routers llm-only,random --since 7d

    Example: aamc evaluate --orchestrator router-r1 --dataset nq:nq_test.jsonl --pool pool.yaml --set orchestrator.policy=small
    """
    if options["orchestrator"] is not None:
        _refuse(ctx, NOT_OF_ORCHESTRATORS, "--orchestrator evaluates an orchestrator on tasks")
        _evaluate_orchestrator(ctx, options, options["run"] if _given(ctx, "run") else None, as_json)
        return
    if options["logs"] is not None:
        if _given(ctx, "run"):
            _refuse(ctx, ("pool",), NOT_THE_POOL)
        _refuse(ctx, COMPARISON_OPTIONS, "--logs takes its decisions from a log")
        _evaluate_log(ctx, options["logs"], options, as_json)
        return
    _refuse(ctx, ("failure_quality", "since", "until"), "without --logs there is no log to read")
    if options["dataset"] is not None and options["split"] is not None:
        raise click.UsageError("--split chooses among the run's own rows; leave it out, or --dataset")
    goal = RunFolder.open(options["run"]).goal if options["router"] is None and options["estimator"] is None else None
    if goal is not Goal.ORCHESTRATOR:
        _refuse(ctx, ("pool",), NOT_THE_POOL)
    if options["router"] is not None:
        if _given(ctx, "run"):
            raise click.UsageError(f"--router names the trained router; leave out {options['run']}")
        _refuse(ctx, ("split", "gate"), "--router compares with baselines on test rows")
        _compare_with_baselines(ctx, options, as_json)
    elif options["estimator"] is not None:
        _refuse(ctx, ROUTING_OPTIONS, "--estimator without --router scores an estimator alone")
        _evaluate_estimator(ctx, options, as_json)
    elif goal is Goal.ESTIMATOR:
        _refuse(ctx, ROUTING_OPTIONS, f"{options['run']} holds an estimator alone")
        _evaluate_estimator(ctx, {**options, "estimator": ""}, as_json)
    elif goal is Goal.ORCHESTRATOR:
        _refuse(ctx, NOT_OF_ORCHESTRATORS, f"{options['run']} holds an orchestrator, which is evaluated on tasks")
        _evaluate_orchestrator(ctx, options, options["run"], as_json)
    elif goal is Goal.ROUTER and not options["gate"] and options["dataset"] is options["split"] is None:
        _compare_with_baselines(ctx, {**options, "router": str(options["run"].resolve())}, as_json)
    else:
        _refuse(ctx, BASELINE_OPTIONS, f"the routers of {options['run']} are compared as they are (with --router FOLDER, settings may change)")
        _evaluate_run(ctx, options, as_json)


def _given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is not ParameterSource.DEFAULT


def _refuse(ctx: click.Context, names: Sequence[str], why: str) -> None:
    """Refuse options that would be without effect."""
    for name in names:
        if _given(ctx, name):
            option = next(each.opts[0] for each in ctx.command.params if each.name == name)
            raise click.UsageError(f"{why}; leave out {option}")


def _request(options: Mapping[str, Any], names: Sequence[str], preference: Preference) -> EvaluationRequest:
    from aamc_experiments.measurement import EvaluationRequest

    return EvaluationRequest(
        names=names,
        preference=preference,
        source=None if options["dataset"] is None else Source.of(options["dataset"], "--dataset"),
        split=options["split"] or "test",
        strict=options["strict"],
        out=options["out"],
        gate=options["gate"],
        baselines=options["routers"] is None,
    )


def _evaluate_run(ctx: click.Context, options: Mapping[str, Any], as_json: bool) -> None:
    from aamc_experiments.commands.tables import show_metrics
    from aamc_experiments.measurement import evaluate_run

    routers, out = options["routers"], options["out"]
    run = RunFolder.open(options["run"])
    with progress() as shown, nullcontext() if out is None else locked(out):
        names = run.router_names if routers is None else split_names(routers)
        request = _request(options, names, run.preference(options["preference"]))
        metrics = evaluate_run(run, request, plugins_of(ctx), shown)
        if out is not None:
            notify_finished(ctx, out)
    show_metrics(metrics, run.router_name, as_json)
    if request.gate:
        click.echo(metrics["gate"]["why"], err=True)
        ctx.exit(0 if metrics["gate"]["passed"] else 1)


def _compare_with_baselines(ctx: click.Context, options: Mapping[str, Any], as_json: bool) -> None:
    """Compare a trained router with baselines that are trained on the rows of its training."""
    from aamc_experiments.commands.tables import show_metrics
    from aamc_experiments.training import Experiment

    out, settings = options["out"], _baseline_settings(ctx, options)
    with progress() as shown, TemporaryDirectory() as folder:
        experiment = Experiment(settings, plugins_of(ctx), out or Path(folder) / "evaluation", shown)
        metrics = experiment.complete()
        if out is not None:
            notify_finished(ctx, out)
    if options["n_episodes"] is not None and not metrics["data"].keys() & {"warm_up", "pairs"}:
        click.echo("--n-episodes is without effect: the outcomes are those of a table, not of a simulator", err=True)
    show_metrics(metrics, experiment.router_name, as_json)


def _baseline_settings(ctx: click.Context, options: Mapping[str, Any]) -> Settings:
    """Return the settings of the router's run, changed by the options, with its checkpoints as router and estimator."""
    checkpoint = find_checkpoint(options["router"], "router")
    if checkpoint is None:
        advice = slash_hint(options["router"]) or f"; train one with: aamc train --router {options['router']}"
        raise ConfigError(f"--router {options['router']} is not the folder of a trained router{advice}")
    run, base = RunFolder.holding(checkpoint), dict[str, Any]()
    described = {key: options[key] for key in ("routers", "configs", "preference")} | {"router": str(checkpoint)}
    if run is not None:
        base = {**run.settings.to_dict(), "routers": None}
        if options["preference"] is not None:
            described["preference"] = str(run.preference(options["preference"]))
    if options["estimator"] or (run is not None and run.settings.estimator is not None):
        described["estimator"] = str(estimator_checkpoint(options["estimator"] or "", run))
    if options["dataset"] is not None:
        described["dataset"], base["test_dataset"] = options["dataset"], None
    episodes = [] if options["n_episodes"] is None else [f"evaluation.streams={options['n_episodes']}"]
    strict = ["evaluation.strict=true"] if options["strict"] else []
    return settings_from_options({**described, "assignments": (*options["assignments"], *episodes, *strict)}, plugins_of(ctx), base)


def _evaluate_estimator(ctx: click.Context, options: Mapping[str, Any], as_json: bool) -> None:
    from aamc_experiments.commands.tables import show_estimator
    from aamc_experiments.estimator_evaluation import evaluate_estimator

    name, out = options["estimator"], options["out"]
    holder = RunFolder.holding(estimator_checkpoint(name, None)) if name and names_checkpoint(name) and not _given(ctx, "run") else None
    run = holder or RunFolder.open(options["run"])
    with nullcontext() if out is None else locked(out):
        document = evaluate_estimator(run, name, _request(options, (), Preference()), plugins_of(ctx))
    show_estimator(document, as_json)


def _evaluate_orchestrator(ctx: click.Context, options: Mapping[str, Any], folder: Path | None, as_json: bool) -> None:
    """Evaluate the orchestrator of a folder, or without one the newest trained one, else an untrained one, and show the results.

    Raises:
        ConfigError: The orchestrator has no evaluation of its own, or an option is wrong.
        OutputError: The folder to write is not empty.
    """
    from aamc_experiments.training.orchestrator_training import read_evaluation_tasks

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


def _evaluate_log(ctx: click.Context, url: str, options: Mapping[str, Any], as_json: bool) -> None:
    from aamc_experiments.commands.tables import show_log_estimates
    from aamc_experiments.off_policy import evaluate_log

    folder, routers, preference = options["run"], options["routers"], options["preference"]
    check_range(options["since"], options["until"])
    named = _given(ctx, "run")
    pool = None if options["pool"] is None else find_pool(options["pool"], plugins_of(ctx))
    run = RunFolder.open(folder) if pool is None and (named or (folder / "run.yaml").is_file()) else None
    document = evaluate_log(
        url,
        plugins_of(ctx),
        names=None if routers is None else split_names(routers),
        run=run,
        run_optional=not named,
        pool=pool,
        preference=None if preference is None else Preference.parse(preference, {} if run is None else run.calibrated_preferences),
        estimator=options["estimator"],
        failure_quality=_failure_quality(options["failure_quality"]),
        since=options["since"],
        until=options["until"],
        strict=options["strict"],
    )
    show_log_estimates(document, as_json)
    ctx.exit(1 if all(row["refused"] for row in document["routers"].values()) else 0)


def _failure_quality(given: str) -> float | None:
    if given == "none":
        return None
    try:
        quality = float(given)
    except ValueError:
        quality = -1.0
    if not 0 <= quality <= 1:
        raise click.UsageError(f"--failure-quality must be a number from 0 to 1, or none, not {given!r}")
    return quality
