"""Finding and loading orchestrators."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aamc_sdk.errors import CheckpointError, ConfigError
from aamc_sdk.interfaces import Orchestrator
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import find_pool
from aamc_sdk.serving.orchestration.orchestration import TeamOptions, TeamOrchestrator
from aamc_sdk.serving.run import ORCHESTRATOR, Run
from aamc_sdk.serving.services import make_services
from aamc_sdk.storage import COMPONENT, checkpoint_metadata, is_complete, load_component
from aamc_sdk.types import Pool

logger = logging.getLogger(__name__)
DEFAULT = "puppeteer"
"""The orchestrator to use if none is named and none was trained."""


def newest_orchestrator(name: str | None = None) -> Path | None:
    """Return the folder of the orchestrator, of that name, trained last below ``runs/``; None without any. A warning names a damaged one."""
    found = []
    for path in Path("runs").glob(f"*/{ORCHESTRATOR}/{COMPONENT}"):
        if path.parents[1].is_symlink():
            continue
        try:
            trained = trained_name(path.parents[1])
        except CheckpointError as error:
            logger.warning("left out: %s", error)
            continue
        if name in (None, trained):
            found.append(path)
    return max(found, key=lambda path: path.stat().st_mtime).parents[1] if found else None


def load_orchestrator(folder: Path, plugins: Plugins, pool: str | None = None, options: Mapping[str, Any] | None = None) -> Orchestrator:
    """Return a trained orchestrator from its folder."""
    trained_name(folder)
    run = Run.open(folder)
    trained_with = run.settings.pool and pool is None
    models = run.pool if trained_with else find_pool(pool or "default", plugins)  # the folder's copy counts: the file may have changed
    services = make_services(models, plugins, run.settings)
    component: Orchestrator = load_component(run.folder / ORCHESTRATOR, ORCHESTRATOR, plugins, services, options)
    return component


def trained_name(folder: Path, wanted: str | None = None) -> str:
    """Return the name of the orchestrator that the folder of its training holds.

    Raises:
        CheckpointError: The folder holds none; the message says how to train the wanted one.
    """
    is_training = (folder / "run.yaml").is_file()
    if not (is_complete(folder / ORCHESTRATOR) and is_training):
        unfinished = is_training and (folder / ORCHESTRATOR).is_dir()  # stopped while training, or while saving
        how = f"its training is unfinished; continue it with: aamc train --resume {folder}"
        how = how if unfinished else f"train one with: aamc train --orchestrator {wanted or DEFAULT}"
        raise CheckpointError(f"{folder} holds no trained orchestrator; {how}")
    return str(checkpoint_metadata(folder / ORCHESTRATOR, ORCHESTRATOR)["name"])


def find_orchestrator(
    name: str | None,
    folder: Path | None,
    team: TeamOptions,
    plugins: Plugins,
    pool: str | None = None,
    options: Mapping[str, Any] | None = None,
    untrained_pool: Pool | str = "default",
) -> tuple[Orchestrator, Path | None]:
    """Return an orchestrator with its agents, and the folder of its training: the trained one, else an untrained one.

    Args:
        name: The orchestrator's name; when None the one trained last, else ``puppeteer``.
        folder: The folder of its training; the newest one under ``runs`` when None.
        team: Agents, options and paths in place of the training's.
        plugins: The plugins that offer orchestrators and agents.
        pool: Name or file of the models that agents call; those of the training, else ``untrained_pool``, when None.
        options: Options of the orchestrator, in place of those of the training.
        untrained_pool: The models, or their name, for an orchestrator without a training.

    Raises:
        CheckpointError: The orchestrator needs a training and there is none, or the folder has another orchestrator.
        ConfigError: An option is wrong, or the orchestrator does not have it.
        UnknownComponentError: No plugin offers the orchestrator or an agent.
    """
    if folder is None:
        folder = newest_orchestrator(name)
        if folder is None:
            return _untrained(name or DEFAULT, team, plugins, pool or untrained_pool, options or {}), None
    elif name is not None and (trained := trained_name(folder, name)) != name:
        raise CheckpointError(f"{folder} has the orchestrator {trained!r}, not {name!r}; leave --orchestrator or --run out")
    component = load_orchestrator(folder, plugins, pool, options)
    if isinstance(component, TeamOrchestrator):
        component.set_team(team)
    else:
        _refuse_team(component.message_name, team)
    return component, folder


def _untrained(name: str, team: TeamOptions, plugins: Plugins, pool: Pool | str, options: Mapping[str, Any]) -> Orchestrator:
    target = plugins.load(ORCHESTRATOR, name)
    if issubclass(target, TeamOrchestrator):
        options = {**target.untrained_options(team), **options}
    else:
        _refuse_team(f"{ORCHESTRATOR} {name!r}", team)
    component: Orchestrator = plugins.make(ORCHESTRATOR, name, make_services(find_pool(pool, plugins), plugins), options)
    return component


def _refuse_team(name: str, team: TeamOptions) -> None:
    """Raise ConfigError if agents, their options or paths are given to an orchestrator that has none."""
    given = {"--agents": team.agents is not None, "--paths": team.paths is not None, "agent_options": bool(team.agent_options)}
    if named := [option for option, present in given.items() if present]:
        raise ConfigError(f"{name} has no option {' or '.join(named)}; leave it out, or name an orchestrator of agents: --orchestrator puppeteer")
