"""The report of a run: its figures and its page, which begins with the run's router compared with choosing one model for every query."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
from aamc_experiments.evaluation import known_interval, ratio, two_way

from aamc_report.formats import listed, percent
from aamc_report.page import Page, render_page
from aamc_report.result_files import read_results
from aamc_report.results import Results
from aamc_report.sections import DRAWINGS, sections
from aamc_report.sections.comparison import facts
from aamc_report.sections.disputes import find_texts, shown_disputes
from aamc_report.style import without_font
from aamc_sdk.storage import path_inside, write_bytes, write_text
from aamc_sdk.types import Floats

logger = logging.getLogger(__name__)


def write_report(folder: Path, page: Path | None = None, *, texts: bool = True) -> Path:
    """Write the page of a run and ``figures/*.png``, each file whole or not at all, and return the page's path.

    Args:
        folder: The run's folder.
        page: The page's path, which alone is written then; ``report.html`` and the figures in the folder when None.
        texts: Whether the page shows texts of questions, which are read from the run's data again.

    Raises:
        CheckpointError: The folder is not a run, or one of its files is missing or damaged.
        OutputError: A file cannot be written, or a link leads out of the folder.
    """
    results = read_results(folder)
    pictures = [picture for drawing in DRAWINGS if (picture := drawing.picture(results)) is not None]
    wanted = {question.sha256 for question in shown_disputes(results)} if texts else set()
    found = find_texts(results.run, wanted) if wanted else {}
    for picture in pictures if page is None else ():
        write_bytes(path_inside(folder, "figures", f"{picture.name}.png"), picture.png)
    if page is None and (letters := without_font("".join((*results.routers, *results.decisions.candidates, *results.decisions.category)))):
        logger.warning("the PNG figures show boxes for %.40s: no installed font that they use has these letters; report.html shows them", letters)
    path = path_inside(folder, "report.html") if page is None else page
    content = Page(
        kind="AAMC routing report",
        title=title(results),
        summary=summary(results),
        facts=facts(results),
        sections=sections(results, {picture.name: picture for picture in pictures}, found),
        configuration={"The run's complete configuration (run.yaml)": results.configuration},
    )
    write_text(path, render_page(content))
    return path


def title(results: Results) -> str:
    """Return a page's title: the router, the name of the data, and the date."""
    source = str(results.data.get("source") or "")
    return f"{results.headline}{f' on {PurePath(source).name}' if source else ''}, {results.date}"


RIVALS = ("llm-only", "best-single")
"""The baselines of the summary."""


def summary(results: Results) -> str:
    """Return the headline's success, its differences to each rival, and the promotion gate's result, in sentences.

    Empty if neither a rival nor a gate is known.
    """
    candidates = results.decisions.candidates.tolist()
    if len(candidates) == 1:
        return f"There is nothing to choose: {candidates[0]} is the only candidate, and every router gives the queries to it."
    sentences = [_compared(results, rivals) for rivals in _rivals(results)]
    if sentences:
        sentences.append("In brackets: 95% intervals, on the same queries.")
    passed = {} if results.gate is None else results.gate.passed
    if results.headline in passed:
        sentences.append(f"It {'passes' if passed[results.headline] else 'does not pass'} the promotion gate.")
    success = f"{results.headline} succeeds on {percent(_means(results, results.headline)[0][0, 0])} of the queries."
    return " ".join((success, *sentences)) if sentences else ""


def _rivals(results: Results) -> list[list[str]]:
    """Return the rivals that were compared; rivals that chose the same model for every query are one."""
    by_model: dict[str | None, list[str]] = {}
    for rival in RIVALS:
        if rival in results.routers and rival != results.headline:
            by_model.setdefault(results.only_candidate(rival), []).append(rival)
    return list(by_model.values())


def _compared(results: Results, rivals: Sequence[str]) -> str:
    """Return the headline's differences to equal rivals as a sentence; cost and latency relative to theirs."""
    pairs = list(zip(*(_means(results, router) for router in (results.headline, rivals[0])), strict=True))
    changes = [ratio(ours - theirs, theirs) for ours, theirs in pairs]
    parts = [f"success {_signed([ours[:, 0] - theirs[:, 0] for ours, theirs in pairs], ' points')}"]
    parts += [
        f"{noun} {_signed([each[:, n] for each in changes], '%')}" for n, noun in ((1, "cost"), (2, "latency")) if np.isfinite(changes[0][0, n])
    ]
    model = results.only_candidate(rivals[0])
    return f"Compared with {listed(rivals)}{'' if model is None else f' ({model})'}: {', '.join(parts)}."


def _means(results: Results, router: str) -> list[Floats]:
    """Return mean success, cost and latency at the preference: on the data, then on B resamples, ``[1 + B, 3]`` of each unit."""
    values = results.decisions.success_cost_latency(results.position_of(router), results.run.settings.evaluation.success_threshold)
    return [resampling.with_data().means(values) for resampling in results.resamplings]


def _signed(shares: Sequence[Floats], unit: str) -> str:
    """Return the first of ``[1 + B]`` shares in per cent, with the interval of their resamples of each unit."""
    ends = two_way([known_interval(each[1:]) for each in shares])
    value, *interval = (f"{round(100 * share, 1) + 0.0:+.1f}" for share in (shares[0][0], *(ends or ())))  # without -0.0
    return f"{value}{unit} ({' to '.join(interval)})" if interval else f"{value}{unit}"
