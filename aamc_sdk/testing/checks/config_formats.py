"""Checks of formats of other systems' configuration files."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aamc_sdk.config import EXPERIMENT_KEYS, SERVER_KEYS, SERVING_KEYS, Choice, ServingSettings
from aamc_sdk.errors import AamcError, ConfigError, PreferenceError
from aamc_sdk.interfaces import ConfigFormat, ForeignSettings
from aamc_sdk.messages import one_of
from aamc_sdk.testing.checks.components import require_same
from aamc_sdk.testing.findings import SignatureError, checks_in, require, require_type, skip
from aamc_sdk.testing.subject import Subject

_PATH = Path("example.yaml")
_DAMAGES: tuple[Any, ...] = (None, 3, "text", [], {}, [None], {"name": None})
"""Values that take the place of each part of the example in turn."""


def check_its_methods_take_the_arguments_of_the_interface(subject: Subject) -> None:
    """Each method can be called as the interface declares it."""
    for name in sorted(ConfigFormat.__abstractmethods__):
        declared = list(inspect.signature(getattr(ConfigFormat, name)).parameters)[1:]
        try:
            inspect.signature(getattr(subject.target(), name)).bind(*declared)
        except TypeError as error:
            raise SignatureError(f"{name} must take {', '.join(declared)}: {error}") from error


def check_it_leaves_other_files_alone(subject: Subject) -> None:
    """A configuration format recognizes neither an empty file nor one of the SDK's own format."""
    for content in ({}, {"router": "thompson", "seed": 1}):
        require(not subject.target().recognizes(content), f"it recognizes {content!r}, which has another format")


def check_it_recognizes_its_example(subject: Subject) -> None:
    """The format recognizes its own example, which has a key that the SDK's own files do not have."""
    example, known = _example(subject), (*SERVING_KEYS, *EXPERIMENT_KEYS, *SERVER_KEYS)
    require(subject.target().recognizes(example), "recognizes(example()) must be True")
    require(example.keys() - {*known}, f"no format gets a file with only keys of the SDK's own files ({one_of(known)}): choose another key")


def check_its_example_can_be_served(subject: Subject) -> None:
    """``serving`` returns the settings of a controller, by the keys of the SDK's files, and leaves the content as it was."""
    found = _translated(subject, "serving")
    require_type(found, ForeignSettings, "serving must return aamc_sdk.interfaces.ForeignSettings")
    _require_keys("serving", found.content, SERVING_KEYS)
    try:
        ServingSettings.of(found.content)
    except (ConfigError, PreferenceError) as error:
        raise AssertionError(f"no controller can be made of what serving returns: {error}") from error


def check_its_example_can_be_an_experiment(subject: Subject) -> None:
    """``experiment`` returns the settings of an experiment, by the keys of the SDK's files, whether the command line names a router or not."""
    for router in (None, "random"):
        found = _translated(subject, "experiment", None, router)
        _require_keys("experiment", found, (*SERVING_KEYS, *EXPERIMENT_KEYS))
        if "router" in found:
            Choice.of(found["router"], "experiment: router")


def check_damaged_files_are_errors_that_the_user_can_read(subject: Subject) -> None:
    """``serving`` and ``experiment`` raise ConfigError for a file that the format recognizes and cannot use."""
    found = subject.target()
    for where, content in _damaged(_example(subject)):
        if not found.recognizes(content):
            continue
        for name in ("serving", "experiment"):
            try:
                getattr(found, name)(content, _PATH)
            except AamcError as error:
                require(str(error), f"the error of {name} has no message")
            except Exception as error:
                raise AssertionError(f"{name} of its example with {where} must raise ConfigError, not {type(error).__name__}: {error}") from error


def _example(subject: Subject) -> Mapping[str, Any]:
    """Return the format's example; the check is skipped for a format without one."""
    example = subject.target().example()
    if example is None:
        skip("it has no example: return the content of a valid file from example")
    require_type(example, Mapping, "example must return the content of a file, a mapping")
    return copy.deepcopy(dict(example))


def _damaged(example: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the example with each of its parts replaced by other values in turn, and where."""
    for key, value in example.items():
        for damage in _DAMAGES:
            yield f"{key}: {damage!r}", {**example, key: damage}
        if isinstance(value, Mapping):
            for where, inner in _damaged(value):
                yield f"{key}.{where}", {**example, key: inner}


def _translated(subject: Subject, method: str, *arguments: Any) -> Any:
    """Return the result of a method for the example, which it must not change: other readers of the file get it too."""
    example, content = _example(subject), _example(subject)
    found = getattr(subject.target(), method)(content, _PATH, *arguments)
    require_same(example, content, "content", method)
    return found


def _require_keys(method: str, content: Any, known: tuple[str, ...]) -> None:
    require_type(content, Mapping, f"{method} must return keys and values")
    unknown = sorted(str(key) for key in content if key not in known)
    require(not unknown, f"{method} returns the keys {', '.join(unknown)}, which mean nothing here (keys: {one_of(known)})")


CHECKS = checks_in(__name__)
