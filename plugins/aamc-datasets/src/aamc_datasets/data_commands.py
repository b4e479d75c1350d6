"""Commands ``aamc data generate``, ``inspect`` and ``convert``, and the summary of datasets that ``inspect`` prints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import attrs
import click
import numpy as np
from aamc_experiments.data import Groups, read_dataset
from aamc_experiments.settings import Source, read_settings
from rich.table import Table

from aamc_datasets.outcomes.outcomes_format import POOL_FILE, ROWS_FILE, write_outcomes
from aamc_datasets.synthetic.synthetic_format import FILES, MAX_TEXTS, check_shares, compose_splits, write_labelled
from aamc_sdk import Dataset, Outcomes, Pool
from aamc_sdk.cli import JSON, console, new_table, plugins_of, print_table, printable, write_json_line
from aamc_sdk.config import describe_options, set_option
from aamc_sdk.errors import ConfigError, DataError, OutputError
from aamc_sdk.messages import quantity
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import default_pool
from aamc_sdk.serving import make_services
from aamc_sdk.types import normalized_text

_SIZE = click.IntRange(min=1, max=MAX_TEXTS)
_STRICT = click.option("--strict", is_flag=True, help="Refuse scores outside 0 to 1 in published files, instead of clipping and counting them.")
_SET = click.option(
    "--set", "assignments", multiple=True, metavar="dataset.KEY=VALUE", help="Set one option, such as dataset.output_tokens=128; repeatable."
)


def _parse_shares(ctx: click.Context, parameter: click.Parameter, value: str | None) -> dict[str, float]:
    """Read ``code=3,chat=1``."""
    shares: dict[str, float] = {}
    for part in filter(None, (value or "").split(",")):
        name, _, number = (word.strip() for word in part.partition("="))
        if name in shares:
            raise click.BadParameter(f"{name!r} is given twice")
        try:
            shares[name] = float(number)
        except ValueError as error:
            raise click.BadParameter(f"{part!r} must be a category and a number, such as code=3") from error
    try:
        check_shares(shares)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from error
    return shares


@click.command("generate")
@click.option("--n-train", type=_SIZE, default=10_000, show_default=True, help="Training texts.")
@click.option("--n-val", type=_SIZE, default=2_000, show_default=True, help="Validation texts.")
@click.option("--n-test", type=_SIZE, default=2_000, show_default=True, help="Test texts.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for train.csv, val.csv and test.csv.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed; the same seed gives the same texts.")
@click.option(
    "--shares", metavar="NAME=N,...", callback=_parse_shares, help="Relative frequencies of categories, such as code=3,chat=1 (default: equal)."
)
@JSON
def generate(n_train: int, n_val: int, n_test: int, out: Path, seed: int, shares: Mapping[str, float], as_json: bool) -> None:
    """Write labelled texts of eight categories as train.csv, val.csv and test.csv, unless the folder holds one of them.

    Columns: text, complexity (0 to 1), category, tool_use (0 or 1). Every text is unique across the files.

    Example: aamc data generate --out data/texts --shares code=3,chat=1
    """
    _refuse_to_overwrite(out / name for name in FILES.values())
    splits = compose_splits({"train": n_train, "validation": n_val, "test": n_test}, seed, shares)
    for split, dataset in splits.items():
        write_labelled(out / FILES[split], dataset)
    if as_json:
        files = {FILES[split]: len(dataset) for split, dataset in splits.items()}
        write_json_line({"schema": 1, "out": out, "seed": seed, "rows": files})
    else:
        click.echo(f"wrote {n_train} training, {n_val} validation and {n_test} test texts to {out}", err=True)


@click.command("inspect")
@click.argument("datasets", nargs=-1, required=True, metavar="FORMAT:PATH...")
@_SET
@_STRICT
@JSON
@click.pass_context
def inspect(ctx: click.Context, datasets: tuple[str, ...], assignments: tuple[str, ...], strict: bool, as_json: bool) -> None:
    """Summarise each dataset: rows, candidates, means, best single candidate, oracle. Count the questions that two datasets share.

    Example: aamc data inspect llmrouter:data/llmrouter outcomes:mine/
    """
    options = _options(assignments)
    splits: dict[str, Dataset] = {}
    for named in datasets:
        splits |= {f"{named} {split}".strip(): rows for split, rows in _read(plugins_of(ctx), named, options, strict).items()}
    document = summarize(splits)
    if as_json:
        write_json_line(document)
    else:
        print_summary(document)


@click.command("convert")
@click.argument("dataset", metavar="FORMAT:PATH")
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for outcomes.jsonl and pool.yaml.")
@_SET
@_STRICT
@JSON
@click.pass_context
def convert(ctx: click.Context, dataset: str, folder: Path, assignments: tuple[str, ...], strict: bool, as_json: bool) -> None:
    """Write a dataset with outcomes in the native format, which outcomes:DIR reads. A dataset with splits gets one folder per split.

    Example: aamc data convert routellm:data/routellm --to data/native
    """
    splits = {split: _writable(dataset, split, rows) for split, rows in _read(plugins_of(ctx), dataset, _options(assignments), strict).items()}
    _refuse_to_overwrite(folder / split / name for split in splits for name in (ROWS_FILE, POOL_FILE))
    for split, rows in splits.items():
        write_outcomes(rows, folder / split)
    count = sum(map(len, splits.values()))
    if as_json:
        write_json_line({"schema": 1, "from": dataset, "to": folder, "rows": count})
    else:
        uses = " ".join(f"--dataset outcomes:{folder / split}" for split in splits)
        click.echo(f"wrote {quantity(count, 'row')} to {folder}; use with {uses}", err=True)


def _writable(named: str, split: str, rows: Dataset) -> Dataset:
    """Return the rows with text and candidates with outcomes that can be written; print notes of rows, turns, tenants and candidates that cannot."""
    kept = np.flatnonzero([bool(query.text.strip()) for query in rows.queries])
    if not len(kept):
        name = f"{named} {split}".strip()
        raise DataError(f"no row of {name} has a text, which the format outcomes requires; a log has texts with the store's option store_text=true")
    if len(kept) < len(rows):
        click.echo(f"left out {quantity(len(rows) - len(kept), 'row')} without text", err=True)
        rows = rows.take(kept)
    if lost := sum(bool(query.turns or query.tenant) for query in rows.queries):
        click.echo(f"the earlier turns or tenants of {quantity(lost, 'row')} are not written: the format outcomes has no field for them", err=True)
    if rows.outcomes is None or rows.pool is None:
        return rows
    known = np.flatnonzero(np.isfinite(rows.outcomes.means).any(axis=1))
    pool = Pool(rows.pool.candidates[column] for column in known)
    if unknown := [name for name in rows.pool.names if name not in pool.names]:
        click.echo(printable(f"left out candidates without outcomes: {', '.join(unknown)}"), err=True)
    return attrs.evolve(rows, pool=pool, outcomes=rows.outcomes.columns(known))


def _refuse_to_overwrite(files: Iterable[Path]) -> None:
    for file in files:
        if file.exists():
            raise OutputError(f"{file} already exists; choose another folder, or remove the file first")


def _options(assignments: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the format's options from assignments ``dataset.KEY=VALUE``."""
    content: dict[str, Any] = {"dataset": {}}
    for assignment in assignments:
        if not assignment.startswith("dataset."):
            raise click.UsageError(f"--set takes an option of the dataset, such as dataset.output_tokens=128, not {assignment!r}")
        set_option(content, assignment)
    return content["dataset"]  # type: ignore[no-any-return]  # a dict, above


def _read(plugins: Plugins, named: str, options: Mapping[str, Any], strict: bool) -> dict[str, Dataset]:
    """Return the splits of a dataset; one without splits is a single split named ``""``."""
    source = Source.of(named, "FORMAT:PATH")
    services = make_services(default_pool(), plugins, read_settings({}))
    if strict and any(option["name"] == "strict" for option in describe_options(plugins.load("dataset", source.name))):
        options = {**options, "strict": True}
    dataset = read_dataset(source, lambda _: plugins.make("dataset", source.name, services, options))
    return {"": dataset} if isinstance(dataset, Dataset) else dict(dataset)


def summarize(datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """Return the summary of each dataset, and the questions shared by each pair.

    Near-duplicates are grouped across all datasets, as experiments group them to keep each group in one split.
    """
    datasets = {name: attrs.evolve(dataset, groups=None) for name, dataset in datasets.items()}  # questions count, not users
    groups = Groups.of(*datasets.values())
    return {
        "schema": 1,
        "datasets": [{"name": name, **_facts(dataset, groups)} for name, dataset in datasets.items()],
        "shared": [_shared(datasets, pair, groups) for pair in combinations(datasets, 2)],
    }


def _shared(datasets: Mapping[str, Dataset], pair: tuple[str, str], groups: Groups) -> dict[str, Any]:
    """Return the number of shared questions, and for each dataset the rows with a near-duplicate or the same question in the other."""
    first, second = (datasets[name] for name in pair)
    questions = set(_questions(first)) & set(_questions(second))
    of_first, of_second = _group_names(first, groups), _group_names(second, groups)
    near = [sum(name in others for name in names) for names, others in ((of_first, set(of_second)), (of_second, set(of_first)))]
    return {"between": pair, "questions": len(questions), "near_duplicate_rows": near}


def _questions(dataset: Dataset) -> list[str]:
    """Return the rows' normalized questions; a log may keep no texts, and rows without one repeat none."""
    return [text for query in dataset.queries if (text := normalized_text(query.text))]


def _group_names(dataset: Dataset, groups: Groups) -> list[str]:
    """Return the names of the rows' groups of near-duplicates, without rows that have no text."""
    return [name for name in groups.names(dataset) if name]


def _repeats(names: Sequence[str]) -> int:
    return len(names) - len(set(names))


def _facts(dataset: Dataset, groups: Groups) -> dict[str, Any]:
    labels = dataset.labels
    facts = {
        "rows": len(dataset),
        "duplicates": _repeats(_questions(dataset)),
        "near_duplicates": _repeats(_group_names(dataset, groups)),
        "categories": {} if labels.category is None else dict(sorted(Counter(labels.category.tolist()).items())),
        "comparisons": 0 if dataset.experience is None else sum(feedback.over is not None for feedback in dataset.experience.feedback),
        "cost_note": dataset.cost_note,
    }
    if dataset.outcomes is None or dataset.pool is None:
        return {**facts, "candidates": [{"name": name} for name in dataset.pool.names] if dataset.pool else []}
    return facts | _outcome_facts(dataset.outcomes, dataset.pool)


def _outcome_facts(outcomes: Outcomes, pool: Pool) -> dict[str, Any]:
    """Return each candidate's means, and the best candidate and the oracle on the rows without a missing cell."""
    missing = ~outcomes.known
    names = ("mean_quality", "mean_cost_usd", "mean_latency_ms")
    candidates = [
        {"name": name, **dict(zip(names, means, strict=True)), "missing_share": share}
        for name, means, share in zip(pool.names, outcomes.means.tolist(), missing.mean(axis=0).tolist(), strict=True)
    ]
    complete = outcomes.take(outcomes.complete)
    return {
        "candidates": candidates,
        "missing_share": float(missing.mean()),
        "complete_rows": len(complete.cost_usd),
        "best_single": _best_single(complete, pool) if len(complete.cost_usd) else None,
        "oracle": _oracle(complete) if len(complete.cost_usd) else None,
    }


def _best_single(outcomes: Outcomes, pool: Pool) -> dict[str, Any]:
    """Return the candidate with the maximum mean quality, the cheapest of ties."""
    means = outcomes.means
    best = np.lexsort((means[:, 1], -means[:, 0]))[0]
    return {"name": pool.names[best], "mean_quality": float(means[best, 0]), "mean_cost_usd": float(means[best, 1])}


def _oracle(outcomes: Outcomes) -> dict[str, float]:
    """Return the mean quality of the best answer to each question, and the mean cost of the cheapest best answer."""
    quality = outcomes.known_quality
    best = quality.max(axis=1)
    cost = np.where(quality == best[:, None], outcomes.cost_usd, np.inf).min(axis=1)
    return {"mean_quality": float(best.mean()), "mean_cost_usd": float(cost.mean())}


COLUMNS = (
    ("mean_quality", "quality", 1, ".3f"),
    ("mean_cost_usd", "USD / 1k", 1000, ".3g"),
    ("mean_latency_ms", "latency, ms", 1, ",.0f"),
    ("missing_share", "missing", 1, ".1%"),
)
"""Each column's figure, heading, factor and format."""


def print_summary(document: Mapping[str, Any]) -> None:
    """Print a result of :func:`summarize` to standard output."""
    output = console()
    for facts in document["datasets"]:
        if facts["candidates"]:
            print_table(_table(facts))
        for line in _lines(facts):
            output.print(line, highlight=False)
    for shared in document["shared"]:
        first, second = shared["between"]
        of_first, of_second = shared["near_duplicate_rows"]
        near = f"near-duplicates in the other: {quantity(of_first, 'row')} of the first, {quantity(of_second, 'row')} of the second"
        output.print(f"{first} and {second} share {quantity(shared['questions'], 'question')}; {near}", highlight=False)


def _table(facts: Mapping[str, Any]) -> Table:
    table = new_table(["candidate"], [heading for _, heading, _, _ in COLUMNS], title=facts["name"])
    extra = [{"name": "(oracle)", **facts["oracle"]}] if facts.get("oracle") else []
    best = (facts.get("best_single") or {}).get("name")
    for row in (*facts["candidates"], *extra):
        cells = [_cell(row.get(key), factor, form) for key, _, factor, form in COLUMNS]
        table.add_row(row["name"], *cells, style="bold" if row["name"] == best else None)
    return table


def _cell(value: float | None, factor: float, form: str) -> str:
    return "-" if value is None or math.isnan(value) else format(factor * value, form)


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    categories = quantity(len(facts["categories"]), "category", "categories")
    yield f"{facts['name']}: {quantity(facts['rows'], 'row')}, {categories}, {quantity(facts['duplicates'], 'repeated question')}"
    if facts["near_duplicates"] > facts["duplicates"]:
        yield f"{quantity(facts['near_duplicates'], 'near-duplicate')} of earlier rows, the repeated questions included"
    if facts["comparisons"]:
        yield f"{quantity(facts['comparisons'], 'comparison')} of two candidates"
    if "complete_rows" in facts:
        yield f"{facts['missing_share']:.1%} of the cells are missing; rows without any missing: {facts['complete_rows']:,}"
    best = facts.get("best_single")
    if best:
        yield f"best single candidate: {best['name']}, quality {best['mean_quality']:.3f}; the oracle's: {facts['oracle']['mean_quality']:.3f}"
    if facts["cost_note"]:
        yield f"costs: {facts['cost_note']}"
