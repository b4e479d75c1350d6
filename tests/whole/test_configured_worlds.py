"""Worlds and pools in configuration files: what queries and candidates a run has."""

import json
from pathlib import Path

import pytest
from aamc_environments.queue import QueueOptions, read_world
from aamc_experiments.commands.options import settings_from_options
from aamc_experiments.settings import read_settings
from aamc_experiments.setup import make_setup

from aamc_sdk import get_plugin_manager
from aamc_sdk.config import configure
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.routing import default_pool, find_pool

SIM = Path(__file__).parents[2] / "configs" / "sim.yaml"
SIZES = {"name": "synthetic", "n_train": 400, "n_validation": 40, "n_test": 40}
WORLD = {
    "categories": {"code": {"share": 3}, "chat": {}},
    "candidates": {"small": {"success": {"code": 0.5, "chat": 0.9}}, "large": {"success": {"code": 0.9, "chat": 0.9}}},
}
POOL = {
    "candidates": [
        {"name": "small", "prices": {"input": 0.1, "output": 0.2}, "latency": {"service_ms": 100}},
        {"name": "large", "prices": {"input": 1, "output": 2}, "latency": {"service_ms": 900}},
    ]
}


def setup_of(**changed):
    content = {"pool": POOL, "environment": {"name": "queue", "world": WORLD}, "dataset": SIZES, **changed}
    return make_setup(read_settings(content), get_plugin_manager())


def test_generated_queries_have_the_worlds_categories_and_the_file_holds_pool_and_matrix():
    setup = setup_of()
    categories = setup.splits["train"].labels.category
    assert setup.services.pool.names == ("small", "large")
    assert set(categories) == {"code", "chat"}
    assert 0.68 < (categories == "code").mean() < 0.82  # 0.75 and three standard deviations


def test_shares_of_the_dataset_override_those_of_the_world():
    assert set(setup_of(dataset={**SIZES, "shares": {"chat": 1}}).splits["train"].labels.category) == {"chat"}


def test_a_category_that_cannot_be_generated_is_named():
    world = {"categories": {"law": {}}, "candidates": {"small": {"success": {"law": 0.5}}, "large": {"success": {"law": 0.9}}}}
    with pytest.raises(ConfigError, match=r"no texts of category 'law' can be generated.*--dataset synthetic:FILE"):
        setup_of(environment={"name": "queue", "world": world})


def test_the_shipped_file_describes_the_defaults():
    settings = settings_from_options({"configs": (SIM,)})
    assert find_pool(settings.pool, get_plugin_manager()) == default_pool()
    assert read_world(settings.environment.options["world"]) == read_world("default")
    assert read_settings(settings.to_dict()) == settings
    assert settings.with_absolute_paths(["default"]) == settings


@pytest.mark.parametrize(("others", "by_length"), [((), True), (("rlr.yaml",), False)])
def test_the_shipped_file_leaves_service_times_to_the_preset_of_another_file(others, by_length):
    settings = settings_from_options({"configs": (*(SIM.with_name(name) for name in others), SIM)})
    options = configure(QueueOptions, settings.environment.options, preset=settings.preset)
    assert options.service_by_length is by_length


def test_options_of_the_shipped_file_can_be_set():
    settings = settings_from_options({"configs": (SIM,), "assignments": ("environment.world.categories.code.share=5",), "pool": "default"})
    assert settings.environment.options["world"]["categories"]["code"]["share"] == 5
    assert settings.pool == "default"


@pytest.mark.parametrize("strict", [False, True])
def test_a_strict_evaluation_reads_published_scores_strictly(strict, tmp_path):
    answers = [
        {"question": f"Question {n} is about {n * 7}", "llm_selected": model, "evaluation_result": {"score": score - 0.033, "inference_cost": cost}}
        for n in range(40)
        for model, score, cost in (("small", n % 2, 0.001), ("large", 1, 0.01))
    ]
    (tmp_path / "answers.jsonl").write_text("\n".join(map(json.dumps, answers)))
    settings = read_settings({"dataset": f"routerarena:{tmp_path}", "evaluation": {"strict": strict}})
    if strict:
        with pytest.raises(DataError, match=r"line 1: score must be a number from 0 to 1, not -0\.033"):
            make_setup(settings, get_plugin_manager())
    else:
        assert make_setup(settings, get_plugin_manager()).splits["train"].outcomes.known_quality.min() == 0
