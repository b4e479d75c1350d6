"""Dataset format ``tasks``: the generated suites and the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from aamc_puppeteer.tasks.dataset_format import DIFFICULTIES, PublishedSuites, TaskDataset, VerifierOptions, as_dataset
from aamc_puppeteer.testbed.agents import TOOLS
from aamc_puppeteer.testbed.suites import MIXED, SUITES, load_suite
from aamc_sdk import option


@attrs.frozen(kw_only=True)
class SuiteOptions(VerifierOptions):
    """The tasks of a generated suite, and their verifier."""

    size: int = option(300, "Number of tasks in a generated suite.", at_least=1, at_most=100_000)
    difficulty: int = option(0, "Difficulty of a generated suite's tasks from 1 to 3; 0 for all in turn.", at_least=0, at_most=DIFFICULTIES)
    seed: int | None = option(None, "Seed of a generated suite; the run's seed if null.", at_least=0)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"full": {"size": 1000}}


class GeneratedSuites(PublishedSuites):
    """Tasks of one suite: ``tasks:mixed`` is generated, ``tasks:gsm-hard:FILE`` is read from a file."""

    Config = SuiteOptions
    config: SuiteOptions
    suites = (*SUITES, *PublishedSuites.suites)

    def read(self, path: str) -> TaskDataset:
        """Generate a suite, or read a published one.

        Args:
            path: The suite's name, and for a published suite its file after another colon (default: ``mixed``).

        Raises:
            DataError: The suite is unknown, or its file is missing or has a bad row.
        """
        return super().read(path or MIXED)

    def _suite(self, name: str, file: str) -> TaskDataset:
        if name not in SUITES or file:
            return super()._suite(name, file)
        seed = self.services.seed if self.config.seed is None else self.config.seed
        tasks = load_suite(name, seed=seed, size=self.config.size, difficulty=self.config.difficulty or None)
        return as_dataset(tasks, f"tasks:{name}", TOOLS)
