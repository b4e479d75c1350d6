"""A configuration of vLLM Semantic Router with ``enable_llm_routing``: its keys take effect."""

import json

import pytest
import yaml
from aamc_bandit.thompson import Thompson
from aamc_router_r1.single.router import RouterR1Router, price_reward, rewarded

from aamc_sdk import MetaController, ModelSpec, Prices
from aamc_sdk.errors import ConfigError
from aamc_sdk.routing import pool_from_dict
from aamc_sdk.types import Attempt, Decision, Estimates, Experience, Feedback, Preference, Query

MODELS = {
    "big": {"pricing": {"prompt_per_1m": 30.0, "completion_per_1m": 30.0}},
    "tiny": {"pricing": {"prompt_per_1m": 0.5, "completion_per_1m": 0.5}},
}


def write(folder, **section):
    decision = {"name": "d", "modelRefs": [{"model": "big"}, {"model": "tiny"}], "algorithm": {"type": "rl_driven", "rl_driven": section}}
    path = folder / "semantic-router.yaml"
    path.write_text(yaml.safe_dump({"decisions": [decision], "model_config": MODELS}))
    return path


def test_the_file_asks_its_server_and_falls_back(server, tmp_path):
    server.route = json.dumps({"selected_model": "tiny", "thinking": "cheap"}).encode()
    path = write(tmp_path, enable_llm_routing=True, router_r1_server_url=server.url, llm_routing_fallback="thompson", min_samples=0)
    with MetaController.from_file(path) as controller:
        assert isinstance(controller.router, RouterR1Router)
        assert controller.route("Write a loop").candidate == "tiny"
        server.route = b""
        decision = controller.route("Write another loop")
        assert (decision.notes["llm_routing"], decision.notes["fallback"]) == ("fallback", "thompson")


def test_a_torch_file_is_no_policy(server, tmp_path):
    with pytest.raises(ConfigError, match="torch file"):
        MetaController.from_file(write(tmp_path, enable_llm_routing=True, router_model_path="/x/best_model.pt"))


def test_a_model_path_names_a_policy_unless_a_bandits_checkpoint_lies_there(tmp_path, monkeypatch):
    monkeypatch.setattr("aamc_router_r1.single.router.policy_of", lambda config, *_: ModelSpec(config.router_model_path))
    with MetaController.from_file(write(tmp_path, router_model_path="policy", use_thompson_sampling=True, exploration_rate=0.1)) as controller:
        assert isinstance(controller.router, RouterR1Router)
        assert controller.router.config.router_model_path == "policy"
        assert (controller.router.wrapped.config.exploration_rate, controller.router.wrapped.config.router_model_path) == (0.1, None)
    with MetaController.from_file(write(tmp_path)) as controller:
        controller.router.save(tmp_path)
    with MetaController.from_file(write(tmp_path, router_model_path=str(tmp_path))) as controller:
        assert isinstance(controller.router, Thompson)


def test_rewards_replace_qualities():
    pool = pool_from_dict(
        {"candidates": [{"name": "costly", "prices": {"input": 30, "output": 30}}, {"name": "free", "prices": {"input": 0, "output": 0}}]}, "t"
    )
    decisions = [Decision(name, name, 0.5, Preference()) for name in ("costly", "free")]
    feedback = [Feedback(decision_id=name, quality=1.0) for name in ("costly", "free")]
    failed = Attempt("costly", 0, "costly", status="error")  # in another batch when it is learned live, so it must change nothing
    found = rewarded(Experience(4, [Query("a"), Query("b")], Estimates.unknown(2), decisions, [failed, *feedback]), pool, 0.3)
    assert [each.quality for each in found.feedback] == pytest.approx([0.7, 1.0])


def test_the_cost_reward_falls_with_the_price():
    assert [price_reward(ModelSpec("m", prices=Prices(0, output))) for output in (0, 2.5, 10, 99)] == [1, 0.75, 0, 0]
    assert price_reward(ModelSpec("m")) == 0.5


@pytest.mark.parametrize("asks", [True, False])
def test_the_algorithms_own_router_learns_by_rewards_whether_a_model_is_asked_or_not(server, tmp_path, asks):
    """Equal qualities: with alpha 1 the cheap model wins, as only its cost counts."""
    server.route, server.status = b"", 500
    asked = {"enable_llm_routing": True, "router_r1_server_url": server.url} if asks else {"llm_routing_fallback": "error"}
    options = {**asked, "use_router_r1_rewards": True, "cost_reward_alpha": 1.0}
    with MetaController.from_file(write(tmp_path, **options, cost_awareness=False)) as controller:
        for n in range(60):
            decision = controller.route(f"question {n}")
            for name in controller.pool.names:
                controller.feedback(decision.id, candidate=name, quality=1.0, source=f"judge of {name}")
        controller.learner.flush()
        assert sum(controller.route(f"later {n}").candidate == "tiny" for n in range(20)) > 15
