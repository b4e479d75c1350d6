"""A router inside another one, named by an option: a component's name, a checkpoint's folder, or options with a name."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from aamc_sdk.config import changed_options, unstructure
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.interfaces import OnlineRouter, Requirements, Router, Services, Store, Training
from aamc_sdk.serving import check_privileged, component_name, find_checkpoint, state_name, state_of
from aamc_sdk.storage import checkpoint_metadata, load_state, to_json
from aamc_sdk.types import Experience, Floats, Scores


def check_router_option(option: str, given: Any) -> None:
    """Check an option that names a router.

    Raises:
        ConfigError: It is neither a text nor a mapping with a name.
    """
    name = given.get("name") if isinstance(given, Mapping) else given
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{option} must be a router's name, a checkpoint's folder, or options with a name, not {given!r}")


def router_label(given: str | Mapping[str, Any]) -> str:
    """Return the label in decisions of the router that an option names: its checkpoint folder or its name."""
    return str(given if isinstance(given, str) else given["name"])


T = TypeVar("T")


class InnerAttribute(Generic[T]):
    """An attribute of a router that wraps others, computed from them; on the class, the default."""

    def __init__(self, default: T, of: Callable[[Any], T]) -> None:
        self._default, self._of = default, of

    def __get__(self, outer: Any, owner: type) -> T:
        return self._default if outer is None else self._of(outer)


def gives_snapshots(router: Router) -> bool:
    """Return whether the state of a router can be saved; one that learns nothing online has no state."""
    return router.snapshots if isinstance(router, OnlineRouter) else True


def initial_name(router: Router) -> str:
    """Return an identifier of a router's initial state and of the options that change what it learns from there."""
    return state_name(router, _initial_state(router))


def _initial_state(router: Router) -> bytes:
    """Return an identifier of a router's initial state; the state of one around others names all options of theirs."""
    return (router.origin() if isinstance(router, OnlineRouter) else None) or state_of(router)


def with_notes(scores: Scores, notes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the notes of an inner router's scores, each with one of the outer router."""
    inner: Sequence[Mapping[str, Any]] = scores.notes or [{}] * len(notes)
    return [{**own, **note} for own, note in zip(inner, notes, strict=False)]  # the draw checks their number


def by_name(names: Sequence[str], values: Floats, named: NDArray[np.bool_]) -> dict[str, float]:
    """Return a row's values by candidate for a note, of the candidates that ``named`` marks; all are ``[M]``."""
    return {name: value for name, value, is_named in zip(names, values.tolist(), named.tolist(), strict=True) if is_named}


class WrappingRouter(OnlineRouter):
    """A router around another one, which is trained, saved and closed with it, and learns from the log as it would on its own."""

    snapshots = InnerAttribute(True, lambda outer: outer.wrapped is None or gives_snapshots(outer.wrapped))
    waits_for_calls = InnerAttribute(False, lambda outer: outer.wrapped is not None and outer.wrapped.waits_for_calls)

    @property
    @abc.abstractmethod
    def wrapped(self) -> Router | None:
        """The router inside; None for none."""

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train the wrapped router."""
        return {} if self.wrapped is None else self.wrapped.train(training)

    def attach(self, log: Store, to_log_user: Callable[[str], str]) -> None:
        """Prepare the wrapped router to serve."""
        if isinstance(self.wrapped, OnlineRouter):
            self.wrapped.attach(log, to_log_user)

    def origin(self) -> bytes | None:
        """Return an identifier of the wrapped router's initial state."""
        return None if self.wrapped is None else initial_name(self.wrapped).encode()

    def prepare_replay(self, log: Store) -> None:
        """Prepare the wrapped router to replay the log."""
        if isinstance(self.wrapped, OnlineRouter):
            self.wrapped.prepare_replay(log)

    def learn(self, experience: Experience) -> None:
        """Let the wrapped router learn from all decisions."""
        if isinstance(self.wrapped, OnlineRouter):
            self.wrapped.learn(experience)

    def save(self, folder: Path) -> None:
        """Write the wrapped router's state."""
        if self.wrapped is not None:
            self.wrapped.save(folder)

    def load(self, folder: Path) -> None:
        """Read the wrapped router's state."""
        if self.wrapped is not None:
            self.wrapped.load(folder)

    def close(self) -> None:
        """Close the wrapped router."""
        if self.wrapped is not None:
            self.wrapped.close()


@attrs.frozen(eq=False)
class InnerRouter:
    """A router inside another one.

    Attributes:
        name: Its component's name.
        router: The router.
        trained: Whether it was loaded from a checkpoint.
        version: A digest of its state before it served and of its options that differ from their defaults, which tells a retrained router from an
            earlier one. A router that still needs training has no state.
    """

    name: str
    router: Router
    trained: bool
    version: str

    @property
    def requires(self) -> Requirements:
        """The router's requirements; one from a checkpoint is not trained again."""
        own = self.router.requires
        if self.trained:
            return attrs.evolve(own, outcomes=False, comparisons=False, training=False)
        why = f"router {self.name!r} in it: {own.training_reason or 'must be trained'}"
        return attrs.evolve(own, training_reason=why) if own.training else own

    @classmethod
    def of(cls, given: str | Mapping[str, Any], services: Services) -> InnerRouter:
        """Make the router that an option names.

        Raises:
            ConfigError: It is unknown, its options are wrong, or it needs outcomes in advance.
        """
        named = {"name": given} if isinstance(given, str) else given
        folder = find_checkpoint(given, "router") if isinstance(given, str) else None
        name, options = named["name"], {key: value for key, value in named.items() if key != "name"}
        if folder is not None:
            name, options = component_name(name, "router"), checkpoint_metadata(folder, "router").get("config", {})
        router, state = _make(name, options, services), b""
        if folder is not None:
            load_state(router, folder)
        if folder is not None or not router.requires.training:
            with suppress(Exception, SystemExit):  # the same error is reported where the state is kept
                state = _initial_state(router)
        described = hashlib.sha256(to_json([name, sorted(changed_options(router.config).items())]).encode() + state)
        return cls(name, router, folder is not None, described.hexdigest()[:12])

    @classmethod
    def described_by(cls, described: Mapping[str, Any], services: Services) -> InnerRouter:
        """Make a router that :meth:`description` described, without its state.

        Raises:
            CheckpointError: The description is damaged.
        """
        try:
            name, options = described["name"], described["options"]
            return cls(name, _make(name, options, services), True, described.get("version", ""))
        except (KeyError, TypeError, ConfigError) as error:
            raise CheckpointError(f"the description of a router cannot be used ({error!r}); train again") from error

    def description(self) -> dict[str, Any]:
        """Return its name, options and version in JSON's types, and the schema of its state: another one makes it another state."""
        schema = getattr(self.router, "state_schema", None)
        return {"name": self.name, "options": unstructure(self.router.config), "schema": schema, "version": self.version}


def _make(name: str, options: Mapping[str, Any], services: Services) -> Router:
    router: Router = services.make("router", name, options)
    check_privileged(name, router)
    return router
