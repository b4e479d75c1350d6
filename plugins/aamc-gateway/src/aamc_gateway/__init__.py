"""An OpenAI- and Anthropic-compatible gateway for the AAMC SDK."""

from aamc_sdk.lazy_exports import lazy_exports

__all__ = ["GatewaySettings"]

__getattr__, __dir__ = lazy_exports(__name__, __all__, ("server.settings",))
