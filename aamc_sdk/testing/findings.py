"""Findings: the results of checks."""

from __future__ import annotations

import sys
import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from functools import wraps
from pathlib import Path
from queue import SimpleQueue
from traceback import extract_tb, walk_stack, walk_tb
from types import FrameType, UnionType
from typing import Any, NoReturn, TypeVar
from unittest import SkipTest

import attrs
import numpy as np

from aamc_sdk.concurrency import settle
from aamc_sdk.errors import AamcError, PluginError
from aamc_sdk.interfaces import BaseComponent
from aamc_sdk.messages import error_text, read_only_hint

T = TypeVar("T")


CHECK_S = 600.0
"""Time limit of a check, its training included: ``ppo`` needs three minutes on a machine with much other work."""


class HangError(Exception):
    """Raised when a check does not end in time, with the frame that its thread was in."""

    def __init__(self, message: str, frame: FrameType | None) -> None:
        super().__init__(message)
        self.frame = frame


class SignatureError(AssertionError):
    """Raised when a method cannot be called as its interface declares, which nearly every further check would repeat."""


@attrs.frozen
class Finding:
    """The result of one check of one component.

    Attributes:
        component: Kind and name, such as ``"router ppo"``.
        check: The check in words.
        passed: Whether the component passed; also true of a check that does not apply.
        message: Why the component failed, or why the check does not apply; ``""`` if it passed.
        skipped: Whether the check does not apply to the component.
        error: The exception that failed the check, for its traceback; None if it passed.
    """

    component: str
    check: str
    passed: bool
    message: str = ""
    skipped: bool = False
    error: BaseException | None = attrs.field(default=None, eq=False, repr=False)


def require(condition: object, message: str) -> None:
    """Raise AssertionError with the message unless the condition holds; unlike ``assert``, this also works under ``python -O``."""
    if not condition:
        raise AssertionError(message)


def require_type(value: object, kind: type | UnionType, what: str) -> None:
    """Raise AssertionError unless a value has a type; ``what`` says which one, such as ``"read must return aamc_sdk.Dataset"``."""
    require(isinstance(value, kind), f"{what}, not {type(value).__name__}")


def must_raise(expected: type[Exception], action: Callable[[], object], what: str) -> Exception:
    """Return the error that an action raises; raise AssertionError if it raises another one, or none."""
    try:
        action()
    except expected as error:
        return error
    except Exception as error:
        raise AssertionError(f"{what} must raise {expected.__name__}, not {error_text(error)}") from error
    raise AssertionError(f"{what} must raise {expected.__name__}, but raised nothing")


@contextmanager
def may_refuse(skipped: str = "") -> Iterator[None]:
    """Accept an AamcError with a message in place of a result, where a component may say that it cannot work; with ``skipped``, skip the check."""
    try:
        yield
    except AamcError as error:
        require(str(error), "the error has no message")
        if skipped:
            skip(f"{skipped}: {error}")


def skip(reason: str) -> NoReturn:
    """End a check that does not apply to the component; pytest counts it as skipped too."""
    raise SkipTest(reason)


def after(precondition: Callable[[T], None], check: Callable[[T], None]) -> Callable[[T], None]:
    """Return a check that is preceded by another function, which skips it where it does not apply."""

    @wraps(check)
    def checked(subject: T) -> None:
        precondition(subject)
        check(subject)

    return checked


def require_array(name: str, array: object, shape: tuple[int, ...] | None = None) -> None:
    """Raise AssertionError unless a value is an array of real numbers, of that shape if there is one."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        found = f"an array of type {array.dtype}" if isinstance(array, np.ndarray) else f"{array!r:.80}"
        raise AssertionError(f"{name} must be an array of real numbers, not {found}")
    require(shape is None or array.shape == shape, f"{name} must be {shape}, not {array.shape}")


def checks_in(module: str) -> tuple[Callable[[Any], None], ...]:
    """Return the functions of a module whose names begin with ``check_``, in the order of their definition."""
    return tuple(found for name, found in vars(sys.modules[module]).items() if name.startswith("check_") and found.__module__ == module)


def run_checks(
    component: str,
    checks: Sequence[Callable[[T], None]],
    subject: T,
    seconds: float = CHECK_S,
    begin: Callable[[str], object] | None = None,
) -> list[Finding]:
    """Run each check separately, so that one failure does not stop the others.

    A check that fails with the TypeError of an earlier one counts as skipped: a wrong signature, such as that of ``__init__``, would fail nearly
    every check. After a check that hangs, and after a SignatureError, all further checks are skipped.
    """
    findings: list[Finding] = []
    first: dict[str, str] = {}
    with closing(_CheckThread()) as thread:
        for check in checks:
            if findings and isinstance(findings[-1].error, HangError | SignatureError):
                reason = f"{findings[-1].check!r} {'hangs' if isinstance(findings[-1].error, HangError) else 'fails'}"
                return findings + [Finding(component, _words(left), True, reason, skipped=True) for left in checks[len(findings) :]]
            if begin is not None:
                begin(f"{component}: {_words(check)}")
            found = _run(component, check, subject, thread, seconds)
            if _is_type_error(found.error) and (earlier := first.setdefault(found.message, found.check)) != found.check:
                found = Finding(component, found.check, True, f"it fails as {earlier!r} does", skipped=True)
            findings.append(found)
    return findings


def _is_type_error(error: BaseException | None) -> bool:
    """Return whether a component raised a TypeError, by itself or while the SDK made it."""
    return isinstance(error.__cause__ if isinstance(error, PluginError) else error, TypeError)


class _CheckThread:
    """A daemon thread that runs jobs one after the other, as components may belong to a thread; it is left behind if a job hangs."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], None], Future[None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="aamc-check", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self._thread._daemonic = False  # type: ignore[attr-defined]  # threads inherit it, and those of a component count as if made in the main one
        while (given := self._jobs.get()) is not None:
            job, done = given
            settle(done, job)

    def run(self, job: Callable[[], None], seconds: float) -> None:
        """Run a job, and raise what it raises."""
        done: Future[None] = Future()
        self._jobs.put((job, done))
        if not wait([done], min(seconds, threading.TIMEOUT_MAX)).done:
            raise HangError(f"it does not end within {seconds:g} s", sys._current_frames().get(self._thread.ident or 0))
        done.result()

    def close(self) -> None:
        """End the thread after its jobs."""
        self._jobs.put(None)


def _words(check: Callable[..., None]) -> str:
    return check.__name__.removeprefix("check_").replace("_", " ")


def _run(component: str, check: Callable[[T], None], subject: T, thread: _CheckThread, seconds: float) -> Finding:
    words = _words(check)
    try:
        thread.run(lambda: check(subject), seconds)
    except SkipTest as skipped:
        return Finding(component, words, True, str(skipped), skipped=True)
    except HangError as error:
        return Finding(component, words, False, f"{error}{_place(error, subject)}; raise the limit if it is only slow", error=error)
    except AssertionError as error:
        return Finding(component, words, False, f"{error if str(error) else _assertion(error)}{_place(error, subject)}", error=error)
    except (Exception, SystemExit, CancelledError) as error:  # a component under test may raise anything
        message = f"{error_text(error)}{read_only_hint(error)}{_init_hint(error)}{_place(error, subject)}"
        return Finding(component, words, False, message, error=error)
    return Finding(component, words, True)


def _place(error: BaseException, subject: object) -> str:
    """Return the deepest line of the component's own package that an error or its cause came through, such as `` (router.py:12)``."""
    package = getattr(subject, "package", None)
    raised: BaseException | None = error
    while package and raised is not None:
        lines = reversed(list(walk_stack(raised.frame))) if isinstance(raised, HangError) else walk_tb(raised.__traceback__)
        modules = [(frame.f_globals.get("__name__", ""), f"{Path(frame.f_code.co_filename).name}:{line}") for frame, line in lines]
        own = [place for name, place in modules if name.partition(".")[0] == package and not name.startswith("aamc_sdk.testing.")]
        if own:
            return f" ({own[-1]})"
        raised = raised.__cause__
    return ""


def _assertion(error: AssertionError) -> str:
    """Return an assertion without a message as its line of source: ``AssertionError: assert x > 0``."""
    line = extract_tb(error.__traceback__)[-1].line
    return f"AssertionError: {line}" if line else "AssertionError"


def _init_hint(error: BaseException) -> str:
    missing = isinstance(error, AttributeError) and error.name in ("config", "services") and isinstance(error.obj, BaseComponent)
    return "; call super().__init__(config, services) in __init__" if missing else ""
