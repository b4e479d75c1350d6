"""Finding and loading trained orchestrators."""

from __future__ import annotations

from pathlib import Path

from aamc_sdk.config import ServingSettings
from aamc_sdk.errors import CheckpointError
from aamc_sdk.interfaces import Orchestrator, Services
from aamc_sdk.plugins import Plugins
from aamc_sdk.routing import find_pool
from aamc_sdk.serving.run import ORCHESTRATOR, Run
from aamc_sdk.serving.services import bare_services
from aamc_sdk.storage import COMPONENT, is_complete, load_part
from aamc_sdk.types import Pool


def orchestrator_services(settings: ServingSettings, plugins: Plugins, pool: Pool | None = None) -> Services:
    """Return the services that an orchestrator is made with.

    Args:
        settings: The settings of its training.
        plugins: The plugins that offer components.
        pool: The candidates; those that the settings name when None, else the default ones.
    """
    return bare_services(pool or find_pool(settings.pool or "default", plugins), plugins, settings)


def newest_orchestrator(runs: Path = Path("runs")) -> Path:
    """Return the folder below ``runs`` whose orchestrator was trained last.

    Raises:
        CheckpointError: There is none; the message has the command that makes one.
    """
    found = [path for path in runs.glob(f"*/{ORCHESTRATOR}/{COMPONENT}") if not path.parents[1].is_symlink()]
    if not found:
        how = "train one with: aamc train --orchestrator puppeteer"
        raise CheckpointError(f"there is no trained orchestrator under {runs}; {how}, or name its folder with --run")
    return max(found, key=lambda path: path.stat().st_mtime).parents[1]


def load_orchestrator(folder: Path, plugins: Plugins) -> Orchestrator:
    """Return a trained orchestrator from its folder.

    Raises:
        CheckpointError: The folder holds none, or a damaged one.
    """
    if not (is_complete(folder / ORCHESTRATOR) and (folder / "run.yaml").is_file()):
        raise CheckpointError(f"{folder} holds no trained orchestrator; train one with: aamc train --orchestrator puppeteer")
    run = Run.open(folder)
    pool = run.pool if run.settings.pool else None  # the folder's copy counts: the file may be another by now
    part: Orchestrator = load_part(run.folder / ORCHESTRATOR, ORCHESTRATOR, plugins, orchestrator_services(run.settings, plugins, pool))
    return part
