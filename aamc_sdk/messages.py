"""The words of error messages, and contexts that turn other exceptions into errors of the SDK."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from types import UnionType
from typing import Any, TypeVar

from aamc_sdk.errors import (
    AamcError,
    CheckpointError,
    ConfigError,
    DataError,
    OutputError,
    PluginError,
    PoolError,
    PreferenceError,
    UnknownComponentError,
)

T = TypeVar("T")
_MOST_NAMES = 100
"""Maximum number of names in a message."""


def split_advice(message: str) -> tuple[str, str]:
    """Split a message into the problem and the advice; the advice is ``""`` if there is none. A list in parentheses stays whole."""
    wrong, _, advice = message.rpartition("; ")
    while wrong and advice.count(")") > advice.count("("):
        wrong, _, before = wrong.rpartition("; ")
        advice = f"{before}; {advice}"
    return (wrong, advice) if wrong else (message, "")


def failures_text(what: str, failures: Sequence[str]) -> str:
    """Return a message with one failure, such as ``"no candidate answered: a is away"``, or with a list of several in parentheses."""
    return f"{what}: {failures[0]}" if len(failures) == 1 else f"{what} ({'; '.join(failures)})"


@contextmanager
def read_errors(path: object, advice: str, *also: type[Exception], raises: type[AamcError] = DataError) -> Iterator[None]:
    """Turn errors of reading or decoding a file, and those of the types ``also``, into one with the path and the advice."""
    types: tuple[type[Exception], ...] = (OSError, UnicodeDecodeError, *also)
    try:
        yield
    except types as error:
        why = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
        raise raises(f"cannot read {path}: {why}; {advice}") from error


@contextmanager
def checkpoint_errors(what: object, advice: str, *also: type[Exception]) -> Iterator[None]:
    """Turn errors of decoding what a checkpoint holds, and those of the types ``also``, into a CheckpointError with the cause and the advice."""
    types: tuple[type[Exception], ...] = (AttributeError, KeyError, RecursionError, TypeError, ValueError, *also)
    try:
        yield
    except types as error:
        raise CheckpointError(f"{what} is damaged ({error!r}); {advice}") from error


@contextmanager
def file_errors(path: object, given: Iterable[object] = ()) -> Iterator[None]:
    """Prefix the messages of errors in a configuration file with its path; without a file it is None.

    A message that already contains the path, or one of ``given``, the values that override the file's, is not changed.
    """
    try:
        yield
    except (ConfigError, PoolError, PreferenceError, UnknownComponentError) as error:
        message = str(error)
        if path is not None and not any(re.search(rf"(?<!\w){re.escape(str(name))}(?!\w)", message) for name in (path, *given) if str(name)):
            error.args = (f"{path}: {message}",)
        raise


@contextmanager
def write_errors(path: object, advice: str) -> Iterator[None]:
    """Turn errors of creating or writing a file or folder into an OutputError with the path and the advice; an OutputError passes unchanged."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; {advice}") from error


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the most similar known name, ignoring case; ``""`` if none is similar.

    Similar names that begin with ``name`` come first.
    """
    # One wrong letter of three leaves a similarity of 0.67, one of four 0.75; unrelated longer words reach 0.67, such as promote and route
    is_short = len(name) <= 3
    names = {each.casefold(): each for each in known if not is_short or len(each) <= len(name) + 1}
    matches = difflib.get_close_matches(name.casefold(), names, cutoff=0.65 if is_short else 0.7)
    matches.sort(key=lambda each: not each.startswith(name.casefold()))
    return f"; did you mean {names[matches[0]]!r}?" if matches else ""


def unknown_name(what: str, name: object, known: Iterable[str], lead: str = "it has") -> str:
    """Return a message on an unknown name, such as ``"a query has no field 'txt'; did you mean 'text'? (it has: needs, text)"``."""
    names = list(known)
    return f"{what} {name!r:.80}{nearest(str(name), names)} ({lead}: {one_of(names)})"


def check_known(names: Iterable[object], known: Collection[str], what: str, raises: type[Exception], lead: str = "it has") -> None:
    """Raise unless all names are known; ``what`` and ``lead`` as for :func:`unknown_name`."""
    for name in names:
        if name not in known:
            raise raises(unknown_name(what, name, known, lead))


def check_type(value: T, kind: type | UnionType, what: str, raises: type[Exception] = TypeError) -> T:
    """Return a value if it has a type, else raise; ``what`` says which one, such as ``"complete must return aamc_sdk.Completion"``."""
    if not isinstance(value, kind):
        raise raises(f"{what}, not {value_text(value)}")
    return value


def first_values(values: object) -> str:
    """Return the ``repr`` of a value; of a sequence, which may have millions of values, only the first three and the number of others."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) <= 3:
        return repr(values)
    return f"[{', '.join(repr(values[place]) for place in range(3))}, ... {len(values) - 3} more]"


def value_text(value: Any) -> str:
    """Return a value for a message: the shape and type of an array, the beginning of the ``repr`` of anything else."""
    if hasattr(value, "dtype") and hasattr(value, "shape") and value.shape:  # not a number of numpy's
        return f"an array of shape {value.shape} and type {value.dtype}"
    return f"{value!r:.80}"


def error_text(error: BaseException) -> str:
    """Return an error's type and message, such as ``ValueError: no such row``; the type alone where it has no message."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def read_only_hint(error: BaseException) -> str:
    """Return advice on numpy's error of writing into a read-only array; ``""`` for any other error."""
    return "; the arrays of a request are read-only: copy one before you change it" if "read-only" in str(error) else ""


def router_error(name: str, error: BaseException) -> PluginError:
    """Return the error of a router that failed, or whose scores cannot be used; the message has the router and the cause."""
    if isinstance(error, PluginError):
        return PluginError(f"router {name!r}: {error}")
    return PluginError(f"router {name!r} failed: {error_text(error)}{read_only_hint(error)}")


@contextmanager
def router_errors(name: str) -> Iterator[None]:
    """Re-raise the errors of one of several routers as :func:`router_error`. An AamcError that is not a PluginError passes unchanged."""
    try:
        yield
    except (Exception, SystemExit) as error:  # a plugin may raise anything
        if isinstance(error, AamcError) and not isinstance(error, PluginError):
            raise
        raise router_error(name, error) from error


@contextmanager
def component_errors(what: str, passes: type[Exception] = AamcError, raises: type[AamcError] = PluginError) -> Iterator[None]:
    """Turn a component's exceptions into an error of the SDK that begins with ``what``, and so names the component.

    Errors of the SDK are not changed. Errors of the class ``passes`` keep their class, and an OSError's message begins with ``what`` too.
    """
    try:
        yield
    except AamcError:
        raise
    except passes as error:
        if isinstance(error, OSError) and error.strerror is not None:
            error.strerror = f"{what}: {error.strerror}"
        elif isinstance(error, OSError):
            error.args = (f"{what}: {error}",)
        raise
    except (Exception, SystemExit) as error:  # a component may raise anything
        raise raises(f"{what}: {error_text(error)}") from error


@contextmanager
def format_errors(name: str) -> Iterator[None]:
    """Add the configuration format's name to errors raised while it reads a file: the user may not know that its plugin reads the file."""
    try:
        with component_errors(f"{name} failed"):
            yield
    except AamcError as error:
        if name not in str(error):
            error.args = (f"{error} (read as {name})",)
        raise


def slash_hint(name: str) -> str:
    """Return advice to write a slash if a component's name is that of a folder, else ``""``."""
    return f"; a folder is given with a slash: ./{name}" if os.sep not in name and os.path.isdir(name) else ""  # noqa: PTH112  # pathlib is not imported for listing


def whole_number_hint(value: object) -> str:
    """Return advice to write a whole number in digits if a value is one in another form, such as ``1e5`` or a text, else ``""``."""
    try:
        number = math.nan if isinstance(value, Integral) else float(value)  # type: ignore[arg-type]  # what is not a number raises
    except (TypeError, ValueError, OverflowError):
        return ""
    return f"; write {number:.0f}" if number.is_integer() and abs(number) < 1e15 else ""


def quantity(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 entry``, ``1,200 entries``; the default plural adds an ``s``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def one_of(names: Iterable[str]) -> str:
    """Return the names in alphabetical order, separated by commas, at most 100 of them; ``"none"`` for no names."""
    known = sorted(names)
    more = f" and {len(known) - _MOST_NAMES:,} more" if len(known) > _MOST_NAMES else ""
    return (", ".join(known[:_MOST_NAMES]) or "none") + more
