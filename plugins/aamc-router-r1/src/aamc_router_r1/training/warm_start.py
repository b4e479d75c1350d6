"""The supervised warm start from demonstrations; the tokens of prompts and informations are left out of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainingArguments

from aamc_router_r1.data.tasks import RoutingTask
from aamc_router_r1.training.checkpoints import Follow, adapted, last_checkpoint, merged
from aamc_router_r1.training.rollout import BatchPlayer, plain_ids
from aamc_router_r1.training.stages import WARM_START, Job, load_model

IGNORED = -100
"""The label of a token that is left out of the loss."""


def example(player: BatchPlayer, tokenizer: PreTrainedTokenizerBase, task: RoutingTask, alpha: float) -> dict[str, list[int]]:
    """Return a demonstration's tokens and labels."""
    ids = list(player.begin(task, alpha).prompt_ids)
    labels = [IGNORED] * len(ids)
    for segment in task.demonstration(player.limits.observation_tokens):
        tokens = plain_ids(tokenizer, segment.text)
        ids += tokens
        labels += tokens if segment.by_policy else [IGNORED] * len(tokens)
    return {"input_ids": ids, "labels": labels, "attention_mask": [1] * len(ids)}


def warm_start(job: Job) -> str:
    """Train the model on the demonstrations, unless that is done already; return the folder or name of the model to go on with."""
    config, done = job.config, job.folder / WARM_START
    demonstrated = [task for task in job.tasks if task.answer]
    if not demonstrated or not config.warm_start_epochs:
        return job.model
    if done.is_dir():
        return str(done)
    model, tokenizer = load_model(job.model, job.device)
    player, rng = job.player(tokenizer, 0.0), np.random.default_rng((job.seed, 2))
    alphas = [float(rng.choice(np.array(job.alphas, float))) if task.alpha is None else task.alpha for task in demonstrated]
    rows = [example(player, tokenizer, task, alpha) for task, alpha in zip(demonstrated, alphas, strict=True)]
    working = job.folder / "warm_start_steps"
    trainer = Trainer(
        model=adapted(model, config.lora_rank),
        args=TrainingArguments(**arguments(job, working)),
        train_dataset=_Rows(rows),
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
        processing_class=tokenizer,
        callbacks=[Follow(job, "router-r1 warm start")],
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
    micro = min(config.micro_batch_size, config.warm_start_batch_size)
    return {
        **shared_arguments(job, folder),
        "num_train_epochs": config.warm_start_epochs,
        "learning_rate": config.warm_start_learning_rate,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": max(1, config.warm_start_batch_size // (micro * config.processes)),
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "remove_unused_columns": False,
    }


def shared_arguments(job: Job, folder: Path) -> dict[str, Any]:
    """Return the arguments that both stages share."""
    return {
        "output_dir": str(folder),
        "bf16": job.bf16,
        "gradient_checkpointing": job.config.gradient_checkpointing,  # TRL's default differs from that of transformers
        "use_cpu": job.device == "cpu" or not torch.cuda.is_available(),
        "seed": job.seed,
        "save_strategy": "steps",
        "save_steps": job.config.save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


class _Rows(torch.utils.data.Dataset[dict[str, list[int]]]):
    def __init__(self, rows: Sequence[dict[str, list[int]]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> dict[str, list[int]]:
        return self._rows[place]
