"""Command ``aamc data generate``: a synthetic dataset as files."""

from __future__ import annotations

from pathlib import Path

import click

from aamc_datasets.labelled_csv import write_labelled
from aamc_datasets.synthetic import FILES, MOST
from aamc_datasets.synthetic import generate as compose
from aamc_sdk.files import to_json

_SIZE = click.IntRange(min=1, max=MOST)


@click.command("generate", short_help="Write a synthetic dataset.")
@click.option("--n-train", type=_SIZE, default=10_000, show_default=True, help="Training texts.")
@click.option("--n-val", type=_SIZE, default=2_000, show_default=True, help="Validation texts.")
@click.option("--n-test", type=_SIZE, default=2_000, show_default=True, help="Test texts.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for train.csv, val.csv and test.csv.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed gives the same texts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def generate(n_train: int, n_val: int, n_test: int, out: Path, seed: int, as_json: bool) -> None:
    """Write labelled texts of eight categories as train.csv, val.csv and test.csv.

    Columns: text, complexity (0 to 1), category, tool_use (0 or 1). No text stands twice or in two files.
    """
    splits = compose({"train": n_train, "validation": n_val, "test": n_test}, seed)
    for split, dataset in splits.items():
        write_labelled(out / FILES[split], dataset)
    if as_json:
        files = {FILES[split]: len(dataset) for split, dataset in splits.items()}
        click.echo(to_json({"schema": 1, "out": out, "seed": seed, "rows": files}))
    else:
        click.echo(f"wrote {n_train} training, {n_val} validation and {n_test} test texts to {out}", err=True)
