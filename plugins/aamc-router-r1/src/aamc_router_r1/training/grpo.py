"""Reinforcement learning by TRL's GRPO (Shao et al., arXiv 2402.03300), whose ``rollout_func`` plays our episodes.

The advantage of an episode is its reward, minus the mean of its group, over the group's standard deviation. The loss is the clipped surrogate
plus the KL divergence from the policy after the warm start; tokens that the environment wrote have mask 0 and enter neither. TRL has dropped
PPO, so there is no critic.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list, gather_object  # type: ignore[import-untyped]  # it has no types
from transformers import PreTrainedTokenizerBase, PrinterCallback

from aamc_router_r1.training.checkpoints import Follow, last_checkpoint, lora_config, merged
from aamc_router_r1.training.episode_scores import figures, score
from aamc_router_r1.training.rollout import PlayedEpisode
from aamc_router_r1.training.stages import Job, load_model, play_all
from aamc_router_r1.training.warm_start import shared_arguments

REWARD = "episode_reward"
START = "start"
"""The stage before the first update."""


class BudgetSpentError(Exception):
    """Raised when the budget ends amid the episodes of an update, which is not made then."""


def train_grpo(job: Job, start: str, steps: int) -> None:
    """Train the policy from a folder, or from the last checkpoint, and write ``best`` and ``last``."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func is marked experimental; our tests cover what we use of it
    from datasets import Dataset  # type: ignore[import-untyped]  # it has no types
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    model, tokenizer = load_model(start, job.device)
    working = job.folder / "grpo_steps"
    resumed = last_checkpoint(working)
    if resumed is not None:
        job.restore(Path(resumed))
    questions = job.questions(steps)
    rollout = EpisodeRollout(job, tokenizer, questions)
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=[episode_rewards],
        args=GRPOConfig(**grpo_arguments(job, working, steps)),
        train_dataset=Dataset.from_dict({"prompt": [str(number) for number in range(len(questions))]}),
        processing_class=tokenizer,
        peft_config=lora_config(job.config.lora_rank) if job.config.lora_rank else None,
        rollout_func=rollout,
    )
    trainer.remove_callback(PrinterCallback)  # it prints to standard output
    select = Select(job, trainer, tokenizer)
    trainer.add_callback(select)
    trainer.add_callback(Follow(job, "router-r1"))
    if resumed is None:
        select.validate(START)
    try:
        trainer.train(resume_from_checkpoint=resumed)
    except BudgetSpentError:
        select.say_spent(trainer.state.global_step)
    job.updates = trainer.state.global_step
    if trainer.is_world_process_zero():
        policy = merged(trainer)
        job.stages["last"] = job.stages.get(str(job.updates) if job.updates else START) or job.validate(policy, tokenizer)
        job.keep(policy, tokenizer, "last")
    trainer.accelerator.wait_for_everyone()


def grpo_arguments(job: Job, folder: Path, steps: int) -> dict[str, Any]:
    """Return the arguments of TRL's trainer."""
    config = job.config
    accumulated = config.batch_size * config.group_size // (config.micro_batch_size * config.processes)
    return {
        **shared_arguments(job, folder),
        "max_steps": steps,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "linear" if config.learning_rate_decay else "constant",
        "per_device_train_batch_size": config.micro_batch_size,
        "gradient_accumulation_steps": accumulated,
        "steps_per_generation": accumulated,
        "num_generations": config.group_size,
        "scale_rewards": config.advantage_scale,
        "epsilon": config.clip,
        "beta": config.kl,
        "loss_type": "bnpo",  # the mean over the policy's tokens of a batch
        "temperature": config.temperature,
        "max_completion_length": config.turn_tokens,  # of a turn; the rollout limits the episode
        "shuffle_dataset": False,
        "remove_unused_columns": False,
    }


def episode_rewards(prompts: list[str], completions: list[str], **columns: Any) -> list[float | None]:
    """Return the rewards that the rollout has computed."""
    return list(columns[REWARD])


class EpisodeRollout:
    """Plays and scores the episodes of TRL's trainer.

    Args:
        job: The training.
        tokenizer: The policy's tokenizer.
        questions: Task and weight of the cost of each question; TRL passes its place as the prompt.
    """

    def __init__(self, job: Job, tokenizer: PreTrainedTokenizerBase, questions: list[tuple[int, float]]) -> None:
        self._job, self._questions = job, questions
        self._player = job.player(tokenizer, job.config.temperature)

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """Return tokens, masks and rewards of one episode for each prompt.

        Raises:
            BudgetSpentError: The budget ended before the episodes.
        """
        from trl.models.utils import unwrap_model_for_generation

        job = self._job
        asked = [self._questions[int(prompt)] for prompt in prompts]
        episodes = [self._player.begin(job.tasks[task], alpha) for task, alpha in asked]
        with unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model:
            play_all(self._player, model, episodes, max(job.config.micro_batch_size, 64), lambda: job.spends(episodes))
        everyone = gather_object([_portable(episode) for episode in episodes])  # every process scales costs by the same window
        job.spent_usd += sum(episode.spent_usd for episode in everyone)
        if not all(episode.dialogue.done for episode in everyone):
            raise BudgetSpentError  # in every process
        score(job.config, job.normalizer, everyone)
        first = trainer.accelerator.process_index * len(episodes)
        mine = everyone[first : first + len(episodes)]
        job.curve.append({"step": trainer.state.global_step + 1, **figures(everyone)})
        return {
            "prompt_ids": [episode.prompt_ids for episode in episodes],
            "completion_ids": [episode.ids for episode in episodes],
            "env_mask": [episode.mask for episode in episodes],
            "logprobs": None,  # TRL computes them where it needs them
            REWARD: [episode.reward.total for episode in mine if episode.reward is not None],
        }


def _portable(episode: PlayedEpisode) -> PlayedEpisode:
    """Return an episode without the functions of its limits, which another process cannot receive."""
    from copy import copy

    from aamc_router_r1.episode import DialogueLimits

    sent = copy(episode)
    sent.dialogue = copy(episode.dialogue)
    sent.dialogue.limits = DialogueLimits()
    return sent


class Select(Follow):
    """Validates the policy at every checkpoint, keeps the best, and ends the training when the budget is spent."""

    def __init__(self, job: Job, trainer: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(job, "")
        self._trainer, self._tokenizer = trainer, tokenizer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave the progress to the other callback."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Validate where a checkpoint is due, and stop if the budget is spent."""
        if state.global_step % args.save_steps == 0 or state.global_step == state.max_steps:
            self.validate(str(state.global_step))
        if self._job.spends():
            self.say_spent(state.global_step)
            control.should_training_stop = True

    def say_spent(self, updates: int) -> None:
        """Report that the budget ends the training."""
        self._job.progress.say(f"the budget of {self._job.budget_usd:g} USD is spent after {updates} updates; the training ends")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave the checkpoint to the other callback."""

    def validate(self, stage: str) -> None:
        """Validate the policy, and keep it if it is the best."""
        if self._trainer.is_world_process_zero():
            self._select(stage)
        (self._job.spent_usd,) = broadcast_object_list([self._job.spent_usd])  # every process ends at the budget in the same update

    def _select(self, stage: str) -> None:
        job, policy = self._job, merged(self._trainer)
        found = job.validate(policy, self._tokenizer)
        if found:
            job.stages[stage] = found
        if stage == START and any(job.alphas) and job.start is None:
            return  # no cost has a scale yet, so this reward cannot be compared with later ones
        if found and found["reward"] > job.best:
            job.best = found["reward"]
            job.keep(policy, self._tokenizer, "best")
