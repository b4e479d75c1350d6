"""A whole ``rl_driven`` section, from the file to the router and to what the command line says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from aamc_bandit.thompson.router import EpsilonGreedy, Thompson

from aamc_sdk import MetaController
from aamc_sdk.cli import main
from aamc_sdk.errors import ConfigError

EFFECTIVE = {
    "exploration_rate": 0.15,
    "exploration_decay": 0.97,
    "min_exploration": 0.02,
    "use_thompson_sampling": True,
    "enable_personalization": False,
    "personalization_blend": 0.4,
    "session_context_weight": 0.35,
    "implicit_feedback_weight": 0.45,
    "cost_awareness": False,
    "cost_weight": 0.0,
    "auto_save_interval": "45s",
    "min_samples": 0,
}
OF_ROUTER_R1 = {
    "use_router_r1_rewards": False,
    "cost_reward_alpha": 0.2,
    "format_reward_penalty": -0.75,
    "enable_llm_routing": False,
    "router_r1_server_url": "http://router-r1:8080",
    "llm_routing_fallback": "error",
    "enable_multi_round_aggregation": True,
    "max_aggregation_rounds": 2,
}


def write(folder: Path, section: dict[str, Any], kind: str = "rl_driven") -> str:
    models = [{"model": "gpt-4"}, {"model": "mistral-7b"}]
    decision = {"name": "technical", "priority": 10, "modelRefs": models, "algorithm": {"type": kind, kind: section}}
    path = folder / "router.yaml"
    path.write_text(yaml.safe_dump({"decisions": [decision], "observability": {"metrics": {"enabled": True}}}))
    return str(path)


def test_every_key_except_those_of_router_r1_reaches_the_router(tmp_path, caplog) -> None:
    section = {**EFFECTIVE, "storage_path": str(tmp_path / "state.json")}
    with MetaController.from_file(write(tmp_path, section | OF_ROUTER_R1)) as controller:
        config = controller.router.config
    assert isinstance(controller.router, Thompson)
    assert {key: getattr(config, key) for key in section} == section
    assert config.blend == "linear"
    assert "use_router_r1_rewards (it belongs to Router-R1: without use_router_r1_rewards: true, the reward is quality alone)" in caplog.text
    assert "format_reward_penalty (it belongs to Router-R1: only training judges the form of a policy's answers, " in caplog.text


def test_epsilon_greedy_is_the_router_of_that_name(tmp_path) -> None:
    with MetaController.from_file(write(tmp_path, {"use_thompson_sampling": False})) as controller:
        assert type(controller.router) is EpsilonGreedy
        probabilities = controller.route("test").probabilities.values()
    assert sorted(probabilities) == pytest.approx([0.15, 0.85]) or sorted(probabilities) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"enable_personalization": "false"}, "enable_personalization must be true or false, not 'false'"),
        ({"enable_llm_routing": "false"}, "enable_llm_routing must be true or false"),
        ({"use_router_r1_rewards": "false"}, "use_router_r1_rewards must be true or false"),
        ({"exploration_rat": 0.1}, "no option 'exploration_rat'; did you mean 'exploration_rate'"),
        ({"exploration_rate": 1.5}, "at most 1"),
        ({"auto_save_interval": 30}, "auto_save_interval must be text, not 30"),
        ({"router_model_path": "router.pt"}, "router.pt' is a torch file, .*; give the folder of a training"),
        ({"router_model_path": "empty"}, "'empty' holds no trained policy"),
        ({"router_model_path": "router.pt", "enable_llm_routing": False}, "router.pt' is a torch file, .*, such as RUN/routers/thompson"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, section, message) -> None:
    with pytest.raises(ConfigError, match=message):
        MetaController.from_file(write(tmp_path, section))


@pytest.mark.parametrize("kind", ["rl_driven", "concurrent"])
def test_the_command_line_trains_by_the_file_and_names_what_has_no_effect(tmp_path, monkeypatch, capsys, caplog, kind) -> None:
    section = {**EFFECTIVE, **OF_ROUTER_R1} if kind == "rl_driven" else {"max_concurrent": 3, "on_error": "skip"}
    monkeypatch.chdir(tmp_path)
    sizes = [argument for name in ("n_train", "n_validation", "n_test") for argument in ("--set", f"dataset.{name}=30")]
    with pytest.raises(SystemExit) as ended:
        main(["train", "--config", write(tmp_path, section, kind), *sizes, "--out", "out", "--json"])
    captured = capsys.readouterr()
    assert ended.value.code == 0, captured.err
    assert json.loads(captured.out)["out"].endswith("out")
    component = json.loads((tmp_path / "out" / "routers" / "thompson" / "component.json").read_text())
    assert component["config"]["blend"] == "linear"
    idle = OF_ROUTER_R1.keys() - {"enable_llm_routing"} if kind == "rl_driven" else section
    for key in (*idle, "decisions[technical].priority", "decisions[technical].modelRefs", "observability"):
        assert key in caplog.text
