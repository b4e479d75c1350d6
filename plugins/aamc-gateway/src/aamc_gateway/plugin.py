"""The components of aamc-gateway."""

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_commands() -> list[Component]:
    """Offer the commands of the gateway."""
    return [
        Component(
            "serve", "aamc_gateway.server.processes.command:serve", "Serve OpenAI's and Anthropic's APIs, and choose the model of each request."
        ),
        Component("keys", "aamc_gateway.access.commands:keys", "Make, list, change, revoke, rotate and move the keys of a gateway."),
    ]
