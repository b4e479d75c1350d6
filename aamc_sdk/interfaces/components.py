"""The base class of all components, their services, and the shared reward."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs

from aamc_sdk.concurrency import EventLoopThread
from aamc_sdk.interfaces.models import ModelCaller
from aamc_sdk.types import Floats, Outcomes, Pool


@attrs.frozen(kw_only=True)
class NoOptions:
    """The configuration of a component that has no options."""


@attrs.frozen(kw_only=True)
class Services:
    """The services of a component.

    Attributes:
        pool: The candidates.
        reward: The reward that routers, environment and evaluation share.
        make: Makes another component: ``make(kind, name, options)``.
        models: The client for calling candidates with an endpoint; None if no model can be called.
        loop: The event loop on which components wait for network calls, so that their connections stay on one loop.
        seed: The seed of all randomness.
        device: The device that torch computes on: ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

    pool: Pool
    reward: Reward
    make: Callable[[str, str, Mapping[str, Any]], Any]
    models: ModelCaller | None = None
    loop: EventLoopThread = attrs.field(factory=EventLoopThread)
    seed: int = 0
    device: str = "auto"


class NamedComponent(abc.ABC):
    """A component that messages can name.

    Attributes:
        message_name: Its kind and name, such as ``"estimator 'lexical'"``; the name of its class if it was made without plugins.
    """

    message_name: str

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.message_name = cls.__name__


class BaseComponent(NamedComponent):
    """A component, made from its options and services, saved to a folder and loaded from it."""

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


class ExportableComponent(BaseComponent):
    """A component that can be exported to other forms, such as ONNX.

    Attributes:
        exports: The names of the forms, such as ``"onnx"``.
    """

    exports: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def export(self, folder: Path, form: str) -> None:
        """Export one of the forms of ``exports`` into the folder that :meth:`BaseComponent.save` wrote."""


class Reward(BaseComponent):
    """Turns outcomes into a vector of objectives, and with a preference into one number."""

    def __init__(self, config: Any = None, services: Services | None = None) -> None:
        self.config: Any = self.Config() if config is None else config

    @property
    def affine(self) -> tuple[Floats, Floats] | None:
        """Slopes and offsets ``[3]`` such that each objective is slope times figure (quality, cost, latency) plus offset.

        Zeros for an unknown objective. None if :meth:`vector` is not such a function; scoring and environments are then slower.
        The same object until the reward changes, so that callers can cache results.
        """
        return None

    @abc.abstractmethod
    def fit(self, outcomes: Outcomes) -> None:
        """Set the scales from training outcomes ``[B, M]``; an objective that no outcome has, such as latency in most tables, is unknown."""

    @abc.abstractmethod
    def weights(self, preferences: Floats) -> Floats:
        """Return preferences ``[..., 3]``, at least 0 with sum 1; the weight of an objective that is unknown is shared among the others."""

    @abc.abstractmethod
    def vector(self, outcomes: Outcomes) -> Floats:
        """Return the objectives of outcomes ``[...]`` as ``[..., 3]``, each roughly in [0, 1], higher is better.

        NaN for an unknown value. ``outcomes.quality`` may be None; ``outcomes.known_quality`` is NaN then.
        """

    @abc.abstractmethod
    def scalar(self, outcomes: Outcomes, preferences: Floats) -> Floats:
        """Return the reward ``[B, M]`` of outcomes under preferences ``[B, 3]``: the sum of :meth:`weights` times :meth:`vector`.

        A value that is unknown counts only where its objective has a weight, and then makes the reward NaN.
        """
