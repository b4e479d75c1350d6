"""What each kind of component does. A plugin author subclasses one of these.

Every part is made as ``Class(config, services)``, where ``config`` is its own ``Config``, and
keeps what it learned through :meth:`Part.save` and :meth:`Part.load`. Shapes: B queries,
M candidates, n streams.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import attrs

from aamc_sdk.errors import ConfigError, StoreError, one_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aamc_sdk.batch import Estimates, Floats, Outcomes, RoutingRequest, Scores
    from aamc_sdk.dataset import Dataset, Experience
    from aamc_sdk.log import Record, View
    from aamc_sdk.types import Attempt, Candidate, Decision, Feedback, Pool, Query


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


class Reward(Part):
    """Turns outcomes into a vector of objectives, and with a preference into one number."""

    def __init__(self, config: Any = None, services: Services | None = None) -> None:
        self.config = config

    @abc.abstractmethod
    def fit(self, outcomes: Outcomes) -> None:
        """Take scales from training outcomes ``[B, M]``."""

    @abc.abstractmethod
    def weights(self, preferences: Floats) -> Floats:
        """Return ``[..., 3]`` preferences as they count, where an objective may be unknown."""

    @abc.abstractmethod
    def vector(self, outcomes: Outcomes) -> Floats:
        """Return the objectives of ``[...]`` outcomes as ``[..., 3]``, each about 0 to 1, greater is better."""

    @abc.abstractmethod
    def scalar(self, outcomes: Outcomes, preferences: Floats) -> Floats:
        """Return the utility ``[B, M]`` of outcomes under ``[B, 3]`` preferences."""


class Estimator(Part):
    """Describes queries; when it was trained on outcomes, also expects each candidate's quality."""

    @abc.abstractmethod
    def estimate(self, queries: Sequence[Query]) -> Estimates:
        """Describe B queries."""

    def quality(self, estimates: Estimates, pool: Pool) -> Floats | None:
        """Return the expected quality ``[B, M]`` for any pool, or None when not trained on outcomes."""
        return None

    def out_of_fold(self) -> Floats | None:
        """Return each training row's expected quality ``[B, M]`` from parts that were not fitted on it."""
        return None

    def train(self, training: Training) -> Mapping[str, Any]:
        """Learn; return metrics. Heads without labels are left alone."""
        return {}


class Router(Part):
    """Scores the candidates for a batch of requests.

    Attributes:
        privileged: Whether it sees hindsight; such a router is a yardstick and is never served.
        uses_preference: Whether its scores depend on the preference.
        needs_estimator: Whether it can do nothing without one.
        needs_outcomes: Whether it, or the estimator that it relies on, learns from outcomes and nothing else.
        compares_outcomes: Whether it learns who did best in a row, so that a row with one candidate's outcome teaches nothing.
        needs_text: Whether it reads the queries' texts, which a log keeps only where it was asked to.
    """

    privileged: ClassVar[bool] = False
    uses_preference: ClassVar[bool] = True
    needs_estimator: ClassVar[bool] = False
    needs_outcomes: ClassVar[bool] = False
    compares_outcomes: ClassVar[bool] = False
    needs_text: ClassVar[bool] = False

    @property
    def samples(self) -> bool:
        """Whether decisions are drawn from ``probabilities`` rather than by the greatest utility."""
        return bool(getattr(self.config, "sample", False))

    @abc.abstractmethod
    def score(self, request: RoutingRequest) -> Scores:
        """Score the candidates; called from several threads at once."""

    async def ascore(self, request: RoutingRequest) -> Scores:
        """Score the candidates, for routers that wait for others."""
        return self.score(request)

    def score_each(self, request: RoutingRequest, preferences: Floats) -> Iterator[Scores]:
        """Score the same requests under each of ``[P, 3]`` preferences, one after the other.

        Override this where most of the work does not depend on the preference, to do it once.
        """
        for preference in preferences:
            yield self.score(request.with_preference(preference))

    def train(self, training: Training) -> Mapping[str, Any]:
        """Learn offline; return metrics, with ``"curve"`` a list of points where there is one."""
        return {}

    def serve(self, log: Store, known_as: Callable[[str], str]) -> None:
        """Begin to serve requests: called once, before the first of them and before anything of the log is learned; an experiment never does.

        Args:
            log: What will be learned.
            known_as: What requests and the log call a user whose own id another system's file gives.
        """

    def begin(self, log: Store) -> None:
        """Be about to learn the log from its first entry: called after :meth:`serve`, and again, as it was then, when all must be learned again.

        A router whose state names users drops those that the log has forgotten (:meth:`Store.forgotten`).
        """

    def learn(self, experience: Experience) -> None:
        """Learn from what happened, in log order, on one thread, while scoring goes on beside it."""

    def close(self) -> None:
        """End serving, after the last request and when all that was learned is kept in the log; closing twice does nothing."""


class RoutingStreams(Protocol):
    """The vector environment that :meth:`Environment.vector` returns: Gymnasium's, with its present request.

    ``step``'s info holds ``vector_reward [n, 3]``, ``quality``, ``cost_usd``, ``latency_ms``, ``row``
    and ``masked`` (whether the action was not allowed), all ``[n]``, of the step just taken.
    Streams are cut off, never done. One that is starts anew in the same step; ``_final_obs [n]`` then
    says which, and ``final_obs [n]`` holds what each would have shown next (Gymnasium's ``SAME_STEP``).
    """

    num_envs: int

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start all streams anew."""

    def step(self, actions: NDArray[Any]) -> tuple[NDArray[np.float32], Floats, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Answer the present query of each stream by the candidate chosen for it."""

    def request(self) -> RoutingRequest:
        """Return the present query of each stream, with hindsight: true expectations."""

    def close(self) -> None:
        """Let go of what the streams hold."""


class Environment(Part):
    """Where routers are trained and measured.

    Attributes:
        stationary: Whether an outcome depends on nothing but its query and candidate, so that
            the table of outcomes says all. Otherwise routers are measured by playing the streams.
    """

    stationary: ClassVar[bool] = True

    @abc.abstractmethod
    def prepare(self, splits: Mapping[str, Dataset]) -> None:
        """Take the queries of each split (``train``, ``validation``, ``test``), and what is known of them.

        Raises:
            DataError: Something that this environment needs is not in the data.
        """

    @abc.abstractmethod
    def dataset(self, split: str) -> Dataset:
        """Return a split with outcomes, so that table learners can be trained."""

    @abc.abstractmethod
    def vector(
        self,
        n: int,
        split: str,
        *,
        request: RoutingRequest | None = None,
        seed: int = 0,
        streams: NDArray[np.intp] | None = None,
        preferences: Floats | None = None,
    ) -> RoutingStreams:
        """Return n streams of a split's queries: a ``gymnasium.vector.VectorEnv`` that knows its present request.

        Args:
            n: How many streams.
            split: Whose queries.
            request: All rows of the split as a router sees them; made from the truth when None.
            seed: All randomness follows from it.
            streams: Which stream each is, ``[n]``: those of one number meet the same queries and luck.
            preferences: A fixed preference for each, ``[n, 3]``; drawn as configured when None.
        """


class DatasetFormat(Part):
    """Reads datasets of one format."""

    @abc.abstractmethod
    def read(self, path: str) -> Dataset | Mapping[str, Dataset]:
        """Read a dataset, or one that is already divided into ``train``, ``validation`` and ``test``.

        Args:
            path: What the user wrote after ``FORMAT:``; may be empty where a format needs none.

        Raises:
            DataError: It is missing, of another format, or has a bad row.
        """


@attrs.frozen
class AgentOutput:
    """What an agent, or a called model, answered: content, its cost in USD, and whatever else."""

    content: str
    cost: float = 0.0
    metadata: Mapping[str, Any] = attrs.field(factory=dict)


class Agent(Part):
    """Does a piece of work."""

    spec: Candidate

    @abc.abstractmethod
    async def execute(self, state: Any) -> AgentOutput:
        """Act on the state of a task."""


@attrs.frozen(kw_only=True)
class Step:
    """One step of an orchestration.

    Attributes:
        decision: What was decided, where something was.
        content: What came of it.
        cost_usd: What it cost.
        tokens: How many it took.
        final: Whether its content is the answer.
    """

    decision: Decision | None
    content: str
    cost_usd: float = 0.0
    tokens: int = 0
    final: bool = False


@attrs.frozen(kw_only=True)
class Budget:
    """What an orchestration may use up: steps, USD, seconds.

    Raises:
        ConfigError: A limit is not a number of at least 0; infinity is none.
    """

    steps: int = 10
    cost_usd: float = float("inf")
    seconds: float = float("inf")

    def __attrs_post_init__(self) -> None:
        for name, limit in attrs.asdict(self).items():
            if not isinstance(limit, int | float) or not limit >= 0:  # NaN is neither more nor less
                raise ConfigError(f"{name} of a budget must be at least 0, not {limit!r}")


class Orchestrator(Part):
    """Drives several calls until an answer is ready.

    Attributes:
        default_dataset: What it practises on where nobody says, as ``"FORMAT:PATH"``; None where it has to be said.
    """

    default_dataset: ClassVar[str | None] = None

    @abc.abstractmethod
    def run(self, task: Query, budget: Budget) -> AsyncIterator[Step]:
        """Work on a task, yielding each step as it is done."""

    def train(self, training: Training) -> Mapping[str, Any]:
        """Learn; return metrics."""
        return {}


class Store(abc.ABC):
    """The log of decisions, attempts and feedback. All methods may be called from any thread.

    Made as ``Class(url, config)``. A method that writes returns when the record is durable.

    Attributes:
        on_server: Whether its URL names a server, where the option ``prefix`` tells several logs apart.
    """

    Config: ClassVar[type[Any]] = NoOptions
    on_server: ClassVar[bool] = False

    def __init__(self, url: str, config: Any) -> None:
        self.url = url
        self.config = config

    @abc.abstractmethod
    def decided(self, records: Sequence[Record]) -> None:
        """Append decisions with what they were made from; all or none."""

    @abc.abstractmethod
    def attempted(self, attempt: Attempt) -> None:
        """Append a call; the same attempt twice counts once."""

    @abc.abstractmethod
    def judged(self, feedback: Feedback, attempt: Attempt | None = None) -> bool:
        """Append feedback, and the call that came with it, both or none; False where the same feedback was there before.

        The call gets the decision's next free number, whatever ``attempt.n`` is: each source may bring figures of its own.
        Feedback before its decision is kept, and waits.

        Raises:
            StoreError: The id is known with other content, or the decision had no such candidate.
        """

    def judged_all(self, judgements: Sequence[tuple[Feedback, Attempt | None]]) -> list[bool]:
        """Append feedback in order, each as :meth:`judged` does; return which of it is new.

        Raises:
            StoreError: One was refused. What stood before it is kept, what stood after it is not; the whole may be given again.
        """
        return [self.judged(feedback, attempt) for feedback, attempt in judgements]

    @abc.abstractmethod
    def record(self, decision_id: str) -> Record:
        """Return a decision with what it was made from.

        Raises:
            UnknownDecisionError: There is none of that id.
            StoreAwayError: The log cannot be read now, so nobody knows.
        """

    @abc.abstractmethod
    def experience(self, after: int = 0, limit: int = 1000) -> Experience:
        """Return what the log holds after a position, at most ``limit`` entries, in its order.

        Feedback and attempts that do not say whom they are about come with the candidate that served.
        """

    @abc.abstractmethod
    def pending(self) -> Sequence[Feedback]:
        """Return the feedback whose decision has not come yet."""

    def view(self, name: str) -> View | None:
        """Return what was kept under a name, or None; without views a restart learns the whole log again."""
        return None

    def keep_view(self, name: str, view: View) -> None:
        """Keep what a router has learned, unless what is there is as new or it belongs to a past epoch.

        At most 8 names are kept; of more, those that were written longest ago go.
        """

    def forget(self, user: str) -> int:
        """Erase who asked, in which session, and what (text and embedding) from a user's decisions; return how many they are.

        What was learned from them goes as well: views are dropped, and a new epoch begins.

        Raises:
            StoreError: This store cannot.
        """
        raise StoreError(f"the store {self.url} cannot forget a user")

    def forgotten(self, users: Collection[str]) -> Collection[str]:
        """Return which of some users were forgotten, so that what came from elsewhere can forget them too; none where the store does not know."""
        return ()

    def drop(self) -> None:
        """Delete the log with all that it holds.

        Raises:
            StoreError: This store leaves that to who made its file.
        """
        raise StoreError(f"the store {self.url} does not delete itself")

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of files and connections; closing twice does nothing."""
