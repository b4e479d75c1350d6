"""Translates configurations of vLLM Semantic Router (https://github.com/vllm-project/semantic-router).

A learning algorithm becomes a router and its options. Every other key is reported with the reason why it has no effect.
Input is a whole file, with ``decisions`` at the top or in ``routing``, or a bare ``algorithm``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from aamc_bandit.linear_utility import DEFAULT_COST_WEIGHT, NEAR_TIE
from aamc_bandit.semantic_router.model_candidates import MODEL_SECTIONS, mapping_of
from aamc_sdk.config import configure
from aamc_sdk.errors import ConfigError
from aamc_sdk.messages import nearest, one_of, unknown_name

LEARNING = ("rl_driven", "thompson", "concurrent")
"""The algorithms that learn from feedback; each has its options in a section of its own name."""
OTHERS = (
    *("automix", "bandit", "confidence", "elo", "fusion", "gmtrouter", "hybrid", "kmeans", "knn", "latency_aware", "mlp", "multi_factor"),
    *("personalization", "prompt", "ratings", "remom", "router_dc", "router_r1", "session_aware", "static", "svm", "workflows"),
)
"""The other algorithms: those that do not learn from feedback, or are not bandits."""
ROUTER_R1 = {
    **dict.fromkeys(("use_router_r1_rewards", "cost_reward_alpha"), "without use_router_r1_rewards: true, the reward is quality alone"),
    "format_reward_penalty": "only training judges the form of a policy's answers, with the option orchestrator.format_penalty",
    "model_cost_per_token": "the candidates' prices give the costs",
    **dict.fromkeys(("router_r1_server_url", "llm_routing_fallback"), "this router decides from feedback and asks no model"),
    **dict.fromkeys(("enable_multi_round_aggregation", "max_aggregation_rounds"), "one candidate answers in one round"),
}
"""Keys of ``rl_driven`` for Router-R1, which asks a model to choose, and the reasons why they have no effect on a bandit."""
LLM_ROUTER = "router-r1"
"""The router that asks a model, of aamc-router-r1; the algorithm's own router is its fallback."""
OF_REWARDS = ("use_router_r1_rewards", "cost_reward_alpha")
OF_LLM_ROUTER = ("enable_llm_routing", "router_r1_server_url", "llm_routing_fallback", "router_model_path", *OF_REWARDS)
"""Keys of ``rl_driven`` that are options of ``router-r1``; ``OF_REWARDS`` are those of one that asks no model."""
AS_UPSTREAM = {"blend": "linear", "discount": 1.0, "shared_sessions": True, "failure_quality": None}
"""Our options whose defaults differ from the algorithm of vLLM Semantic Router: evidence never ages, sessions are known by their ids
alone, and failed calls teach nothing."""
_BY_RULES = "no rules sort requests into decisions; an estimator's categories replace them"
_REASONS = {
    **dict.fromkeys(("rules", "triggers", "priority", "tier", "signals", "projections", "strategy"), _BY_RULES),
    "categories": "only the model_scores of categories are read",
    **dict.fromkeys(("description", "annotations", "version"), "it is documentation"),
    "plugins": "caches, guards and prompts are not the router's task",
    "recipes": "only the file's own decisions are read",
}
_OTHER_DECISION = "only decision {!r} is used; use another with --set decision=NAME or from_file(decision=NAME)"


@attrs.frozen(kw_only=True)
class Translation:
    """The router of a configuration.

    Attributes:
        router: The router's ``name`` and options.
        arena: Options of the arena mode, in which several candidates answer at once; None without ``type: concurrent``.
        decision: The name of the decision with this algorithm; ``""`` for a bare algorithm.
        models: The decision's ``modelRefs``, each a mapping with a ``model``.
        difference: How the router's decisions differ from those of vLLM Semantic Router, in a sentence; ``""`` if they do not.
        ignored: The paths of the keys without effect, except those about models, with the reasons.
    """

    router: Mapping[str, Any]
    arena: Mapping[str, Any] | None
    decision: str
    models: tuple[Mapping[str, Any], ...]
    difference: str
    ignored: Mapping[str, str]


def translate(content: Mapping[str, Any], decision: str | None = None) -> Translation:
    """Return the router of a configuration.

    Args:
        content: The file's content.
        decision: The name of the decision to use; None uses the first that learns, as vLLM Semantic Router does.

    Raises:
        ConfigError: The decision does not exist, or its algorithm cannot be used.
    """
    if "algorithm" in content:
        if "decisions" in content:
            raise ConfigError("a file has either decisions, each with its algorithm, or one algorithm; this one has both, so remove one of them")
        decisions: list[Mapping[str, Any]] = [{"name": "", "algorithm": content["algorithm"]}]
    else:
        decisions = _decisions(content)
    chosen = _choose(decisions, decision)
    name, kind = chosen["name"], _type_of(chosen)
    _check_keys(chosen["algorithm"])
    router, arena = _router(chosen["algorithm"], kind)
    scores = category_scores(content)
    learner(router).update({"category_scores": scores} if scores else {})
    others = [other["name"] for other in decisions if other is not chosen]
    return Translation(
        router=router,
        arena=arena,
        decision=name,
        models=_models(chosen),
        difference=_difference(learner(router)),
        ignored={
            **dict(_ignored_in_algorithm(chosen["algorithm"], kind, f"decisions[{name}].algorithm" if name else "algorithm")),
            **{f"decisions[{name}].{key}": _reason(key) for key in chosen if key not in ("name", "algorithm", "modelRefs")},
            **{f"decisions[{other}]": _OTHER_DECISION.format(name) for other in others},
            **{path: _reason(key) for path, key in section_keys(content).items() if key not in MODEL_SECTIONS},
        },
    )


def _decisions(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    sections = [section for section in (content, content.get("routing")) if isinstance(section, Mapping) and "decisions" in section]
    if len(sections) > 1:
        raise ConfigError("decisions belong at the top of a file or in its routing; this one has both, so remove one of them")
    if not sections:
        raise ConfigError("the file of vLLM Semantic Router has no decisions; add one whose algorithm learns (type: rl_driven)")
    found = sections[0]["decisions"]
    if not isinstance(found, list) or not found:
        raise ConfigError(f"decisions must be a list of at least one decision with a name, not {found!r:.80}")
    for number, entry in enumerate(found, 1):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            raise ConfigError(f"decision {number} must have a name, not {entry!r:.80}")
    return found


def _choose(decisions: list[Mapping[str, Any]], wanted: str | None) -> Mapping[str, Any]:
    """Return the decision of the wanted name, else the first that learns."""
    names = [decision["name"] for decision in decisions if decision["name"]]
    if wanted is not None and wanted not in names:
        raise ConfigError(unknown_name("the file has no decision", wanted, names))
    named = [decision for decision in decisions if wanted in (None, decision["name"])]
    learning = [decision for decision in named if _type_of(decision) in LEARNING]
    if not learning:
        types = [str(_type_of(decision) or "none") for decision in named]
        raise ConfigError(f"an algorithm must be of a type that learns ({one_of(LEARNING)}), not {one_of(set(types))}{nearest(types[0], LEARNING)}")
    return learning[0]


def _type_of(decision: Mapping[str, Any]) -> Any:
    algorithm = decision.get("algorithm")
    return algorithm.get("type") if isinstance(algorithm, Mapping) else None


def _router(algorithm: Mapping[str, Any], kind: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the router of an algorithm, and its arena options if it has any."""
    section = _section(algorithm, kind)
    if "name" in section:  # it would replace the router's name
        raise ConfigError(f"{kind} has no option 'name'; the algorithm's type determines the router")
    if kind == "concurrent":
        on_error = {"on_error": algorithm["on_error"]} if "on_error" in algorithm else {}
        from aamc_bandit.arena.answer_arena import ArenaOptions

        arena = on_error | section
        configure(ArenaOptions, arena, where="concurrent")
        return {"name": "thompson", **AS_UPSTREAM}, arena
    options = _renamed_options(section) if kind == "thompson" else section
    name = "epsilon-greedy" if options.get("use_thompson_sampling") is False else "thompson"
    of_llm_router = _llm_router_keys(options, kind)
    rest = {key: value for key, value in options.items() if key not in (*of_llm_router, "enable_llm_routing", *ROUTER_R1)}
    if not of_llm_router:
        return {"name": name, **AS_UPSTREAM, **rest}, None
    own = {key: options[key] for key in of_llm_router if options.get(key) is not None}  # a null key has its default
    own["enable_llm_routing"] = of_llm_router == OF_LLM_ROUTER
    fallback = own.get("llm_routing_fallback", "thompson")
    if fallback == "thompson":
        own["llm_routing_fallback"] = name
    return {"name": LLM_ROUTER, **own, "fallback_options": {**AS_UPSTREAM, **rest} if fallback == "thompson" else {}}, None


def _llm_router_keys(options: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    """Return the keys that are options of ``router-r1``; none if the algorithm's own router decides and learns alone."""
    switches = {"enable_llm_routing": _names_policy(options.get("router_model_path")), "use_router_r1_rewards": False}
    switches |= {key: value for key, value in options.items() if key in switches}
    for key, value in switches.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{kind}.{key} must be true or false, not {value!r}")
    return OF_LLM_ROUTER if switches["enable_llm_routing"] else OF_REWARDS if switches["use_router_r1_rewards"] else ()


def _names_policy(path: Any) -> bool:
    """Return whether a ``router_model_path`` is that of a Router-R1 policy, as upstream, instead of a bandit's checkpoint."""
    from aamc_bandit.thompson.router import STATE_FILE

    return isinstance(path, str) and path != "" and not Path(path, STATE_FILE).exists()


def learner(router: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the router that learns from feedback: those of the router, or of the fallback of one that asks a model."""
    options: dict[str, Any] = router["fallback_options"] if router["name"] == LLM_ROUTER else router
    return options


def _difference(router: Mapping[str, Any]) -> str:
    """Return how a router's decisions differ from those of vLLM Semantic Router; ``""`` if they do not."""
    weight = router.get("cost_weight", DEFAULT_COST_WEIGHT)
    aware = router.get("cost_awareness", True) is not False and weight != 0
    draws = bool(router) and router.get("use_thompson_sampling") is not False
    if not (aware and draws and router["blend"] != "published" and isinstance(weight, int | float)):
        return ""
    return (
        f"cost_weight {weight:g} adds at most {NEAR_TIE * weight:g} to the quality of the cheapest candidate, and only to requests without a "
        f"preference; vLLM Semantic Router multiplies its samples by {1 + weight:g}, as blend: published in the section does"
    )


def category_scores(content: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the ``model_scores`` of the file's categories, by category and model.

    Raises:
        ConfigError: A category or its scores are invalid.
    """
    routing = content.get("routing")
    signals = routing.get("signals") if isinstance(routing, Mapping) else None
    listed = [content.get("categories"), signals.get("domains") if isinstance(signals, Mapping) else None]
    found: dict[str, dict[str, float]] = {}
    for category in (entry for entries in listed if isinstance(entries, list) for entry in entries if isinstance(entry, Mapping)):
        scores = category.get("model_scores")
        if scores:
            found[str(category.get("name"))] = dict(_model_scores(scores, f"model_scores of category {category.get('name')!r}"))
    return found


def _model_scores(scores: Any, where: str) -> Iterator[tuple[str, float]]:
    given = [{"model": model, "score": score} for model, score in scores.items()] if isinstance(scores, Mapping) else scores
    if not isinstance(given, list) or not all(isinstance(each, Mapping) and isinstance(each.get("model"), str) for each in given):
        raise ConfigError(f"{where} must be a list of mappings with a model and a score, not {scores!r:.80}")
    for each in given:
        score = each.get("score", 0.0)
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise ConfigError(f"{where}: the score of {each['model']!r} must be a number from 0 to 1, not {score!r}")
        yield each["model"], float(score)


def _check_keys(algorithm: Mapping[str, Any]) -> None:
    known = ("type", "on_error", *LEARNING, *OTHERS)
    for key in algorithm:
        if key not in known:
            raise ConfigError(f"algorithm has no option {key!r}{nearest(str(key), known)}")


def _section(algorithm: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {str(key): value for key, value in mapping_of(algorithm.get(kind), f"algorithm: {kind}").items()}


def _renamed_options(section: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the older ``type: thompson`` under their names in ``rl_driven``."""
    options = {key: value for key, value in section.items() if value is not None}  # a null key has its default
    for old, new in (("per_user", "enable_personalization"), ("decay_factor", "discount")):
        if old in options and new in options:
            raise ConfigError(f"thompson has both {old} and {new}, which is its newer name; keep one of them")
    if "per_user" in options:
        per_user = options["enable_personalization"] = options.pop("per_user")
        if not isinstance(per_user, bool):
            raise ConfigError(f"thompson.per_user must be true or false, not {per_user!r}")
    if "decay_factor" in options:
        decay = options.pop("decay_factor")
        if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 <= decay < 1:
            raise ConfigError(f"thompson.decay_factor must be a number of at least 0 (no decay) and below 1, not {decay!r}")
        options["discount"] = 1.0 - decay
    return options


def _models(decision: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    models = decision.get("modelRefs", ())
    if "modelRefs" in decision and not models:
        raise ConfigError(
            f"decisions[{decision['name']}].modelRefs names no model; name at least one, or leave modelRefs out to take every described model"
        )
    if not isinstance(models, list | tuple) or not all(isinstance(model, Mapping) and isinstance(model.get("model"), str) for model in models):
        raise ConfigError(f"decisions[{decision['name']}].modelRefs must be a list of mappings with a 'model', not {models!r:.80}")
    return tuple(models)


def _ignored_in_algorithm(algorithm: Mapping[str, Any], kind: str, where: str) -> Iterator[tuple[str, str]]:
    section = _section(algorithm, kind)
    effective = () if kind == "concurrent" else _llm_router_keys(section, kind)
    for key in section:
        if kind != "concurrent" and key in ROUTER_R1 and key not in effective:
            yield f"{where}.{kind}.{key}", f"it belongs to Router-R1: {ROUTER_R1[key]}"
    for key in algorithm:
        if key in (*LEARNING, *OTHERS) and key != kind:
            yield f"{where}.{key}", f"the algorithm is {kind}"
    if "on_error" in algorithm and kind != "concurrent":
        yield f"{where}.on_error", "deciding calls no model, so no call can fail"


def _reason(key: str) -> str:
    """Return why a key of a decision or of the file has no effect."""
    return _REASONS.get(key, "it does not configure a learning algorithm")


def section_keys(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the paths of all sections except decisions and algorithm, each with its last key."""
    found = {key: key for key in content if key not in ("routing", "decisions", "algorithm")}
    routing = content.get("routing")
    return found | {f"routing.{key}": key for key in routing if key != "decisions"} if isinstance(routing, Mapping) else found
