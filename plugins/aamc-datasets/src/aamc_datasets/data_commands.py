"""Commands ``aamc data generate``, ``inspect`` and ``convert``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from aamc_experiments.data import read_dataset
from aamc_experiments.settings import Source, read_settings

from aamc_datasets.outcomes.outcomes_format import POOL_FILE, ROWS_FILE, write_outcomes
from aamc_datasets.summary import print_summary, summarize
from aamc_datasets.synthetic.synthetic_format import FILES, MAX_TEXTS, check_shares, compose_splits, write_labelled
from aamc_sdk import Dataset
from aamc_sdk.cli import JSON, plugins_of
from aamc_sdk.config import describe_options, set_option
from aamc_sdk.errors import ConfigError, OutputError, quantity
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import default_pool
from aamc_sdk.serving import make_services
from aamc_sdk.storage import to_json

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
        click.echo(to_json({"schema": 1, "out": out, "seed": seed, "rows": files}))
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
        click.echo(to_json(document))
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
    splits = _read(plugins_of(ctx), dataset, _options(assignments), strict)
    _refuse_to_overwrite(folder / split / name for split in splits for name in (ROWS_FILE, POOL_FILE))
    for split, rows in splits.items():
        write_outcomes(rows, folder / split)
    count = sum(map(len, splits.values()))
    if as_json:
        click.echo(to_json({"schema": 1, "from": dataset, "to": folder, "rows": count}))
    else:
        uses = " ".join(f"--dataset outcomes:{folder / split}" for split in splits)
        click.echo(f"wrote {quantity(count, 'row')} to {folder}; use with {uses}", err=True)


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
