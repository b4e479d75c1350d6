from __future__ import annotations

import pytest
from aamc_experiments.commands import settings_from_options
from aamc_experiments.settings import COMPARED, Source, read_settings
from click import UsageError

from aamc_sdk.cli import split_names
from aamc_sdk.config import Choice
from aamc_sdk.errors import ConfigError, PreferenceError


def test_defaults_compare_ppo_with_every_baseline_on_synthetic_queries() -> None:
    settings = read_settings({})
    assert settings.router == Choice("ppo")
    assert settings.dataset == Source("synthetic")
    assert settings.routers is None
    assert settings.preset == "quick"


def test_no_estimator_can_be_named_over_a_files(tmp_path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("estimator: {name: tce, embedding: hashed}\n")
    assert settings_from_options({"configs": (file,), "estimator": "none"}).estimator is None
    assert read_settings({"estimator": "none"}) == read_settings({})


def test_settings_are_read_back_as_they_were_written() -> None:
    settings = read_settings(
        {
            "router": {"name": "ppo", "learning_rate": 1e-3},
            "estimator": "tce",
            "environment": {"load": 0.9},
            "dataset": {"name": "llmrouter", "path": "somewhere", "output_tokens": 128},
            "test_dataset": "outcomes:other",
            "routers": {"rule": {"easy": 0.2}, "twin": {"name": "greedy"}},
            "preference": "0.7,0.2,0.1",
            "seed": 7,
        }
    )
    assert read_settings(settings.to_dict()) == settings
    assert settings.routers["twin"] == Choice("greedy")


@pytest.mark.parametrize(
    ("test_dataset", "options"),
    [
        ("llmrouter:elsewhere", {"output_tokens": 128}),
        ({"name": "llmrouter", "path": "elsewhere", "output_tokens": 64}, {"output_tokens": 64}),
        ("outcomes:elsewhere", {}),
    ],
)
def test_a_test_dataset_of_the_same_format_is_read_with_the_same_options(test_dataset, options) -> None:
    settings = read_settings({"dataset": {"name": "llmrouter", "path": "here", "output_tokens": 128}, "test_dataset": test_dataset})
    assert settings.test_dataset.options == options
    assert settings.test_dataset.path == "elsewhere"


def test_a_file_gives_way_to_options_and_they_to_set(tmp_path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("router: {name: ppo, gamma: 0.5}\nseed: 3\n")
    settings = settings_from_options({"configs": (file,), "assignments": ("router.gamma=0.25",), "router": None, "seed": 4})
    assert settings.router == Choice("ppo", {"gamma": 0.25})
    assert settings.seed == 4


def test_a_router_named_anew_loses_the_options_of_another(tmp_path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("router: {name: ppo, gamma: 0.5}\n")
    assert settings_from_options({"configs": (file,), "router": "greedy"}).router == Choice("greedy")
    assert settings_from_options({"configs": (file,), "router": "ppo"}).router == Choice("ppo", {"gamma": 0.5})


def test_later_files_win(tmp_path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("seed: 1\npreset: full\n")
    second.write_text("seed: 2\n")
    settings = settings_from_options({"configs": (first, second)})
    assert (settings.seed, settings.preset) == (2, "full")


def test_set_reaches_one_of_the_compared_routers_and_keeps_the_others() -> None:
    settings = settings_from_options({"assignments": ("routers.rule.easy=0.2",)})
    assert settings.routers["rule"] == Choice("rule", {"easy": 0.2})
    assert tuple(settings.routers) == COMPARED


def test_set_gives_options_to_the_environment_that_the_data_decides_on() -> None:
    assert settings_from_options({"assignments": ("environment.load=0.9",)}).environment == Choice("", {"load": 0.9})


def test_set_reaches_how_routers_are_compared() -> None:
    assert settings_from_options({"assignments": ("evaluation.success_threshold=0.75",)}).evaluation.success_threshold == 0.75


def test_set_gives_options_to_a_dataset_with_a_path() -> None:
    settings = settings_from_options({"assignments": ("dataset.output_tokens=128",), "dataset": "llmrouter:some/path"})
    assert settings.dataset == Source("llmrouter", {"output_tokens": 128}, "some/path")
    assert str(settings.dataset) == "llmrouter:some/path"


def test_routers_keep_the_options_that_the_file_gave_them(tmp_path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("routers: {rule: {easy: 0.2}, random: }\n")
    assert settings_from_options({"configs": (file,), "routers": "rule,oracle"}).routers == {
        "rule": Choice("rule", {"easy": 0.2}),
        "oracle": Choice("oracle"),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"ruter": "ppo"}, "did you mean 'router'"),
        ({"router": 3}, "router must be a name"),
        ({"router": {"gamma": 1}}, "router must be a name"),
        ({"preset": "fast"}, "preset must be one of full, paper, quick"),
        ({"seed": -1}, "seed must be a whole number from 0 to 4294967295, not -1"),
        ({"seed": 2**32}, "from 0 to 4294967295, not 4294967296"),
        ({"seed": 1.5}, "a whole number"),
        ({"pool": ""}, "pool must be the name or file of a pool, or its content, not ''"),
        ({"estimator": ""}, "estimator must be a name"),
        ({"router": ""}, "router must be a name"),
        ({"routers": "ppo"}, "routers must be names"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda"),
        ({"evaluation": {"success_treshold": 1}}, "did you mean 'success_threshold'"),
        ({"dataset": {"name": "outcomes", "path": 3}}, "path must be text"),
    ],
)
def test_bad_settings_say_what_is_wrong(content, message) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(content)


def test_names_are_some_and_each_counts_once() -> None:
    assert split_names("greedy, oracle,") == ["greedy", "oracle"]
    with pytest.raises(UsageError, match="--routers must be names such as greedy,oracle, not ''"):
        split_names("")
    with pytest.raises(UsageError, match="--routers must not name anything twice, as in 'greedy,oracle,greedy'"):
        split_names("greedy,oracle,greedy")


@pytest.mark.parametrize("preference", ["", "1,2", "a,b,c", "-1,1,1", "0,0,0", "nan,1,1"])
def test_a_bad_preference_is_refused(preference) -> None:
    with pytest.raises(PreferenceError):
        read_settings({"preference": preference})


def test_plain_settings_hold_no_objects() -> None:
    plain = read_settings({}).to_dict()
    assert plain["router"] == {"name": "ppo"}
    assert plain["preference"] == "0.9,0.08,0.02"
