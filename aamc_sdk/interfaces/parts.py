"""The base of all components: how they are made, trained and saved, and the services that they use."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import attrs

if TYPE_CHECKING:
    from aamc_sdk.interfaces.environments import Environment
    from aamc_sdk.interfaces.providers import ModelCaller
    from aamc_sdk.interfaces.routing import Reward
    from aamc_sdk.types import Dataset, Pool, RoutingRequest


@attrs.frozen(kw_only=True)
class NoOptions:
    """The configuration of a component that has no options."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}


class Progress(Protocol):
    """Receives the progress of a long job."""

    def start(self, what: str, total: int) -> None:
        """Begin a stage of ``total`` steps."""

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Report steps done and the figures to show beside them."""

    def say(self, line: str) -> None:
        """Show one line to the user."""


class Silence:
    """A progress that shows nothing."""

    def start(self, what: str, total: int) -> None:
        """Do nothing."""

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""


@attrs.frozen(kw_only=True)
class Services:
    """The services that every component is made with.

    Attributes:
        pool: The candidates.
        reward: The reward that routers, environment and evaluation share.
        make: Makes another component: ``make(kind, name, options)``.
        models: Calls candidates that have an endpoint; None where no model can be called.
        seed: The seed of all randomness.
        device: The device that torch computes on: ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

    pool: Pool
    reward: Reward
    make: Callable[[str, str, Mapping[str, Any]], Any]
    models: ModelCaller | None = None
    seed: int = 0
    device: str = "auto"


@attrs.frozen(kw_only=True)
class Training:
    """The data that a component learns from.

    Attributes:
        dataset: Training rows.
        validation: Rows for early stopping and model selection; shares no question with training.
        request: The training rows as a router sees them; the expected quality is out of fold.
        validation_request: The validation rows as a router sees them.
        env: The environment in which policies are trained.
        folder: The folder for checkpoints of an unfinished training; None to write none.
        resume: Whether to go on from the checkpoint in the folder.
        progress: Receives the progress.
    """

    dataset: Dataset
    validation: Dataset | None = None
    request: RoutingRequest | None = None
    validation_request: RoutingRequest | None = None
    env: Environment | None = None
    folder: Path | None = None
    resume: bool = False
    progress: Progress = attrs.field(factory=Silence)


class Part(abc.ABC):
    """A component: made from its options and the services, saved to a folder and loaded from it."""

    Config: ClassVar[type[Any]] = NoOptions

    def __init__(self, config: Any, services: Services) -> None:
        self.config = config
        self.services = services

    def save(self, folder: Path) -> None:
        """Write the learned state into an existing folder, without the configuration."""

    def load(self, folder: Path) -> None:
        """Read the state that :meth:`save` wrote; runs no code from it.

        Raises:
            CheckpointError: The state is missing, damaged, or another component's.
        """


class ExportablePart(Part):
    """A component that can be written in other forms, for serving with less or for other programs.

    Attributes:
        exports: The names of the forms, such as ``"onnx"``.
    """

    exports: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def export(self, folder: Path, form: str) -> None:
        """Write one of the forms beside the saved state.

        Args:
            folder: The folder that :meth:`Part.save` wrote.
            form: One of ``exports``.
        """
