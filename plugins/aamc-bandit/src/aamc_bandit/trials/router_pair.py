"""The base of ``canary`` and ``shadow``: a stable router and a candidate that may replace it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk.config import option, unstructure
from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.interfaces import OnlineRouter, Requirements, Router, Services, Store, Training
from aamc_sdk.serving import find_checkpoint, part_name
from aamc_sdk.storage import COMPONENT, read_json, write_json
from aamc_sdk.types import Experience, Floats, RoutingRequest

ROLES = ("stable", "candidate")
ROUTERS = "routers.json"


@attrs.frozen(kw_only=True)
class RouterPairOptions:
    """Options of ``shadow``, and of ``canary`` among others."""

    stable: Any = option("epsilon-greedy", "the proven router: its name, a checkpoint folder, or options with a name")  # noqa: RUF009  # a text
    candidate: Any = option("thompson", "the router that may replace it, given likewise")  # noqa: RUF009  # likewise

    def __attrs_post_init__(self) -> None:
        for role in ROLES:
            given = getattr(self, role)
            name = given.get("name") if isinstance(given, Mapping) else given
            if not isinstance(name, str) or not name:
                raise ConfigError(f"{role} must be a router's name, a checkpoint's folder, or options with a name, not {given!r}")


@attrs.frozen(eq=False)
class PairedRouter:
    """A router of a pair: its component's name, the router, and whether it was loaded from a checkpoint."""

    name: str
    router: Router
    trained: bool


class EitherRequires:
    """The requirements of a pair: those of either router; none on the class, whose routers are unknown."""

    def __get__(self, pair: RouterPair | None, owner: type[RouterPair]) -> Requirements:
        if pair is None:
            return Requirements()
        both = [paired.router.requires for paired in pair.paired]
        return Requirements(
            estimator=any(each.estimator for each in both),
            text=any(each.text for each in both),
            history=any(each.history for each in both),
            training=any(paired.router.requires.training and not paired.trained for paired in pair.paired),
            cheap_rescoring=all(each.cheap_rescoring for each in both),
        )


class RouterPair(OnlineRouter):
    """Two routers that score the same requests and learn from the same log."""

    Config = RouterPairOptions
    requires = EitherRequires()
    snapshots = True

    def __init__(self, config: Any, services: Services) -> None:
        super().__init__(config, services)
        self._made: dict[str, PairedRouter] = {}
        self._making = threading.Lock()

    @property
    def stable(self) -> Router:
        """The proven router."""
        return self._routers()["stable"].router

    @property
    def candidate(self) -> Router:
        """The router that may replace it."""
        return self._routers()["candidate"].router

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train each router that is not loaded from a checkpoint; return the metrics of each."""
        return {role: dict(paired.router.train(training)) for role, paired in self._routers().items() if not paired.trained}

    def attach(self, log: Store, user_id: Callable[[str], str]) -> None:
        """Prepare both routers to serve."""
        for router in self._online():
            router.attach(log, user_id)

    def prepare_replay(self, log: Store) -> None:
        """Prepare both routers to replay the log from the start."""
        for router in self._online():
            router.prepare_replay(log)

    def learn(self, experience: Experience) -> None:
        """Let both routers learn from all decisions, whichever router made them."""
        for router in self._online():
            router.learn(experience)

    def close(self) -> None:
        """Close both routers."""
        self.stable.close()
        self.candidate.close()

    def save(self, folder: Path) -> None:
        """Write names, options and states of both routers."""
        described = {}
        for role, paired in self._routers().items():
            (folder / role).mkdir(exist_ok=True)  # an interrupted save may have made it
            paired.router.save(folder / role)
            schema = getattr(paired.router, "state_schema", None)  # part of the pair's state: another one makes it another state
            described[role] = {"name": paired.name, "options": unstructure(paired.router.config), "schema": schema}
        write_json(folder / ROUTERS, described)

    def load(self, folder: Path) -> None:
        """Read a folder that :meth:`save` wrote; the checkpoints that the options name are not read.

        Raises:
            CheckpointError: The folder names a router or options that cannot be used.
        """
        described = read_json(folder / ROUTERS)
        with self._making:
            try:
                made = self._made or {role: self._make(described[role]["name"], described[role]["options"], trained=True) for role in ROLES}
            except (KeyError, TypeError, ConfigError) as error:
                raise CheckpointError(f"{folder / ROUTERS} cannot be used ({error!r}); train again") from error
            for role, paired in made.items():
                paired.router.load(folder / role)
            self._made = made

    def label(self, role: str) -> str:
        """Return a router's label in decisions: its checkpoint folder or its name."""
        given = getattr(self.config, role)
        return str(given if isinstance(given, str) else given["name"])

    @property
    def paired(self) -> tuple[PairedRouter, ...]:
        """The stable router and the candidate."""
        return tuple(self._routers()[role] for role in ROLES)

    def _online(self) -> list[OnlineRouter]:
        """Return the routers that learn while they serve."""
        return [paired.router for paired in self.paired if isinstance(paired.router, OnlineRouter)]

    def _routers(self) -> dict[str, PairedRouter]:
        """Return both routers by role. They are made at the first call, so that ``load`` may replace the options."""
        with self._making:
            if not self._made:
                self._made = {role: self._from_option(getattr(self.config, role)) for role in ROLES}
            return self._made

    def _from_option(self, given: str | Mapping[str, Any]) -> PairedRouter:
        if not isinstance(given, str):
            return self._make(given["name"], {key: value for key, value in given.items() if key != "name"}, trained=False)
        folder = find_checkpoint(given, "router")
        if folder is None:
            return self._make(given, {}, trained=False)
        paired = self._make(part_name(given, "router"), read_json(folder / COMPONENT).get("config") or {}, trained=True)
        paired.router.load(folder)
        return paired

    def _make(self, name: str, options: Mapping[str, Any], *, trained: bool) -> PairedRouter:
        router: Router = self.services.make("router", name, options)
        if router.privileged:
            raise ConfigError(f"router {name!r} must know outcomes in advance, so it is for evaluation only; choose another router")
        return PairedRouter(name, router, trained)


def possible_candidates(probabilities: Floats, request: RoutingRequest, row: int) -> dict[str, float]:
    """Return the names and probabilities of a row's candidates with nonzero probability."""
    return {name: float(p) for name, p in zip(request.pool.names, probabilities[row], strict=True) if p > 0}
