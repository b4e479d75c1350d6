"""What ``canary`` and ``shadow`` share: two routers, one of which has proved itself and one of which has not yet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk.config import option, unstructure
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.interfaces import Router, Services, Store, Training
from aamc_sdk.serving import find_checkpoint, part_name
from aamc_sdk.storage import COMPONENT, read_json, write_json
from aamc_sdk.types import Experience, Floats, RoutingRequest

ROLES = ("stable", "candidate")
ROUTERS = "routers.json"


@attrs.frozen(kw_only=True)
class PairOptions:
    """Options of ``shadow``, and among others of ``canary``."""

    stable: Any = option("epsilon-greedy", "the router that has proved itself: its name, a checkpoint's folder, or options with a name")  # noqa: RUF009  # a text
    candidate: Any = option("thompson", "the router that may take its place, likewise")  # noqa: RUF009  # likewise

    def __attrs_post_init__(self) -> None:
        for role in ROLES:
            given = getattr(self, role)
            name = given.get("name") if isinstance(given, Mapping) else given
            if not isinstance(name, str) or not name:
                raise ConfigError(f"{role} must be a router's name, a checkpoint's folder, or options with a name, not {given!r}")


@attrs.frozen(eq=False)
class Member:
    """One of the two: its component's name, the router, and whether it comes trained."""

    name: str
    router: Router
    trained: bool


class EitherNeeds:
    """A need that a pair has where one of its two has it; of the class, whose two nobody knows, it is False."""

    def __set_name__(self, owner: type[Pair], name: str) -> None:
        self._name = name

    def __get__(self, pair: Pair | None, owner: type[Pair]) -> bool:
        return pair is not None and any(getattr(router, self._name) for router in (pair.stable, pair.candidate))


class Pair(Router):
    """Two routers that hear of the same requests and learn from the same log."""

    Config = PairOptions
    needs_estimator = EitherNeeds()
    needs_text = EitherNeeds()

    def __init__(self, config: Any, services: Services) -> None:
        super().__init__(config, services)
        self._made: dict[str, Member] = {}
        self._making = threading.Lock()

    @property
    def stable(self) -> Router:
        """The router that has proved itself."""
        return self._members()["stable"].router

    @property
    def candidate(self) -> Router:
        """The router that may take its place."""
        return self._members()["candidate"].router

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train those of the two that are no checkpoints; return the metrics of each."""
        return {role: dict(member.router.train(training)) for role, member in self._members().items() if not member.trained}

    def serve(self, log: Store, known_as: Callable[[str], str]) -> None:
        """Tell both that requests come now."""
        self.stable.serve(log, known_as)
        self.candidate.serve(log, known_as)

    def begin(self, log: Store) -> None:
        """Tell both that the log is learned from its first entry."""
        self.stable.begin(log)
        self.candidate.begin(log)

    def learn(self, experience: Experience) -> None:
        """Let both learn from what happened, whoever decided."""
        self.stable.learn(experience)
        self.candidate.learn(experience)

    def close(self) -> None:
        """Tell both that no more requests come."""
        self.stable.close()
        self.candidate.close()

    def save(self, folder: Path) -> None:
        """Write what both are made from and have learned."""
        described = {}
        for role, member in self._members().items():
            (folder / role).mkdir(exist_ok=True)  # an interrupted save may have made it
            member.router.save(folder / role)
            described[role] = {"name": member.name, "options": unstructure(member.router.config)}
        write_json(folder / ROUTERS, described)

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote; a checkpoint that the options name is not needed for it."""
        described = read_json(folder / ROUTERS)
        with self._making:
            try:
                made = self._made or {role: self._make(described[role]["name"], described[role]["options"], trained=True) for role in ROLES}
            except (KeyError, TypeError, ConfigError) as error:
                raise CheckpointError(f"{folder / ROUTERS} cannot be used ({error!r}); train again") from error
            for role, member in made.items():
                member.router.load(folder / role)
            self._made = made

    def label(self, role: str) -> str:
        """Return what decisions call one of the two: the checkpoint's folder, or the router's name."""
        given = getattr(self.config, role)
        return str(given if isinstance(given, str) else given["name"])

    def _members(self) -> dict[str, Member]:
        """Return both, by their roles; they are made when they are first asked for, as ``load`` knows better than the options."""
        with self._making:
            if not self._made:
                self._made = {role: self._chosen(getattr(self.config, role)) for role in ROLES}
            return self._made

    def _chosen(self, given: str | Mapping[str, Any]) -> Member:
        if not isinstance(given, str):
            return self._make(given["name"], {key: value for key, value in given.items() if key != "name"}, trained=False)
        folder = find_checkpoint(given, "router")
        if folder is None:
            return self._make(given, {}, trained=False)
        member = self._make(part_name(given, "router"), read_json(folder / COMPONENT).get("config") or {}, trained=True)
        member.router.load(folder)
        return member

    def _make(self, name: str, options: Mapping[str, Any], *, trained: bool) -> Member:
        router: Router = self.services.make("router", name, options)
        if router.privileged:
            raise ConfigError(f"router {name!r} must know outcomes in advance: it is a yardstick and cannot decide requests; choose another")
        return Member(name, router, trained)


def by_name(probabilities: Floats, request: RoutingRequest, row: int) -> dict[str, float]:
    """Return the candidates of a row that are possible, with their probabilities."""
    return {name: float(p) for name, p in zip(request.pool.names, probabilities[row], strict=True) if p > 0}
