"""``aamc keys``: make, list, change, revoke, rotate and move the keys of a gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import datetime, timezone
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from aamc_sdk.cli import (
    JSON,
    Duration,
    InputFile,
    Number,
    add_options,
    is_printable,
    new_table,
    plugins_of,
    print_table,
    split_names,
    write_json_line,
)
from aamc_sdk.errors import DataError, StoreError

if TYPE_CHECKING:
    from aamc_gateway.access.keys import Key
    from aamc_gateway.access.shared import SharedState

T = TypeVar("T")

REMOVABLE = ("usd-per-day", "usd-per-month", "usd-total", "requests-per-minute", "tokens-per-minute", "parallel-requests", "expires")


@attrs.frozen
class _KeyLog:
    """The log whose keys a command works on, and whether its result is shown as JSON."""

    ctx: click.Context
    run: Path | None
    url: str | None
    as_json: bool

    def apply(self, work: Callable[[SharedState], Awaitable[T]], *, existing: bool = True) -> T:
        """Return the result of work on the shared state of the log."""
        from aamc_gateway.access.shared import LASTING, is_lasting, open_shared
        from aamc_gateway.server.processes.launch import STORE
        from aamc_sdk.log import open_store
        from aamc_sdk.serving import Run

        url = self.url or (STORE if self.run is None else Run.open(self.run).store_url)
        with closing(open_store(url, plugins_of(self.ctx), existing=existing)) as store:
            if not is_lasting(store):
                raise StoreError(f"keys cannot be kept with {store.name}; give {LASTING}, the URL that the gateway has as gateway.shared_state")

            async def whole() -> T:
                shared = open_shared(store, durable=True)
                try:
                    return await work(shared)
                finally:
                    await shared.close()

            return asyncio.run(whole())

    def show(self, sentence: str, **document: Any) -> None:
        """Show what was done."""
        if self.as_json:
            write_json_line({"schema": 1, **document})
        else:
            click.echo(sentence, err=True)


def _of_a_log(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name the log, and ``--json``; the command gets a :class:`_KeyLog`."""

    @wraps(command)
    def with_log(ctx: click.Context, /, run: Path | None, store: str | None, as_json: bool, **options: Any) -> None:
        command(_KeyLog(ctx, run, store, as_json), **options)

    return add_options(
        click.option("--run", type=click.Path(path_type=Path), help="Folder of the run that the gateway serves."),
        click.option(
            "--store",
            metavar="URL",
            help="URL of the gateway's log, or its gateway.shared_state (default: the run's log, else sqlite:aamc-gateway.db).",
        ),
        JSON,
    )(click.pass_context(with_log))


_limits = add_options(
    click.option("--usd-per-day", type=Number(min=0), metavar="USD", help="Budget per day (UTC)."),
    click.option("--usd-per-month", type=Number(min=0), metavar="USD", help="Budget per calendar month (UTC)."),
    click.option("--usd-total", type=Number(min=0), metavar="USD", help="Total budget."),
    click.option("--requests-per-minute", type=click.IntRange(min=1), metavar="N", help="Requests per minute."),
    click.option("--tokens-per-minute", type=click.IntRange(min=1), metavar="N", help="Tokens of prompts and answers per minute."),
    click.option("--parallel-requests", type=click.IntRange(min=1), metavar="N", help="Requests at the same time."),
)
"""The options of a key's budgets and limits."""


@click.group()
def keys() -> None:
    """Make, list, change, revoke, rotate and move the keys of a gateway. Keys are kept as hashes, with the gateway's log."""


@keys.command()
@click.argument("name")
@click.option("--tenant", metavar="T", help="Tenant that the key belongs to.")
@click.option("--user", metavar="U", help="User that the key belongs to (default: requests may name their users).")
@click.option(
    "--models",
    metavar="A,B",
    help="Candidates and orchestrators (aamc/NAME) that the key may use (default: all); not checked, because the gateway's pool is unknown here.",
)
@_limits
@click.option("--expires", type=Duration(), metavar="DURATION", help="Time after which the key expires, such as 30d (default: never).")
@click.option("--admin", is_flag=True, help="Also allow the dashboard, /metrics, and feedback and votes of an admin.")
@_of_a_log
def add(
    log: _KeyLog,
    /,
    name: str,
    tenant: str | None,
    user: str | None,
    models: str | None,
    expires: float | None,
    admin: bool,
    **limits: Any,
) -> None:
    """Make a key called NAME and show it once. A key without limits gets the gateway's default limits.

    Example: aamc keys add anna --usd-per-day 5 --store sqlite:gateway.db
    """
    from aamc_gateway.access.keys import add_key
    from aamc_gateway.access.settings import Limits

    for what, given in (("the name", name), ("the tenant", tenant), ("the user", user)):
        if given is not None:
            _check_name(given, f"{what} of a key")
    own = None if all(limit is None for limit in limits.values()) else Limits(**limits)
    fields = {
        "name": name,
        "tenant": tenant,
        "user": user,
        "models": () if models is None else tuple(split_names(models, "--models", "cheap,strong")),
        "limits": own,
        "expires": None if expires is None else time.time() + expires,
        "admin": admin,
    }
    _show_secret(log, *log.apply(lambda shared: add_key(shared, **fields), existing=False))


@keys.command("list", short_help="List the keys, with their budgets and spending.")
@_of_a_log
def list_keys(log: _KeyLog) -> None:
    """List the keys, with their budgets and what they spent today, this month and in all. The dashboard shows tenants and users too.

    Example: aamc keys list --store sqlite:gateway.db
    """
    documents = log.apply(_documents)
    if log.as_json:
        write_json_line({"schema": 1, "keys": documents})
        return
    table = new_table(("name", "id", "state", "tenant", "user", "models", "limits", "spent (USD)", "expires (UTC)"))
    for found in documents:
        limits = ", ".join(f"{name} {value:g}" for name, value in (found["limits"] or {}).items() if value is not None)
        spent = ", ".join(f"{period} {value:.2f}" if value >= 1 else f"{period} {value:.3g}" for period, value in found["spent_usd"].items())
        state = f"{found['state']}, admin" if found["admin"] else found["state"]
        who = [found["name"], found["id"], state, found["tenant"], found["user"], ", ".join(found["models"])]
        table.add_row(*(cell or "" for cell in (*who, limits, spent, _date(found["expires"]))))
    print_table(table)


@keys.command("set", short_help="Change or remove limits of a key.")
@click.argument("key", metavar="NAME|ID")
@_limits
@click.option("--expires", type=Duration(), metavar="DURATION", help="Time from now after which the key expires, such as 30d.")
@click.option("--remove", type=click.Choice(REMOVABLE), multiple=True, help="Limit, or expiry, to remove; may be repeated.")
@_of_a_log
def set_limits(log: _KeyLog, /, key: str, expires: float | None, remove: tuple[str, ...], **limits: float | None) -> None:
    """Change or remove limits of a key; its secret, its spending and the limits that are not named stay.

    A key without limits of its own then has only the named ones, no longer the gateway's default limits. A key whose last own limit is removed has
    the default ones again. A running gateway follows within 2 seconds.

    Example: aamc keys set anna --usd-per-day 10 --store sqlite:gateway.db
    """
    from aamc_gateway.access.keys import change_key
    from aamc_sdk.config import unstructure

    until = None if expires is None else time.time() + expires
    given = {name: value for name, value in {**limits, "expires": until}.items() if value is not None}
    removed = [name.replace("-", "_") for name in remove]
    if not (given or removed):
        raise click.UsageError("Name at least one limit, such as --usd-per-day 10, or --expires, or --remove usd-per-day.")
    if both := [name for name, field in zip(remove, removed, strict=True) if field in given]:
        raise click.UsageError(f"--{both[0]} and --remove {both[0]} contradict each other; leave one of them out.")
    found = log.apply(lambda shared: change_key(shared, key, {**given, **dict.fromkeys(removed)}))
    kept = None if found.limits is None else unstructure(found.limits)
    log.show(f"Changed the key {found.name} ({found.id}).", id=found.id, name=found.name, limits=kept, expires=found.expires)


@keys.command()
@click.argument("key", metavar="NAME|ID")
@_of_a_log
def revoke(log: _KeyLog, /, key: str) -> None:
    """Revoke a key permanently. A running gateway refuses it within 2 seconds.

    Example: aamc keys revoke anna --store sqlite:gateway.db
    """
    from aamc_gateway.access.keys import revoke_key

    found = log.apply(lambda shared: revoke_key(shared, key))
    log.show(f"Revoked the key {found.name} ({found.id}).", id=found.id, name=found.name, state="revoked")


@keys.command()
@click.argument("key", metavar="NAME|ID")
@click.option(
    "--grace", type=Duration(), default=0.0, metavar="DURATION", help="Time for which the old secret stays valid, such as 24h (default: none)."
)
@_of_a_log
def rotate(log: _KeyLog, /, key: str, grace: float) -> None:
    """Replace the secret of a key and show it once. Its limits and spending stay.

    Example: aamc keys rotate anna --grace 24h --store sqlite:gateway.db
    """
    from aamc_gateway.access.keys import rotate_key

    _show_secret(log, *log.apply(lambda shared: rotate_key(shared, key, grace)))


@keys.command("export", short_help="Write all keys to FILE, without secrets.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_of_a_log
def export(log: _KeyLog, /, file: Path) -> None:
    """Write all keys to FILE, with their hashes (no secrets) and the spending of the keys, their tenants and their users.

    Stop the gateway first, so that no spending is missing.

    Example: aamc keys export keys.json --store sqlite:gateway.db
    """
    from aamc_gateway.access.key_transfer import export_keys
    from aamc_sdk.storage import write_json

    document = log.apply(export_keys)
    write_json(file, document)
    count = len(document["keys"])
    log.show(f"{count} keys written to {file}.", keys=count)


@keys.command("import", short_help="Add the keys of FILE.")
@click.argument("file", type=InputFile())
@_of_a_log
def import_(log: _KeyLog, /, file: Path) -> None:
    """Add the keys of FILE, made by aamc keys export: clients keep their secrets, and budgets what was spent. Known keys stay as they are.

    Example: aamc keys import keys.json --store postgres://me@db/routing
    """
    from aamc_gateway.access.key_transfer import import_keys, read_export
    from aamc_sdk.storage import read_json_object

    exported = read_export(read_json_object(file, "give a file of aamc keys export"), str(file))
    count, new = log.apply(lambda shared: import_keys(shared, exported, str(file)), existing=False)
    log.show(f"{count} keys read, {new} of them new.", keys=count, new=new)


def _check_name(name: str, what: str) -> None:
    """Check that a name can be shown in a line of a table or a log, and that a request could have it."""
    from aamc_gateway.requests.routing_arguments import length_error
    from aamc_sdk.types import check_name, visible_text

    check_name(name, what)
    if wrong := length_error(name):
        raise DataError(f"{what} {wrong}")
    if not (is_printable(name) and visible_text(name)):
        raise DataError(f"{what} must be of printable characters, not {name!r:.80}")


def _show_secret(log: _KeyLog, key: Key, secret: str) -> None:
    if not log.as_json:
        click.echo(secret)
    sentence = f"The key {key.name} ({key.id}) is shown this once; only its hash is kept."
    log.show(sentence, id=key.id, name=key.name, key=secret, admin=key.admin, expires=key.expires)


async def _documents(shared: SharedState) -> list[dict[str, Any]]:
    """Return the documents of all keys, without secrets."""
    from aamc_gateway.access.keys import read_keys
    from aamc_gateway.access.limit_claims import Holder, budgets_of, counters_of
    from aamc_gateway.access.settings import NO_LIMITS
    from aamc_sdk.config import unstructure

    found, now, keys = [], time.time(), await read_keys(shared)
    holders = [Holder("key", key.id, key.name, key.limits or NO_LIMITS) for key in keys]  # the gateway's default limits are unknown here
    used = iter(await shared.read([name for holder in holders for name in counters_of(holder, now)], held=False))
    for key, holder in zip(keys, holders, strict=True):
        spent = {period: usd for period, budget in budgets_of(holder.limits) if (usd := next(used)) or budget is not None}
        shown = {name: getattr(key, name) for name in ("id", "name", "created", "tenant", "user", "admin", "expires", "revoked")}
        limits = None if key.limits is None else unstructure(key.limits)
        found.append({**shown, "models": list(key.models), "limits": limits, "state": key.state(now), "spent_usd": spent})
    return found


def _date(when: float | None) -> str:
    return "" if when is None else datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%d %H:%M")
