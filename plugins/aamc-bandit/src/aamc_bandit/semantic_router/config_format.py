"""The configuration format of vLLM Semantic Router, and what its keys mean here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aamc_bandit.semantic_router.candidates import NOT_A_CANDIDATES, SECTIONS, candidates
from aamc_bandit.semantic_router.translation import Translation, Unused, is_semantic_router, sections, translate
from aamc_sdk.config import EXPERIMENT_KEYS, SERVING_KEYS, load_yaml
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import ConfigFormat, ForeignSettings

logger = logging.getLogger(__name__)
_DATA_DECIDES = "an experiment's candidates are those of its data, or of --pool; MetaController.from_file takes the file's"
_NO_CALLS = "deciding calls no model; aamc_bandit.arena.Arena takes it"
_NO_EXPERIMENT = "it is about experiments, and a controller is none"
_OURS = (*SERVING_KEYS, *EXPERIMENT_KEYS)


class SemanticRouterFormat(ConfigFormat):
    """Reads files of vLLM Semantic Router: whole ones, and bare ``algorithm`` sections."""

    def recognizes(self, content: Mapping[str, Any]) -> bool:
        """Return whether a file's content has decisions or an algorithm."""
        return is_semantic_router(content)

    def experiment(self, content: Mapping[str, Any], path: Path, decision: str | None = None, router: str | None = None) -> Mapping[str, Any]:
        """Return the settings of an experiment with the file's router."""
        translation = _translate(path, content, decision)
        models = [f"decisions[{translation.decision}].modelRefs"] if translation.models else []
        models += [place for place, key in sections(content).items() if key in SECTIONS]
        replaced = [] if router in (None, translation.router["name"]) else [Unused("algorithm", f"the command line names another router, {router}")]
        _report(path, (*translation.unused, *(Unused(key, _DATA_DECIDES) for key in models), *_calls(translation), *replaced))
        return {key: value for key, value in content.items() if key in _OURS} | {"router": dict(translation.router)}

    def serving(self, content: Mapping[str, Any], path: Path, decision: str | None = None) -> ForeignSettings:
        """Return the settings and candidates of a controller."""
        translation = _translate(path, content, decision)
        pool, unused = candidates(content, translation.models)
        idle = [Unused(key, _NO_EXPERIMENT) for key in content if key in EXPERIMENT_KEYS]
        _report(path, (*translation.unused, *(Unused(key, NOT_A_CANDIDATES) for key in unused), *_calls(translation), *idle))
        named = {key: content[key] for key in SERVING_KEYS if content.get(key) is not None}
        return ForeignSettings(named | {"router": dict(translation.router)}, None if "pool" in named else pool)


def read_arena(path: str | Path, decision: str | None = None) -> dict[str, Any] | None:
    """Return the options of the arena mode that a file asks for with ``type: concurrent``; None if it asks for another.

    Args:
        path: The file.
        decision: The name of the decision whose algorithm counts; the first that learns when None.

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


def _calls(translation: Translation) -> list[Unused]:
    return [Unused(f"algorithm.concurrent.{key}", _NO_CALLS) for key in translation.arena or ()]


def _report(path: Path, unused: Iterable[Unused]) -> None:
    """Tell the keys without effect, in a line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for key in unused:
        by_reason.setdefault(key.why, []).append(key.path)
    for why, keys in by_reason.items():
        logger.warning("%s: without effect: %s (%s)", path, ", ".join(keys), why)
