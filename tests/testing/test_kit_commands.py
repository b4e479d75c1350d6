"""A broken command is caught by the check that is meant for it."""

import click
from offering import failed

from aamc_sdk.testing.findings import run_checks


@click.command()
@click.option("--depth", help="How deep.")
def fair_command(depth):
    """Do something."""


@click.command()
@click.option("--depth")
def silent_command(depth):
    pass


def test_a_check_that_ends_the_program_is_a_finding():
    def check_it_goes_on(subject):
        raise SystemExit(3)

    def check_the_next(subject):
        pass

    first, second = run_checks("router mine", [check_it_goes_on, check_the_next], None)
    assert (first.passed, first.message, second.passed) == (False, "SystemExit: 3", True)


def test_commands_are_checked(offer):
    assert failed(offer("command", fair_command), "command") == set()
    assert failed(offer("command", silent_command), "command") == {"it is a command with help"}
    assert failed(offer("command", "text"), "command") >= {"it is a command with help"}
