"""Judges: they score the answers to a prompt from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable

from aamc_models.collect.judges.interface import Ask, Judge
from aamc_models.collect.judges.model_judge import BEST, PAIRWISE, RubricJudge
from aamc_models.collect.judges.programs import FunctionJudge, ProgramTestsJudge
from aamc_models.collect.judges.references import ExactJudge, NumericJudge
from aamc_sdk.errors import ConfigError
from aamc_sdk.messages import nearest
from aamc_sdk.types import Pool

__all__ = ["Ask", "Judge", "RubricJudge", "make_judge"]

FORMS = "exact, numeric, tests, python:MODULE:FUNCTION, model:CANDIDATE, model:CANDIDATE,best=CANDIDATE or model:CANDIDATE,pairwise"
_SIMPLE: dict[str, Callable[[], Judge]] = {"exact": ExactJudge, "numeric": NumericJudge, "tests": ProgramTestsJudge}


def make_judge(spec: str, pool: Pool, asked: Pool) -> Judge:
    """Return the judge of a specification of ``FORMS``, whose model is in the pool, for the candidates that are asked.

    Raises:
        ConfigError: The specification is unknown, or something that it needs is missing.
        PoolError: The pool has no such candidate.
    """
    kind, colon, rest = spec.partition(":")
    if not colon and kind in _SIMPLE:
        return _SIMPLE[kind]()
    if kind == "python" and colon:
        return FunctionJudge(rest)
    if kind == "model" and colon:
        return _model_judge(spec, rest, pool, asked)
    raise ConfigError(f"--judge must be {FORMS}, not {spec!r}{nearest(kind, [*_SIMPLE, 'python', 'model'])}")


def _model_judge(spec: str, rest: str, pool: Pool, asked: Pool) -> Judge:
    name, _, how = rest.partition(",")
    pool.index(name)
    mode, _, best = how.partition("=")
    if mode not in ("", BEST, PAIRWISE) or bool(best) != (mode == BEST):
        raise ConfigError(f"--judge must be {FORMS}, not {spec!r}")
    if mode == PAIRWISE and len(asked) < 2:
        raise ConfigError(f"--judge {spec} compares the answers of at least two candidates, not of {len(asked)}; ask more, or leave out ,{PAIRWISE}")
    if best:
        asked.index(best)
    return RubricJudge(name, mode or BEST, best or _most_expensive(asked))


def _most_expensive(pool: Pool) -> str:
    """Return the candidate with the highest price of an answer; the last one if no price is known."""
    priced = [(candidate.prices.output, candidate.name) for candidate in pool if candidate.prices is not None]
    return max(priced)[1] if priced else pool.names[-1]
