"""Training of the policy: the warm start, then GRPO, each resumable, in one process or one for each GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from aamc_router_r1.config import AUTO, LIVE, REPLIES, SIMULATED, RouterR1Config
from aamc_router_r1.data import RoutingDataset, RoutingTask, check_endpoints, tasks_of
from aamc_router_r1.training.provider import model_folder
from aamc_router_r1.training.replies import LiveReplies, RecordedReplies, Replies, SimulatedReplies, Simulator
from aamc_sdk import Services, Training
from aamc_sdk.errors import AamcError, ConfigError, DataError
from aamc_sdk.storage import load_training_checkpoint, read_json
from aamc_sdk.types import ModelSpec, Pool, Prices

logger = logging.getLogger(__name__)


def prepare(config: RouterR1Config, services: Services, training: Training) -> None:
    """Check that the training can begin.

    Raises:
        ConfigError: An option does not fit the others or the data, or a library of the extra ``train`` is not installed.
        DataError: The data has no question with an answer, or no demonstration where only the warm start is to run.
        PoolError: There is no model to consult.
    """
    episodes, together = config.batch_size * config.group_size, config.micro_batch_size * config.processes
    if episodes % together:
        raise ConfigError(
            f"batch_size x group_size, {episodes} episodes, must be a multiple of micro_batch_size x processes, {together}; change one of them"
        )
    if config.calls != 1:
        raise ConfigError(f"a policy is trained to consult one model in a turn; set calls=1, not {config.calls}")
    if config.codec != "tags":
        raise ConfigError(f"a policy is trained with codec=tags, not {config.codec!r}")
    check_libraries("training router-r1")  # importing them takes seconds
    tasks = tasks_of(training.dataset, services.pool, [config.policy])
    if not tasks:
        raise DataError(f"{training.dataset.source} has no question with an answer")
    if not config.steps and not config.num_epochs and not any(task.answer for task in tasks):
        raise DataError(f"{training.dataset.source} has no demonstrations for a warm start, and steps=0; give records with 'optimal_model', or steps")
    if config.warm_start_epochs and any(task.answer for task in tasks) and config.warm_start_batch_size % config.processes:
        size = f"warm_start_batch_size, {config.warm_start_batch_size} demonstrations,"
        raise ConfigError(f"{size} must be a multiple of processes, {config.processes}; change one of them")
    longer = [len(task.consultations) for task in tasks if config.warm_start_epochs and len(task.consultations) > config.rounds]
    if longer:
        most, allowed = f"have up to {max(longer)} rounds", f"more than rounds={config.rounds}; set orchestrator.rounds={max(longer)}"
        logger.warning("demonstrations of %s %s, %d of them %s", training.dataset.source, most, len(longer), allowed)
    replies_of(config, services, training)


LIBRARIES = ("accelerate", "datasets", "peft", "torch", "transformers", "trl")


def check_libraries(user: str, names: Sequence[str] = LIBRARIES) -> None:
    """Raise ConfigError if one of these libraries of the extra ``train`` is not installed."""
    try:
        for name in names:
            import_module(name)
    except ImportError as error:
        raise ConfigError(f"{user} needs {error.name}: pip install 'aamc-router-r1[train]'") from error


def replies_of(config: RouterR1Config, services: Services, training: Training) -> Replies:
    """Return the replies of consulted models that the options name."""
    dataset, chosen = training.dataset, config.replies
    splits = [split for split in (dataset, training.validation) if split is not None]
    tasks = [task for split in splits for task in tasks_of(split, services.pool, [config.policy])]
    if chosen in (AUTO, SIMULATED):
        simulator: Simulator | None = (dataset.simulator or SimulatedReplies)(services.seed) if isinstance(dataset, RoutingDataset) else None
        unknown = [] if simulator is None else [task for task in tasks if not simulator.simulates(task)]
        if simulator is not None and not unknown:
            return simulator
        if chosen == SIMULATED:
            what = f" to {unknown[0].question!r:.80}" if unknown else ""
            raise DataError(
                f"{dataset.source} does not say what its models would reply{what}; add 'optimal_model' or the 'quality' of all models "
                "to its records, or set orchestrator.replies=live or a file of recorded replies"
            )
    if chosen in (AUTO, LIVE):
        check_endpoints(services.pool, tasks, ", or set orchestrator.replies to simulated or a file of recorded replies")
        record = None if training.folder is None else training.folder / REPLIES
        return LiveReplies(services, config, record)
    return RecordedReplies(chosen)


def policy_prices(config: RouterR1Config, pool: Pool) -> Prices:
    """Return the prices of the policy's tokens: those of the candidate that ``policy`` names, else 0."""
    spec = next((candidate for candidate in pool if candidate.name == config.policy), None)
    return spec.prices if isinstance(spec, ModelSpec) and spec.prices is not None else Prices(0.0, 0.0)


def train(config: RouterR1Config, services: Services, checkpoint: Path | None, training: Training, folder: Path) -> Mapping[str, Any]:
    """Train the model of the options, or the policy of a checkpoint further; write checkpoints to the folder and return metrics."""
    from aamc_router_r1.training.stages import Job
    from aamc_router_r1.training.trainers import run

    prices = policy_prices(config, services.pool)
    if prices == Prices(0.0, 0.0) and any(config.training_alphas or (config.alpha,)):
        training.progress.say("the policy's own tokens cost 0 USD in the reward; name a candidate with its prices by orchestrator.policy")
    validation = [] if training.validation is None else tasks_of(training.validation, services.pool, [config.policy])
    job = Job(
        config=config,
        folder=folder,
        tasks=tasks_of(training.dataset, services.pool, [config.policy]),
        validation=spaced(validation, config.validation_questions),
        replies=replies_of(config, services, training),
        prices=prices,
        seed=services.seed,
        device=services.device,
        progress=training.progress,
        start=None if checkpoint is None else model_folder(str(checkpoint)),
        budget_usd=training.budget_usd,
    )
    if training.resume:
        load_training_checkpoint(folder, job.made_for)  # raises CheckpointError if the interrupted training had other options
    launch(partial(run, job), config.processes)
    return dict(read_json(folder / "metrics.json"))


def spaced(tasks: Sequence[RoutingTask], count: int) -> list[RoutingTask]:
    """Return at most ``count`` tasks, from all over a list that may have one dataset after the other."""
    return [tasks[place * len(tasks) // count] for place in range(count)] if len(tasks) > count else list(tasks)


def launch(work: Callable[[], None], processes: int) -> None:
    """Run the work in this process, or in several that accelerate starts: one for each GPU, or on the CPU without one.

    Raises:
        AamcError: The work raised it, in any process.
    """
    if processes == 1:
        work()
        return
    import torch
    from accelerate import debug_launcher, notebook_launcher  # type: ignore[import-untyped]  # it has no types

    raised = get_context("fork").SimpleQueue()  # accelerate forks, and hands on the text of a traceback alone

    def reported() -> None:
        try:
            work()
        except AamcError as error:
            raised.put(error)
            raise

    try:
        if torch.cuda.is_available():
            notebook_launcher(reported, (), num_processes=processes, use_port="29517")
        else:
            debug_launcher(reported, (), num_processes=processes)
    except Exception:
        if raised.empty():
            raise
        raise raised.get() from None
