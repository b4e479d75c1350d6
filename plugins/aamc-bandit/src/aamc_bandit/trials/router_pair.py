"""The base of ``canary`` and ``shadow``: a stable router and a challenger that may replace it.

Options, notes and JSON documents name the roles ``stable`` and ``candidate``.

Both routers score every request. The stable router's errors are the pair's; an error of the challenger never reaches a request, and never
keeps the stable router from starting or learning. Only a wrong configuration, such as an unknown name or a damaged checkpoint, is an error at the
start.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import attrs

from aamc_bandit.inner_router import InnerAttribute, InnerRouter, check_router_option, gives_snapshots, router_label
from aamc_sdk.concurrency import run_on_own_thread
from aamc_sdk.config import option
from aamc_sdk.errors import AamcError, CheckpointError, ConfigError, is_ctrl_c
from aamc_sdk.interfaces import OnlineRouter, Requirements, Router, Services, Store, Training
from aamc_sdk.messages import checkpoint_errors
from aamc_sdk.routing import choice_probabilities
from aamc_sdk.serving import state_name, state_of
from aamc_sdk.storage import read_json, to_json, write_json
from aamc_sdk.types import Experience, Floats, RoutingRequest, Scores

T = TypeVar("T")
logger = logging.getLogger(__name__)

ROLES = ("stable", "candidate")
ROUTERS = "routers.json"
UNSAVED = "unsaved"
"""In the description of a challenger that could not save its state."""
ROWS_A_LIMIT = 100
"""Requests of a batch that the challenger scores within one time limit."""


@attrs.frozen(kw_only=True)
class RouterPairOptions:
    """Options of ``shadow``, and of ``canary`` among others."""

    stable: Any = option("epsilon-greedy", "The stable router: its name, a checkpoint folder, or options with a name.")  # noqa: RUF009  # a text
    candidate: Any = option("thompson", "The challenger, in the same form.")  # noqa: RUF009  # likewise
    timeout_ms: float = option(1000.0, "Time in which the challenger must score up to 100 requests of a service, in milliseconds.", above=0)

    def __attrs_post_init__(self) -> None:
        for role in ROLES:
            check_router_option(role, getattr(self, role))


def _either_requires(pair: RouterPair) -> Requirements:
    both = [paired.requires for paired in pair.paired]
    flags = [field.name for field in attrs.fields(Requirements) if field.name not in ("cheap_rescoring", "training_reason")]
    return Requirements(
        **{name: any(getattr(each, name) for each in both) for name in flags},
        cheap_rescoring=all(each.cheap_rescoring for each in both),
        training_reason="; ".join(each.training_reason for each in both if each.training),
    )


class RouterPair(OnlineRouter):
    """Two routers that score the same requests and learn from the same log."""

    Config = RouterPairOptions
    requires = InnerAttribute(Requirements(), _either_requires)
    state_options = ()  # both routers name their own
    snapshots = InnerAttribute(True, lambda pair: all(gives_snapshots(paired.router) for paired in pair.paired))
    waits_for_calls = InnerAttribute(False, lambda pair: any(paired.router.waits_for_calls for paired in pair.paired))

    def __init__(self, config: Any, services: Services) -> None:
        super().__init__(config, services)
        self._made: dict[str, InnerRouter] = {}
        self._making = threading.Lock()
        self._serves = False
        self._unusable: str | None = None
        self._late: Future[Any] | None = None

    @property
    def stable(self) -> Router:
        """The proven router."""
        return self.routers()["stable"].router

    @property
    def challenger(self) -> Router:
        """The router that may replace it."""
        return self.routers()["candidate"].router

    def train(self, training: Training) -> Mapping[str, Any]:
        """Train each router that is not loaded from a checkpoint; return the metrics of each."""
        return {role: dict(paired.router.train(training)) for role, paired in self.routers().items() if not paired.trained}

    def score_both(self, request: RoutingRequest) -> tuple[Scores, tuple[Scores, Floats] | str]:
        """Return the stable router's scores, and the challenger's with its choice probabilities ``[B, M]``, or why it has none."""
        stable, challenger = (paired.router for paired in self.paired)
        if self._unusable is not None:
            return stable.score(request), self._unusable

        def score_challenger() -> tuple[Scores, Floats]:
            scores = challenger.score(request)
            return scores, choice_probabilities(scores, request, challenger.samples)

        work = run_on_own_thread(score_challenger, "aamc-challenger")
        scores = stable.score(request)
        limit_ms = self.config.timeout_ms * math.ceil(len(request) / ROWS_A_LIMIT) if self._serves else None
        wait([work], None if limit_ms is None else limit_ms / 1000)
        if not work.done():
            self._late = work
            return scores, f"no scores within {limit_ms:g} ms"
        error = work.exception()
        return scores, work.result() if error is None else repr(error)

    @property
    def is_late(self) -> bool:
        """Whether the challenger still scores a request that did not wait for it any longer."""
        return self._late is not None and not self._late.done()

    def challenger_failed(self, why: str) -> None:
        """Handle an error of the challenger outside of a request; by default log it."""
        logger.error("the challenger %s of a %s %s", self.label("candidate"), type(self).__name__.lower(), why)

    def attach(self, log: Store, to_log_user: Callable[[str], str]) -> None:
        """Prepare both routers to serve."""
        self._serves = True
        self._each(lambda _, router: router.attach(log, to_log_user), "failed to start", unusable=True)

    def origin(self) -> bytes:
        """Return an identifier of both routers' initial states."""
        origins = self._each(lambda _, router: router.origin(), "failed to identify its initial state", unusable=True)
        names = [state_name(self.stable, origins.get("stable") or state_of(self.stable))]
        with self._contained("failed to save its state"):
            names.append(state_name(self.challenger, origins.get("candidate") or state_of(self.challenger)))
        return to_json(names).encode()

    def prepare_replay(self, log: Store) -> None:
        """Prepare both routers to replay the log from the start."""
        self._each(lambda _, router: router.prepare_replay(log), "failed to prepare to replay the log", unusable=True)

    def learn(self, experience: Experience) -> None:
        """Let both routers learn from all decisions, whichever router made them."""
        self._each(lambda _, router: router.learn(experience), f"failed to learn up to position {experience.position} of the log")

    def close(self) -> None:
        """Close both routers."""
        self.stable.close()
        with self._contained("failed to close"):
            self.challenger.close()

    def save(self, folder: Path) -> None:
        """Write names, options and states of both routers."""
        described = {role: paired.description() for role, paired in self.routers().items()}
        for role in ROLES:
            (folder / role).mkdir(exist_ok=True)  # an interrupted save may have made it
        self.stable.save(folder / "stable")
        described["candidate"][UNSAVED] = True
        with self._contained("failed to save its state"):
            self.challenger.save(folder / "candidate")
            del described["candidate"][UNSAVED]
        write_json(folder / ROUTERS, described | self.trial_state())

    def load(self, folder: Path) -> None:
        """Read a folder that :meth:`save` wrote; the checkpoints that the options name are not read.

        Raises:
            CheckpointError: The folder names a router or options that cannot be used, or it is a checkpoint whose challenger is damaged.
        """
        described = read_json(folder / ROUTERS)
        with self._making:
            made = self._made or {role: InnerRouter.described_by(described.get(role, {}), self.services) for role in ROLES}
            made["stable"].router.load(folder / "stable")
            failed_before = described.get("ended") or UNSAVED in described.get("candidate", {})
            raises = () if self._made or failed_before else AamcError  # a checkpoint's error is the configuration's
            with self._contained("failed to load its state", unusable=True, raises=raises):
                made["candidate"].router.load(folder / "candidate")
            self._made = made
        self.set_trial_state(described)

    def delta(self) -> bytes | None:
        """Return the changes of both routers, and the trial's state; None where a router that learns can only save its whole state."""
        deltas = self._each(lambda _, router: router.delta(), "failed to give its delta")
        encoded = {role: base64.b64encode(delta).decode() for role, delta in deltas.items() if delta is not None}
        return to_json({"routers": encoded, "trial": self.trial_state()}).encode() if encoded.keys() == self._online().keys() else None

    def apply_delta(self, delta: bytes) -> None:
        """Apply the delta of another pair in the same state."""
        with checkpoint_errors("the delta of a pair of routers", "load its whole state"):
            decoded = json.loads(delta)
            deltas = {role: base64.b64decode(decoded["routers"][role], validate=True) for role in self._online()}
            self._each(lambda role, router: router.apply_delta(deltas[role]), "failed to apply a delta", unusable=True, raises=CheckpointError)
            self.set_trial_state(decoded["trial"])

    def trial_state(self) -> dict[str, Any]:
        """Return the state of the trial without its routers', in JSON's types."""
        return {}

    def set_trial_state(self, saved: Mapping[str, Any]) -> None:
        """Continue from a state of :meth:`trial_state`; version 0.1 saved none."""

    def label(self, role: str) -> str:
        """Return a router's label in decisions: its checkpoint folder or its name."""
        return router_label(getattr(self.config, role))

    def described(self) -> dict[str, dict[str, str]]:
        """Return the label and version of each router by role, as decisions note them."""
        return {role: {"router": self.label(role), "version": paired.version} for role, paired in self.routers().items()}

    @property
    def paired(self) -> tuple[InnerRouter, ...]:
        """The stable router and the challenger; the gateway knows a pair by this property."""
        return tuple(self.routers().values())

    def routers(self) -> dict[str, InnerRouter]:
        """Return both routers by role. They are made at the first call, so that ``load`` may replace the options."""
        with self._making:
            if not self._made:
                made = {role: InnerRouter.of(getattr(self.config, role), self.services) for role in ROLES}
                for role, inner in made.items():
                    if isinstance(inner.router, type(self)):  # such as that of runs/latest, after a trial was trained
                        raise ConfigError(f"{role} {self.label(role)} is a trial of two routers itself; name one of them")
                self._made = made
            return self._made

    def _online(self) -> dict[str, OnlineRouter]:
        """Return the routers that learn, by role."""
        return {role: paired.router for role, paired in self.routers().items() if isinstance(paired.router, OnlineRouter)}

    def _each(self, work: Callable[[str, OnlineRouter], T], failure: str, **contained: Any) -> dict[str, T]:
        """Run work on each router that learns; return the results by role, without the challenger's if it failed, see :meth:`_contained`."""
        found: dict[str, T] = {}
        for role, router in self._online().items():
            with nullcontext() if role == "stable" else self._contained(failure, **contained):
                found[role] = work(role, router)
        return found

    @contextmanager
    def _contained(self, what: str, *, unusable: bool = False, raises: type[Exception] | tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Run work of the challenger, whose errors must not reach the stable router, except those of ``raises``.

        After a failure of ``unusable`` work the challenger scores no more.
        """
        try:
            yield
        except raises:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if is_ctrl_c(error):
                raise
            failure = f"{what}: {error!r}"
            if unusable:
                self._unusable = f"it {failure}"
            self.challenger_failed(failure)
