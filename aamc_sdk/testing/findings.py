"""Findings: the results of checks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from traceback import walk_tb
from typing import Any, NoReturn, TypeVar
from unittest import SkipTest

import attrs

from aamc_sdk.errors import read_only_hint
from aamc_sdk.interfaces import BaseComponent

T = TypeVar("T")


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


def skip(reason: str) -> NoReturn:
    """End a check that does not apply to the component; pytest counts it as skipped too."""
    raise SkipTest(reason)


def checks_in(module: str) -> tuple[Callable[[Any], None], ...]:
    """Return the functions of a module whose names begin with ``check_``, in the order of their definition."""
    return tuple(found for name, found in vars(sys.modules[module]).items() if name.startswith("check_") and found.__module__ == module)


def run_checks(component: str, checks: Sequence[Callable[[T], None]], subject: T) -> list[Finding]:
    """Run each check separately, so that one failure does not stop the others; a TypeError that an earlier check met counts as skipped.

    Such an error is of a signature, such as that of ``__init__``, which nearly every check would repeat.
    """
    findings: list[Finding] = []
    first: dict[str, str] = {}
    for check in checks:
        found = _run(component, check, subject)
        if found.message.startswith("TypeError: ") and (earlier := first.setdefault(found.message, found.check)) != found.check:
            found = Finding(component, found.check, True, f"it fails as {earlier!r} does", skipped=True)
        findings.append(found)
    return findings


def _run(component: str, check: Callable[[T], None], subject: T) -> Finding:
    words = check.__name__.removeprefix("check_").replace("_", " ")
    try:
        with redirect_stdout(sys.stderr):  # standard output is the command's own
            check(subject)
    except SkipTest as skipped:
        return Finding(component, words, True, str(skipped), skipped=True)
    except AssertionError as error:
        return Finding(component, words, False, f"{error}{_place(error, subject)}", error=error)
    except (Exception, SystemExit) as error:  # a component under test may raise anything
        message = f"{type(error).__name__}: {error}{read_only_hint(error)}{_init_hint(error)}{_place(error, subject)}"
        return Finding(component, words, False, message, error=error)
    return Finding(component, words, True)


def _place(error: BaseException, subject: object) -> str:
    """Return the deepest line of the component's own package that an error or its cause came through, such as `` (router.py:12)``."""
    package = getattr(subject, "package", None)
    raised: BaseException | None = error
    while package and raised is not None:
        own = [(frame, line) for frame, line in walk_tb(raised.__traceback__) if _is_of(package, frame.f_globals.get("__name__", ""))]
        if own:
            frame, line = own[-1]
            return f" ({Path(frame.f_code.co_filename).name}:{line})"
        raised = raised.__cause__
    return ""


def _is_of(package: str, module: str) -> bool:
    return module.partition(".")[0] == package and not module.startswith("aamc_sdk.testing.")


def _init_hint(error: BaseException) -> str:
    missing = isinstance(error, AttributeError) and error.name in ("config", "services") and isinstance(error.obj, BaseComponent)
    return "; call super().__init__(config, services) in __init__" if missing else ""
