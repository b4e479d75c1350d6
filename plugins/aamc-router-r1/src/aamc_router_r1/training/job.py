"""Training of the policy: the warm start, then GRPO, each resumable, in one process or one for each GPU."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from aamc_router_r1.data.tasks import RoutingDataset, RoutingTask, tasks_of
from aamc_router_r1.training.options import AUTO, LIVE, SIMULATED
from aamc_router_r1.training.provider import model_folder
from aamc_router_r1.training.replies import LiveReplies, RecordedReplies, Replies, Simulator
from aamc_sdk import Services, Training
from aamc_sdk.errors import CheckpointError, ConfigError, DataError
from aamc_sdk.storage import read_json
from aamc_sdk.types import Dataset, ModelSpec, Pool, Prices

BEST, LAST = "best", "last"


class Trainee(Protocol):
    """The part of :class:`aamc_router_r1.orchestrator.RouterR1` that training uses.

    Attributes:
        config: Its options, of :class:`aamc_router_r1.config.RouterR1Config`.
        services: Have the pool and the client for models.
        checkpoint: The folder of the trained policy, which a training continues from; None before the first.
    """

    config: Any
    services: Services
    checkpoint: Path | None


def prepare(trainee: Trainee, training: Training) -> None:
    """Check that the training can begin.

    Raises:
        ConfigError: An option does not fit the others or the data, or a library of the extra ``train`` is not installed.
        DataError: The data has no question with an answer, or no demonstration where only the warm start is to run.
        PoolError: There is no model to consult.
    """
    _check_libraries()
    config = trainee.config
    tasks = tasks_of(training.dataset, trainee.services.pool, [config.policy])
    if not tasks:
        raise DataError(f"{training.dataset.source} has no question with an answer")
    episodes, together = config.batch_size * config.group_size, config.micro_batch_size * config.processes
    if episodes % together:
        raise ConfigError(
            f"batch_size x group_size, {episodes} episodes, must be a multiple of micro_batch_size x processes, {together}; change one of them"
        )
    if config.calls != 1:
        raise ConfigError(f"a policy is trained to consult one model in a turn; set calls=1, not {config.calls}")
    if config.codec != "tags":
        raise ConfigError(f"a policy is trained with codec=tags, not {config.codec!r}")
    if not config.steps and not config.num_epochs and not any(task.answer for task in tasks):
        raise DataError(f"{training.dataset.source} has no demonstrations for a warm start, and steps=0; give records with 'optimal_model', or steps")
    replies_of(trainee, training)


def _check_libraries() -> None:
    try:
        for name in ("accelerate", "datasets", "peft", "torch", "transformers", "trl"):
            import_module(name)
    except ImportError as error:
        raise ConfigError(f"training router-r1 needs {error.name}: pip install 'aamc-router-r1[train]'") from error


def replies_of(trainee: Trainee, training: Training) -> Replies:
    """Return the replies of consulted models that the options name.

    Raises:
        ConfigError: The models can be neither called nor simulated.
        DataError: A question cannot be simulated although the options ask for it, or the file of recorded replies is missing or has a bad line.
    """
    config, dataset, chosen = trainee.config, training.dataset, trainee.config.replies
    tasks = [
        task for split in (dataset, training.validation) if split is not None for task in tasks_of(split, trainee.services.pool, [config.policy])
    ]
    if chosen in (AUTO, SIMULATED):
        simulator = _simulator(dataset, trainee.services.seed)
        unknown = next((task for task in tasks if simulator is None or not simulator.simulates(task)), None)
        if simulator is not None and unknown is None:
            return simulator
        if chosen == SIMULATED:
            what = "" if unknown is None or simulator is None else f" to {unknown.question!r:.80}"
            raise DataError(
                f"{dataset.source} does not say what its models would reply{what}; add 'optimal_model' or the 'quality' of all models "
                "to its records, or set orchestrator.replies=live or a file of recorded replies"
            )
    if chosen in (AUTO, LIVE):
        _check_endpoints(trainee.services.pool, tasks)
        options = {"max_tokens": config.routed_tokens, "temperature": config.routed_temperature}
        record = None if training.folder is None else training.folder / "replies.jsonl"
        return LiveReplies(trainee.services, options, config.call_seconds, record)
    return RecordedReplies(chosen)


def _simulator(dataset: Dataset, seed: int) -> Simulator | None:
    """Return the simulator of a dataset; None if it has none."""
    if not isinstance(dataset, RoutingDataset) or not dataset.simulator:
        return None
    module, _, name = dataset.simulator.partition(":")
    made: Simulator = getattr(import_module(module), name)(seed)
    return made


def _check_endpoints(pool: Pool, tasks: Sequence[RoutingTask]) -> None:
    """Raise ConfigError if a model of the tasks cannot be called."""
    callable_names = {candidate.name for candidate in pool if isinstance(candidate, ModelSpec) and candidate.endpoint is not None}
    for task in tasks:
        for spec in task.specs:
            if spec.name not in callable_names:
                raise ConfigError(
                    f"{spec.name!r} is to reply to {task.question!r:.80} and has no endpoint in the pool; add it to the file of --pool, "
                    "or set orchestrator.replies to simulated or a file of recorded replies"
                )


def policy_prices(trainee: Trainee) -> Prices:
    """Return the prices of the policy's tokens: those of the candidate that ``policy`` names, else 0."""
    spec = next((candidate for candidate in trainee.services.pool if candidate.name == trainee.config.policy), None)
    return spec.prices if isinstance(spec, ModelSpec) and spec.prices is not None else Prices(0.0, 0.0)


def train(trainee: Trainee, training: Training) -> Mapping[str, Any]:
    """Train the model of the options, or a loaded policy further; return metrics. Its checkpoints are in ``trainee.checkpoint``."""
    from aamc_router_r1.training.run import run
    from aamc_router_r1.training.stages import Job

    config, prices = trainee.config, policy_prices(trainee)
    if prices == Prices(0.0, 0.0) and any(config.training_alphas or (config.alpha,)):
        training.progress.say("the policy's own tokens cost 0 USD in the reward; name a candidate with its prices by orchestrator.policy")
    folder = training.folder or Path(tempfile.mkdtemp(prefix="router-r1-"))
    pool, leave_out = trainee.services.pool, [trainee.config.policy]
    job = Job(
        config=trainee.config,
        folder=folder,
        tasks=tasks_of(training.dataset, pool, leave_out),
        validation=_validation(training, tasks_of(training.validation or training.dataset, pool, leave_out), trainee.config.validation_questions),
        replies=replies_of(trainee, training),
        prices=prices,
        seed=trainee.services.seed,
        device=trainee.services.device,
        progress=training.progress,
        start=None if trainee.checkpoint is None else model_folder(str(trainee.checkpoint)),
        budget_usd=training.budget_usd,
    )
    launch(partial(run, job), trainee.config.processes)
    trainee.checkpoint = folder
    return dict(read_json(folder / "metrics.json"))


def _validation(training: Training, tasks: list[RoutingTask], most: int) -> Sequence[RoutingTask]:
    return tasks[:most] if training.validation is not None else []


def launch(work: Callable[[], None], processes: int) -> None:
    """Run the work in this process, or in several that accelerate starts: one for each GPU, or on the CPU without one."""
    if processes == 1:
        work()
        return
    import torch
    from accelerate import debug_launcher, notebook_launcher  # type: ignore[import-untyped]  # it has no types

    if torch.cuda.is_available():
        notebook_launcher(work, (), num_processes=processes, use_port="29517")
    else:
        debug_launcher(work, (), num_processes=processes)


def save(trainee: Trainee, folder: Path) -> None:
    """Write the trained policy: the checkpoints ``best`` and ``last``.

    Raises:
        CheckpointError: The policy was not trained.
    """
    if trainee.checkpoint is None:
        raise CheckpointError("router-r1 has no trained policy to save; train it with: aamc train --orchestrator router-r1")
    for name in (BEST, LAST):
        if (source := trainee.checkpoint / name).is_dir():
            shutil.copytree(source, folder / name, dirs_exist_ok=True)
