"""``aamc data collect``: a first outcome dataset from a user's own models."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from aamc_sdk.cli import (
    INTERVALS,
    JSON,
    InputFile,
    Number,
    figure_cell,
    new_table,
    plugins_of,
    print_table,
    printable,
    progress,
    request_parameters,
    split_names,
    write_json_line,
)
from aamc_sdk.errors import AamcError, DataError, Interrupted, PoolError, ProviderError
from aamc_sdk.messages import one_of, quantity

if TYPE_CHECKING:
    from aamc_models.collect.collector import Collector
    from aamc_models.collect.estimate import CollectionEstimate
    from aamc_models.collect.plan import Collection
    from aamc_models.collect.prompts import Prompt
    from aamc_sdk.plugins import Plugins
    from aamc_sdk.serving import ModelClient
    from aamc_sdk.types import ModelSpec

NO_LIMIT = float("inf")
MIN_PRICE, MAX_PRICE = 0.001, 10_000.0
"""Prices beyond these, in USD per million tokens, are probably meant in another unit."""


@click.command("collect")
@click.option("--pool", required=True, metavar="NAME|FILE", help="Models to ask.")
@click.option("--prompts", "source", required=True, type=InputFile(), help="Prompts: .jsonl, .csv, or .txt with one per line.")
@click.option("--judge", "spec", required=True, metavar="SPEC", help="Scores the answers: exact, numeric, tests, python:MODULE:FUNCTION, model:NAME.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write, such as outcomes.jsonl.")
@click.option("--candidates", metavar="A,B,...", help="Ask only these models of the pool (default: all).")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N prompts (default: all).")
@click.option("--budget-usd", type=Number(min=0), default=NO_LIMIT, metavar="USD", help="Maximum cost, including earlier starts (default: no limit).")
@click.option("--allow-unknown-cost", is_flag=True, help="Also call models without prices; their cost counts as 0.")
@click.option("--count-failures", is_flag=True, help="Write a failed call with quality 0 and its charged cost (default: as unknown).")
@click.option("--concurrency", type=click.IntRange(min=1), default=4, show_default=True, help="Maximum number of calls at once.")
@click.option("--max-tokens", type=click.IntRange(min=1), default=4096, show_default=True, help="Maximum tokens of an answer.")
@click.option(
    "--option", "assignments", multiple=True, metavar="KEY=VALUE", help="Request parameter of every answer, such as temperature=0; repeatable."
)
@click.option("--prompt-field", metavar="NAME", help="Field of the prompt (default: prompt, query, question, text or input).")
@click.option("--answer-field", metavar="NAME", help="Field of the right answer (default: answer, reference, expected or target).")
@click.option("--dry-run", is_flag=True, help="Estimate the cost, and call no model.")
@JSON
@click.pass_context
def collect(ctx: click.Context, /, source: Path, out: Path, limit: int | None, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Ask each model of the pool each prompt, judge the answers, and write the outcomes for aamc run --dataset outcomes:FILE.

    Every call is kept in a ledger next to the file. Run the same command again to continue where it stopped; no answer is paid for twice.

    Example: aamc data collect --pool pool.yaml --prompts questions.jsonl --judge exact --out outcomes.jsonl --budget-usd 5
    """
    from aamc_models.collect.collector import Collector
    from aamc_models.collect.ledger import CallLedger
    from aamc_models.collect.outcomes import check_place, other_rows
    from aamc_models.collect.prompts import read_prompts, without_repeats

    plugins = plugins_of(ctx)
    read = read_prompts(source, prompt_field=given["prompt_field"], answer_field=given["answer_field"])
    distinct = without_repeats(read)
    prompts = distinct[:limit]
    if len(prompts) < min(len(read), limit or len(read)):
        click.echo(f"{quantity(len(read) - len(distinct), 'repeated prompt')} left out", err=True)
    plan, models = _plan(plugins, given)
    plan.judge.check(prompts)
    folder = out.with_suffix(".ledger")
    if (kept := check_place(out, folder, plan.pool)) is not None:
        click.echo(f"{kept} differs from --pool and stays: aamc run reads prices and endpoints from it, not from --pool", err=True)
    with CallLedger.open(folder) as ledger:
        others, beyond = other_rows(out, prompts), {prompt.text for prompt in distinct[len(prompts) :]}
        stay = [row for row in others if row["query"] in beyond]
        if stay:
            click.echo(f"{quantity(len(stay), 'row')} of {out} will stay unchanged, as --limit leaves out their prompts", err=True)
        if gone := len(others) - len(stay):
            click.echo(f"{quantity(gone, 'row')} of {out} will go, as --prompts lacks their prompts; the answers stay in {folder}", err=True)
        asyncio.run(_collect(Collector(plan, models, ledger), prompts, out, stay, dry_run=dry_run, as_json=as_json))


def _plan(plugins: Plugins, given: Mapping[str, Any]) -> tuple[Collection, ModelClient]:
    """Return the plan and the client for its models."""
    from aamc_models.collect.judges import make_judge
    from aamc_models.collect.plan import Collection, check_parameters
    from aamc_sdk.routing import find_pool
    from aamc_sdk.serving import ModelClient, make_services
    from aamc_sdk.types import ModelSpec

    pool = find_pool(given["pool"], plugins)
    asked = pool if given["candidates"] is None else pool.subset(split_names(given["candidates"], "--candidates", "small,large"))
    judge = make_judge(given["spec"], pool, asked)
    judging = [] if judge.model is None else [pool.candidates[pool.index(judge.model)]]
    models = make_services(pool, plugins).models
    assert isinstance(models, ModelClient)
    for candidate in (*asked, *judging):
        models.provider(candidate)  # an error for one without an endpoint
    called = [candidate for candidate in (*asked, *judging) if isinstance(candidate, ModelSpec)]
    unpriced = {candidate.name for candidate in called if candidate.prices is None}
    if unpriced and not given["allow_unknown_cost"]:
        raise PoolError(
            f"without prices the cost of {one_of(unpriced)} is unknown; add them with aamc models prices, or allow it with --allow-unknown-cost"
        )
    options = request_parameters(given["assignments"])
    for candidate in called:
        check_parameters(candidate.name, {**candidate.parameters, **options})
    limits = {name: given[name] for name in ("max_tokens", "concurrency", "budget_usd", "count_failures")}
    return Collection(pool=asked, judge=judge, judge_model=called[-1] if judging else None, options=options, **limits), models


async def _collect(
    collector: Collector, prompts: Sequence[Prompt], out: Path, stay: Sequence[Mapping[str, Any]], *, dry_run: bool, as_json: bool
) -> None:
    """Estimate, ask and judge; write the judged answers and the rows that stay, also after an error or an interruption."""
    from aamc_models.collect.estimate import estimate

    found = await estimate(collector, prompts)
    _show_estimate(found, collector.plan, len(prompts))
    if dry_run:
        if as_json:
            write_json_line({"schema": 1, "estimate": attrs.asdict(found)})
        return
    try:
        with progress() as shown, _stop_on_signals(collector):
            await collector.run(prompts, shown)
    except asyncio.CancelledError:  # by the second Ctrl-C
        collector.stopped = "an interruption"
    finally:
        document = _write(collector, prompts, out, stay)
        await collector.models.close()
    error = _problem(collector, len(prompts))
    document |= {"estimate": attrs.asdict(found)}
    if error is not None:
        error.document = {**document, "error": {"type": type(error).__name__, "message": str(error), "hint": "run the same command again"}}
    if not as_json:
        _show(document)
    elif error is None:
        write_json_line(document)
    if error is not None:
        raise error


@contextmanager
def _stop_on_signals(collector: Collector) -> Iterator[None]:
    """Stop gracefully at the first Ctrl-C: calls under way are finished and kept. The second one ends it at once."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()

    def stop() -> None:
        if collector.stopped and task is not None:
            task.cancel()
        else:
            click.echo("\nfinishing the calls under way; press Ctrl-C again to abandon them", err=True)
        collector.stop("an interruption")

    with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or a thread other than the main one
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        with suppress(NotImplementedError, RuntimeError, ValueError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def _show_estimate(found: CollectionEstimate, plan: Collection, prompts: int) -> None:
    from aamc_models.collect.ledger import ANSWER

    answers = f"{quantity(found.answers, 'answer')} to ask for ({found.known:,} known)"
    verdicts = f" and up to {quantity(found.verdicts, 'verdict')}" if plan.judge_model is not None else ""
    models = quantity(len(plan.pool), "model")
    click.echo(f"{quantity(prompts, 'prompt')}, {models}: {answers}{verdicts}", err=True)
    judge = f" ({found.judge_usd:.2g} of it for the judge)" if plan.judge_model is not None else ""
    expected = found.answers_usd + found.judge_usd
    click.echo(f"estimated cost: {expected:.3g} USD{judge}, at most {found.maximum_usd:.3g} USD; spent so far: {found.spent_usd:.3g} USD", err=True)
    for candidate in plan.candidates:
        amounts = [] if candidate.prices is None else [candidate.prices.input, candidate.prices.output]
        for amount in amounts:
            if 0 < amount < MIN_PRICE or amount > MAX_PRICE:
                click.echo(printable(f"{candidate.name} costs {amount:g} USD per million tokens; is that price in another unit?"), err=True)
    unpriced = [candidate.name for candidate in plan.candidates if candidate.prices is None]
    if unpriced:
        click.echo(printable(f"without the cost of {', '.join(unpriced)}, which is unknown"), err=True)
    for candidate in plan.candidates if found.answers else ():
        reserved = plan.output_limit(ANSWER, candidate)
        calls = _calls_at_once(candidate, reserved)
        if calls is not None and calls < plan.concurrency:
            at_once = f"only {quantity(calls, 'call')} of {candidate.name} at once, as each reserves {reserved:,} tokens until it ends"
            click.echo(printable(f"tokens_per_minute allows {at_once}; lower --max-tokens to collect faster"), err=True)
    if expected > plan.budget_usd - found.spent_usd:
        click.echo(f"the budget of {plan.budget_usd:g} USD will not suffice for all; it stops before more is spent", err=True)


def _calls_at_once(candidate: ModelSpec, tokens: int) -> int | None:
    """Return the number of calls, each of this many tokens, that the deployments' token limits allow at once; None without a limit."""
    if candidate.endpoint is None:
        return None
    options = candidate.endpoint.options
    limits: list[Any] = [each.get("tokens_per_minute") or options.get("tokens_per_minute") for each in options.get("deployments") or [{}]]
    return None if None in limits else sum(max(1, limit // tokens) for limit in limits)


def _write(collector: Collector, prompts: Sequence[Prompt], out: Path, stay: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write the outcomes and the rows that stay, and return the report, without the latter."""
    from aamc_models.collect.outcomes import costs, figures, outcome_rows, write_rows

    rows = outcome_rows(prompts, collector)
    if rows:
        write_rows(out, [*rows, *stay], collector.plan.pool)
    spent = costs(collector.ledger)
    unknown = sum(quality is None for row in collector.qualities.values() for quality in row.values())
    return {
        "schema": 1,
        "out": out if rows else None,
        "ledger": collector.ledger.path,
        "prompts": len(prompts),
        "rows": len(rows),
        "unjudged": unknown,
        "finished": len(rows) == len(prompts) and not collector.failed,
        "cost_usd": spent["answers"] + spent["judge"] + spent["failed"],
        "judge_cost_usd": spent["judge"],
        "costs": spent,
        "candidates": figures(rows, collector),
        "failed": dict(collector.failed),
        "given_up": collector.given_up,
    }


def _problem(collector: Collector, prompts: int) -> AamcError | None:
    """Return the reason for an incomplete collection as an error; None if it is complete."""
    from aamc_models.collect.ledger import VERDICT

    done = f"{len(collector.qualities)} of {prompts} prompts are judged"
    if collector.stopped == "an interruption":
        return Interrupted(f"interrupted: {done}; run the same command again to resume")
    if collector.stopped == "the budget":
        left = f"{max(collector.plan.budget_usd - collector.budget.spent_usd, 0.0):.3g} of {collector.plan.budget_usd:g} USD are left"
        return DataError(f"{left}, less than another prompt may cost: {done}; raise --budget-usd, and run the same command again")
    if collector.failed:
        calls = quantity(collector.failed.total(), "call")
        last, *others = reversed(collector.errors.values())
        errors = f"the last with: {last}" + "".join(f"; another model's with: {error}" for error in others)
        return ProviderError(f"{calls} failed, {errors}; fix it (aamc models check), and run the same command again")
    needed, quality = (any, "a quality") if collector.plan.judge_model is None else (all, "a quality of every answer")
    if collector.qualities and not any(needed(found is not None for found in row.values()) for row in collector.qualities.values()):
        verdict = next((entry.text for entry in reversed(collector.ledger.entries) if entry.kind == VERDICT and entry.text), None)
        said = "" if verdict is None else f" (its last verdict ends: {verdict[-80:]!r})"
        what = "mend the judge" if collector.plan.judge_model is None else "raise --max-tokens, or name another judge"
        return DataError(f"no prompt has {quality}, so no router can be tested on them; the judge gave none{said}; {what}")
    return None


def _show(document: Mapping[str, Any]) -> None:
    """Print the table of candidates, and the costs."""
    table = new_table(["candidate"], ("n", "quality", "USD per 1,000", "latency (ms)", "failed", "cut"), notes=[INTERVALS])
    for name, row in document["candidates"].items():
        quality = figure_cell(row["quality"] if row["n"] else None, row["quality_ci95"], "{:.1%}".format)
        cost = "unknown" if row["mean_cost_usd"] != row["mean_cost_usd"] else f"{1000 * row['mean_cost_usd']:.3g}"
        latency = "-" if row["mean_latency_ms"] != row["mean_latency_ms"] else f"{row['mean_latency_ms']:,.0f}"
        table.add_row(name, str(row["n"]), quality, cost, latency, str(row["failed"]), str(row["cut"]))
    print_table(table)
    if document["unjudged"]:
        unknown = f"{quantity(document['unjudged'], 'quality is', 'qualities are')} unknown"
        click.echo(f"{unknown}, as the judge gave none", err=True)
    costs: dict[str, Any] = document["costs"]
    judge = f", {costs['judge']:.3g} of it for the judge" if costs["judge"] else ""
    unknown = f"; the cost of {costs['unknown']} calls is unknown" if costs["unknown"] else ""
    lost = f"; {costs['lost']} calls were under way when it was killed" if costs["lost"] else ""
    charged = f"; {costs['charged']:.3g} USD count against the budget, these at their maximum cost" if unknown or lost else ""
    click.echo(f"cost: {document['cost_usd']:.3g} USD{judge}{unknown}{lost}{charged}. Every call is in {document['ledger']}", err=True)
    if document["out"] is not None:
        compare = f"aamc run --router greedy --estimator lexical --dataset outcomes:{document['out']}"
        click.echo(f"Wrote {quantity(document['rows'], 'row')}. Compare routers on them with: {compare}", err=True)
