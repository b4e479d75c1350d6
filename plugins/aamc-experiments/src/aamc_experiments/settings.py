"""What an experiment is made of: from a YAML file, ``--set`` and the command line's options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from aamc_sdk.config import NO_ESTIMATOR, Choice, ServingSettings, check_shared, configure, option, unstructure
from aamc_sdk.errors import ConfigError
from aamc_sdk.types import Preference

COMPARED = ("llm-only", "slm-only", "rule", "supervised", "greedy", "random", "best-single", "oracle")
"""What a router is compared with unless the user says otherwise."""


@attrs.frozen
class Source(Choice):
    """A dataset: a format's name, a path, and the format's options."""

    path: str = ""

    @classmethod
    def of(cls, value: Any, where: str) -> Source:
        """Read ``llmrouter:PATH``, or ``{name: llmrouter, path: PATH, output_tokens: 128}``."""
        if isinstance(value, Source):
            return value
        if isinstance(value, str):
            name, _, path = value.partition(":")
            return cls(Choice.of(name, where).name, {}, path)
        choice = Choice.of(value, where)
        options = dict(choice.options)
        path = options.pop("path", "")
        if not isinstance(path, str):
            raise ConfigError(f"{where}: path must be text, not {path!r}")
        name, _, given = choice.name.partition(":")
        return cls(name, options, path or given)

    def like(self, other: Source) -> Source:
        """Return the source with the options of another of its format, where it has none of its own."""
        return attrs.evolve(self, options=other.options) if self.name == other.name and not self.options else self

    def plain(self) -> dict[str, Any]:
        """Return what :meth:`of` reads."""
        return {"name": self.name, "path": self.path, **self.options}

    def __str__(self) -> str:
        return f"{self.name}:{self.path}" if self.path else self.name


@attrs.frozen(kw_only=True)
class Evaluation:
    """How routers are compared."""

    success_threshold: float = option(0.5, "least quality that counts as success", at_least=0, at_most=1)
    alpha: float | None = option(None, "what a USD counts in efficiency; none: half of llm-only's mean cost, inverted", at_least=0)
    beta: float | None = option(None, "what a millisecond counts in efficiency; none: half of llm-only's mean latency, inverted", at_least=0)
    streams: int = option(64, "streams that are played side by side, where outcomes depend on earlier choices", at_least=1)
    steps: int = option(48, "queries of a stream", at_least=1)
    resamples: int = option(1000, "bootstrap resamples behind each interval", at_least=10)
    strict: bool = option(False, "refuse test rows that a checkpoint was trained on, rather than leave them out")


@attrs.frozen(kw_only=True)
class Settings(ServingSettings):
    """Everything that an experiment's result follows from.

    Attributes:
        environment: Where routers are trained and measured; an empty name lets the data decide.
        dataset: The queries, perhaps with outcomes.
        test_dataset: The test queries, read with ``dataset``'s options where it has none; None to set a fifth of ``dataset`` aside.
        routers: The routers to compare with, by their names in tables; None for every baseline that can be made.
        evaluation: How routers are compared.
        orchestrator: The orchestrator to train, instead of a router.
    """

    environment: Choice
    dataset: Source
    test_dataset: Source | None
    routers: Mapping[str, Choice] | None
    evaluation: Evaluation
    orchestrator: Choice | None = None

    def plain(self) -> dict[str, Any]:
        """Return the settings as :func:`read_settings` reads them."""
        choices = {name: value.plain() if isinstance(value, Choice) else value for name, value in attrs.asdict(self, recurse=False).items()}
        routers = None if self.routers is None else {name: choice.plain() for name, choice in self.routers.items()}
        return choices | {"routers": routers, "preference": str(self.preference), "evaluation": unstructure(self.evaluation)}


@attrs.frozen(kw_only=True)
class Given:
    """The keys of a configuration file, and what they are where it says nothing."""

    router: Any = "ppo"
    estimator: Any = None
    environment: Any = None
    pool: str | None = None
    reward: Any = "linear"
    dataset: Any = "synthetic"
    test_dataset: Any = None
    routers: Any = None
    preference: Any = None
    preset: str = "quick"
    seed: int = 0
    device: str = "auto"
    evaluation: Any = attrs.field(factory=dict)
    orchestrator: Any = None


def read_settings(content: Mapping[str, Any]) -> Settings:
    """Make settings from a configuration file's content.

    Raises:
        ConfigError: A key is unknown, or its value cannot be used.
        PreferenceError: The preference is none.
    """
    given = configure(Given, content, where="the configuration")
    check_shared(given.preset, given.seed, given.device, given.pool)
    dataset = Source.of(given.dataset, "dataset")
    return Settings(
        router=Choice.of(given.router, "router"),
        estimator=None if given.estimator in (None, NO_ESTIMATOR) else Choice.of(given.estimator, "estimator"),
        environment=_environment(given.environment),
        pool=given.pool,
        reward=Choice.of(given.reward, "reward"),
        dataset=dataset,
        test_dataset=None if given.test_dataset is None else Source.of(given.test_dataset, "test_dataset").like(dataset),
        routers=None if given.routers is None else _routers(given.routers),
        preference=Preference.of(given.preference),
        preset=given.preset,
        seed=given.seed,
        device=given.device,
        evaluation=configure(Evaluation, given.evaluation, where="evaluation"),
        orchestrator=None if given.orchestrator is None else Choice.of(given.orchestrator, "orchestrator"),
    )


def _environment(value: Any) -> Choice:
    """Read an environment; options without a name go to the one that the data decides on."""
    if value is None or value == "":
        return Choice("")
    if isinstance(value, Mapping) and not value.get("name"):
        return Choice("", {str(key): option for key, option in value.items() if key != "name"})
    return Choice.of(value, "environment")


def _routers(value: Any) -> dict[str, Choice]:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {name: Choice(name) for name in value}
    if isinstance(value, Mapping) and all(options is None or isinstance(options, Mapping) for options in value.values()):
        return {str(name): Choice.of({"name": str(name), **(options or {})}, f"routers: {name}") for name, options in value.items()}
    raise ConfigError(f"routers must be names, each with its options, not {value!r}")
