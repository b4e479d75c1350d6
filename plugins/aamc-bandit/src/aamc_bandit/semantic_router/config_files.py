"""Configuration files: our own, and those of vLLM Semantic Router, which are read as what they mean here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk.config import load_yaml
from aamc_sdk.errors import ConfigError
from aamc_sdk.semantic_router import Translation, Unused, is_semantic_router, sections, translate
from aamc_sdk.semantic_router_models import NOT_A_CANDIDATES, SECTIONS, candidates
from aamc_sdk.settings import Given, read_settings

logger = logging.getLogger(__name__)
_OURS = tuple(field.name for field in attrs.fields(Given))
_DATA_DECIDES = "an experiment's candidates are those of its data, or of --pool; MetaController.from_file takes the file's"
_NO_CALLS = "deciding calls no model; aamc_bandit.arena.Arena takes it"
_NO_EXPERIMENT = "it is about experiments, and a controller is none"
_PARTS = ("router", "estimator", "pool", "reward", "preference", "seed")


def of_experiment(content: dict[str, Any], path: Path, decision: str | None = None, router: str | None = None) -> dict[str, Any]:
    """Return what a file says of an experiment; keys of another's file that say nothing of one are reported by name.

    Args:
        content: What the file holds.
        path: How messages name it.
        decision: Of several decisions of a file of vLLM Semantic Router, whose algorithm to take.
        router: The router that takes the place of the file's, if any.

    Raises:
        ConfigError: It cannot be used.
    """
    if not is_semantic_router(content):
        return content
    translation = _translate(path, content, decision)
    models = [f"decisions[{translation.decision}].modelRefs"] if translation.models else []
    models += [place for place, key in sections(content).items() if key in SECTIONS]
    replaced = [] if router in (None, translation.router["name"]) else [Unused("algorithm", f"the command line names another router, {router}")]
    _report(path, (*translation.unused, *(Unused(key, _DATA_DECIDES) for key in models), *_calls(translation), *replaced))
    return {key: value for key, value in content.items() if key in _OURS} | {"router": dict(translation.router)}


def read_parts(path: str | Path, decision: str | None = None) -> dict[str, Any]:
    """Return what a file says of a controller: arguments of :meth:`aamc_sdk.MetaController.build`.

    Args:
        path: The file.
        decision: As for :func:`of_experiment`.

    Raises:
        ConfigError: The file cannot be used, or names no router.
    """
    path = Path(path)
    content = load_yaml(path)
    idle = [Unused(key, _NO_EXPERIMENT) for key in content if key in _OURS and key not in _PARTS]
    if not is_semantic_router(content):
        if "router" not in content:
            raise ConfigError(f"{path} names no router, which a controller needs; write one into it, such as router: thompson")
        read_settings(content)  # what an experiment would refuse is no better here
        _report(path, idle)
        return _parts(content)
    translation = _translate(path, content, decision)
    pool, unused = candidates(content, translation.models)
    _report(path, (*translation.unused, *(Unused(key, NOT_A_CANDIDATES) for key in unused), *_calls(translation), *idle))
    return ({} if pool is None else {"pool": pool}) | _parts(content) | {"router": dict(translation.router)}


def read_arena(path: str | Path, decision: str | None = None) -> dict[str, Any] | None:
    """Return the options of the arena mode that a file asks for with ``type: concurrent``, or None.

    Args:
        path: The file.
        decision: As for :func:`of_experiment`.

    Raises:
        ConfigError: The file cannot be used.
    """
    path = Path(path)
    content = load_yaml(path)
    arena = _translate(path, content, decision).arena if is_semantic_router(content) else None
    return None if arena is None else dict(arena)


def _translate(path: Path, content: Mapping[str, Any], decision: str | None) -> Translation:
    if "router" in content:
        raise ConfigError(f"{path} names a router and has the algorithm of another; keep one of them")
    try:
        return translate({key: value for key, value in content.items() if key not in _OURS}, decision)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _parts(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: content[name] for name in _PARTS if content.get(name) is not None}


def _calls(translation: Translation) -> list[Unused]:
    return [Unused(f"algorithm.concurrent.{key}", _NO_CALLS) for key in translation.arena or ()]


def _report(path: Path, unused: Iterable[Unused]) -> None:
    """Tell the keys without effect, in a line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for key in unused:
        by_reason.setdefault(key.why, []).append(key.path)
    for why, keys in by_reason.items():
        logger.warning("%s: without effect: %s (%s)", path, ", ".join(keys), why)
