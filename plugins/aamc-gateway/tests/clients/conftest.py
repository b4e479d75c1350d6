"""Fixtures of these tests."""

from clients.fixtures import anthropic_sdk, call, node, openai_sdk, sdk, sdk_api, shared_gateway, shared_stub, streamed, target

__all__ = ["anthropic_sdk", "call", "node", "openai_sdk", "sdk", "sdk_api", "shared_gateway", "shared_stub", "streamed", "target"]
