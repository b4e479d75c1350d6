"""The hooks of this package; importing it loads no implementation."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_environments() -> list[Component]:
    """Offer the environment of single turns."""
    return [Component("agents", "aamc_puppeteer.one_turn:OneTurnEnvironment", "Each task gets one turn of one agent.")]


@hookimpl
def aamc_datasets() -> list[Component]:
    """Offer the task suites."""
    return [Component("tasks", "aamc_puppeteer.tasks.dataset_format:TaskSuites", "Tasks with verifiers: generated suites, GSM-Hard, MMLU-Pro, SRDD.")]


@hookimpl
def aamc_orchestrators() -> list[Component]:
    """Offer the puppeteer."""
    return [Component("puppeteer", "aamc_puppeteer.orchestrator:Puppeteer", "Activates agents by a policy trained with REINFORCE.")]
