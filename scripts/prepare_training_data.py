r"""Write training records of Router-R1 from downloaded questions: 7,000 of each dataset, as in the paper.

    aamc data fetch nq hotpotqa --split train --out data/questions
    python scripts/prepare_training_data.py nq:data/questions/nq/train.jsonl hotpotqa:data/questions/hotpotqa/train.jsonl \
        --pool pool.yaml --out data/router_r1.jsonl

The records name the pool's models with their costs and latencies. They have an optimal model, and so a demonstration for the warm start, where
``--outcomes`` knows the question: the cheapest model whose measured quality is at least 0.5.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from aamc_router_r1.questions import golds_of

from aamc_sdk import Dataset, get_plugin_manager
from aamc_sdk.config import ServingSettings
from aamc_sdk.errors import AamcError, DataError
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import default_pool, find_pool
from aamc_sdk.serving import make_services
from aamc_sdk.storage import write_text
from aamc_sdk.types import Pool

RIGHT = 0.5
"""Measured quality from which an answer counts as right."""


def read(named: str, plugins: Plugins) -> Dataset:
    """Return the dataset ``FORMAT:PATH``."""
    name, _, path = named.partition(":")
    services = make_services(default_pool(), plugins, ServingSettings(preset="full", seed=0))
    found = plugins.make("dataset", name, services, {}).read(path)
    if not isinstance(found, Dataset):
        raise DataError(f"{named} has splits; name the file of one of them")
    return found


def described(pool: Pool) -> list[dict[str, Any]]:
    """Return the pool's models as records list them.

    Raises:
        DataError: A model has no price or no latency.
    """
    models = []
    for spec in pool:
        if spec.prices is None or spec.latency is None:
            raise DataError(
                f"{spec.name!r} needs prices and a latency in the pool file; add them, such as latency: {{network_ms: 50, service_ms: 700}}"
            )
        about = {"description": spec.description} if spec.description else {}
        prices = {"input": spec.prices.input, "output": spec.prices.output}
        models.append({"name": spec.name, "cost": spec.prices.output, "prices": prices, "latency": spec.latency.total_ms / 1000, **about})
    return models


def optimal(outcomes: Dataset | None, pool: Pool) -> Mapping[str, str]:
    """Return the cheapest model that answers each measured question right."""
    if outcomes is None or outcomes.outcomes is None or outcomes.outcomes.quality is None:
        return {}
    costs = {spec.name: spec.prices.output for spec in pool if spec.prices is not None}
    measured = pool if outcomes.pool is None else outcomes.pool
    columns = {name: place for place, name in enumerate(measured.names) if name in pool.names}
    best = {}
    for query, quality in zip(outcomes.queries, outcomes.outcomes.quality, strict=True):
        if right := [name for name, place in columns.items() if quality[place] >= RIGHT]:
            best[query.text.strip()] = min(right, key=costs.__getitem__)
    return best


def records(dataset: Dataset, models: list[dict[str, Any]], best: Mapping[str, str], n: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the records of up to ``n`` questions."""
    golds = golds_of(dataset)
    for row in np.sort(np.random.default_rng(seed).permutation(len(dataset))[:n]):
        question = dataset.queries[row].text.strip()
        labels = dataset.labels
        kind = "" if labels is None or labels.category is None else str(labels.category[row])
        record = {"query": question, "query_type": kind, "candidate_models": models, "ground_truth": list(golds[row])}
        if name := best.get(question):
            record |= {"optimal_model": name, "reasoning": f"{name} is the cheapest model that answers such a question."}
        yield record


@click.command()
@click.argument("datasets", nargs=-1, required=True, metavar="FORMAT:PATH...")
@click.option("--pool", "pool_file", required=True, help="Pool file with the models to consult, with prices and latencies.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File of records to write, in JSON lines.")
@click.option("--outcomes", metavar="FORMAT:PATH", help="Measured outcomes of the questions, such as outcomes:DIR, for optimal models.")
@click.option("--rows", type=click.IntRange(min=1), default=7000, show_default=True, help="Questions of each dataset.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the choice of questions.")
def main(datasets: tuple[str, ...], pool_file: str, out: Path, outcomes: str | None, rows: int, seed: int) -> None:
    """Write training records of Router-R1 from questions with answers."""
    plugins = get_plugin_manager()
    try:
        pool = find_pool(pool_file, plugins)
        models, best = described(pool), optimal(read(outcomes, plugins) if outcomes else None, pool)
        found = [record for named in datasets for record in records(read(named, plugins), models, best, rows, seed)]
        write_text(out, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in found))
    except AamcError as error:
        sys.exit(f"error: {error}")
    shown = sum("optimal_model" in record for record in found)
    click.echo(f"wrote {len(found)} records to {out}, {shown} with an optimal model; use with --dataset router-r1:{out}", err=True)


if __name__ == "__main__":
    main()
