"""The gradient of an update by GRPO against its equation, on a model that is small enough to compute it twice."""

from pathlib import Path
from typing import Any

import pytest
import torch
from aamc_router_r1.config import RouterR1Config
from aamc_router_r1.reward import RewardParts
from aamc_router_r1.training import trainers
from aamc_router_r1.training.stages import Job
from aamc_router_r1.world import FactWorld, WorldReplies
from tiny_model import tiny_model, tiny_tokenizer
from torch import Tensor

from aamc_sdk.interfaces import NoProgress
from aamc_sdk.types import Prices

WORLD = FactWorld(0)
TOKENIZER = tiny_tokenizer(WORLD)
GROUP, TEMPERATURE, KL = 4, 0.7, 2.0
Update = tuple[dict[str, Tensor], dict[str, Any], dict[str, Tensor]]
"""The weights before an update, its episodes, and its gradient by parameter."""


def log_probabilities(model: Any, prompt: list[int], completion: list[int]) -> Tensor:
    """Return the log-probability of each token of a completion."""
    ids = torch.tensor([prompt + completion])
    logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1] / TEMPERATURE
    return logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None])[:, 0]  # type: ignore[no-any-return]  # a Tensor


def model_with(weights: dict[str, Tensor]) -> Any:
    model = tiny_model(len(TOKENIZER), 0, 16).eval()
    model.load_state_dict(weights)
    return model


def expected_gradient(update: Update, first: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradient of the mean over the policy's tokens of rho (KL (r - log r - 1) - A).

    r = pi_first / pi, rho = pi / pi_before is 1 and has a gradient, and A is the reward, standardised in its group.
    """
    weights, episodes, _ = update
    model, reference, loss = model_with(weights), model_with(first), torch.zeros(())
    rewards = torch.tensor(episodes[trainers.REWARD]).view(-1, GROUP)
    advantages = ((rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)).flatten()
    columns = (episodes[name] for name in ("prompt_ids", "completion_ids", "env_mask"))
    for advantage, prompt, completion, mask in zip(advantages, *columns, strict=True):
        own, log_reference = log_probabilities(model, prompt, completion), log_probabilities(reference, prompt, completion).detach()
        divergence = (log_reference - own).exp() - (log_reference - own) - 1
        loss = loss + ((own - own.detach()).exp() * (KL * divergence - advantage) * torch.tensor(mask)).sum()
    (loss / sum(map(sum, episodes["env_mask"]))).backward()  # type: ignore[no-untyped-call]  # torch does not type it
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_an_update_follows_the_advantages_of_the_policys_tokens_and_the_divergence_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model(len(TOKENIZER), 0, 16).save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    config = RouterR1Config(
        model=str(tmp_path / "model"),
        warm_start_epochs=0,
        steps=2,
        rounds=1,
        turn_tokens=8,
        batch_size=2,
        group_size=GROUP,
        micro_batch_size=2,
        temperature=TEMPERATURE,
        kl=KL,
        learning_rate=0.02,
        save_every=100,
    )
    job = Job(config, tmp_path / "run", WORLD.tasks(4, 0), (), WorldReplies(), Prices(0.0, 0.0), 0, "cpu", NoProgress())
    played: list[tuple[dict[str, Tensor], dict[str, Any]]] = []
    gradients: list[dict[str, Tensor]] = []
    play = trainers.EpisodeRollout.__call__

    def record(self: Any, prompts: list[str], trainer: Any) -> dict[str, Any]:
        weights = {name: values.detach().clone() for name, values in trainer.model.state_dict().items()}
        played.append((weights, play(self, prompts, trainer)))
        return played[-1][1]

    def score(_: Any, __: Any, episodes: list[Any]) -> None:  # an untrained policy is always malformed
        for number, episode in enumerate(episodes):
            episode.reward = RewardParts(0.0, 0.0, 0.0, float(number * 5 % 7))

    class Recording(trainers.Follow):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None})

    monkeypatch.setattr(trainers.EpisodeRollout, "__call__", record)
    monkeypatch.setattr(trainers, "score", score)
    monkeypatch.setattr(trainers, "Follow", Recording)
    trainers.run(job)
    assert any(0 in mask for _, episodes in played for mask in episodes["env_mask"])
    for update in [(*before, gradient) for before, gradient in zip(played, gradients, strict=True)]:
        expected, found = expected_gradient(update, played[0][0]), update[2]
        norm = float(torch.cat([values.flatten() for values in expected.values()]).norm())
        assert found.keys() == expected.keys()
        for name, values in expected.items():  # the trainer clips the gradient to norm 1
            torch.testing.assert_close(found[name], values / max(norm, 1.0), rtol=1e-3, atol=1e-6)
