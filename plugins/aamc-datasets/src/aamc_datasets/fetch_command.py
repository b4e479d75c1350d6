"""Command ``aamc data fetch``."""

from __future__ import annotations

from pathlib import Path

import click

from aamc_datasets.downloads import HOST, fetch
from aamc_sdk.cli import JSON
from aamc_sdk.storage import to_json


@click.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for NAME/SPLIT.jsonl and checksums.json.")
@click.option("--split", "splits", multiple=True, metavar="NAME", help="Split to download, such as train; may be repeated (default: all).")
@click.option("--host", default=HOST, metavar="URL", help="Base address of the files, for a mirror (default: FlashRAG's on Hugging Face).")
@JSON
def fetch_datasets(names: tuple[str, ...], out: Path, splits: tuple[str, ...], host: str, as_json: bool) -> None:
    """Download datasets: nq, hotpotqa, triviaqa, popqa, 2wiki, musique, bamboogle. Later aamc data and aamc train read them, as nq:FILE.

    Checksums are recorded at the first download and compared from then on. An interrupted download continues where it stopped.

    Example: aamc data fetch nq hotpotqa --out data/questions
    """
    files = fetch(names, out, splits=splits, host=host)
    if as_json:
        rows = [{"file": found.file, "sha256": found.sha256, "bytes": found.bytes, "new": found.new} for found in files]
        click.echo(to_json({"schema": 1, "out": out, "files": rows}))
        return
    for found in files:
        click.echo(f"{found.file}: {found.bytes:,} bytes, {'fetched' if found.new else 'already there'}", err=True)
    click.echo(f"use with --dataset {names[0]}:{files[0].file}", err=True)
