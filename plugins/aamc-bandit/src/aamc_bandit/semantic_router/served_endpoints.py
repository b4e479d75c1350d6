"""The endpoints of a vLLM Semantic Router configuration: the servers that its models are called at."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aamc_sdk.errors import ConfigError

SECTION = "vllm_endpoints"
"""The section that describes servers, at the top or in ``backend_models``."""
REFERENCES = ("preferred_endpoints", "endpoints", "backend_refs")
"""The keys of a model that name its servers, in the file's several versions."""


def read_endpoints(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options of each model's endpoint, by model: one deployment for each of its servers.

    Args:
        content: The file's content.

    Raises:
        ConfigError: A server has no address, or a model names one that does not exist.
    """
    servers = {str(server.get("name")): server for server in _servers(content)}
    found = {}
    for name, figures in _models(content):
        given = next((figures[key] for key in REFERENCES if figures.get(key)), None)
        if given is None:
            given = [each for each, server in servers.items() if name in (server.get("models") or ())]
        deployments = [_deployment(reference, servers, name) for reference in given or ()]
        if len(deployments) == 1:
            found[name] = {"provider": "openai", "model": name, **{key: value for key, value in deployments[0].items() if key != "weight"}}
        elif deployments:
            found[name] = {"provider": "openai", "model": name, "deployments": deployments}
    return found


def _deployment(reference: Any, servers: Mapping[str, Mapping[str, Any]], model: str) -> dict[str, Any]:
    """Return one server as a deployment."""
    if isinstance(reference, Mapping):
        server: Mapping[str, Any] = reference
    elif reference in servers:
        server = servers[reference]
    else:
        raise ConfigError(f"the model {model!r} names the endpoint {reference!r:.80}, which the file does not describe; add it to {SECTION}")
    whole = server.get("endpoint")
    if isinstance(whole, str) and whole:
        address = whole
    elif isinstance(server.get("address"), str) and isinstance(server.get("port"), int):
        address = f"{_host(server['address'])}:{server['port']}"
    else:
        raise ConfigError(f"the endpoint {server.get('name')!r:.80} of the model {model!r} must have address and port, or endpoint as HOST:PORT")
    base = address if "://" in address else f"{server.get('protocol') or 'http'}://{address}"
    deployment = {"base_url": base if base.rstrip("/").endswith("/v1") else f"{base.rstrip('/')}/v1"}
    weight = server.get("weight")
    return deployment if weight is None else {**deployment, "weight": float(weight)}


def _host(address: str) -> str:
    try:
        return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
    except ValueError:
        return address


def _servers(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for section in (content, content.get("backend_models")):
        listed = section.get(SECTION) if isinstance(section, Mapping) else None
        if listed is not None and not _is_list(listed):
            raise ConfigError(f"{SECTION} must be a list of mappings, not {listed!r:.80}")
        yield from listed or ()


def _models(content: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for section in (content, content.get("backend_models")):
        described = section.get("model_config") if isinstance(section, Mapping) else None
        if isinstance(described, Mapping):
            yield from ((str(name), figures) for name, figures in described.items() if isinstance(figures, Mapping))
    providers = content.get("providers")
    listed = providers.get("models") if isinstance(providers, Mapping) else None
    if _is_list(listed):
        yield from ((str(figures.get("name")), figures) for figures in listed or ())


def _is_list(found: Any) -> bool:
    return isinstance(found, Sequence) and not isinstance(found, str) and all(isinstance(entry, Mapping) for entry in found)
