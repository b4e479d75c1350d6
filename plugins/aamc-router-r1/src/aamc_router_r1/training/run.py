"""The stages of a training in one process: the warm start, then GRPO."""

from __future__ import annotations

import shutil
import warnings

import torch
from accelerate import PartialState  # type: ignore[import-untyped]  # it has no types
from transformers.utils import logging

from aamc_router_r1.reward import CostNormalizer
from aamc_router_r1.training.grpo import train_grpo
from aamc_router_r1.training.stages import STATE, Job, load_model
from aamc_router_r1.training.warm_start import warm_start
from aamc_sdk.storage import read_json_object, write_json


def run(job: Job) -> None:
    """Train from the beginning or from the last checkpoint, and write ``best``, ``last`` and ``metrics.json``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)  # TRL uses names that transformers will drop
        _run(job)


def _run(job: Job) -> None:
    torch.manual_seed(job.seed)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # job.progress reports
    job.folder.mkdir(parents=True, exist_ok=True)
    job.normalizer = CostNormalizer(job.config.cost_window)
    if job.start is not None and (job.start / STATE).is_file():
        state = read_json_object(job.start / STATE).get("normalizer") or {}
        job.normalizer = CostNormalizer.from_state({**state, "window": job.config.cost_window})
    start = warm_start(job)
    if job.steps:
        train_grpo(job, start, job.steps)
    elif PartialState().is_main_process:
        model, tokenizer = load_model(start, job.device)
        job.stages["last"] = job.validate(model, tokenizer)
        job.keep(model, tokenizer, "last")
    if PartialState().is_main_process:
        if not (job.folder / "best").is_dir():
            shutil.copytree(job.folder / "last", job.folder / "best")
        metrics = {"steps": job.updates, "spent_usd": job.spent_usd, "validation": job.stages, "curve": job.curve}
        write_json(job.folder / "metrics.json", metrics)
    PartialState().wait_for_everyone()
