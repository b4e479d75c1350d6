"""The configuration format of vLLM Semantic Router."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aamc_bandit.semantic_router.model_candidates import MODEL_SECTIONS, NOT_OF_A_CANDIDATE, read_candidates
from aamc_bandit.semantic_router.translation import Translation, learner, section_keys, translate
from aamc_sdk.config import EXPERIMENT_KEYS, SERVER_KEYS, SERVING_KEYS, load_yaml
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import ConfigFormat, ForeignSettings
from aamc_sdk.messages import file_errors

logger = logging.getLogger(__name__)
_POOL_OF_DATA = "an experiment takes its candidates from its data or --pool; MetaController.from_file takes them from the file"
_NO_CALLS = "deciding calls no model; aamc serve and aamc_bandit.arena.Arena take this option"
_OF_ARENA = "%s: %s: aamc serve and aamc_bandit.arena.Arena take these options; deciding alone calls no model"
_NO_EXPERIMENT = "it configures an experiment, and this is a controller"
_OWN_KEYS = (*SERVING_KEYS, *EXPERIMENT_KEYS)


class SemanticRouterFormat(ConfigFormat):
    """Reads files of vLLM Semantic Router: whole ones, and bare ``algorithm`` sections."""

    @classmethod
    def example(cls) -> Mapping[str, Any]:
        """Return a file of one decision between two models."""
        models = [{"name": "small", "pricing": {"prompt_per_1m": 0.5, "completion_per_1m": 0.5}}, {"name": "large"}]
        algorithm = {"type": "rl_driven", "rl_driven": {"exploration_rate": 0.1}}
        decision = {"name": "general", "modelRefs": [{"model": "small"}, {"model": "large"}], "algorithm": algorithm}
        return {"providers": {"models": models}, "routing": {"decisions": [decision]}}

    def recognizes(self, content: Mapping[str, Any]) -> bool:
        """Return whether a file's content has decisions, an algorithm or vLLM servers."""
        routing = content.get("routing")
        nested = isinstance(routing, Mapping) and "decisions" in routing
        return nested or not content.keys().isdisjoint(("decisions", "algorithm", "vllm_endpoints"))

    def experiment(self, content: Mapping[str, Any], path: Path, decision: str | None = None, router: str | None = None) -> Mapping[str, Any]:
        """Return the settings of an experiment with the file's router."""
        translation = _translate(path, content, decision)
        models = [f"decisions[{translation.decision}].modelRefs"] if translation.models else []
        models += [section for section, key in section_keys(content).items() if key in MODEL_SECTIONS]
        named = router not in (None, translation.router["name"])
        replaced = {"algorithm": f"the command line names another router, {router}"} if named else {}
        arena = dict.fromkeys(_arena_keys(translation), _NO_CALLS)
        _warn(path, {**translation.ignored, **dict.fromkeys(models, _POOL_OF_DATA), **arena, **replaced})
        if translation.difference and not named:
            logger.warning("%s: %s", path, translation.difference)
        return {key: value for key, value in content.items() if key in _OWN_KEYS} | {"router": dict(translation.router)}

    def serving(self, content: Mapping[str, Any], path: Path, decision: str | None = None) -> ForeignSettings:
        """Return the settings and candidates of a controller."""
        translation = _translate(path, content, decision)
        with file_errors(path):
            pool, ignored, prompt_prices = read_candidates(content, translation.models)
        router = dict(translation.router)
        if learner(router).get("blend") == "published":
            learner(router).update({"prompt_prices": {name: price for name, (_, price) in prompt_prices.items()}} if prompt_prices else {})
        else:
            ignored += [key for key, _ in prompt_prices.values()]
        experiment = dict.fromkeys((key for key in content if key in EXPERIMENT_KEYS), _NO_EXPERIMENT)
        _warn(path, {**translation.ignored, **dict.fromkeys(ignored, NOT_OF_A_CANDIDATE), **experiment})
        if translation.arena:
            logger.warning(_OF_ARENA, path, ", ".join(_arena_keys(translation)))
        if translation.difference:
            logger.warning("%s: %s", path, translation.difference)
        own = {key: content[key] for key in SERVING_KEYS if content.get(key) is not None}
        return ForeignSettings(own | {"router": router}, None if "pool" in own else pool)


def read_arena(path: str | Path) -> dict[str, Any] | None:
    """Return the arena options of a file's ``type: concurrent`` algorithm; None for any other algorithm.

    Args:
        path: The file; its first decision that learns counts.

    Raises:
        ConfigError: The file cannot be used.
    """
    path = Path(path)
    content = load_yaml(path)
    arena = _translate(path, content, None).arena if SemanticRouterFormat().recognizes(content) else None
    return None if arena is None else dict(arena)


def _translate(path: Path, content: Mapping[str, Any], decision: str | None) -> Translation:
    if "router" in content:
        raise ConfigError(f"{path} has both a router and the algorithm of another one; keep one of them")
    with file_errors(path):
        return translate({key: value for key, value in content.items() if key not in (*_OWN_KEYS, *SERVER_KEYS)}, decision)


def _arena_keys(translation: Translation) -> list[str]:
    return [f"algorithm.concurrent.{key}" for key in translation.arena or ()]


def _warn(path: Path, ignored: Mapping[str, str]) -> None:
    """Log the ignored keys, one warning per reason."""
    by_reason: dict[str, list[str]] = {}
    for key, reason in ignored.items():
        by_reason.setdefault(reason, []).append(key)
    for reason, keys in by_reason.items():
        logger.warning("%s: without effect: %s (%s)", path, ", ".join(keys), reason)
