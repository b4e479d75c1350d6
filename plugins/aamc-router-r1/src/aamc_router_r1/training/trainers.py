"""The two stages of a training: a supervised warm start by the trainer of transformers, then GRPO by that of TRL.

The warm start learns from demonstrations; the tokens of prompts and informations are left out of the loss. GRPO (Shao et al., arXiv 2402.03300)
plays our episodes by TRL's ``rollout_func``. The advantage of an episode is its reward, minus the mean of its group, over the group's standard
deviation. The loss is the clipped surrogate plus the KL divergence from the policy after the warm start; tokens that the environment wrote have
mask 0 and enter neither. Each batch of episodes makes one update, so the probability ratio is 1 and nothing is clipped. The paper's estimate of the
divergence is multiplied by that ratio, as TRL does by default: the gradient of the estimate alone is that of the divergence in the other direction.
TRL has dropped PPO, so there is no critic.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState  # type: ignore[import-untyped]  # it has no types
from accelerate.utils import broadcast_object_list, gather_object  # type: ignore[import-untyped]  # it has no types
from datasets import Dataset  # type: ignore[import-untyped]  # likewise
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from aamc_router_r1.config import PolicyOptions
from aamc_router_r1.data import RoutingTask
from aamc_router_r1.reward import VSR, CostNormalizer
from aamc_router_r1.tokens import context_of, plain_ids
from aamc_router_r1.training.rollout import BatchPlayer, PlayedEpisode, figures, score
from aamc_router_r1.training.stages import STATE, WARM_START, Job, check_whole, complete, load_model, play_all
from aamc_sdk.errors import AamcError, ConfigError
from aamc_sdk.interfaces import Progress
from aamc_sdk.storage import read_json_object, save_training_checkpoint, write_json

logger = logging.getLogger(__name__)


def last_checkpoint(folder: Path) -> str | None:
    """Return the last complete checkpoint of a trainer, or None. One without the file ``STATE``, which is written last, is incomplete.

    Raises:
        CheckpointError: It is damaged.
    """
    whole = [found for found in folder.glob("checkpoint-*") if (found / STATE).is_file()]
    if not whole:
        return None
    last = max(whole, key=lambda found: int(found.name.rpartition("-")[2]))
    check_whole(last)
    return str(last)


def adapted(model: PreTrainedModel, rank: int) -> Any:
    """Return the model with LoRA adapters of a rank on all its linear layers; itself for rank 0."""
    if not rank:
        return model
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)  # peft uses a name that transformers will drop
        return get_peft_model(model, lora_config(rank))


def lora_config(rank: int) -> LoraConfig:
    """Return the configuration of LoRA adapters (Hu et al., arXiv 2106.09685)."""
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def merged(trainer: Any) -> PreTrainedModel:
    """Return the trained model, its adapters merged into a copy of the weights."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    whole: PreTrainedModel = deepcopy(model).merge_and_unload() if isinstance(model, PeftModel) else model
    return whole


class Follow(TrainerCallback):
    """Reports the progress of a trainer and completes its checkpoints by a state that the weights do not hold."""

    def __init__(self, progress: Progress, title: str, state: Callable[[], Mapping[str, Any]]) -> None:
        self._progress, self._title, self._state = progress, title, state

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the progress."""
        if state.is_world_process_zero:
            self._progress.start(self._title, state.max_steps)
            self._progress.advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report an update."""
        if state.is_world_process_zero:
            self._progress.advance(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Raise AamcError if the loss of an update is not finite: the weights are lost then."""
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            raise AamcError(f"{self._title}: the loss of update {state.global_step} is not a finite number; lower the learning rate")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Complete a checkpoint."""
        if state.is_world_process_zero:
            complete(Path(args.output_dir) / f"checkpoint-{state.global_step}", self._state())


IGNORED = -100
"""The label of a token that is left out of the loss."""


def example(player: BatchPlayer, tokenizer: PreTrainedTokenizerBase, task: RoutingTask, alpha: float) -> dict[str, list[int]]:
    """Return a demonstration's tokens and labels."""
    ids = list(player.begin(task, alpha).prompt_ids)
    labels = [IGNORED] * len(ids)
    for segment in task.demonstration(player.config.observation_tokens):
        tokens = plain_ids(tokenizer, segment.text)
        ids += tokens
        labels += tokens if segment.by_policy else [IGNORED] * len(tokens)
    return {"input_ids": ids, "labels": labels, "attention_mask": [1] * len(ids)}


def load(job: Job, folder: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a language model and its tokenizer, and record the settings of the training, which begins now; errors of :func:`check_context`."""
    model, tokenizer = load_model(folder, job.device)
    check_context(model, folder, *job.player(tokenizer, 0.0).longest([*job.tasks, *job.validation]))
    if PartialState().is_main_process:
        save_training_checkpoint(job.folder, {}, 0, [], job.made_for)
    return model, tokenizer


def check_context(model: PreTrainedModel, name: str, prompt: int, episode: int) -> None:
    """Check that a model takes the longest prompt and the longest possible episode or demonstration; with rotary positions it only warns.

    Few episodes are as long as they may be, and rotary positions go on beyond the context, where learned ones end.

    Raises:
        ConfigError: A model with learned positions takes fewer tokens.
    """
    if episode <= (context := context_of(model)):
        return
    message = (
        f"model {name!r} takes {context} tokens, and an episode or a demonstration may have {episode}, {prompt} of them in the prompt; "
        "lower orchestrator.turn_tokens, observation_tokens or rounds, shorten the demonstrations, or choose a model that takes more"
    )
    if getattr(model.config.get_text_config(), "rope_parameters", None) is None:
        raise ConfigError(message)
    logger.warning("%s", message)


def warm_start(job: Job) -> str:
    """Train the model on the demonstrations, unless that is done already; return the folder or name of the model to go on with."""
    config, done = job.config, job.folder / WARM_START
    demonstrated = [task for task in job.tasks if task.answer]
    if not demonstrated or not config.warm_start_epochs:
        return job.model
    if done.is_dir():
        check_whole(done)
        return str(done)
    model, tokenizer = load(job, job.model)
    player, rng = job.player(tokenizer, 0.0), np.random.default_rng((job.seed, 2))
    alphas = [float(rng.choice(np.array(job.alphas, float))) if task.alpha is None else task.alpha for task in demonstrated]
    rows = [example(player, tokenizer, task, alpha) for task, alpha in zip(demonstrated, alphas, strict=True)]
    working = job.folder / "warm_start_steps"
    trainer = Trainer(
        model=adapted(model, config.lora_rank),
        args=TrainingArguments(**arguments(job, working)),
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
        processing_class=tokenizer,
        callbacks=[Follow(job.progress, "router-r1 warm start", job.state)],
    )
    trainer.remove_callback(PrinterCallback)  # it prints to standard output
    trainer.train(resume_from_checkpoint=last_checkpoint(working))
    if trainer.is_world_process_zero():
        job.keep(merged(trainer), tokenizer, WARM_START)
    trainer.accelerator.wait_for_everyone()
    return str(done)


def arguments(job: Job, folder: Path) -> dict[str, Any]:
    """Return the arguments of the warm start's trainer."""
    config = job.config
    share = config.warm_start_batch_size // config.processes
    micro = largest_divisor(share, config.micro_batch_size)
    return {
        **base_arguments(folder, job.device, job.seed, config.save_every, bf16=job.bf16),
        "gradient_checkpointing": config.gradient_checkpointing,
        "num_train_epochs": config.warm_start_epochs,
        "learning_rate": config.warm_start_learning_rate,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": share // micro,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "remove_unused_columns": False,
    }


def largest_divisor(number: int, most: int) -> int:
    """Return the largest divisor of a number that is at most ``most``."""
    return max(size for size in range(1, most + 1) if number % size == 0)


def base_arguments(folder: Path, device: str, seed: int, save_every: int, *, bf16: bool) -> dict[str, Any]:
    """Return the arguments of every trainer."""
    return {
        "output_dir": str(folder),
        "bf16": bf16,
        "use_cpu": device == "cpu" or not torch.cuda.is_available(),
        "seed": seed,
        "save_strategy": "steps",
        "save_steps": save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it shows the mean of the other losses instead
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


REWARD = "episode_reward"
LEARNED_NOTHING = (
    "router-r1 learned nothing from its rewards: in every update, all episodes of each question had the same reward, and {malformed:.0%} were "
    "malformed; train a longer warm start (warm_start_epochs), or start from a model that follows the protocol"
)
START = "start"
"""The stage before the first update."""


class BudgetSpentError(Exception):
    """Raised when the budget ends amid the episodes of an update, which is not made then."""


def train_grpo(job: Job, start: str, steps: int) -> None:
    """Train the policy from a folder, or from the last checkpoint, and write ``best`` and ``last``."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func is marked experimental; our tests cover what we use of it
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    model, tokenizer = load(job, start)
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
    trainer.add_callback(Follow(job.progress, "router-r1", job.state))
    if resumed is None:
        select.validate(START)
    try:
        trainer.train(resume_from_checkpoint=resumed)
    except BudgetSpentError:
        select.say_spent(trainer.state.global_step)
    job.updates = trainer.state.global_step
    if trainer.is_world_process_zero():
        if job.curve and not any(update.get("differing_groups", 1) for update in job.curve):
            job.progress.say(LEARNED_NOTHING.format(malformed=np.mean([update["malformed"] for update in job.curve])))
        policy = merged(trainer)
        job.stages["last"] = job.stages.get(str(job.updates) if job.updates else START) or job.validate(policy, tokenizer)
        job.keep(policy, tokenizer, "last")
    trainer.accelerator.wait_for_everyone()


def grpo_arguments(job: Job, folder: Path, steps: int) -> dict[str, Any]:
    """Return the arguments of TRL's trainer."""
    config = job.config
    accumulated = config.batch_size * config.group_size // (config.micro_batch_size * config.processes)
    return {
        **base_arguments(folder, job.device, job.seed, config.save_every, bf16=job.bf16),
        "gradient_checkpointing": config.gradient_checkpointing,  # TRL's default differs from that of transformers
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
        "loss_type": "dapo",  # the mean over the policy's tokens of a batch; "bnpo" takes that of each micro-batch
        "temperature": config.temperature,
        "max_completion_length": config.turn_tokens,  # of a turn; the rollout limits the episode
        "shuffle_dataset": False,
        "remove_unused_columns": False,
    }


def episode_rewards(prompts: list[str], completions: list[str], **columns: Any) -> list[float | None]:
    """Return the rewards that the rollout has computed."""
    return list(columns[REWARD])


class EpisodeRollout:
    """Plays and scores the episodes of TRL's trainer, which passes the place of a question as its prompt."""

    def __init__(self, job: Job, tokenizer: PreTrainedTokenizerBase, questions: list[tuple[int, float]]) -> None:
        self._job, self._questions = job, questions
        self._player = job.player(tokenizer, job.config.temperature)

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """Return tokens, masks and rewards of one episode for each prompt; raise BudgetSpentError if the budget ends before."""
        from trl.models.utils import unwrap_model_for_generation

        job = self._job
        asked = [self._questions[int(prompt)] for prompt in prompts]
        episodes = [self._player.begin(job.tasks[task], alpha) for task, alpha in asked]
        with unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model:
            play_all(self._player, model, episodes, max(job.config.micro_batch_size, 64), lambda: job.spends(episodes))
        everyone = gather_object([_portable(episode) for episode in episodes])  # every process scales costs by the same window
        job.spend(everyone, records=trainer.accelerator.is_main_process)
        if not all(episode.dialogue.done for episode in everyone):
            raise BudgetSpentError  # in every process
        score(job.config, job.normalizer, everyone)
        first = trainer.accelerator.process_index * len(episodes)
        mine = everyone[first : first + len(episodes)]
        rewards = np.reshape([episode.reward.total for episode in everyone if episode.reward is not None], (-1, job.config.group_size))
        differing = float(np.mean(np.ptp(rewards, axis=1) > 0))  # an advantage is 0 where the rewards of a question are equal
        job.curve.append({"step": trainer.state.global_step + 1, **figures(everyone), "differing_groups": differing})
        return {
            **unpadded(episodes),
            "logprobs": None,  # TRL computes them where it needs them
            REWARD: [episode.reward.total for episode in mine if episode.reward is not None],
        }


def unpadded(episodes: Sequence[PlayedEpisode]) -> dict[str, list[list[int]]]:
    """Return the tokens and masks of episodes for TRL, as prompts of one length: the rest of a longer one counts as the environment's.

    TRL pads prompts on the left, which would shift the tokens of a model with learned positions, such as GPT-2, from where they were generated.
    """
    shared = min(len(episode.prompt_ids) for episode in episodes)
    return {
        "prompt_ids": [episode.prompt_ids[:shared] for episode in episodes],
        "completion_ids": [episode.prompt_ids[shared:] + episode.ids for episode in episodes],
        "env_mask": [[0] * (len(episode.prompt_ids) - shared) + episode.mask for episode in episodes],
    }


def _portable(episode: PlayedEpisode) -> PlayedEpisode:
    """Return an episode without its options and tokenizer, which another process cannot receive."""
    sent = copy(episode)
    sent.dialogue = copy(episode.dialogue)
    sent.dialogue.options, sent.dialogue.count = PolicyOptions(), len
    return sent


class Select(TrainerCallback):
    """Validates the policy at every checkpoint, keeps the best, and ends the training when the budget is spent."""

    def __init__(self, job: Job, trainer: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        self._job, self._trainer, self._tokenizer = job, trainer, tokenizer

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
            shown = "reward {reward:.3f}, exact match {exact_match:.1%}, malformed {malformed:.1%}".format(**found)
            job.progress.say(f"router-r1, validation {'before the first update' if stage == START else f'after update {stage}'}: {shown}")
        if stage == START and any(job.alphas) and job.start is None and job.config.reward != VSR:
            return  # no cost has a scale yet, so this reward cannot be compared with later ones
        if found and found["reward"] > job.best:
            job.best = found["reward"]
            job.keep(policy, self._tokenizer, "best")


def run(job: Job) -> None:
    """Train from the beginning or from the last checkpoint, and write ``best``, ``last`` and ``metrics.json``."""
    torch.manual_seed(job.seed)
    job.folder.mkdir(parents=True, exist_ok=True)
    job.normalizer, job.spent_usd = CostNormalizer(job.config.cost_window), job.recorded_usd()
    if job.start is not None and (job.start / STATE).is_file():
        state = read_json_object(job.start / STATE).get("normalizer") or {}
        job.normalizer = CostNormalizer.from_state({**state, "window": job.config.cost_window})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)  # TRL uses names that transformers will drop
        start = warm_start(job)
        if job.steps:
            train_grpo(job, start, job.steps)
    if not job.steps and PartialState().is_main_process:
        model, tokenizer = load(job, start)
        job.stages["last"] = job.validate(model, tokenizer)
        job.keep(model, tokenizer, "last")
    if PartialState().is_main_process:
        if not (job.folder / "best").is_dir():
            shutil.copytree(job.folder / "last", job.folder / "best")
        metrics = {"steps": job.updates, "spent_usd": job.spent_usd, "validation": job.stages, "curve": job.curve}
        write_json(job.folder / "metrics.json", metrics)
    PartialState().wait_for_everyone()
