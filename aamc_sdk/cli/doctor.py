"""``aamc doctor``: checks the installation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from aamc_sdk.cli.invocation import plugins_of
from aamc_sdk.cli.options import JSON, RUN

if TYPE_CHECKING:
    from aamc_sdk.interfaces import Diagnosis
    from aamc_sdk.plugins import Plugins

SUBJECT_WIDTH = 32
"""Maximum width of the column of subjects; longer ones, such as URLs, are folded."""


@click.command()
@RUN
@click.option("--store", "stores", metavar="URL", multiple=True, help="URL of a log to reach; repeatable.")
@JSON
@click.pass_context
def doctor(ctx: click.Context, run: Path, stores: tuple[str, ...], as_json: bool) -> None:
    """Check the installation: versions, plugins, torch and devices, encoders, logs and the sandbox, each problem with its fix.

    The exit status is 1 if something needed is broken.

    Example: aamc doctor --store postgres://db/aamc
    """
    from aamc_sdk.interfaces.diagnoses import BROKEN

    is_needed = ctx.get_parameter_source("run") is not ParameterSource.DEFAULT
    found = list(_diagnoses(plugins_of(ctx), run, is_needed, stores))
    broken = [diagnosis for diagnosis in found if diagnosis.status == BROKEN]
    if as_json:
        import attrs

        from aamc_sdk.cli.output import write_json_line

        write_json_line({"schema": 1, "ok": not broken, "checks": [attrs.asdict(diagnosis) for diagnosis in found]})
    else:
        _show(found)
    ctx.exit(1 if broken else 0)


def _diagnoses(plugins: Plugins, run: Path, is_needed: bool, stores: tuple[str, ...]) -> Iterator[Diagnosis]:
    from aamc_sdk.cli.checks import check_plugins, check_run, check_store, check_versions

    yield from check_versions(plugins)
    yield from check_plugins(plugins)
    for name in plugins.names("check"):
        yield from _checked(name, plugins)
    yield from check_run(run, plugins, is_needed=is_needed)
    for url in stores:
        yield check_store(url, plugins)


def _checked(name: str, plugins: Plugins) -> Iterator[Diagnosis]:
    """Yield a plugin's diagnoses; a check that fails is one itself."""
    from aamc_sdk.errors import PluginError
    from aamc_sdk.interfaces import Diagnosis
    from aamc_sdk.interfaces.diagnoses import BROKEN

    try:
        for found in plugins.load("check", name)():
            if not isinstance(found, Diagnosis):
                raise TypeError(f"it must return aamc_sdk.interfaces.Diagnosis objects, not {found!r}")  # noqa: TRY301  # reported as if it raised
            yield found
    except PluginError:
        return  # check_plugins reports it
    except Exception as error:  # a plugin's check may raise anything
        advice = f"report it to the authors of {plugins.find('check', name).plugin.distribution}"
        yield Diagnosis(f"check {name}", " ".join(f"failed: {type(error).__name__}: {error}".split()), BROKEN, advice)


def _show(found: list[Diagnosis]) -> None:
    from rich.table import Table

    from aamc_sdk.cli.output import print_table
    from aamc_sdk.errors import quantity

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(max_width=SUBJECT_WIDTH)
    table.add_column()
    for diagnosis in found:
        table.add_row(diagnosis.status, diagnosis.subject, diagnosis.state + (f"\nto do: {diagnosis.advice}" if diagnosis.advice else ""))
    print_table(table)
    counts = {status: sum(diagnosis.status == status for diagnosis in found) for status in ("broken", "warning")}
    click.echo(f"{counts['broken']} broken, {quantity(counts['warning'], 'warning')}", err=True)
