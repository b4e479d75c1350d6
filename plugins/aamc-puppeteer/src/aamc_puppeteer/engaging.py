"""Who works for ``aamc orchestrate``: a trained orchestrator's agents, others in their place, or agents in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from aamc_experiments.settings import read_settings

from aamc_puppeteer.orchestrator import Puppeteer
from aamc_puppeteer.pipeline import Pipeline
from aamc_puppeteer.rewards import RewardRule
from aamc_sdk import Agent, option
from aamc_sdk.config import configure, load_yaml, set_option
from aamc_sdk.errors import CheckpointError, ConfigError, nearest, one_of
from aamc_sdk.plugins import Plugins
from aamc_sdk.serving import load_orchestrator, newest_orchestrator
from aamc_sdk.serving import orchestrator_services

AgentOptions = Mapping[str, Mapping[str, Any]]
"""Options by the agent's name."""


@attrs.frozen(kw_only=True)
class WorkOptions:
    """What may be set where an orchestrator works."""

    agent_options: Mapping[str, Mapping[str, Any]] = option({}, "options of agents, by the agent's name")


def agent_options(configs: Sequence[Path], assignments: Sequence[str]) -> AgentOptions:
    """Return the options of agents that files and ``--set`` give.

    Raises:
        ConfigError: They give something else.
    """
    content: dict[str, Any] = {}
    for config in configs:
        content |= load_yaml(config)
    for assignment in assignments:
        set_option(content, assignment)
    return configure(WorkOptions, content, where="aamc orchestrate").agent_options


def find_team(
    run: Path | None, names: Sequence[str] | None, paths: int | None, options: AgentOptions, plugins: Plugins
) -> tuple[Puppeteer | Pipeline, Path | None]:
    """Return who works, and the folder of their training; agents in the order given where nothing was ever trained.

    Args:
        run: The folder of a training; the newest one when None.
        names: The agents; those of the training when None.
        paths: Most paths side by side; as trained when None.
        options: Of agents; they win over those of the training, one by one.
        plugins: Where agents come from.

    Raises:
        CheckpointError: There is no training, and no agents are named either.
        ConfigError: An option is wrong, or of an agent that does not work here.
    """
    try:
        folder = newest_orchestrator() if run is None else run
    except CheckpointError as error:
        if names is None:
            raise CheckpointError(f"{error}; or name agents that work in a fixed order: --agents parser,calculator") from None
        _check_known(options, names)
        if paths is not None:
            raise ConfigError("--paths needs a policy that says where to fork; train one with: aamc train --orchestrator puppeteer") from None
        return Pipeline(_made(orchestrator_services(read_settings({}), plugins).make, names, options)), None
    puppeteer = load_orchestrator(folder, plugins)
    if not isinstance(puppeteer, Puppeteer):
        raise CheckpointError(f"{folder} holds an orchestrator of another kind, {type(puppeteer).__name__}; name a puppeteer's folder")
    if paths is not None:
        puppeteer.config = attrs.evolve(puppeteer.config, paths=paths)
    if names is not None or options:
        names = names or puppeteer.pool.names
        _check_known(options, names)
        trained = puppeteer.config.agent_options
        merged = {name: {**trained.get(name, {}), **options.get(name, {})} for name in names}
        puppeteer.use(_made(puppeteer.services.make, names, merged))
    return puppeteer, folder


def usual_steps(team: Puppeteer | Pipeline) -> int:
    """Return the most activations of an episode in training; in a fixed order more than there are agents, so that it ends by itself."""
    return team.config.max_steps if isinstance(team, Puppeteer) else len(team.pool) + 1


def rule_of(team: Puppeteer | Pipeline) -> RewardRule:
    """Return how an episode is paid: as in training; in a fixed order by default."""
    return team.config.rule if isinstance(team, Puppeteer) else RewardRule()


def _check_known(options: AgentOptions, names: Sequence[str]) -> None:
    for name in options:
        if name not in names:
            raise ConfigError(f"agent_options has options of {name!r}, which does not work here{nearest(name, names)} (there are: {one_of(names)})")


def _made(make: Callable[[str, str, Mapping[str, Any]], Any], names: Sequence[str], options: AgentOptions) -> list[Agent]:
    return [make("agent", name, options.get(name, {})) for name in names]
