"""The interface between ``aamc orchestrate`` and orchestrators: the work on one task, and orchestrators of teams of agents.

The command works with any orchestrator. A subclass of :class:`LoggedOrchestrator` describes its episodes in its own format; one of
:class:`TeamOrchestrator` also takes agents, files and documents.
"""

from __future__ import annotations

import abc
import json
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import attrs

from aamc_sdk.concurrency import Deadline
from aamc_sdk.config import configure, load_yaml, option, set_option
from aamc_sdk.errors import AamcError, ConfigError, OutputError, PluginError, ProviderError
from aamc_sdk.interfaces import Budget, Orchestrator, Step
from aamc_sdk.messages import check_type, component_errors, write_errors
from aamc_sdk.serving.models.call import counted_calls
from aamc_sdk.storage import append_text, plain
from aamc_sdk.types import Attempt, Decision, Query, Record

_END = object()
_BEGINNING = '{"schema": 1, "task": "'
"""What each line of a file of episodes begins with."""


@attrs.frozen
class TaskQuery(Query):
    """A query with material for agents.

    Attributes:
        files: Texts that agents may read, by file name.
        documents: Documents that agents may search.
    """

    files: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    documents: tuple[str, ...] = attrs.field(default=(), kw_only=True)


@attrs.frozen(kw_only=True)
class OrchestrationOptions:
    """The options of commands that run an orchestrator, in files and in ``--set``."""

    agent_options: Mapping[str, Mapping[str, Any]] = option({}, "Options of agents, by the agent's name.")
    orchestrator: Mapping[str, Any] = option({}, "Options of the orchestrator.")

    @classmethod
    def of(cls, files: Iterable[Path], assignments: Iterable[str], where: str) -> OrchestrationOptions:
        """Return the options of YAML files, of which later ones win, and of assignments such as ``"orchestrator.rounds=2"``.

        Raises:
            ConfigError: A file cannot be read, or there is a key other than ``agent_options`` and ``orchestrator``; it names ``where``.
        """
        content: dict[str, Any] = {}
        for file in files:
            content |= load_yaml(file)
        for assignment in assignments:
            set_option(content, assignment)
        return configure(cls, content, where=where)


@attrs.frozen(kw_only=True)
class TeamOptions:
    """The agents of an orchestration.

    Attributes:
        agents: Names of the agents; those of the training when None.
        agent_options: Options of agents, by the agent's name; they override those of the training one by one.
        paths: Maximum number of parallel paths; as trained when None.
    """

    agents: Sequence[str] | None = None
    agent_options: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    paths: int | None = None


class Orchestration:
    """The work of an orchestrator on one task within a budget: iterate over :meth:`steps`, then read the result.

    Attributes:
        answer: The content of the final step, else of the last step; None if that is empty, there is no step, or the orchestrator failed.
        stop: Why the work ended: ``answered``, ``out_of_budget``, ``truncated``, ``interrupted`` by Ctrl-C, or ``failed`` by an error.
        broken_off: Whether the time limit broke off a step.
        failure: The error of the model's call that ended the work; None if none did.
    """

    def __init__(self, orchestrator: Orchestrator, task: Query, budget: Budget) -> None:
        self.orchestrator, self.task, self.budget = orchestrator, task, budget
        self.answer: str | None = None
        self.stop = "truncated"
        self._steps: list[Step] = []
        self.broken_off = False
        self.failure: ProviderError | None = None
        self._call_costs: list[float] = []

    @property
    def cost_usd(self) -> float:
        """Cost in USD: of all steps as they report it, or of the calls of models made for them, if that is more."""
        return sum(step.cost_usd for step in self._steps) + self._unreported_usd

    @property
    def _unreported_usd(self) -> float:
        """Cost of calls of models that no step has reported, in USD."""
        return max(0.0, sum(self._call_costs) - sum(step.cost_usd for step in self._steps))

    @property
    def count(self) -> int:
        """Number of steps."""
        return len(self._steps)

    async def steps(self) -> AsyncIterator[Step]:
        """Work on the task and yield each step when it is done.

        The step that uses up the budget is the last, whether the orchestrator looks at its budget or not. At the time limit a step in progress is
        cancelled; one that blocks its thread cannot be. A subclass that works in another way keeps to the budget itself.

        Raises:
            PluginError: The orchestrator yields something other than a step with a cost, or raises an error that is not an AamcError.
        """
        until = time.monotonic() + self.budget.seconds
        if self.budget.steps == 0:
            return
        steps: AsyncIterator[Step] | None = None
        try:
            with component_errors(f"{self.orchestrator.message_name} failed"):
                steps = aiter(self.orchestrator.run(self.task, self.budget))
            while (step := await self._next(steps, until)) is not _END:
                self._check(step)
                self._steps.append(step)
                self.answer = step.content or None
                is_spent = self.cost_usd >= self.budget.cost_usd or time.monotonic() >= until
                if step.final or is_spent:
                    self.stop = "answered" if step.final else "out_of_budget"
                yield step
                if self.stop != "truncated" or self.count >= self.budget.steps:
                    return
        except Exception:
            self.answer, self.stop = None, "failed"
            raise
        finally:
            if isinstance(steps, AsyncGenerator):
                await steps.aclose()

    async def _next(self, steps: AsyncIterator[Step], until: float) -> Any:
        """Return the next step; ``_END`` after the last one, or if the time limit breaks it off."""
        left = Deadline(until - time.monotonic())
        try:  # in this task, and in none of its own, as an orchestrator may hold contexts that belong to it
            with counted_calls(self._call_costs), left, component_errors(f"{self.orchestrator.message_name} failed"):
                return await anext(steps, _END)
        except AamcError:  # of the orchestrator; one of an agent may be a TimeoutError too
            raise
        except TimeoutError:
            self.break_off()
            return _END

    def break_off(self) -> None:
        """Record that the time limit broke off the step in progress."""
        self.stop, self.broken_off = "out_of_budget", True

    def _check(self, step: Any) -> None:
        name = self.orchestrator.message_name
        check_type(step, Step, f"{name} must yield aamc_sdk.Step objects", PluginError)
        check_type(step.content, str, f"{name} must yield steps whose content is a text", PluginError)
        check_type(step.decision, Decision | None, f"{name} must yield steps whose decision is an aamc_sdk.Decision or None", PluginError)
        if not isinstance(step.cost_usd, Real) or not 0 <= float(step.cost_usd) < math.inf:  # a budget needs it
            raise PluginError(f"{name} must yield steps with a cost in USD of at least 0, not {step.cost_usd!r:.80}")
        if not isinstance(step.tokens, Integral) or step.tokens < 0:
            raise PluginError(f"{name} must yield steps whose tokens are a whole number of at least 0, not {step.tokens!r:.80}")
        if not isinstance(step.prompt_tokens, Integral) or not 0 <= int(step.prompt_tokens) <= int(step.tokens):
            raise PluginError(f"{name} must yield steps whose prompt_tokens are a part of their {step.tokens} tokens, not {step.prompt_tokens!r:.80}")

    def describe(self, step: Step) -> Sequence[Any]:
        """Return the lines that the terminal shows for a step."""
        agent = "" if step.decision is None else f"{step.decision.candidate}  "
        return [f"{agent}{' '.join(step.content.split())}  {step.cost_usd:.3g} USD"]

    def overview(self) -> Any | None:
        """Return a renderable that the terminal shows next to the answer; None for none."""
        return None

    def ending(self) -> str:
        """Return the reason for the end of the work, in words."""
        if self.stop == "truncated" and self.count < self.budget.steps:
            return "ended without a final step"
        broken_off = f": a step was broken off at {self.budget.seconds:g} s, and its unfinished calls count their prompts," if self.broken_off else ""
        return self.stop.replace("_", " ") + broken_off

    def document(self) -> dict[str, Any]:
        """Return ``stop`` and ``steps`` in plain JSON values."""
        return {"stop": self.stop, "steps": [_document(step) for step in self._steps]}

    def log(self) -> tuple[Sequence[Record], Sequence[Attempt]]:
        """Return the decisions to log, with everything that they were made from, and the calls made for them.

        By default there is one call for each step with a decision; the last one also has the error, and the cost of steps without a decision and of
        calls that no step reports.
        """
        made = [(step.decision, step.cost_usd) for step in self._steps if step.decision is not None]
        if not made:
            return (), ()
        pool, (last, last_usd) = self.orchestrator.services.pool.names, made[-1]
        records = [Record.of_step(decision, self.task, pool if decision.candidate in pool else (decision.candidate,)) for decision, _ in made]
        calls = [Attempt(decision.id, candidate=decision.candidate, cost_usd=cost_usd) for decision, cost_usd in made[:-1]]
        undecided_usd = sum(step.cost_usd for step in self._steps if step.decision is None) + self._unreported_usd
        error = None if self.answer is not None else f"no answer: {self.ending()}"
        return records, [*calls, Attempt(last.id, candidate=last.candidate, cost_usd=last_usd + undecided_usd, error=error)]

    def check_file(self, path: Path) -> None:
        """Check, before the first step, that :meth:`keep` will find no file with something other than its own episodes.

        Raises:
            OutputError: The file holds something else, or cannot be read.
        """
        if not path.is_file():
            return
        with write_errors(path, "choose another file with --trajectory"), path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline()
        try:
            found = json.loads(first or '{"task": ""}')
            is_episode = isinstance(found, dict) and isinstance(found.get("task"), str)
        except ValueError:  # a killed process leaves a part of a line
            part = first.rstrip("\n")[: len(_BEGINNING)]
            is_episode = part != "" and _BEGINNING.startswith(part)
        if not is_episode:
            raise OutputError(
                f"{path} holds something other than episodes of {self.orchestrator.message_name}; choose another file with --trajectory"
            )

    def keep(self, path: Path) -> None:
        """Append the episode to a file as a line of JSON; an OutputError says that it cannot be written."""
        document = {"schema": 1, "task": self.task.text, "answer": self.answer, "cost_usd": self.cost_usd, **self.document()}
        with write_errors(path, "choose another file with --trajectory"):
            append_text(path, json.dumps(plain(document), default=repr, allow_nan=False) + "\n")

    def check_graph(self) -> None:
        """Check, before the first step, that :meth:`write_graph` will work.

        Raises:
            ConfigError: The orchestrator draws nothing, or a library is missing.
        """
        raise ConfigError(f"{self.orchestrator.message_name} draws no graph; leave --graph out")

    def write_graph(self, path: Path) -> None:
        """Write a graph of the order of the agents as PNG."""
        self.check_graph()


def _document(step: Step) -> dict[str, Any]:
    return {
        "agent": None if step.decision is None else step.decision.candidate,
        "output": {"content": step.content, "cost": step.cost_usd, "metadata": {"tokens": step.tokens}},
        "fault": None,
        "error": None,
        "seconds": None,
        "cost": step.cost_usd,
    }


class LoggedOrchestrator(Orchestrator):
    """An orchestrator with a subclass of :class:`Orchestration`, which describes, logs and keeps its episodes."""

    @abc.abstractmethod
    def orchestration(self, task: Query, budget: Budget) -> Orchestration:
        """Return an orchestration on a task, which may be a :class:`TaskQuery`."""


def start_orchestration(orchestrator: Orchestrator, task: Query, *, steps: int | None, cost_usd: float, seconds: float) -> Orchestration:
    """Return the work of an orchestrator on a task, which may be a :class:`TaskQuery`; ``steps`` is the orchestrator's own number when None."""
    budget = Budget(steps=orchestrator.default_steps if steps is None else steps, cost_usd=cost_usd, seconds=seconds)
    return orchestrator.orchestration(task, budget) if isinstance(orchestrator, LoggedOrchestrator) else Orchestration(orchestrator, task, budget)


class TeamOrchestrator(LoggedOrchestrator):
    """An orchestrator whose agents, files and documents the user may choose."""

    @classmethod
    @abc.abstractmethod
    def untrained_options(cls, team: TeamOptions) -> Mapping[str, Any]:
        """Return the options for using the orchestrator untrained.

        Raises:
            CheckpointError: It requires training with these agents; the message has the command.
            ConfigError: An option needs training.
        """

    @abc.abstractmethod
    def set_team(self, team: TeamOptions) -> None:
        """Replace agents, their options and the number of paths.

        Raises:
            ConfigError: An option is unknown or wrong.
        """
