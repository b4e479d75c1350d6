"""``aamc models check``: calls each model of a pool once."""

from __future__ import annotations

import asyncio
import math
import textwrap
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from aamc_sdk.cli import JSON, RUN, Number, new_table, plugins_of, print_table, printable, write_json_line
from aamc_sdk.errors import AamcError, PluginError, ProviderError, UnknownComponentError
from aamc_sdk.messages import check_type, split_advice

if TYPE_CHECKING:
    from aamc_sdk.interfaces import Chunk
    from aamc_sdk.plugins import Plugins
    from aamc_sdk.serving import Call, ModelClient
    from aamc_sdk.types import Candidate, Pool

PROMPT = "Reply with the single word: ready"
_SHOWN = 300
"""Maximum characters of an error in the table."""


@attrs.frozen(kw_only=True)
class Checked:
    """The result of one call.

    Attributes:
        candidate: The candidate's name.
        deployment: The number of the called deployment, from 1; None if the endpoint has only one.
        provider: Its endpoint's provider; ``""`` without an endpoint.
        model: The model's name on the server.
        ok: Whether it answered.
        text: The answer.
        error: Why it did not; None if it did.
        kind: The error's kind, see :class:`aamc_sdk.errors.ProviderError`; ``""`` without one.
        latency_ms: Time until the whole answer.
        first_token_ms: Time until the first piece of it; NaN without.
        prompt_tokens: Tokens of the prompt; None if unknown.
        output_tokens: Tokens of the answer; None if unknown.
        cost_usd: The cost in USD; NaN if unknown.
        advice: What to fix; ``""`` if nothing.
    """

    candidate: str
    deployment: int | None = None
    provider: str = ""
    model: str = ""
    ok: bool = False
    text: str = ""
    error: str | None = None
    kind: str = ""
    latency_ms: float = math.nan
    first_token_ms: float = math.nan
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float = math.nan
    advice: str = ""


@click.command("check")
@click.option("--pool", metavar="NAME|FILE", help="Models to call (default: those of the run).")
@RUN
@click.option("--timeout", "seconds", type=Number(min=0.001), default=60.0, show_default=True, help="Seconds to wait for each answer.")
@JSON
@click.pass_context
def check(ctx: click.Context, pool: str | None, run: Path, seconds: float, as_json: bool) -> None:
    """Call each deployment of each model once with a short prompt, in parallel; show errors with advice, latency, tokens and cost.

    The exit status is 1 if one does not answer.

    Example: aamc models check --pool examples/pools/openai.yaml
    """
    from aamc_sdk.routing import find_pool
    from aamc_sdk.serving import Run

    plugins = plugins_of(ctx)
    found = asyncio.run(check_pool(Run.open(run).pool if pool is None else find_pool(pool, plugins), plugins, seconds))
    failed = [row for row in found if not row.ok]
    if as_json:
        write_json_line({"schema": 1, "ok": not failed, "models": [attrs.asdict(row) for row in found]})
    else:
        _show(found)
        click.echo(f"{len(found) - len(failed)} of {len(found)} answered", err=True)
    ctx.exit(1 if failed else 0)


async def check_pool(pool: Pool, plugins: Plugins, seconds: float) -> list[Checked]:
    """Call each candidate of a pool once, in parallel; one with several deployments once at each of them."""
    from aamc_sdk.serving import ModelClient, make_services

    models = make_services(pool, plugins).models
    assert isinstance(models, ModelClient)
    try:
        return await asyncio.gather(*(_check(models, each, seconds, number) for candidate in pool for number, each in _deployments(candidate)))
    finally:
        await models.close()


def _deployments(candidate: Candidate) -> list[tuple[int | None, Candidate]]:
    """Return the candidate with each of its deployments alone, and the deployment's number; itself and None if it has only one."""
    from aamc_sdk.types import ModelSpec

    if not isinstance(candidate, ModelSpec) or candidate.endpoint is None:
        return [(None, candidate)]
    endpoint = candidate.endpoint
    deployments = endpoint.options.get("deployments", [])
    if not isinstance(deployments, list | tuple) or len(deployments) < 2:
        return [(None, candidate)]
    alone = [attrs.evolve(endpoint, options={**endpoint.options, "deployments": [each]}) for each in deployments]
    return [(n, attrs.evolve(candidate, endpoint=each)) for n, each in enumerate(alone, 1)]


async def _check(models: ModelClient, candidate: Candidate, seconds: float, deployment: int | None) -> Checked:
    if candidate.endpoint is None:
        advice = "add an endpoint to the pool file, such as {provider: openai, ...}"
        return Checked(candidate=candidate.name, error="it has no endpoint", advice=advice)
    endpoint = candidate.endpoint
    own = endpoint.options["deployments"][0] if deployment is not None else {}
    model = own.get("model") if isinstance(own, Mapping) else None
    model = str(model or endpoint.options.get("model") or candidate.name)
    checked = Checked(candidate=candidate.name, deployment=deployment, provider=endpoint.provider, model=model)
    pieces: list[Chunk] = []
    call = models.call(candidate)
    unset: Sequence[str] = ()
    try:
        provider = models.provider(candidate)
        unset = models.unset_keys(candidate)
        async with call:
            stream = provider.stream(candidate, [{"role": "user", "content": PROMPT}], **candidate.parameters)
            try:
                await asyncio.wait_for(_collect(stream, call, pieces), seconds)
            except asyncio.TimeoutError:
                advice = "check that the server is not overloaded, or give it longer with --timeout"
                raise ProviderError(f"no whole answer in {seconds:g} s; {advice}", kind="timeout") from None
    except AamcError as error:
        is_of_pool = not isinstance(error, ProviderError | PluginError) or isinstance(error, UnknownComponentError)
        message, advice = (str(error), "correct the pool file") if is_of_pool else split_advice(str(error))
        kind = getattr(error, "kind", "configuration")
        keys = [f"set ${name} to your API key" for name in unset if f"${name}" not in advice]
        return attrs.evolve(checked, error=message, kind=kind, latency_ms=call.latency_ms, advice="; ".join(filter(None, [advice, *keys])))
    text = "".join(piece.content for piece in pieces)
    return attrs.evolve(
        checked,
        ok=True,
        text=text,
        latency_ms=call.latency_ms,
        first_token_ms=call.first_token_ms,
        prompt_tokens=call.usage.prompt_tokens,
        output_tokens=call.usage.output_tokens,
        cost_usd=call.cost_usd,
        advice="; ".join(filter(None, (_advice_on_keys(unset), "" if text.strip() else "its answer has no text", _advice_on_cost(candidate, call)))),
    )


async def _collect(stream: AsyncIterator[Chunk], call: Call, pieces: list[Chunk]) -> None:
    from aamc_sdk.interfaces import Chunk

    async for piece in stream:
        pieces.append(check_type(piece, Chunk, "stream must yield aamc_sdk.interfaces.Chunk objects"))
        call.note(pieces[-1])


def _advice_on_keys(unset: Sequence[str]) -> str:
    names = " and ".join(f"${name}" for name in unset)
    return f'{names} is not set, and the server answered without a key: set it, or write api_key_env: ""' if unset else ""


def _advice_on_cost(candidate: Candidate, call: Call) -> str:
    if not math.isnan(call.cost_usd):
        return ""
    if candidate.prices is None:
        return "its cost is unknown: add prices, as aamc models prices does"
    return "its cost is unknown: the server reports no tokens"


def _show(found: Sequence[Checked]) -> None:
    table = new_table(("candidate", ""), ("latency (ms)", "first (ms)", "tokens", "cost (USD)"))
    table.columns[1].no_wrap = True
    to_fix = []
    for row in found:
        tokens = "-" if row.output_tokens is None else f"{row.prompt_tokens or 0}+{row.output_tokens}"
        mend = "; ".join(filter(None, (textwrap.shorten(row.error or "", _SHOWN, placeholder=" ..."), row.advice)))
        figures = (_number(row.latency_ms, "{:,.0f}"), _number(row.first_token_ms, "{:,.0f}"), tokens, _number(row.cost_usd, "{:.2g}"))
        name = row.candidate if row.deployment is None else f"{row.candidate}, deployment {row.deployment}"
        table.add_row(name, "ok" if row.ok else "ERROR", *figures, style=None if row.ok else "bold")
        to_fix += [f"{name}: {mend}"] if mend else []
    print_table(table)
    for line in to_fix:
        click.echo(printable(line))


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else form.format(value)
