"""The first example: an agent that echoes, one that ends, and a policy that learns to end at once.

The programs of the Dynamic Orchestrator Agent framework look like this one; with ``doa_framework`` in the place of
``aamc_puppeteer.doa`` it would run there. Run it with: python examples/puppeteer_echo.py
"""

from __future__ import annotations

import torch
from aamc_puppeteer.doa import EchoAgent, Orchestrator, PolicyNetwork, REINFORCETrainer, RewardConfig, SystemState, TerminatorAgent
from torch import optim

EPOCHS = 50
EPISODES = 10
MAX_STEPS = 4
TASKS = (
    "What is 17 plus 25?",
    "Say in one sentence what a glacier is.",
    "Write three lines about rain.",
    "Put these names in order: Mia, Ada, Zoe.",
    "Tell how glass is made.",
)


def main(seed: int = 0) -> None:
    """Train for 50 epochs of 10 episodes and print a line an epoch."""
    torch.manual_seed(seed)
    agents = [EchoAgent(), TerminatorAgent()]
    config = RewardConfig(lambda_cost_penalty=0.1, gamma_discount_factor=0.99, task_success_bonus=1.0, task_failure_penalty=-1.0)
    policy = PolicyNetwork(state_embedding_dim=64, num_agents=len(agents))
    orchestrator = Orchestrator(agents, policy, config)
    trainer = REINFORCETrainer(policy, optim.Adam(policy.parameters(), lr=0.001), config)
    for epoch in range(EPOCHS):
        states = [SystemState(TASKS[number % len(TASKS)], history=[], current_step=0, max_steps=MAX_STEPS) for number in range(EPISODES)]
        episodes = [orchestrator.run_episode(state) for state in states]
        loss = trainer.train_batch(episodes)
        reward = sum(episode.total_undiscounted_reward for episode in episodes) / EPISODES
        success = sum(episode.task_successful for episode in episodes) / EPISODES
        steps = sum(len(episode.steps) for episode in episodes) / EPISODES
        print(f"epoch {epoch + 1:2d}/{EPOCHS}  average reward {reward:6.3f}  success rate {success:4.0%}  steps {steps:.1f}  loss {loss:8.5f}")


if __name__ == "__main__":
    main()
