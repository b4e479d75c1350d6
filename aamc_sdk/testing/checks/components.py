"""Checks of options, training and checkpoints, for several kinds of components."""

from __future__ import annotations

import inspect
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, TypeVar

import attrs
import numpy as np

from aamc_sdk.config import configure, unstructure
from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import to_json
from aamc_sdk.testing.findings import SignatureError, must_raise, require, require_type
from aamc_sdk.testing.subject import Subject, changed, splits

_RUNS_NO_CODE = {".json", ".jsonl", ".safetensors", ".txt", ".csv", ".md", ".yaml", ".yml", ".onnx", ".npz", ".npy"}
"""The formats of checkpoints: data and text, which run no code when they are loaded."""
_NOT_READ = {".md"}
"""Formats of files for people, which loading may leave unread."""
THREADS = 8
"""Number of threads in checks of thread safety."""
_REPEAT_S = 0.1
"""Seconds for which each thread repeats its call; at least once."""
_END_S = 1.0
"""Seconds in which the threads of a closed component must end."""
_SWITCH_INTERVAL_S = 1e-6
"""Seconds between switches of threads, so that even short calls overlap."""

_WITH_YIELD = "write it as `async def` with `yield`"

T = TypeVar("T")
R = TypeVar("R")


def check_has_the_methods_of_its_kind(subject: Subject) -> None:
    """The component's class defines every abstract method of its interface."""
    missing = sorted(getattr(subject.target, "__abstractmethods__", ()))
    require(not missing, f"{subject.target.__qualname__} lacks {', '.join(missing)}")


def check_methods_are_asynchronous_where_their_interface_is(subject: Subject) -> None:
    """A method is a coroutine function (async def) if its interface declares it as one, and otherwise not, as nothing would await it."""
    for interface in [base for base in getattr(subject.target, "__mro__", ()) if base.__module__.startswith("aamc_sdk.interfaces.")]:
        for name, declared in vars(interface).items():
            if inspect.isfunction(declared):
                _require_as_declared(name, declared, getattr(subject.target, name))


def _require_as_declared(name: str, declared: Callable[..., Any], method: Callable[..., Any]) -> None:
    awaited, is_coroutine = inspect.iscoroutinefunction(declared), inspect.iscoroutinefunction(method)
    if "Async" in str(declared.__annotations__.get("return")):  # an AsyncIterator or AsyncGenerator
        if is_coroutine or inspect.isgeneratorfunction(method):
            raise SignatureError(f"{name} must return an asynchronous iterator: {_WITH_YIELD}")
    elif awaited and not is_coroutine:
        raise SignatureError(f"{name} must be a coroutine function (async def): it is awaited")
    elif is_coroutine and not awaited:
        raise SignatureError(f"{name} must be a plain function (def): nothing awaits it, so as `async def` it does nothing")


def require_asynchronous_iterator(found: object, method: str) -> None:
    """Raise SignatureError if a method has returned anything else."""
    if not hasattr(found, "__aiter__"):
        raise SignatureError(f"{method} must return an asynchronous iterator, not {type(found).__name__}: {_WITH_YIELD}")


def check_options_have_defaults_and_meanings(subject: Subject) -> None:
    """Every option has a default and a meaning; every default and preset is valid, as a run reads its recorded options again."""
    config = subject.target.Config
    require(attrs.has(config), f"Config must be an attrs class, not {config!r}")
    for field in attrs.fields(config):
        require(field.default is not attrs.NOTHING, f"option {field.name} has no default")
        require(field.metadata.get("meaning"), f"option {field.name} has no meaning; declare it with aamc_sdk.option")
    for preset in (None, *getattr(config, "presets", {})):
        where = f"preset {preset}" if preset else "defaults"
        configure(config, unstructure(configure(config, {}, preset=preset, where=where)), where=where)


def check_unknown_options_are_refused(subject: Subject) -> None:
    """An unknown option is an error."""
    must_raise(ValueError, lambda: configure(subject.target.Config, {"no_such_option": 1}, where=subject.name), "an unknown option")


def check_training_returns_metrics(subject: Subject) -> None:
    """``train`` returns a mapping of JSON types; ``"curve"`` is a list of mappings."""
    _ = subject.trained
    metrics = subject.metrics
    require_type(metrics, Mapping, "train must return a mapping of metrics")
    for name, value in metrics.items():
        try:
            to_json(value)
        except (TypeError, ValueError) as error:
            raise AssertionError(f"metrics[{name!r}] must be a JSON value: {error}") from error
    curve = metrics.get("curve", [])
    require(isinstance(curve, Sequence) and all(isinstance(point, Mapping) for point in curve), "metrics['curve'] must be a list of mappings")


def check_training_leaves_its_data_as_it_was(subject: Subject) -> None:
    """``train`` changes no array of its data, which other components are trained and compared on."""
    _ = subject.trained
    train, validation, _ = splits()
    require_same(train, subject.train_set, "training.dataset", "train")
    require_same(validation, subject.validation_set, "training.validation", "train")


def require_same(before: Any, after: Any, name: str, method: str) -> None:
    """Raise AssertionError if a method has changed its argument, which others read too."""
    found = changed(before, after, name)
    require(not found, f"{method} changes {', '.join(found)}; others read it too: copy it before you change it")


def require_reported(component: Any, reported_usd: float, where: str) -> None:
    """Raise AssertionError if the calls of a component cost more than it reports: budgets count what it reports."""
    spent_usd = component.services.models.spent_usd
    require(
        reported_usd >= 0.999 * spent_usd,
        f"its calls of models cost {spent_usd:g} USD, and it reports {reported_usd:g}: add up cost_usd of the answers in {where}",
    )


def check_checkpoints_run_no_code(subject: Subject) -> None:
    """Each saved file has a format that runs no code when it is loaded, and holds no pickled objects."""
    with _saved(subject) as folder:
        risky = [file.name for file in _files(folder) if file.suffix not in _RUNS_NO_CODE or _is_pickled(file)]
    advice = f"save JSON, npz (without objects) or safetensors instead of {', '.join(risky)}, which can run code when loaded"
    require(not risky, f"{advice} (allowed: {', '.join(sorted(_RUNS_NO_CODE))})")


def _is_pickled(file: Path) -> bool:
    """Whether a file is a pickle, whatever its name, or holds arrays of Python objects, which are pickles."""
    with file.open("rb") as opened:
        protocol, version = (*opened.read(2), 0, 0)[:2]
    if protocol == pickle.PROTO[0] and version <= pickle.HIGHEST_PROTOCOL:
        return True
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as saved:
                _ = [saved[name] for name in saved.files]
        elif file.suffix == ".npy":
            np.load(file, allow_pickle=False)
    except ValueError as error:
        return "allow_pickle" in str(error)
    return False


def check_damaged_checkpoints_are_refused(subject: Subject) -> None:
    """A truncated or missing file raises CheckpointError; the kit leaves out empty files and Markdown, which loading may not need."""
    with _saved(subject) as folder:
        for file in [file for file in _files(folder) if file.suffix not in _NOT_READ and file.stat().st_size]:
            content = file.read_bytes()
            file.write_bytes(content[: len(content) // 2])
            must_raise(CheckpointError, lambda: subject.make().load(folder), f"load with {file.name} cut in half")
            file.unlink()
            must_raise(CheckpointError, lambda: subject.make().load(folder), f"load with {file.name} missing")
            file.write_bytes(content)


def check_training_leaves_no_global_state(subject: Subject) -> None:
    """``__init__`` and ``train`` neither seed nor use global generators, nor change numpy's error handling, nor print to standard output."""
    _ = subject.again
    require_no_global_changes(subject.global_changes, "__init__ or train")


def require_no_global_changes(found: Sequence[str], method: str) -> None:
    """Raise AssertionError if a method changed something outside of its component."""
    advice = "draw from numpy.random.default_rng(services.seed), use numpy.errstate, and log instead of printing"
    require(not found, f"{method} changes {', '.join(found)}, which belongs to the whole program: {advice}")


def require_no_threads(started: Iterable[Thread], advice: str) -> None:
    """Raise AssertionError if threads are still alive after a second."""
    end = time.monotonic() + _END_S
    for thread in started:
        thread.join(max(0.0, end - time.monotonic()))
    left = sorted(thread.name for thread in started if thread.is_alive())
    require(not left, f"{advice}; still alive: {', '.join(left)}")


@contextmanager
def _saved(subject: Subject) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        subject.trained.save(Path(folder))
        yield Path(folder)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def from_threads(function: Callable[[T], R], inputs: Sequence[T]) -> list[list[R]]:
    """Return the results of repeated calls for each input, with one thread for each input."""
    together = Barrier(len(inputs))

    def repeat(given: T) -> list[R]:
        together.wait()
        end, results = time.monotonic() + _REPEAT_S, [function(given)]
        while time.monotonic() < end:
            results.append(function(given))
        return results

    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        with ThreadPoolExecutor(len(inputs)) as threads:
            return list(threads.map(repeat, inputs))
    finally:
        sys.setswitchinterval(before)


OPTION_CHECKS = (
    check_has_the_methods_of_its_kind,
    check_methods_are_asynchronous_where_their_interface_is,
    check_options_have_defaults_and_meanings,
    check_unknown_options_are_refused,
)
LEARNER_CHECKS = (
    check_training_returns_metrics,
    check_training_leaves_its_data_as_it_was,
    check_training_leaves_no_global_state,
    check_checkpoints_run_no_code,
    check_damaged_checkpoints_are_refused,
)
