"""Roles played by a language model: ``planner``, ``reasoner``, ``critic``, ``reflect``, ``question``, ``summarizer``, ``modifier``, ``concluder``.

Each has a prompt, a file under ``prompts``, and sees the task and the work so far. They are the reasoning patterns of the
puppeteer paper (arXiv 2505.19591, section 3), one agent each.
"""

from __future__ import annotations

import math
import re
from functools import cache
from importlib.resources import files
from typing import ClassVar

import attrs

from aamc_agents.models import ChatModel, ModelConfig
from aamc_agents.state import ANSWER, TaskState
from aamc_sdk import Agent, AgentOutput, Candidate, MetaController, Services, option
from aamc_sdk.types import utf8_bytes

_PROMPT_CHARACTERS = 4_000
"""Usual characters of the role's prompt and the task, for estimates."""
_HEADING = re.compile(r"^(?=(?:Task|File .*|Work so far):\s*$|\d+\. \S+: )", re.MULTILINE)
"""The beginning of a line that looks like one of the prompt's headings; an output or a file that has one could speak for another agent."""


@attrs.frozen(kw_only=True)
class RoleConfig(ModelConfig):
    """The model, and the amount of context in its prompt."""

    history_characters: int = option(12_000, "Maximum characters of the latest work in the prompt.", at_least=0)
    file_characters: int = option(4_000, "Maximum characters of each of the task's files in the prompt.", at_least=0)


class Role(Agent):
    """A role played by a language model.

    Args:
        config: The model and its limits.
        services: Have the seed of a router's draws.
        controller: Chooses the model for each call, instead of the router in the options.
    """

    Config = RoleConfig
    config: RoleConfig
    concludes: ClassVar[bool] = False
    """Whether the output is the task's answer and ends the episode."""

    def __init__(self, config: RoleConfig, services: Services, controller: MetaController | None = None) -> None:
        super().__init__(config, services)
        self._model = ChatModel(config, services, controller)

    async def execute(self, state: TaskState) -> AgentOutput:
        """Call the model with the role's prompt."""
        reply = await self._model.ask(shown(state, self.config.history_characters, self.config.file_characters), system=prompt_of(self.spec.name))
        cost = 0.0 if math.isnan(reply.cost) else reply.cost
        return AgentOutput(reply.text, cost=cost, metadata={**reply.metadata, **({ANSWER: True} if self.concludes else {})})

    @property
    def max_cost_usd(self) -> float:
        """Estimated maximum cost of a turn in USD; NaN for a model without prices."""
        return self._model.max_cost_usd(self.config.history_characters + self.config.file_characters + _PROMPT_CHARACTERS)

    def max_cost_usd_in(self, state: TaskState) -> float:
        """Estimated maximum cost of a turn on a state's task in USD, whatever the work so far."""
        prompt = prompt_of(self.spec.name) + shown(TaskState(task=state.task), 0, self.config.file_characters)
        return self._model.max_cost_usd(utf8_bytes(prompt) + self.config.history_characters)

    def check(self) -> None:
        """Raise AgentError if no model is configured."""
        self._model.check()

    def close(self) -> None:
        """Close the router that the options name; a later call opens it again."""
        self._model.close()


def _role(name: str, description: str, *, concludes: bool = False) -> type[Role]:
    """Return the class of a role."""
    content = {"spec": Candidate(name, description), "concludes": concludes, "__doc__": description, "__module__": __name__}
    return type(name.capitalize(), (Role,), content)


Planner = _role("planner", "Breaks a task down into a short numbered plan of steps before work begins.")
Reasoner = _role("reasoner", "Thinks the problem through step by step and works out the next result.")
Critic = _role("critic", "Examines the latest result critically and points out errors and what is missing.")
Reflect = _role("reflect", "Reflects on all work so far, which way led nowhere and what should be tried instead.")
Question = _role("question", "Asks the sub-question whose answer would help most, and answers it.")
Summarizer = _role("summarizer", "Summarizes the work so far in a few sentences and keeps every figure that matters.")
Modifier = _role("modifier", "Corrects the latest result as the critic's findings demand and gives the corrected version.")
Concluder = _role("concluder", "Concludes: gives the final answer to the task, and nothing but the answer.", concludes=True)


@cache
def prompt_of(name: str) -> str:
    """Return a role's system prompt."""
    folder = files("aamc_agents") / "prompts"
    return "\n\n".join((folder / f"{part}.md").read_text(encoding="utf-8").strip() for part in (name, "everyone"))


def shown(state: TaskState, history_characters: int, file_characters: int) -> str:
    """Return the user prompt: the task, its files and the latest work, each truncated to its limit; headings in files and work are indented."""
    parts = [f"Task:\n{state.task.text}"]
    parts += [f"File {name}:\n{_HEADING.sub('  ', _start(content, file_characters))}" for name, content in state.task.files.items()]
    turns = []
    for number, activation in enumerate(state.history, start=1):
        said = activation.output.content if activation.output is not None else f"(failed: {activation.text})"
        turns.append(f"{number}. {activation.agent}: {_HEADING.sub('  ', said)}")
    work = "\n".join(turns)
    latest = work[max(len(work) - history_characters, 0) :]
    parts.append(f"Work so far:\n{'[...] ' * (len(latest) < len(work))}{latest or 'none'}")
    return "\n\n".join(parts)


def _start(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters]} [...]"
