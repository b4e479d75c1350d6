"""The settings of orchestrators: ``gateway.orchestrators`` in a configuration file, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from aamc_sdk.config import option

REASONING, CONTENT, NONE = "reasoning", "content", "none"


@attrs.frozen(kw_only=True)
class OrchestratorSettings:
    """One orchestrator that requests may ask for, as ``aamc/NAME``. Only those that are named here can be asked for: agents may act."""

    run: str = option("", "Folder of its training; '' for the newest under runs, else untrained.")
    pool: str = option("", "Name or file of the models that its agents call; '' for those of the training.")
    agents: Sequence[str] | None = option(None, "Names of its agents; none: those of the training.")
    agent_options: Mapping[str, Mapping[str, Any]] = option({}, "Options of agents, by the agent's name.")
    options: Mapping[str, Any] = option({}, "Options of the orchestrator, such as policy of router-r1.")
    paths: int | None = option(None, "Maximum number of parallel paths; none: as trained.", at_least=1)
    steps: int | None = option(None, "Maximum number of steps; none: as trained.", at_least=1)
    budget_usd: float = option(1.0, "Maximum cost of one request in USD, which its budget reserves; a request may ask for less.", above=0)
    seconds: float = option(300.0, "Time limit of one request, in seconds.", above=0)
    parallel: int = option(4, "Maximum number of requests at the same time, each on a thread of its own.", at_least=1)
    show_steps: str = option(
        REASONING,
        "Where the steps before the last are shown: reasoning, as a reasoning model's; content, before the answer; or none.",
        choices=(REASONING, CONTENT, NONE),
    )
