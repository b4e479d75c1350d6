"""Checks of the installation's checks."""

from __future__ import annotations

from aamc_sdk.interfaces import Diagnosis
from aamc_sdk.interfaces.diagnoses import OK, STATUSES
from aamc_sdk.testing.findings import checks_in, require
from aamc_sdk.testing.subject import Subject


def check_it_returns_diagnoses(subject: Subject) -> None:
    """The target, called without arguments, returns diagnoses; each that is not ok has advice."""
    found = subject.target()
    require(isinstance(found, list), f"the target must return a list, not {type(found).__name__}")
    for diagnosis in found:
        require(isinstance(diagnosis, Diagnosis), f"the list must hold aamc_sdk.interfaces.Diagnosis, not {type(diagnosis).__name__}")
        require(diagnosis.status in STATUSES, f"the status must be one of {', '.join(STATUSES)}, not {diagnosis.status!r}")
        require(diagnosis.status == OK or diagnosis.advice, f"{diagnosis.subject} is not ok and has no advice")


CHECKS = checks_in(__name__)
