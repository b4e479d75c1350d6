"""The candidates of a vLLM Semantic Router configuration: the models that a decision refers to, with descriptions, prices and servers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from aamc_sdk.errors import ConfigError
from aamc_sdk.messages import check_type
from aamc_sdk.routing import pool_from_dict
from aamc_sdk.types import Pool, is_figure

SECTION = "vllm_endpoints"
"""The section that describes servers, at the top or in ``backend_models``."""
REFERENCES = ("preferred_endpoints", "endpoints", "backend_refs")
"""The keys of a model that name its servers, in the file's several versions."""
MODEL_CARDS = "routing.modelCards"
MODEL_SECTIONS = ("model_config", "backend_models", "providers", "modelCards", SECTION)
"""The sections that describe models, in the file's several versions."""
NOT_OF_A_CANDIDATE = "a candidate is a name with a description, abilities, prices of prompt and answer both, a context window and its servers"
_MODEL_KEYS = {"backend_models": "model_config", "providers": "models"}
"""The only key of a section that describes models."""
_PRICES = {"prompt_per_1m": "input", "completion_per_1m": "output", "cached_input_per_1m": "cached_input"}
_FIELDS = {"description": "description", "capabilities": "abilities", "context_window_size": "context_window"}


PromptPrices = dict[str, tuple[str, float]]
"""By model, the path and the value of a prompt's price that is given without one of the answer, in USD per million tokens."""


def read_candidates(content: Mapping[str, Any], references: Sequence[Mapping[str, Any]]) -> tuple[Pool | None, list[str], PromptPrices]:
    """Return the models as a pool, or None if the file names none, the paths of the ignored keys, and the prices of prompts alone.

    Args:
        content: The file's content.
        references: The decision's ``modelRefs``; without any, every described model is a candidate.

    Raises:
        ConfigError: A section about models is invalid.
        PoolError: A model cannot be a candidate.
    """
    descriptions = list(_descriptions(content))
    names = [reference["model"] for reference in references] or [name for _, name, _ in descriptions]
    entries: dict[str, dict[str, Any]] = {name: {"name": name} for name in names}
    prompt_prices: PromptPrices = {}
    endpoints = read_endpoints(content)
    for name in entries.keys() & endpoints.keys():
        entries[name]["endpoint"] = endpoints[name]
    ignored = [f"modelRefs[{reference['model']}].{key}" for reference in references for key in reference if key != "model"]
    ignored += [f"{path}.{key}" for path, used in _MODEL_KEYS.items() for key in mapping_of(content.get(path), path) if key not in (used, SECTION)]
    for path, name, figures in descriptions:
        if name in entries:
            ignored += [
                f"{path}[{name}].{key}" for key in figures if key not in (*_FIELDS, *(REFERENCES if name in endpoints else ()), "name", "pricing")
            ]
            entries[name] |= {ours: figures[theirs] for theirs, ours in _FIELDS.items() if figures.get(theirs) is not None}
            prices, ignored_prices = _prices(figures.get("pricing"), f"{path}[{name}].pricing")
            key = f"{path}[{name}].pricing.prompt_per_1m"
            if not prices and key in ignored_prices and is_figure(figures["pricing"]["prompt_per_1m"]):
                prompt_prices[name] = key, figures["pricing"]["prompt_per_1m"]
                ignored_prices.remove(key)
            entries[name] |= {"prices": prices} if prices else {}
            ignored += ignored_prices
        else:
            ignored.append(f"{path}[{name}]")
    return (pool_from_dict({"candidates": list(entries.values())}, "modelRefs") if entries else None), ignored, prompt_prices


def read_endpoints(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options of each model's endpoint, by model: one deployment for each of its servers.

    Raises:
        ConfigError: A server has no address or a wrong value, or a model names one that does not exist.
    """
    servers = {str(server.get("name")): server for server in _servers(content)}
    found = {}
    for path, name, figures in _descriptions(content):
        if path == MODEL_CARDS:
            continue
        key = next((key for key in REFERENCES if figures.get(key)), None)
        given = [each for each, server in servers.items() if name in _served(each, server)] if key is None else figures[key]
        check_type(given, list, f"{path}[{name}]: {key} must be a list of endpoints", ConfigError)
        deployments = [_deployment(reference, servers, name, is_only=len(given) == 1) for reference in given]
        if len(deployments) == 1:
            found[name] = {"provider": "openai", "model": name, **{key: value for key, value in deployments[0].items() if key != "weight"}}
        elif deployments:
            found[name] = {"provider": "openai", "model": name, "deployments": deployments}
    return found


def _served(name: str, server: Mapping[str, Any]) -> list[Any]:
    """Return the models that a server lists."""
    models = server.get("models") or []
    check_type(models, list, f"the models of the endpoint {name!r} must be a list", ConfigError)
    return models


def _deployment(reference: Any, servers: Mapping[str, Mapping[str, Any]], model: str, *, is_only: bool) -> dict[str, Any]:
    if isinstance(reference, Mapping):
        server: Mapping[str, Any] = reference
    elif isinstance(reference, str) and reference in servers:
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
    whose = f"the endpoint {server.get('name')!r:.80} of the model {model!r}"
    if weight is not None and not is_figure(weight):
        raise ConfigError(f"{whose} must have a weight from 0 to 1e12, not {weight!r:.80}")
    if weight == 0 and not is_only:
        raise ConfigError(f"{whose} must have a weight above 0, not 0: it would never be called; leave out the endpoint or its weight")
    return deployment if weight is None else {**deployment, "weight": float(weight)}


def _host(address: str) -> str:
    try:
        return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
    except ValueError:
        return address


def _servers(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for section in (content, content.get("backend_models")):
        yield from _list(section.get(SECTION) if isinstance(section, Mapping) else None, SECTION)


def _descriptions(content: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the section's path, the name and the description of each model."""
    backend, providers, routing = (mapping_of(content.get(key), key) for key in ("backend_models", "providers", "routing"))
    for path, section in (("model_config", content), ("backend_models.model_config", backend)):
        for name, figures in mapping_of(section.get("model_config"), "model_config").items():
            yield path, str(name), mapping_of(figures, path)
    for path, listed in (("providers.models", providers.get("models")), (MODEL_CARDS, routing.get("modelCards"))):
        for figures in _list(listed, path):
            yield path, str(figures.get("name")), figures


def mapping_of(value: Any, path: str) -> Mapping[str, Any]:
    """Return a value that must be keys and values, empty for None: YAML reads an empty section as None."""
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{path} must be keys and values, not {value!r:.80}")
    return value or {}


def _list(found: Any, path: str) -> Iterable[Mapping[str, Any]]:
    if found is not None and not (isinstance(found, list) and all(isinstance(entry, Mapping) for entry in found)):
        raise ConfigError(f"{path} must be a list of mappings, not {found!r:.80}")
    return found or []


def _prices(pricing: Any, where: str) -> tuple[dict[str, Any], list[str]]:
    """Return a model's prices in USD per million tokens, and the paths of the ignored keys.

    Prices count only where both prompt and answer have one.
    """
    pricing = mapping_of(pricing, where)
    if (currency := pricing.get("currency", "USD")) != "USD":
        raise ConfigError(f"{where} must be in USD, not {currency!r}; convert it, since costs are compared")
    given = {theirs: ours for theirs, ours in _PRICES.items() if pricing.get(theirs) is not None}
    if not {"input", "output"} <= set(given.values()):
        given = {}
    prices = {ours: pricing[theirs] for theirs, ours in given.items()}
    return prices, [f"{where}.{key}" for key in pricing if key not in (*given, "currency")]
