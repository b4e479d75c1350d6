"""Configurations of vLLM Semantic Router (https://github.com/vllm-project/semantic-router), read as they are.

What such a file says of learning whom to choose becomes the options of a router of ours. Every
other key is named in a note that says why it has no effect. Read are whole files, with
``decisions`` at the top or in ``routing``, and a bare ``algorithm``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from aamc_bandit.semantic_router.candidates import SECTIONS
from aamc_sdk.errors import ConfigError, nearest, one_of

LEARNING = ("rl_driven", "thompson", "concurrent")
"""The algorithms that learn from what came of a choice; each has its options in a section of its own name."""
OTHERS = (
    *("automix", "bandit", "confidence", "elo", "fusion", "gmtrouter", "hybrid", "kmeans", "knn", "latency_aware", "mlp", "multi_factor"),
    *("personalization", "prompt", "ratings", "remom", "router_dc", "router_r1", "session_aware", "static", "svm", "workflows"),
)
"""Those that do not, or that are not a bandit's."""
ROUTER_R1 = {
    **dict.fromkeys(
        ("use_router_r1_rewards", "cost_reward_alpha"),
        "evidence is of quality alone; cost enters a decision by the preference, and without one by cost_weight",
    ),
    "format_reward_penalty": "feedback has no format that could be wrong",
    "model_cost_per_token": "costs follow from the candidates' prices",
    **dict.fromkeys(
        ("enable_llm_routing", "router_r1_server_url", "llm_routing_fallback"),
        "this router goes by feedback, and asks no model who should answer",
    ),
    **dict.fromkeys(("enable_multi_round_aggregation", "max_aggregation_rounds"), "one candidate answers, in one round"),
}
"""Keys of ``rl_driven`` that are about asking a model who should answer, as Router-R1 does, and why they have no effect on a bandit."""
_BY_RULES = "requests are not sorted into decisions by rules here; the categories of an estimator take their place"
_WHY = {
    **dict.fromkeys(("rules", "triggers", "priority", "tier", "signals", "projections", "strategy", "categories"), _BY_RULES),
    **dict.fromkeys(("description", "annotations", "version"), "it is for readers"),
    "plugins": "caches, guards and prompts are not the router's",
    "recipes": "only the file's own decisions are read",
}
_ELSE = "it says nothing of learning whom to choose"
_ONE_COUNTS = "one decision counts, {!r}; another is chosen by its name, with --set decision=NAME or from_file(decision=NAME)"


@attrs.frozen
class Unused:
    """A key without effect, by its path in the file, and why it has none."""

    path: str
    why: str


@attrs.frozen(kw_only=True)
class Translation:
    """What a configuration says of learning, in our words.

    Attributes:
        router: A router's options with its ``name``.
        arena: Options of the arena mode, in which several candidates answer at once; None where the file asks for no such thing.
        decision: The name of the decision whose algorithm it is; ``""`` for a bare one.
        models: The decision's candidates as the file refers to them, each a mapping with a ``model``.
        unused: The keys without effect, but for those about models.
    """

    router: Mapping[str, Any]
    arena: Mapping[str, Any] | None
    decision: str
    models: tuple[Mapping[str, Any], ...]
    unused: tuple[Unused, ...]


def is_semantic_router(content: Mapping[str, Any]) -> bool:
    """Whether a configuration file's content is one of vLLM Semantic Router."""
    routing = content.get("routing")
    return "decisions" in content or "algorithm" in content or (isinstance(routing, Mapping) and "decisions" in routing)


def translate(content: Mapping[str, Any], decision: str | None = None) -> Translation:
    """Read what a configuration says of learning.

    Args:
        content: The file's.
        decision: Whose algorithm to take; the first that learns when None, which is also the one that vLLM Semantic Router takes.

    Raises:
        ConfigError: It has no such decision, or an algorithm that cannot be used.
    """
    if "algorithm" in content:
        if "decisions" in content:
            raise ConfigError("a file has either decisions, each with its algorithm, or one algorithm; this one has both")
        decisions: list[Mapping[str, Any]] = [{"name": "", "algorithm": content["algorithm"]}]
    else:
        decisions = _decisions(content)
    chosen = _choose(decisions, decision)
    name, kind = chosen["name"], _type_of(chosen)
    _check_keys(chosen["algorithm"])
    router, arena = _learning(chosen["algorithm"], kind)
    others = [other["name"] for other in decisions if other is not chosen]
    return Translation(
        router=router,
        arena=arena,
        decision=name,
        models=_models(chosen),
        unused=(
            *_in_algorithm(chosen["algorithm"], kind, f"decisions[{name}].algorithm" if name else "algorithm"),
            *_in_decision(chosen),
            *(Unused(f"decisions[{other}]", _ONE_COUNTS.format(name)) for other in others),
            *_in_sections(content),
        ),
    )


def _decisions(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    places = [place["decisions"] for place in (content, content.get("routing")) if isinstance(place, Mapping) and "decisions" in place]
    if len(places) > 1:
        raise ConfigError("decisions stand at the top of a file or in its routing; this one has both")
    found = places[0]
    if not isinstance(found, list) or not found:
        raise ConfigError(f"decisions must be a list of at least one decision with a name, not {found!r:.80}")
    for number, entry in enumerate(found, 1):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            raise ConfigError(f"decision {number} must have a name, not {entry!r:.80}")
    return found


def _choose(decisions: list[Mapping[str, Any]], wanted: str | None) -> Mapping[str, Any]:
    """Return the decision that counts."""
    names = [decision["name"] for decision in decisions if decision["name"]]
    if wanted is not None and wanted not in names:
        raise ConfigError(f"the file has no decision {wanted!r}{nearest(wanted, names)} (it has {one_of(names)})")
    named = [decision for decision in decisions if wanted in (None, decision["name"])]
    learning = [decision for decision in named if _type_of(decision) in LEARNING]
    if not learning:
        types = [str(_type_of(decision) or "none") for decision in named]
        raise ConfigError(f"an algorithm must be of a type that learns ({one_of(LEARNING)}), not {one_of(set(types))}{nearest(types[0], LEARNING)}")
    return learning[0]


def _type_of(decision: Mapping[str, Any]) -> Any:
    algorithm = decision.get("algorithm")
    return algorithm.get("type") if isinstance(algorithm, Mapping) else None


def _learning(algorithm: Mapping[str, Any], kind: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the router of an algorithm, and its arena options where it has such."""
    section = _section(algorithm, kind)
    if "name" in section:  # ours, which says what the router is
        raise ConfigError(f"{kind} has no option 'name'; the algorithm's type says which router it is")
    if kind == "concurrent":
        on_error = {"on_error": algorithm["on_error"]} if "on_error" in algorithm else {}
        return {"name": "thompson", "blend": "linear"}, on_error | section
    options = _thompson(section) if kind == "thompson" else section
    options.pop("model_cost_per_token", None)  # the one key without effect that no option of ours has the name of
    name = "epsilon-greedy" if options.get("use_thompson_sampling") is False else "thompson"
    return {"name": name, "blend": "linear", **options}, None


def _check_keys(algorithm: Mapping[str, Any]) -> None:
    known = ("type", "on_error", *LEARNING, *OTHERS)
    for key in algorithm:
        if key not in known:
            raise ConfigError(f"algorithm has no option {key!r}{nearest(str(key), known)}")


def _section(algorithm: Mapping[str, Any], kind: str) -> dict[str, Any]:
    section = algorithm.get(kind)
    if section is None:  # an empty section is one of defaults
        return {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"algorithm: {kind} must be keys and values, not {section!r:.80}")
    return {str(key): value for key, value in section.items()}


def _thompson(section: dict[str, Any]) -> dict[str, Any]:
    """Return the options of ``type: thompson``, an earlier name, in those of ``rl_driven``."""
    names = {"per_user": "enable_personalization", "decay_factor": "discount"}
    options = {names.get(key, key): value for key, value in section.items()}
    if type(options.get("discount")) in (int, float):
        options["discount"] = 1.0 - options["discount"]  # there, 0 is no decay
    return options


def _models(decision: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    models = decision.get("modelRefs") or []
    if not isinstance(models, list) or not all(isinstance(model, Mapping) and isinstance(model.get("model"), str) for model in models):
        raise ConfigError(f"decisions[{decision['name']}].modelRefs must be a list of mappings with a 'model', not {models!r:.80}")
    return tuple(models)


def _in_algorithm(algorithm: Mapping[str, Any], kind: str, where: str) -> Iterator[Unused]:
    for key in _section(algorithm, kind):
        if kind == "rl_driven" and key in ROUTER_R1:
            yield Unused(f"{where}.{kind}.{key}", f"it is of Router-R1: {ROUTER_R1[key]}")
    for key in algorithm:
        if key in (*LEARNING, *OTHERS) and key != kind:
            yield Unused(f"{where}.{key}", f"the algorithm is {kind}")
    if "on_error" in algorithm and kind != "concurrent":
        yield Unused(f"{where}.on_error", "choosing calls no model, so there is no error to act on")


def _in_decision(decision: Mapping[str, Any]) -> Iterator[Unused]:
    for key in decision:
        if key not in ("name", "algorithm", "modelRefs"):
            yield Unused(f"decisions[{decision['name']}].{key}", _WHY.get(key, _ELSE))


def _in_sections(content: Mapping[str, Any]) -> Iterator[Unused]:
    for path, key in sections(content).items():
        if key not in SECTIONS:
            yield Unused(path, _WHY.get(key, _ELSE))


def sections(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the paths of a file's sections beside its decisions, with the last key of each."""
    found = {key: key for key in content if key not in ("routing", "decisions", "algorithm")}
    routing = content.get("routing")
    return found | {f"routing.{key}": key for key in routing if key != "decisions"} if isinstance(routing, Mapping) else found
