"""Configurations of vLLM Semantic Router, read as they are: what takes effect, and what is reported as having none."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from aamc_bandit.semantic_router import SemanticRouterFormat, read_arena
from aamc_experiments.commands import settings_from_options

from aamc_sdk import MetaController, builtin, hookimpl
from aamc_sdk.config import load_yaml, option
from aamc_sdk.errors import ConfigError, PluginError, PoolError
from aamc_sdk.hookspecs import Component
from aamc_sdk.interfaces import Router
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving import components_from_file
from aamc_sdk.testing import assert_conforms
from aamc_sdk.types import Scores

AS_UPSTREAM = {"blend": "linear", "discount": 1.0, "shared_sessions": True, "failure_quality": None}
BARE = {"type": "rl_driven"}
RL_DRIVEN = {"exploration_rate": 0.2, "min_exploration": 0.0, "cost_awareness": False, "storage_path": "/var/lib/vsr/rl.json"}
TECHNICAL = {
    "name": "technical",
    "description": "Code and machines.",
    "triggers": [{"type": "keyword", "keywords": ["code", "debug"]}],
    "modelRefs": [{"model": "big", "use_reasoning": True}, {"model": "tiny"}],
    "algorithm": {"type": "rl_driven", "on_error": "skip", "rl_driven": RL_DRIVEN},
}
GENERAL = {"name": "general", "modelRefs": [{"model": "tiny"}], "algorithm": {"type": "rl_driven", "rl_driven": {"exploration_rate": 0.1}}}
FIRST_FORM = {
    "backend_models": {
        "model_config": {
            "big": {
                "description": "Reasons well.",
                "capabilities": ["math"],
                "quality_score": 0.95,
                "pricing": {"prompt_per_1m": 30.0, "completion_per_1m": 60.0},
            },
            "tiny": {"pricing": {"prompt_per_1m": 0.5, "completion_per_1m": 0.5}},
            "idle": {"pricing": {"prompt_per_1m": 9.0, "completion_per_1m": 9.0}},
        }
    },
    "decisions": [TECHNICAL, GENERAL],
    "feedback_detector": {"enabled": True, "threshold": 0.6},
    "observability": {"metrics": {"enabled": True}},
}
LATER_FORM = {
    "version": "v0.3",
    "listeners": [{"name": "http", "port": 8899}],
    "providers": {
        "defaults": {"default_model": "tiny"},
        "models": [
            {"name": "big", "pricing": {"currency": "USD", "prompt_per_1m": 1.2, "cached_input_per_1m": 0.3, "completion_per_1m": 3.4}},
            {"name": "tiny", "reasoning_family": "qwen3"},
        ],
    },
    "routing": {
        "modelCards": [{"name": "big", "context_window_size": 131072, "description": "Large.", "capabilities": ["chat", "tools"]}],
        "signals": {"keywords": [{"name": "es", "keywords": ["hola"]}]},
        "decisions": [{"name": "fixed", "algorithm": {"type": "static"}}, TECHNICAL],
    },
}


@pytest.fixture
def file(tmp_path: Path):
    """Write a configuration and return its path."""

    def write(content: Any, name: str = "config.yaml") -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def reported(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


def read_parts(path: Path, decision: str | None = None) -> dict[str, Any]:
    settings = SemanticRouterFormat().serving(load_yaml(path), path, decision)
    return dict(settings.content) | ({} if settings.pool is None else {"pool": settings.pool})


def options_of(*configs: Path, sets: tuple[str, ...] = (), **given: Any) -> tuple[str, dict[str, Any]]:
    router = settings_from_options({"configs": configs, "assignments": sets, **given}).router
    return router.name, dict(router.options)


@pytest.mark.parametrize("content", [FIRST_FORM, LATER_FORM, {"algorithm": TECHNICAL["algorithm"]}], ids=["first form", "later form", "fragment"])
def test_the_options_of_rl_driven_are_the_routers_by_their_own_names(file, content) -> None:
    assert options_of(file(content)) == ("thompson", AS_UPSTREAM | RL_DRIVEN)


def test_what_is_explicitly_false_or_0_stays_so(file) -> None:
    _, options = options_of(file({"algorithm": {"type": "rl_driven", "rl_driven": {"cost_weight": 0, "enable_personalization": False}}}))
    assert (options["cost_weight"], options["enable_personalization"]) == (0, False)


def test_without_thompson_sampling_it_is_epsilon_greedy(file) -> None:
    name, _ = options_of(file({"algorithm": {"type": "rl_driven", "rl_driven": {"use_thompson_sampling": False}}}))
    assert name == "epsilon-greedy"


def test_the_file_may_name_another_blend(file) -> None:
    _, options = options_of(file({"algorithm": {"type": "rl_driven", "rl_driven": {"blend": "shrinkage"}}}))
    assert options["blend"] == "shrinkage"


def test_an_empty_section_has_the_defaults(file) -> None:
    assert options_of(file({"algorithm": {"type": "rl_driven", "rl_driven": None}})) == ("thompson", AS_UPSTREAM)


def test_the_earlier_name_thompson_is_read_in_the_words_of_the_later(file) -> None:
    section = {"prior_alpha": 2.0, "per_user": False, "decay_factor": 0.25, "min_samples": 5}
    _, options = options_of(file({"algorithm": {"type": "thompson", "thompson": section}}))
    assert options == AS_UPSTREAM | {"prior_alpha": 2.0, "enable_personalization": False, "discount": 0.75, "min_samples": 5}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"decay_factor": 1}, "thompson.decay_factor must be a number of at least 0 (no decay) and below 1, not 1"),
        ({"decay_factor": "0.1"}, "thompson.decay_factor must be a number"),
        ({"decay_factor": True}, "thompson.decay_factor must be a number"),
        ({"decay_factor": 0.1, "discount": 0.9}, "thompson has both decay_factor and discount"),
        ({"per_user": "yes"}, "thompson.per_user must be true or false, not 'yes'"),
    ],
)
def test_an_error_about_the_earlier_name_names_the_key_of_the_file(file, section, message) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        options_of(file({"algorithm": {"type": "thompson", "thompson": section}}))


def test_a_discount_in_the_earlier_section_is_a_discount(file) -> None:
    section = {"discount": 0.9, "per_user": None}
    assert options_of(file({"algorithm": {"type": "thompson", "thompson": section}}))[1] == AS_UPSTREAM | {"discount": 0.9}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrent": {"nope": 1}}, "concurrent has no option 'nope'"),
        ({"concurrent": {"max_concurrent": 0}}, "max_concurrent"),
        ({"concurrent": {"candidates": 1}}, "candidates"),
        ({"on_error": "explode"}, "on_error"),
    ],
)
def test_invalid_options_of_the_arena_are_refused(file, options, message) -> None:
    path = file({"algorithm": {"type": "concurrent", **options}})
    for read in (options_of, read_arena):
        with pytest.raises(ConfigError, match=message):
            read(path)


def test_concurrent_is_a_learning_router_and_an_arena(file, caplog) -> None:
    path = file({"algorithm": {"type": "concurrent", "on_error": "fail", "concurrent": {"max_concurrent": 3}}})
    assert options_of(path) == ("thompson", AS_UPSTREAM)
    assert read_arena(path) == read_arena(str(path)) == {"on_error": "fail", "max_concurrent": 3}
    assert "algorithm.concurrent.max_concurrent" in reported(caplog)
    assert read_arena(file(FIRST_FORM, "other.yaml")) is None


def test_every_key_without_effect_is_reported_by_name(file, caplog) -> None:
    options_of(file(FIRST_FORM))
    for key in ("description", "triggers", "algorithm.on_error", "modelRefs"):
        assert f"decisions[technical].{key}" in reported(caplog)
    for key in ("backend_models", "decisions[general]", "feedback_detector", "observability"):
        assert key in reported(caplog)
    caplog.clear()
    options_of(file(LATER_FORM))
    for key in ("version", "listeners", "providers", "routing.signals", "routing.modelCards", "decisions[fixed]"):
        assert key in reported(caplog)


@pytest.mark.parametrize("kind", ["rl_driven", "thompson"])
def test_the_keys_of_router_r1_are_reported_even_at_their_defaults(file, caplog, kind) -> None:
    section = {"use_router_r1_rewards": False, "cost_reward_alpha": 0.3, "llm_routing_fallback": "thompson", "model_cost_per_token": {"big": 1.0}}
    _, options = options_of(file({"algorithm": {"type": kind, kind: section}}))
    for key in section:
        assert f"algorithm.{kind}.{key}" in reported(caplog)
    assert options == AS_UPSTREAM


def test_a_file_without_idle_keys_reports_nothing(file, caplog) -> None:
    options_of(file({"algorithm": {"type": "rl_driven", "rl_driven": RL_DRIVEN}}))
    assert caplog.records == []


def test_the_section_of_another_algorithm_is_reported(file, caplog) -> None:
    options_of(file({"algorithm": {"type": "rl_driven", "rl_driven": {}, "elo": {"k_factor": 32}}}))
    assert "algorithm.elo" in reported(caplog)


def test_the_first_decision_that_learns_counts_unless_another_is_named(file) -> None:
    path = file(FIRST_FORM)
    assert options_of(path)[1]["exploration_rate"] == 0.2
    assert options_of(path, sets=("decision=general",))[1]["exploration_rate"] == 0.1
    assert read_parts(path, "general")["router"]["exploration_rate"] == 0.1


def test_a_decision_is_named_only_where_there_are_any(file) -> None:
    with pytest.raises(ConfigError, match="no option 'decision'"):
        settings_from_options({"configs": (file({"seed": 3}),), "assignments": ("decision=general",)})


def test_our_own_keys_and_assignments_go_with_it(file) -> None:
    settings = settings_from_options(
        {
            "configs": (file({**FIRST_FORM, "seed": 7}), file({"preset": "full"}, "ours.yaml")),
            "assignments": ("router.exploration_rate=0.4",),
            "dataset": "synthetic",
        }
    )
    assert (settings.seed, settings.preset, settings.router.options["exploration_rate"]) == (7, "full", 0.4)


def test_an_algorithm_whose_place_another_router_takes_is_reported(file, caplog) -> None:
    path = file({"algorithm": {"type": "rl_driven", "rl_driven": RL_DRIVEN}})
    assert options_of(path, router="thompson") == ("thompson", AS_UPSTREAM | RL_DRIVEN)
    assert caplog.records == []
    caplog.clear()
    assert options_of(path, router="ppo") == ("ppo", {})
    assert "without effect: algorithm (the command line names another router, ppo)" in reported(caplog)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"algorithm": {"type": "rl_drivn"}}, "did you mean 'rl_driven'"),
        ({"algorithm": {"type": "elo"}}, "must be of a type that learns"),
        ({"algorithm": "rl_driven"}, "not none"),
        ({"algorithm": {"type": "rl_driven", "rl_drivn": {}}}, "no option 'rl_drivn'; did you mean 'rl_driven'"),
        ({"algorithm": {"type": "rl_driven", "rl_driven": {"name": "linear-thompson"}}}, "rl_driven has no option 'name'"),
        ({"algorithm": {"type": "rl_driven", "rl_driven": [1]}}, "rl_driven must be keys and values"),
        ({"decisions": []}, "at least one decision"),
        ({"vllm_endpoints": [], "categories": [], "default_model": "big"}, "has no decisions; add one whose algorithm learns"),
        ({"decisions": [{"algorithm": {"type": "rl_driven"}}]}, "decision 1 must have a name"),
        ({"decisions": [{**TECHNICAL, "modelRefs": ["big"]}]}, "modelRefs must be a list of mappings"),
        ({"decisions": [TECHNICAL], "algorithm": {"type": "rl_driven"}}, "this one has both"),
        ({"decisions": [TECHNICAL], "router": "ppo"}, "keep one of them"),
        ({"decisions": [TECHNICAL], "routing": {"decisions": [GENERAL]}}, "this one has both"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_file_and_the_way_out(file, content, message) -> None:
    path = file(content)
    with pytest.raises(ConfigError, match=message) as refused:
        settings_from_options({"configs": (path,), "assignments": ()})
    assert str(refused.value).startswith(str(path))


def test_a_decision_that_is_not_there_is_refused_with_the_nearest(file) -> None:
    with pytest.raises(ConfigError, match="no decision 'technicl'; did you mean 'technical'"):
        settings_from_options({"configs": (file(FIRST_FORM),), "assignments": ("decision=technicl",)})
    with pytest.raises(ConfigError, match=r"no decision 'technical' \(it has: none\)"):
        settings_from_options({"configs": (file({"algorithm": TECHNICAL["algorithm"]}),), "assignments": ("decision=technical",)})


def test_a_controllers_candidates_are_the_models_that_the_decision_refers_to(file, caplog) -> None:
    pool = read_parts(file(FIRST_FORM))["pool"]
    assert pool.names == ("big", "tiny")
    big, tiny = pool
    assert (big.description, big.abilities, big.prices.input, big.prices.output) == ("Reasons well.", {"math"}, 30.0, 60.0)
    assert tiny.prices.input == 0.5
    for key in ("modelRefs[big].use_reasoning", "backend_models.model_config[big].quality_score", "backend_models.model_config[idle]"):
        assert key in reported(caplog)


def test_a_wrong_price_is_refused_with_the_file(file) -> None:
    path = file({"decisions": [TECHNICAL], "model_config": {"big": {"pricing": {"prompt_per_1m": "30", "completion_per_1m": 1}}}})
    with pytest.raises(PoolError, match=f"^{re.escape(str(path))}: .*input must be a number, not '30'"):
        read_parts(path)


def test_candidates_of_the_later_form_come_from_providers_and_cards(file, caplog) -> None:
    big, tiny = read_parts(file(LATER_FORM))["pool"]
    assert (big.context_window, big.prices.cached_input, big.abilities) == (131072, 0.3, {"chat", "tools"})
    assert tiny.prices is None  # nobody says
    assert "providers.defaults" in reported(caplog)
    assert "providers.models[tiny].reasoning_family" in reported(caplog)


def test_without_references_every_model_that_is_described_is_a_candidate(file) -> None:
    models = {"big": {"description": "Large."}, "tiny": None}
    assert read_parts(file({"algorithm": {"type": "rl_driven"}, "model_config": models}))["pool"].names == ("big", "tiny")
    assert "pool" not in read_parts(file({"algorithm": {"type": "rl_driven"}}))


@pytest.mark.parametrize("pricing", [{"prompt_per_1m": 3.0}, {"promt_per_1m": 3.0, "completion_per_1m": 6.0}, {"prompt_per_1m": "abc"}])
def test_prices_that_do_not_count_are_reported(file, caplog, pricing) -> None:
    (big,) = read_parts(file({"algorithm": {"type": "rl_driven"}, "model_config": {"big": {"pricing": pricing}}}))["pool"]
    assert big.prices is None
    for key in pricing:
        assert f"model_config[big].pricing.{key}" in reported(caplog)
    assert "prices of prompt and answer both" in reported(caplog)


def test_prices_that_count_are_not_reported_beside_one_that_does_not(file, caplog) -> None:
    pricing = {"currency": "USD", "prompt_per_1m": 3.0, "completion_per_1m": 6.0, "cache_write_per_1m": 4.0}
    (big,) = read_parts(file({"algorithm": {"type": "rl_driven"}, "model_config": {"big": {"pricing": pricing}}}))["pool"]
    assert (big.prices.input, big.prices.output) == (3.0, 6.0)
    assert reported(caplog).count("pricing") == 1
    assert "model_config[big].pricing.cache_write_per_1m" in reported(caplog)


def test_prices_in_another_currency_are_refused(file) -> None:
    models = [{"name": "big", "pricing": {"currency": "EUR", "prompt_per_1m": 1.0, "completion_per_1m": 2.0}}]
    with pytest.raises(ConfigError, match=r"config\.yaml: .* must be in USD, not 'EUR'"):
        read_parts(file({"decisions": [TECHNICAL], "providers": {"models": models}}))


@attrs.frozen(kw_only=True)
class Options:
    min_exploration: float = option(0.0, "how seldom")
    cost_awareness: bool = option(False, "whether")
    storage_path: str = option("", "where")
    blend: str = option("none", "how levels are joined")
    exploration_rate: float = option(0.5, "how often", at_least=0, at_most=1)
    discount: float = option(0.5, "how much of it stays")
    shared_sessions: bool = option(False, "whether")
    failure_quality: float | None = option(0.0, "how bad")


class Thompson(Router):
    """Stands for the bandit: takes what it is given, and chooses the last candidate."""

    Config = Options

    def score(self, request: Any) -> Scores:
        return Scores(request.mask.cumsum(axis=1) * 1.0)


class Bandit:
    @hookimpl
    def aamc_routers(self) -> list[Component]:
        return [Component("thompson", f"{__name__}:Thompson", "Stands for the bandit.")]

    @hookimpl
    def aamc_config_formats(self) -> list[Component]:
        return [Component("vllm-semantic-router", "aamc_bandit.semantic_router:SemanticRouterFormat", "The format.")]


@pytest.fixture
def plugins() -> Plugins:
    return Plugins({"core": builtin, "bandit": Bandit()}, discover=False)


def test_an_application_is_built_from_the_file(file, plugins) -> None:
    with MetaController.from_file(file({"decisions": [GENERAL, TECHNICAL]}), plugins=plugins) as controller:
        assert controller.router.config == Options(**AS_UPSTREAM, exploration_rate=0.1)
        assert controller.pool.names == ("tiny",)
        assert controller.route("Sort a list").candidate == "tiny"


def test_the_format_conforms(plugins) -> None:
    assert_conforms("config_format", "vllm-semantic-router", plugins)


def test_a_format_that_fails_is_named(file, plugins, monkeypatch) -> None:
    for method, read in (
        ("serving", lambda path: MetaController.from_file(path, plugins=plugins)),
        ("experiment", lambda path: options_of(path)),
    ):
        monkeypatch.setattr(SemanticRouterFormat, method, lambda *_: {}["models"])
        with pytest.raises(PluginError, match=r"^config format 'vllm-semantic-router' failed: KeyError: 'models'$"):
            read(file({"decisions": [GENERAL]}))


def test_a_pool_of_ours_goes_before_the_models_of_the_file(file, plugins) -> None:
    with MetaController.from_file(file({"decisions": [TECHNICAL], "pool": "default"}), plugins=plugins) as controller:
        assert "SLM-Tiny" in controller.pool.names


def test_an_application_is_built_from_a_file_of_ours_too(file, plugins, caplog) -> None:
    path = file({"router": {"name": "thompson", "exploration_rate": 0.9}, "seed": 5, "dataset": "synthetic"})
    with MetaController.from_file(path, plugins=plugins) as controller:
        assert (controller.router.config.exploration_rate, controller.seed) == (0.9, 5)
    assert "without effect: dataset" in reported(caplog)


def test_a_file_without_a_router_makes_no_controller(file, plugins) -> None:
    for content in (None, {"seed": 5}):
        with pytest.raises(ConfigError, match=r"config\.yaml names no router, which a controller needs"):
            MetaController.from_file(file(content), plugins=plugins)


def test_a_wrong_type_or_range_in_the_file_is_refused_by_the_routers_own_options(file, plugins) -> None:
    for value, message in (("high", "exploration_rate must be a number, not 'high'"), (2.0, "at most 1")):
        with pytest.raises(ConfigError, match=f"config.yaml: .*{message}"):
            MetaController.from_file(file({"algorithm": {"type": "rl_driven", "rl_driven": {"exploration_rate": value}}}), plugins=plugins)


def test_reports_are_warnings_so_that_the_command_line_shows_them(file, caplog) -> None:
    options_of(file(FIRST_FORM))
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


@pytest.mark.parametrize("references", [[], None])
def test_a_decision_without_any_model_is_refused(file, references) -> None:
    path = file({"decisions": [{**TECHNICAL, "modelRefs": references}], "model_config": {"big": None}})
    for build in (MetaController.from_file, options_of):
        with pytest.raises(ConfigError, match=r"config\.yaml: decisions\[technical\]\.modelRefs names no model; name at least one"):
            build(path)


@pytest.mark.parametrize(
    "content", [{"algorithm": {"type": "rl_driven"}}, {"decisions": [{"name": "technical", "algorithm": {"type": "rl_driven"}}]}]
)
def test_the_built_in_pool_of_a_file_without_models_is_reported_unless_another_is_named(file, plugins, caplog, content) -> None:
    built_in = "describes no candidates, so they are those of the built-in pool"
    for changes, is_reported in (({}, True), ({"pool": {"candidates": [{"name": "mine"}]}}, False)):
        caplog.clear()
        found = components_from_file(file(content), plugins, changes=changes)
        assert (built_in in reported(caplog), found.pool.names == ("mine",)) == (is_reported, not is_reported)
    assert read_parts(file({**content, "pool": "default"}))["pool"] == "default"


def test_the_other_meaning_of_cost_weight_is_reported(file, caplog) -> None:
    options_of(file({"algorithm": {"type": "rl_driven", "rl_driven": {"cost_weight": 0.5}}}))
    assert "cost_weight 0.5 adds at most 0.1 to the quality of the cheapest candidate" in reported(caplog)
    for section in ({"blend": "published"}, {"cost_awareness": False}, {"cost_weight": 0}, {"use_thompson_sampling": False}):
        caplog.clear()
        options_of(file({"algorithm": {"type": "rl_driven", "rl_driven": section}}))
        assert "cost_weight" not in reported(caplog)


ASKS = {"enable_llm_routing": True, "router_r1_server_url": "http://router-r1:8080", "cost_weight": 0.5, "cost_reward_alpha": 0.2}


def test_asking_a_model_is_the_router_that_asks_with_the_algorithm_as_its_fallback(file, caplog) -> None:
    path = file({"decisions": [{**TECHNICAL, "algorithm": {"type": "rl_driven", "rl_driven": ASKS | {"max_aggregation_rounds": 2}}}]})
    name, options = options_of(path)
    fallback = options.pop("fallback_options")
    assert (name, options) == (
        "router-r1",
        {
            "enable_llm_routing": True,
            "router_r1_server_url": "http://router-r1:8080",
            "cost_reward_alpha": 0.2,
            "llm_routing_fallback": "thompson",
        },
    )
    assert fallback == {"blend": "linear", "discount": 1.0, "shared_sessions": True, "failure_quality": None, "cost_weight": 0.5}
    assert "max_aggregation_rounds" in reported(caplog)
    assert "router_r1_server_url" not in reported(caplog)


def test_the_fallback_of_a_model_may_be_an_error(file) -> None:
    section = ASKS | {"llm_routing_fallback": "error"}
    path = file({"decisions": [{**TECHNICAL, "algorithm": {"type": "rl_driven", "rl_driven": section}}]})
    assert options_of(path)[1]["fallback_options"] == {}
    assert options_of(path)[1]["llm_routing_fallback"] == "error"


def test_asking_a_model_never_becomes_thompson_sampling(file) -> None:
    with pytest.raises(ConfigError, match="enable_llm_routing"):
        MetaController.build(router={"name": "epsilon-greedy", "enable_llm_routing": True})
    path = file({"decisions": [{**TECHNICAL, "algorithm": {"type": "rl_driven", "rl_driven": ASKS}}]})
    assert options_of(path, router="ridge") == ("ridge", {})


def test_a_price_of_prompts_alone_counts_in_the_published_blend(file, caplog) -> None:
    models = {"big": {"pricing": {"prompt_per_1m": 30.0}}, "tiny": {"pricing": {"prompt_per_1m": 0.5}}}
    section = {"blend": "published", "cost_weight": 0.5}
    path = file({"algorithm": {"type": "rl_driven", "rl_driven": section}, "model_config": models})
    with MetaController.from_file(path) as controller:
        assert controller.route("Sort a list").probabilities["tiny"] > 0.55
    assert "pricing" not in reported(caplog)


SCORED = [{"name": "coding", "model_scores": [{"model": "big", "score": 0.9, "use_reasoning": False}, {"model": "tiny", "score": 0.25}]}]


@pytest.mark.parametrize("content", [{"categories": SCORED}, {"routing": {"signals": {"domains": SCORED}}}])
def test_the_scores_of_categories_take_effect(file, content) -> None:
    key = "routing" if "routing" in content else "categories"
    decisions = {"decisions": [TECHNICAL | {"algorithm": {"type": "rl_driven", "rl_driven": {}}}]}
    whole = {"routing": content["routing"] | decisions} if key == "routing" else content | decisions
    with MetaController.from_file(file(whole)) as controller:
        category = controller.router.evidence.entities("category")["coding"]
        assert [(category.candidates[name].wins, category.candidates[name].losses) for name in ("big", "tiny")] == [
            (9, pytest.approx(1)),
            (2.5, 7.5),
        ]


@pytest.mark.parametrize("scores", [["big"], [{"model": "big", "score": 7}], [{"model": "big", "score": "high"}], 5])
def test_scores_that_cannot_be_are_refused(file, scores) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: .*category 'coding'"):
        options_of(file({"decisions": [TECHNICAL], "categories": [{"name": "coding", "model_scores": scores}]}))
