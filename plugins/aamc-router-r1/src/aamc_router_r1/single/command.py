"""``aamc serve-router``: a policy as a server of single decisions."""

from __future__ import annotations

from pathlib import Path

import click

from aamc_sdk.cli import Folder, listening_socket, plugins_of


@click.command("serve-router")
@click.option("--run", type=Folder(path_type=Path), help="Folder of a trained router-r1 (default: the policy of --set orchestrator.policy).")
@click.option("--pool", metavar="NAME|FILE", help="Candidates of requests that name none, and the policy (default: as trained).")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set one option, such as orchestrator.policy=NAME; repeatable.")
@click.option("--host", default="127.0.0.1", help="Address to listen on (default: 127.0.0.1).")
@click.option("--port", default=8100, type=click.IntRange(0, 65535), help="Port to listen on; 0 for a free one (default: 8100).")
@click.pass_context
def serve_router(ctx: click.Context, /, run: Path | None, pool: str | None, assignments: tuple[str, ...], host: str, port: int) -> None:
    """Serve a policy to semantic routers: POST /route with a query and candidates names the model to call.

    Example: aamc serve-router --pool pool.yaml --set orchestrator.policy=small
    """
    import uvicorn

    from aamc_router_r1.orchestrator import RouterR1
    from aamc_router_r1.single.server import DecisionServer
    from aamc_sdk.serving import ModelClient, TeamOptions, WorkOptions, find_orchestrator

    listening_socket(host, port).close()  # a port in use ends this before the policy is loaded
    options = WorkOptions.of((), assignments, "aamc serve-router").orchestrator
    router_r1, _ = find_orchestrator("router-r1", run, TeamOptions(), plugins_of(ctx), pool, options)
    assert isinstance(router_r1, RouterR1)
    policy, client = router_r1.setup.policy, router_r1.client
    if isinstance(client, ModelClient):
        client.provider(policy)  # a wrong option of its endpoint ends this before a request does
    server = DecisionServer(router_r1.config, policy, router_r1.services.pool, client, router_r1.quality)
    uvicorn.run(server.app(), host=host, port=port, log_level="info")
