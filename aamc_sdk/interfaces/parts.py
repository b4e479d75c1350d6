"""What all components share: how they are made, trained and kept, and what they are lent."""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import attrs

from aamc_sdk.errors import ConfigError, one_of

if TYPE_CHECKING:
    from aamc_sdk.interfaces.agents import AgentOutput
    from aamc_sdk.interfaces.environments import Environment
    from aamc_sdk.interfaces.routing import Reward
    from aamc_sdk.types import Candidate, Dataset, Pool, RoutingRequest


@attrs.frozen(kw_only=True)
class NoOptions:
    """The configuration of a component that has no options."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}


class Progress(Protocol):
    """Where a long job tells how far it is."""

    def start(self, what: str, total: int) -> None:
        """Begin a stage of ``total`` steps."""

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Report steps done and the figures to show beside them."""

    def say(self, line: str) -> None:
        """Tell the user something in one line."""


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
    """What the core lends to every part.

    Attributes:
        pool: The candidates.
        reward: The reward that routers, environment and evaluation share.
        make: Makes another component: ``make(kind, name, options)``.
        call: Calls a candidate with a prompt and returns its answer, where models can be reached.
        seed: All randomness follows from it.
        device: Where torch computes: ``"auto"``, ``"cpu"``, ``"cuda"``.
    """

    pool: Pool
    reward: Reward
    make: Callable[[str, str, Mapping[str, Any]], Any]
    call: Callable[[Candidate, str], Awaitable[AgentOutput]] | None = None
    seed: int = 0
    device: str = "auto"


@attrs.frozen(kw_only=True)
class Training:
    """What a part learns from.

    Attributes:
        dataset: Training rows.
        validation: Rows for early stopping and choices, none of whose questions are in training.
        request: The training rows as a router sees them; its expected quality is out of fold.
        validation_request: The validation rows as a router sees them.
        env: Where policies practise.
        folder: Where to keep what makes a stopped training resumable; None not to.
        resume: Whether to go on from what the folder holds.
        progress: Where to report.
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
    """What all components share.

    Attributes:
        exports: The forms that :meth:`export` knows.
    """

    Config: ClassVar[type[Any]] = NoOptions
    exports: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any, services: Services) -> None:
        self.config = config
        self.services = services

    @classmethod
    def check_device(cls, device: str) -> None:
        """Refuse a device that training cannot compute on; called before data are read.

        Args:
            device: ``"cuda"``; the others are always there, and nobody is asked.

        Raises:
            ConfigError: It is not there.
        """

    def save(self, folder: Path) -> None:
        """Write what was learned into an existing folder, without the configuration."""

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote; runs no code from it.

        Raises:
            CheckpointError: It is missing, damaged, or from another kind of part.
        """

    def export(self, folder: Path, form: str) -> None:
        """Add one of ``exports`` to the folder that holds what was learned, for serving with less or for other programs.

        Raises:
            ConfigError: It is none of them.
        """
        raise ConfigError(f"{type(self).__name__} cannot be exported as {form!r}; its forms: {one_of(self.exports)}")
