"""``aamc serve``."""

from __future__ import annotations

from typing import Any

import click

from aamc_sdk.cli import InputFile


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on (default: 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 for a free one (default: 8000).")
@click.option("--run", metavar="RUN", help="Folder of the run whose router is served.")
@click.option("--router", metavar="NAME|FOLDER", help="Router to serve, or the folder of a trained one (default: thompson).")
@click.option(
    "--config",
    type=InputFile(),
    metavar="FILE",
    help="Configuration file with a section gateway (with --run or --router no other), or a file of another system, such as vLLM Semantic Router.",
)
@click.option("--pool", metavar="NAME|FILE", help="Pool with the endpoints of the candidates (default: that of the run or the configuration).")
@click.option("--estimator", metavar="NAME|FOLDER", help="Estimator, or the folder of a trained one (default: that of the run or the configuration).")
@click.option(
    "--store",
    metavar="URL",
    help="URL of the log (default: the run's own, else sqlite:aamc-gateway.db; in memory without a run and a pool).",
)
@click.option("--workers", type=click.IntRange(1, 256), help="Number of worker processes (default: 1).")
@click.option("--check", is_flag=True, help="Check everything without starting.")
def serve(check: bool, **options: Any) -> None:
    """Serve OpenAI's and Anthropic's APIs, and choose the model of each request.

    Without a run and a pool it answers with the provider echo.

    Example: aamc serve --pool pool.yaml
    """
    from aamc_gateway.server.processes.launch import Launch
    from aamc_gateway.server.processes.supervisor import check_launch, run

    launch = Launch(**options)
    if launch.config_names_components and (launch.run is not None or launch.router is not None):
        given = "--run" if launch.run is not None else "--router"
        raise click.UsageError(f"{given} and --config go together only where the file has no section other than gateway; {launch.config} has more")
    if check:
        click.echo(check_launch(launch))
    else:
        run(launch)
