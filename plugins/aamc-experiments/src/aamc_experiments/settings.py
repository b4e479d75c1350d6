"""The settings of an experiment: read from YAML files, ``--set`` and the options of the command line."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from aamc_sdk.config import Choice, ServingSettings, configure, option, unstructure
from aamc_sdk.errors import ConfigError
from aamc_sdk.interfaces import public_url
from aamc_sdk.serving import find_checkpoint

T = TypeVar("T", bound=Choice)
COMPARED = ("llm-only", "slm-only", "rule", "supervised", "greedy", "random", "best-single", "oracle")
"""The routers of the default comparison."""


@attrs.frozen
class Source(Choice):
    """A dataset: the name of a format, a path, and the options of the format."""

    path: str = ""

    @classmethod
    def of(cls, value: Any, where: str) -> Source:
        """Read ``llmrouter:PATH`` or ``{name: llmrouter, path: PATH, output_tokens: 128}``.

        Raises:
            ConfigError: The value names no format, or its path is not text.
        """
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
        name, _, inline_path = choice.name.partition(":")
        return cls(name, options, path or inline_path)

    def like(self, other: Source) -> Source:
        """Return this source with the options of another source of the same format, unless it has options of its own."""
        return attrs.evolve(self, options=other.options) if self.name == other.name and not self.options else self

    def absolute(self) -> Source:
        """Return the source that means the same in every working directory."""
        return attrs.evolve(_absolute_options(self), path=_absolute(self.path))

    def to_dict(self) -> dict[str, Any]:
        """Return a document that :meth:`of` reads."""
        return {"name": self.name, "path": self.path, **self.options}

    @property
    def public_name(self) -> str:
        """The source without the password in a log's URL, for messages."""
        return str(attrs.evolve(self, path=public_url(self.path)))

    def __str__(self) -> str:
        return f"{self.name}:{self.path}" if self.path else self.name


@attrs.frozen(kw_only=True)
class Evaluation:
    """The options of a comparison."""

    success_threshold: float = option(0.5, "Minimum quality of a success.", at_least=0, at_most=1)
    alpha: float | None = option(None, "Weight of a USD in efficiency (default: 0.5 / mean cost of llm-only).", at_least=0)
    beta: float | None = option(None, "Weight of a millisecond in efficiency (default: 0.5 / mean latency of llm-only).", at_least=0)
    streams: int = option(64, "Parallel streams of queries, in environments whose outcomes depend on earlier choices.", at_least=1)
    steps: int = option(48, "Queries in each stream that count.", at_least=1)
    warm_up: int = option(48, "Queries in each stream before those that count: queues start empty.", at_least=0)
    resamples: int = option(1000, "Bootstrap resamples for each interval.", at_least=10)
    strict: bool = option(False, "Refuse test rows that a checkpoint was trained on and published scores outside 0 to 1, instead of mending them.")


@attrs.frozen(kw_only=True)
class Settings(ServingSettings):
    """Everything that determines the result of an experiment.

    Attributes:
        environment: The environment of training and evaluation; an empty name selects the one that fits the data.
        dataset: The queries, with or without outcomes.
        test_dataset: The test queries; None to hold out a fifth of ``dataset``.
        routers: The routers to compare with, by name in tables; None for all baselines that this installation and data allow.
        evaluation: The options of the comparison.
        orchestrator: The orchestrator to train instead of a router; None for none.
        continue_from: The folder of a trained orchestrator whose training continues; None to start anew.
        budget_usd: The amount at which the training of an orchestrator ends; None for no limit.
    """

    environment: Choice
    dataset: Source
    test_dataset: Source | None
    routers: Mapping[str, Choice] | None
    evaluation: Evaluation
    orchestrator: Choice | None = None
    continue_from: str | None = None
    budget_usd: float | None = None

    def with_absolute_paths(self, pools: Collection[str]) -> Settings:
        """Return settings that mean the same in every working directory.

        Args:
            pools: The names of pools that plugins offer; another pool is a file.
        """
        test, routers = self.test_dataset, self.routers
        named = self.orchestrator is not None and not _looks_like_path(self.dataset.path)  # the name of a suite of tasks
        return attrs.evolve(
            self,
            router=_absolute_component(self.router, "router"),
            estimator=None if self.estimator is None else _absolute_component(self.estimator, "estimator"),
            environment=_absolute_options(self.environment),
            pool=_absolute(self.pool) if isinstance(self.pool, str) and self.pool not in pools else self.pool,
            reward=_absolute_options(self.reward),
            dataset=self.dataset if named else self.dataset.absolute(),
            test_dataset=None if test is None else test.absolute(),
            routers=None if routers is None else {name: _absolute_component(choice, "router") for name, choice in routers.items()},
            orchestrator=None if self.orchestrator is None else _absolute_options(self.orchestrator),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a document that :func:`read_settings` reads."""
        choices = {name: value.to_dict() if isinstance(value, Choice) else value for name, value in attrs.asdict(self, recurse=False).items()}
        for name in ("continue_from", "budget_usd"):
            if choices[name] is None:
                del choices[name]
        routers = None if self.routers is None else {name: choice.to_dict() for name, choice in self.routers.items()}
        return choices | {"routers": routers, "preference": str(self.preference), "evaluation": unstructure(self.evaluation)}


def _absolute_component(choice: T, kind: str) -> T:
    folder = find_checkpoint(choice.name, kind)
    return _absolute_options(choice) if folder is None else attrs.evolve(choice, name=str(folder.resolve()))


def _absolute_options(choice: T) -> T:
    """Return a choice in whose options the paths of files are absolute."""
    paths = {key: value for key, value in choice.options.items() if isinstance(value, str) and _looks_like_path(value)}
    return attrs.evolve(choice, options={**choice.options, **{key: _absolute(value) for key, value in paths.items()}})


def _looks_like_path(text: str) -> bool:
    """Return whether a text is not a plain name."""
    return "/" in text or ":" in text or bool(Path(text).suffix)


def _absolute(text: str) -> str:
    """Return the absolute path of an existing file, also after a scheme and before options, as in ``sqlite:log.db?OPTIONS``; else the text itself."""
    exists = os.path.exists  # unlike Path.exists it answers for text that is too long for a path
    scheme, colon, address = ("", "", text) if exists(text) else text.rpartition(":")
    path, mark, options = address.partition("?")
    return f"{scheme}{colon}{os.path.realpath(path)}{mark}{options}" if path and exists(path) else text


@attrs.frozen(kw_only=True)
class ConfigKeys:
    """The keys of a configuration file, with their defaults."""

    router: Any = "ppo"
    estimator: Any = None
    environment: Any = None
    pool: Any = None
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
    continue_from: str | None = None
    budget_usd: float | None = option(None, "The training of an orchestrator ends when its agents have cost this amount.", at_least=0)


def read_settings(content: Mapping[str, Any]) -> Settings:
    """Return the settings of a configuration file's content.

    Raises:
        ConfigError: A key is unknown, or a value is not valid.
        PreferenceError: The preference is not valid.
    """
    keys = configure(ConfigKeys, content, where="the configuration")
    serving = ServingSettings.of({name: getattr(keys, name) for name in attrs.fields_dict(ServingSettings)})
    dataset = Source.of(keys.dataset, "dataset")
    return Settings(
        **attrs.asdict(serving, recurse=False),
        environment=_environment(keys.environment),
        dataset=dataset,
        test_dataset=None if keys.test_dataset is None else Source.of(keys.test_dataset, "test_dataset").like(dataset),
        routers=None if keys.routers is None else _routers(keys.routers),
        evaluation=configure(Evaluation, keys.evaluation, where="evaluation"),
        orchestrator=None if keys.orchestrator is None else Choice.of(keys.orchestrator, "orchestrator"),
        continue_from=keys.continue_from,
        budget_usd=keys.budget_usd,
    )


def _environment(value: Any) -> Choice:
    """Read an environment; options without a name belong to the environment that fits the data."""
    if value is None or value == "":
        return Choice("")
    if isinstance(value, Mapping) and not value.get("name"):
        return Choice("", {str(key): option for key, option in value.items() if key != "name"})
    return Choice.of(value, "environment")


def _routers(value: Any) -> dict[str, Choice]:
    """Read a list of names, or a mapping of names to options."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {name: Choice(name) for name in value}
    if isinstance(value, Mapping) and all(options is None or isinstance(options, Mapping) for options in value.values()):
        return {str(name): Choice.of({"name": str(name), **(options or {})}, f"routers: {name}") for name, options in value.items()}
    raise ConfigError(f"routers must be names, or a mapping of names to options, not {value!r}")
