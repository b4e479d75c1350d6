"""Findings: the results of checks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar
from unittest import SkipTest

import attrs

from aamc_sdk.errors import read_only_hint

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
    """

    component: str
    check: str
    passed: bool
    message: str = ""
    skipped: bool = False


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
        check(subject)
    except SkipTest as skipped:
        return Finding(component, words, True, str(skipped), skipped=True)
    except AssertionError as error:
        return Finding(component, words, False, str(error))
    except (Exception, SystemExit) as error:  # a component under test may raise anything
        return Finding(component, words, False, f"{type(error).__name__}: {error}{read_only_hint(error)}")
    return Finding(component, words, True)
