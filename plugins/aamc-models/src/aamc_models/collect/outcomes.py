"""The result of a collection: rows of the format ``outcomes``, and figures by candidate."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aamc_models.collect.collector import Collector
from aamc_models.collect.ledger import ANSWER, LOST, VERDICT, CallLedger, LedgerEntry
from aamc_models.collect.prompts import Prompt
from aamc_sdk.errors import OutputError
from aamc_sdk.messages import one_of, read_errors
from aamc_sdk.routing import pool_to_dict, read_pool
from aamc_sdk.storage import to_json, write_text, write_yaml
from aamc_sdk.types import Pool, wilson_interval

POOL_FILE = "pool.yaml"
"""The file next to the outcomes with the candidates' prices, descriptions and endpoints, which ``aamc run`` reads too."""


def outcome_rows(prompts: Sequence[Prompt], collector: Collector) -> list[dict[str, Any]]:
    """Return a row for each prompt that was judged; a candidate whose call failed has an unknown quality, or 0 where the plan counts failures."""
    rows, plan, counted = [], collector.plan, _counted_failures(collector)
    for prompt in prompts:
        answers, qualities = collector.answers.get(prompt.text, {}), collector.qualities.get(prompt.text, {})
        unanswered = [plan.key(ANSWER, candidate, prompt.text) for candidate in plan.candidates if candidate.name not in answers]
        failures = [counted[key] for key in unanswered if key in counted]
        if not (qualities if answers else failures):
            continue
        category = prompt.row.get("category")
        known = {"category": category if isinstance(category, str) else None, "reference": prompt.answers[0] if prompt.answers else None}
        cells = {name: _cell(answers.get(name), qualities.get(name)) for name in plan.pool.names}
        for failure in failures:
            cells[failure.candidate] = {"quality": 0.0, "cost_usd": failure.charged_usd, "latency_ms": failure.latency_ms}
        rows.append({"query": prompt.text, **{key: value for key, value in known.items() if value is not None}, "outcomes": cells})
    return rows


def _counted_failures(collector: Collector) -> dict[str, LedgerEntry]:
    """Return the first failed call under each key, if it counts.

    Those of a model that gets no more calls do not, unless it answered another prompt later: then it was not the model that was down.
    """
    entries = collector.ledger.entries if collector.plan.count_failures else []
    places = list(enumerate(entries))  # times would depend on a clock that may have been set between two starts
    answered = {entry.candidate: place for place, entry in places if entry.status == "ok"}
    failed = {entry.key: (place, entry) for place, entry in reversed(places) if entry.status == "error"}
    down = {name: answered.get(name, -1) for name in collector.given_up}
    return {key: entry for key, (place, entry) in failed.items() if place < down.get(entry.candidate, math.inf)}


def _cell(entry: LedgerEntry | None, quality: float | None) -> dict[str, Any]:
    if entry is None:
        return {"quality": None}
    figures = {
        "quality": quality,
        "cost_usd": None if math.isnan(entry.cost_usd) else entry.cost_usd,
        "latency_ms": entry.latency_ms,
        "prompt_tokens": entry.prompt_tokens,
        "output_tokens": entry.output_tokens,
        "response": entry.text,
    }
    return {key: value for key, value in figures.items() if value is not None or key == "quality"}


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], pool: Pool) -> None:
    """Write the outcomes, and the pool next to them unless it is there; each whole or not at all."""
    pool_file = path.parent / POOL_FILE
    if not pool_file.exists():
        write_yaml(pool_file, pool_to_dict(pool))
    write_text(path, "".join(to_json(row) + "\n" for row in rows))


def check_place(path: Path, ledger: Path, pool: Pool) -> Path | None:
    """Check, before the first call, that the result can be written and read.

    Returns:
        The pool file next to the outcomes, which stays, if it differs from the pool that is asked; else None.

    Raises:
        OutputError: The file is another one's, or a pool of other candidates lies next to it.
    """
    if path.suffix != ".jsonl":
        raise OutputError(f"outcomes are JSON lines; name a file that ends in .jsonl with --out, not {path.name!r}")
    if path.exists() and not ledger.exists():
        raise OutputError(f"{path} exists, and no collection made it (there is no {ledger}); choose another file with --out")
    pool_file = path.parent / POOL_FILE
    if not pool_file.exists():
        return None
    kept = read_pool(pool_file)
    if set(kept.names) != set(pool.names):
        own = "delete it, and it is written again, or change its candidates"  # in another folder, no answer would be known
        how = own if ledger.exists() else "name another folder with --out"
        raise OutputError(f"{pool_file} is read with the outcomes, but its candidates are not those asked ({one_of(pool.names)}); {how}")
    return pool_file if pool_to_dict(kept) != pool_to_dict(pool) else None


def other_rows(path: Path, prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """Return the rows of an earlier result whose prompts are not among these."""
    if not path.exists():
        return []
    texts = {prompt.text for prompt in prompts}
    with read_errors(path, "choose another file with --out", ValueError, KeyError, TypeError):
        return [row for row in map(json.loads, path.read_bytes().splitlines()) if row["query"] not in texts]


def figures(rows: Sequence[Mapping[str, Any]], collector: Collector) -> dict[str, dict[str, Any]]:
    """Return each candidate's figures: judged answers, mean quality with its 95% interval, cost and latency, failed and cut answers."""
    found = {}
    for name in collector.plan.pool.names:
        cells = [row["outcomes"][name] for row in rows]
        qualities = [cell["quality"] for cell in cells if cell["quality"] is not None]
        entries = [answers[name] for answers in collector.answers.values() if name in answers]
        mean = sum(qualities) / len(qualities) if qualities else math.nan
        found[name] = {
            "n": len(qualities),
            "quality": mean,
            "quality_ci95": wilson_interval(mean, len(qualities)),
            "mean_cost_usd": _mean([entry.cost_usd for entry in entries]),
            "mean_latency_ms": _mean([entry.latency_ms for entry in entries]),
            "mean_output_tokens": _mean([float(entry.output_tokens) for entry in entries if entry.output_tokens is not None]),
            "failed": collector.failed[name],
            "cut": sum(entry.finish_reason in ("length", "max_tokens") for entry in entries),
        }
    return found


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def costs(ledger: CallLedger) -> dict[str, float]:
    """Return the costs of a ledger's calls in USD.

    ``answers`` and ``judge`` are those of whole answers and verdicts, ``failed`` those of failed and cancelled calls. ``unknown`` counts the calls of
    unknown cost: answers and verdicts without usage, and failed calls that the server may bill; ``lost`` those under way when the process was killed.
    ``charged`` is what counts against the budget: calls of unknown cost at their maximum.
    """

    def total(kind: str | None, *, ok: bool) -> float:
        chosen = (entry for entry in ledger.entries if kind in (None, entry.kind) and (entry.status == "ok") == ok)
        return sum(entry.cost_usd for entry in chosen if not math.isnan(entry.cost_usd))

    ended = [entry for entry in ledger.entries if entry.status != LOST]
    return {
        "answers": total(ANSWER, ok=True),
        "judge": total(VERDICT, ok=True),
        "failed": total(None, ok=False),
        "unknown": sum(math.isnan(entry.cost_usd) and (entry.status == "ok" or entry.charged_usd > 0) for entry in ended),
        "lost": len(ledger.entries) - len(ended),
        "charged": sum(entry.charged_usd for entry in ledger.entries),
    }
