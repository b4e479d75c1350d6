"""The first program of the Dynamic Orchestrator Agent framework: an agent that echoes, one that ends, and a policy that learns to end at once.

With ``doa_framework`` in the place of ``aamc_puppeteer.doa`` it runs there. Run it with: python examples/run_mvp_training.py
"""

from __future__ import annotations

import torch
from aamc_puppeteer.doa import EchoAgent, Orchestrator, PolicyNetwork, REINFORCETrainer, RewardConfig, SystemState, TerminatorAgent
from torch import optim

EPOCHS = 50
EPISODES = 10
EMBEDDING, HIDDEN = 64, 128
LEARNING_RATE = 0.001
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
    print("Starting DOA Framework MVP Training")
    print(f"Epochs: {EPOCHS}, Episodes per epoch: {EPISODES}")
    print(f"State embedding dim: {EMBEDDING}, Hidden dim: {HIDDEN}")
    print(f"Learning rate: {LEARNING_RATE}, Max steps: {MAX_STEPS}")
    agents = [EchoAgent(), TerminatorAgent()]
    print(f"Initialized {len(agents)} agents: {[agent.name for agent in agents]}")
    config = RewardConfig(lambda_cost_penalty=0.1, gamma_discount_factor=0.99, task_success_bonus=1.0, task_failure_penalty=-1.0)
    print(f"Reward config: lambda={config.lambda_cost_penalty}, gamma={config.gamma_discount_factor}")
    policy = PolicyNetwork(state_embedding_dim=EMBEDDING, num_agents=len(agents), hidden_dim=HIDDEN)
    print(f"Policy network: {sum(parameter.numel() for parameter in policy.parameters())} parameters")
    orchestrator = Orchestrator(agents, policy, config)
    trainer = REINFORCETrainer(policy, optim.Adam(policy.parameters(), lr=LEARNING_RATE), config)
    for epoch in range(EPOCHS):
        states = [SystemState(TASKS[number % len(TASKS)], history=[], current_step=0, max_steps=MAX_STEPS) for number in range(EPISODES)]
        episodes = [orchestrator.run_episode(state) for state in states]
        loss = trainer.train_batch(episodes)
        reward = sum(episode.total_undiscounted_reward for episode in episodes) / EPISODES
        success = sum(episode.task_successful for episode in episodes) / EPISODES
        steps = sum(len(episode.steps) for episode in episodes) / EPISODES
        print(f"Epoch {epoch + 1}/{EPOCHS} | Avg Reward: {reward:.3f} | Success Rate: {success:.1%} | Steps: {steps:.1f} | Loss: {loss:.5f}")


if __name__ == "__main__":
    main()
