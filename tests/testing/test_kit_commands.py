"""A broken command is caught by the check that is meant for it."""

import click
from offering import failed


@click.command()
@click.option("--depth", help="How deep.")
def fair_command(depth):
    """Do something."""


@click.command()
@click.option("--depth")
def silent_command(depth):
    pass


def test_commands_are_checked(offer):
    assert failed(offer("command", fair_command), "command") == set()
    assert failed(offer("command", silent_command), "command") == {"it is a command with help"}
    assert failed(offer("command", "text"), "command") >= {"it is a command with help"}
