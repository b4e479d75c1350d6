"""``aamc plugins``: list, show and check the installed plugins."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from itertools import groupby
from typing import Any

import click

from aamc_sdk.cli.invocation import leave_threads_behind, plugins_of
from aamc_sdk.cli.options import JSON, Number
from aamc_sdk.cli.output import console, write_document, write_json_line
from aamc_sdk.cli.shell_completion import complete_kind, complete_name, complete_target
from aamc_sdk.errors import UnknownComponentError
from aamc_sdk.messages import check_known, one_of, quantity
from aamc_sdk.plugins import KINDS, Plugin, Plugins

ALL = click.option("--all", "with_unlisted", is_flag=True, help="Also list components for tests, such as the agents of a testbed.")


@click.group(invoke_without_command=True)
@ALL
@JSON
@click.pass_context
def plugins(ctx: click.Context, with_unlisted: bool, as_json: bool) -> None:
    """List, show and check plugins."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, with_unlisted=with_unlisted, as_json=as_json)


@plugins.command("list", short_help="List the components of all plugins.")
@ALL
@JSON
@click.pass_context
def list_(ctx: click.Context, with_unlisted: bool, as_json: bool) -> None:
    """List the components of all plugins, the plugins that handle events, and those that failed."""
    installed = plugins_of(ctx)
    listed = installed.components if with_unlisted else list(installed)
    rows = [_row(each.kind, each.name, each.plugin, each.component.summary, each.error) for each in listed]
    rows += _plugin_rows(installed)
    rows.sort(key=lambda row: (row["kind"], row["name"]))
    _write_rows(rows, as_json)
    if not as_json and (unlisted := len(installed.components) - len(listed)):
        click.echo(f"{quantity(unlisted, 'more component')} for tests or under second names: aamc plugins --all", err=True)


def _row(kind: str, name: str, plugin: Plugin, summary: str = "", error: str | None = None) -> dict[str, Any]:
    return {"kind": kind, "name": name, "distribution": plugin.distribution, "version": plugin.version, "summary": summary, "error": error}


def _plugin_rows(installed: Plugins) -> list[dict[str, Any]]:
    """Return the rows of plugins that handle events, and of those that failed."""
    rows = [_row("plugin", plugin.name, plugin, f"Handles {', '.join(events)}.") for plugin, events in installed.event_handlers.items()]
    return rows + [_row("plugin", failure.plugin.name, failure.plugin, error=failure.error) for failure in installed.failures]


def _write_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Write rows as JSON, or in columns without a table library, whose import would take longer than the listing."""
    if as_json:
        write_document(json.dumps({"schema": 1, "plugins": rows}))  # write_json_line would import more than the whole listing does
        return
    lines = [[row["kind"], row["name"], row["distribution"], f"ERROR {row['error']}" if row["error"] else row["summary"]] for row in rows]
    widths = [max((len(row[column]) for row in lines), default=0) for column in range(3)]
    for row in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip())


@plugins.command()
@click.argument("kind", shell_complete=complete_kind)
@click.argument("name", shell_complete=complete_name)
@JSON
@click.pass_context
def show(ctx: click.Context, kind: str, name: str, as_json: bool) -> None:
    """Show a component's options: types, defaults and meanings.

    The kind "plugin" shows whether a plugin works, and the events that it handles.

    Example: aamc plugins show router ppo
    """
    installed = plugins_of(ctx)
    if kind == "plugin":
        named = {plugin.name: plugin for plugin in installed.installed}
        check_known([name], sorted(named), "no plugin is named", UnknownComponentError, "there are")
        rows = [row for row in _plugin_rows(installed) if row["name"] == name]
        _write_rows(rows or [_row("plugin", name, named[name], "Handles no events; aamc plugins lists its components.")], as_json)
        return
    check_known([kind], [*KINDS, "plugin"], "there is no kind", UnknownComponentError, "kinds")
    registered = installed.find(kind, name)
    from aamc_sdk.config import describe_options

    options = describe_options(installed.load(kind, name))
    if as_json:
        about = {"schema": 1, "kind": kind, "name": name, "distribution": registered.plugin.distribution, "summary": registered.component.summary}
        write_json_line(about | {"options": options})
        return
    click.echo(f"{kind} {name} ({registered.plugin.distribution} {registered.plugin.version}): {registered.component.summary}")
    for option in options:
        presets = "".join(f"; {preset}: {value!r}" for preset, value in option["presets"].items())
        click.echo(f"\n  {option['name']}: {option['type']} = {option['default']!r}{presets}")
        click.echo(f"      {option['meaning']}")
        if option["allowed"]:
            click.echo(f"      {'One of' if option['choices'] else 'Must be'}: {option['allowed']}")


@plugins.command(short_help="Run the conformance kit on a plugin.")
@click.argument("target", nargs=-1, required=True, metavar="DISTRIBUTION | KIND NAME", shell_complete=complete_target)
@click.option("--seconds", type=Number(min=0, min_open=True), default=600.0, show_default=True, help="Time limit of a check; a longer one fails.")
@JSON
@click.pass_context
def check(ctx: click.Context, target: tuple[str, ...], seconds: float, as_json: bool) -> None:
    """Run the conformance kit on each component of DISTRIBUTION, or on the component KIND NAME.

    Examples: aamc plugins check aamc-ppo, aamc plugins check router ppo
    """
    from aamc_sdk.testing import check_component, check_distribution
    from aamc_sdk.testing.findings import HangError

    installed = plugins_of(ctx)
    if len(target) > 2:
        raise click.UsageError(f"give a distribution, or the kind and the name of a component, not {' '.join(target)!r}")
    if len(target) == 1 and target[0] in KINDS:
        raise click.UsageError(f"{target[0]} is a kind; name a component of it too, one of {one_of(installed.names(target[0]))}")
    distribution = installed.find(*target).plugin.distribution if len(target) == 2 else target[0]
    with console(stderr=True).status("checking") as running, redirect_stdout(sys.stderr):  # standard output is the command's own
        if len(target) == 2:
            findings = check_component(*target, installed, seconds=seconds, begin=running.update)
        else:
            findings = check_distribution(distribution, installed, seconds=seconds, begin=running.update)
    failed = [finding for finding in findings if not finding.passed]
    if any(isinstance(finding.error, HangError) for finding in failed):
        leave_threads_behind(ctx)
    if as_json:
        rows = [{"component": f.component, "check": f.check, "passed": f.passed, "skipped": f.skipped, "message": f.message} for f in findings]
        write_json_line({"schema": 1, "distribution": distribution, "findings": rows})
    else:
        for _, group in groupby(findings, lambda finding: (finding.component, finding.message) if finding.skipped else id(finding)):
            finding, *alike = group
            status = "skipped" if finding.skipped else "ok" if finding.passed else "FAIL"
            checks = f"{len(alike) + 1} checks" if alike else finding.check
            click.echo(f"{status:<7}  {finding.component}: {checks}" + (f": {finding.message}" if finding.message else ""))
        if failed:
            click.echo("\nFailed:")
        for finding in failed:
            click.echo(f"  {finding.component}: {finding.check}: {finding.message}")
        skipped = sum(finding.skipped for finding in findings)
        click.echo(f"{len(findings) - len(failed) - skipped} passed, {len(failed)} failed, {skipped} skipped", err=True)
    ctx.exit(1 if failed else 0)
