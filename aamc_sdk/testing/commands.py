"""Checks of commands."""

from __future__ import annotations

import click
from click.testing import CliRunner

from aamc_sdk.testing.findings import checks_in, require
from aamc_sdk.testing.subject import Subject


def check_it_is_a_command_with_help(subject: Subject) -> None:
    """The target is a click command with a help text, and so is each option."""
    require(isinstance(subject.target, click.Command), f"the target must be a click.Command, not {type(subject.target).__name__}")
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


CHECKS = checks_in(__name__)
