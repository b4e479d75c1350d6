"""Checkpoints of the trainers: the state other than the weights, LoRA adapters, and the selection of the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, TrainerCallback

from aamc_router_r1.training.stages import STATE, Job
from aamc_sdk.storage import write_json


def last_checkpoint(folder: Path) -> str | None:
    """Return the last whole checkpoint of a trainer; None without one. One without our state, which is written last, was interrupted."""
    whole = [found for found in folder.glob("checkpoint-*") if (found / STATE).is_file()]
    return str(max(whole, key=lambda found: int(found.name.rpartition("-")[2]))) if whole else None


def adapted(model: PreTrainedModel, rank: int) -> Any:
    """Return the model with LoRA adapters of a rank on all its linear layers; itself for rank 0."""
    if not rank:
        return model
    from peft import get_peft_model

    return get_peft_model(model, lora_config(rank))


def lora_config(rank: int) -> Any:
    """Return the configuration of LoRA adapters (Hu et al., arXiv 2106.09685)."""
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def merged(trainer: Any) -> PreTrainedModel:
    """Return the trained model, its adapters merged into a copy of the weights."""
    from copy import deepcopy

    from peft import PeftModel

    model = trainer.accelerator.unwrap_model(trainer.model)
    whole: PreTrainedModel = deepcopy(model).merge_and_unload() if isinstance(model, PeftModel) else model
    return whole


class Follow(TrainerCallback):
    """Reports the progress of a trainer and completes its checkpoints.

    Args:
        job: The training.
        title: Title of the progress.
    """

    def __init__(self, job: Job, title: str) -> None:
        self._job, self._title = job, title

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the progress."""
        if state.is_world_process_zero:
            self._job.progress.start(self._title, state.max_steps)
            self._job.progress.advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report an update."""
        if state.is_world_process_zero:
            self._job.progress.advance(1)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Complete a checkpoint."""
        if state.is_world_process_zero:
            write_json(Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE, self._job.state())
