"""Checks of targets without options: model pools, commands, and checks of the installation."""

from __future__ import annotations

import click
import numpy as np
from click.testing import CliRunner

from aamc_sdk.config import configure
from aamc_sdk.errors import AamcError
from aamc_sdk.interfaces import Diagnosis
from aamc_sdk.interfaces.diagnoses import OK
from aamc_sdk.routing import build_request, encode_candidates, pool_from_dict, pool_to_dict
from aamc_sdk.testing.findings import require, require_type
from aamc_sdk.testing.subject import Subject
from aamc_sdk.types import Pool, Preference, Query


def check_it_is_a_pool(subject: Subject) -> None:
    """The target, called without arguments, returns the same pool each time."""
    pool = subject.target()
    require_type(pool, Pool, "the target must return aamc_sdk.Pool")
    require(pool == subject.target(), "two calls return two different pools")


def check_candidates_are_described(subject: Subject) -> None:
    """Every candidate has a description and prices, the features of policies."""
    for candidate in subject.target():
        require(candidate.description, f"candidate {candidate.name!r} has no description")
        require(getattr(candidate, "prices", None) is not None, f"candidate {candidate.name!r} has no prices, so its cost is unknown")


def check_it_can_be_written_and_read(subject: Subject) -> None:
    """The pool is the same after writing and reading a pool file."""
    pool = subject.target()
    require(pool_from_dict(pool_to_dict(pool), subject.name) == pool, "the pool changes when it is written and read")


def check_endpoints_can_be_used(subject: Subject) -> None:
    """Each endpoint names an installed provider, and options that the provider has."""
    for candidate in subject.target():
        endpoint = getattr(candidate, "endpoint", None)
        if endpoint is not None:
            try:
                configure(subject.plugins.load("provider", endpoint.provider).Config, endpoint.options, where=endpoint.provider)
            except AamcError as error:
                raise AssertionError(f"the endpoint of candidate {candidate.name!r} cannot be used: {error}") from error


def check_a_request_is_routable(subject: Subject) -> None:
    """A plain request has finite features and at least one allowed candidate."""
    pool = subject.target()
    request = build_request([Query("Good morning")], pool, Preference().array)
    request.check_mask()
    require(np.isfinite(encode_candidates(pool)).all(), "the candidates' features must be finite")


def check_it_is_a_command_with_help(subject: Subject) -> None:
    """The target is a click command with a help text, and so is each option."""
    require_type(subject.target, click.Command, "the target must be a click.Command")
    require(subject.target.help, "the command has no help: give its function a docstring")
    for parameter in subject.target.params:
        if isinstance(parameter, click.Option):
            require(parameter.help, f"option {parameter.opts[0]} has no help")


def check_help_is_printed(subject: Subject) -> None:
    """``--help`` prints and exits with status 0."""
    result = CliRunner().invoke(subject.target, ["--help"])
    require(result.exit_code == 0, f"--help exits with status {result.exit_code}: {result.exception!r}")


def check_unknown_options_are_wrong_usage(subject: Subject) -> None:
    """An option that does not exist ends with status 2."""
    result = CliRunner().invoke(subject.target, ["--no-such-option"])
    require(result.exit_code == 2, f"an unknown option exits with status {result.exit_code}, not 2")


def check_it_returns_diagnoses(subject: Subject) -> None:
    """The target, called without arguments, returns diagnoses; each that is not ok has advice."""
    found = subject.target()
    require_type(found, list, "the target must return a list")
    for diagnosis in found:
        require_type(diagnosis, Diagnosis, "the list must hold aamc_sdk.interfaces.Diagnosis")
        require(diagnosis.status == OK or diagnosis.advice, f"{diagnosis.subject} is not ok and has no advice")


POOL_CHECKS = (
    check_it_is_a_pool,
    check_candidates_are_described,
    check_it_can_be_written_and_read,
    check_endpoints_can_be_used,
    check_a_request_is_routable,
)
COMMAND_CHECKS = (check_it_is_a_command_with_help, check_help_is_printed, check_unknown_options_are_wrong_usage)
DIAGNOSIS_CHECKS = (check_it_returns_diagnoses,)
