"""LiteLLM's map of prices: a JSON object of models with USD per token, context window and abilities."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from aamc_sdk.errors import DataError
from aamc_sdk.messages import read_errors
from aamc_sdk.types import Endpoint

INSTALLED_FILE = "model_prices_and_context_window_backup.json"
"""The map in the package ``litellm``."""
VENDORS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gemini",
    "api.mistral.ai": "mistral",
    "api.groq.com": "groq",
    "api.together.xyz": "together_ai",
    "api.together.ai": "together_ai",
    "openrouter.ai": "openrouter",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "xai",
    "api.fireworks.ai": "fireworks_ai",
    "api.cerebras.ai": "cerebras",
}
"""LiteLLM's name of the vendor at a host."""
ABILITIES = {
    "supports_function_calling": "tools",
    "supports_vision": "vision",
    "supports_response_schema": "json",
    "supports_reasoning": "reasoning",
}
_PRICES = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
}
"""The map's names of prices. A price of 0 for writing to a cache means there that writing costs the input price and no more."""
_OTHER_UNIT = re.compile("_cost_per_(?!token|request)")
"""A part of the map's names of prices for units other than tokens and requests."""
_TOO_MUCH = 1e9
"""Minimum price in USD that counts as an error of the map."""


@attrs.frozen(kw_only=True)
class ListedModel:
    """A model of the map.

    Attributes:
        name: Its name in the map.
        prices: The keys of ``prices`` in a pool file, in USD per million tokens or per request.
        context_window: Maximum tokens of the prompt; None if the map does not say it.
        abilities: The abilities that it has.
        tiered: Whether long prompts have higher prices, which a pool file cannot say.
        off_peak: Whether some hours have lower prices, which a pool file cannot say either.
    """

    name: str
    prices: Mapping[str, float]
    context_window: int | None
    abilities: frozenset[str]
    tiered: bool = False
    off_peak: bool = False


class PriceMap:
    """The models of a map.

    Args:
        models: The map's content.
        source: The map's name in messages and comments.
    """

    def __init__(self, models: Mapping[str, Any], source: str) -> None:
        self._models, self.source = models, source

    @classmethod
    def read(cls, path: Path | None = None) -> PriceMap:
        """Read a map.

        Args:
            path: The file; that of the installed package ``litellm``, which is not imported, when None.

        Raises:
            DataError: The file is missing or is not such a map.
        """
        path, source = _installed() if path is None else (path, path.name)
        with read_errors(path, "give LiteLLM's price map, a JSON file", ValueError, RecursionError):
            content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not any(isinstance(entry, dict) and _PRICES["input"] in entry for entry in content.values()):
            raise DataError(f"{path} is not LiteLLM's price map: no model in it has {_PRICES['input']!r}")
        return cls(content, source)

    def find(self, endpoint: Endpoint, name: str) -> ListedModel | None:
        """Return the model of an endpoint, which has the candidate's ``name`` unless the endpoint names it; None if the map has no price of it.

        At a known vendor's address only the vendor's own prices count, elsewhere the model's plain name.
        """
        for key, vendor in _keys(endpoint, name):
            entry = self._models.get(key)
            if isinstance(entry, dict) and vendor in str(entry.get("litellm_provider", "")) and (found := _listed(key, entry)) is not None:
                return found
        return None

    def others(self, endpoint: Endpoint, name: str) -> list[str]:
        """Return up to three names of the map that end with the model's name, such as other vendors' of an open model."""
        model = _model(endpoint, name)
        return [key for key in self._models if key != model and key.endswith(f"/{model.rpartition('/')[2]}")][:3]


def _installed() -> tuple[Path, str]:
    """Return the map of the installed package ``litellm``, and its name with the version."""
    found = find_spec("litellm")
    if found is None or not found.submodule_search_locations:
        raise DataError(
            "litellm, which brings the prices, is not installed; name its file model_prices_and_context_window.json with --prices, "
            "or install it in an environment of its own: pip install litellm"
        )
    return Path(found.submodule_search_locations[0]) / INSTALLED_FILE, f"litellm {metadata.version('litellm')}"


def _first(endpoint: Endpoint, name: str) -> Any:
    """Return an option of an endpoint's first deployment, else the endpoint's own, as calls do; None without."""
    deployments = endpoint.options.get("deployments")
    first = deployments[0] if isinstance(deployments, list) and deployments and isinstance(deployments[0], Mapping) else {}
    return first.get(name) or endpoint.options.get(name)


def _model(endpoint: Endpoint, name: str) -> str:
    return str(_first(endpoint, "model") or name).removeprefix("models/")


def _keys(endpoint: Endpoint, name: str) -> Iterator[tuple[str, str]]:
    """Yield the names under which the map may have a model, the most specific first, and the vendor that it must then be of; ``""`` for any."""
    model = _model(endpoint, name)
    if endpoint.provider == "litellm":
        prefix, slash, rest = model.partition("/")
        yield model, ""
        if slash:
            yield rest, prefix
        return
    vendor = _vendor(endpoint)
    if vendor is not None:
        yield f"{vendor}/{model}", ""
    if vendor in (None, "openai", "anthropic"):  # the map has their models, and those of no vendor, under the plain name
        yield model, vendor or ""


def _vendor(endpoint: Endpoint) -> str | None:
    address = _first(endpoint, "base_url")
    if address is None:
        return endpoint.provider if endpoint.provider in ("openai", "anthropic") else None
    return VENDORS.get(urlsplit(str(address)).hostname or "")


def _listed(key: str, entry: Mapping[str, Any]) -> ListedModel | None:
    prices = {name: _million(entry.get(listed)) for name, listed in _PRICES.items()}
    if prices["cache_write_1h"] is None:  # OpenAI's caches keep for half an hour or for twelve
        prices["cache_write_1h"] = _million(entry.get("cache_creation_input_token_cost_above_12hr"))
    if prices["output"] is None and entry.get("mode") == "embedding":
        prices["output"] = 0.0
    if entry.get("mode") == "image_generation" and (drawn := _million(entry.get("output_cost_per_image_token"))) is not None:
        prices["output"] = drawn  # its answers are images
    if prices["input"] is None or prices["output"] is None:
        return None
    if not (prices["input"] or prices["output"]) and any(_OTHER_UNIT.search(name) and _is_amount(price) and price for name, price in entry.items()):
        return None  # not free, but billed by searches or seconds, say
    request = entry.get("input_cost_per_request")
    known = {name: price for name, price in prices.items() if price is not None and (price or not name.startswith("cache_write"))}
    if _is_amount(request) and request:
        known["request"] = float(request)
    window = entry.get("max_input_tokens")
    return ListedModel(
        name=key,
        prices=known,
        context_window=window if type(window) is int and window > 0 else None,
        abilities=frozenset(ability for flag, ability in ABILITIES.items() if entry.get(flag) is True),
        tiered=any(listed.startswith(f"{_PRICES['input']}_above_") for listed in entry),
        off_peak="off_peak_pricing" in entry,
    )


def _million(usd_per_token: Any) -> float | None:
    """Return a price per million tokens without the digits that the multiplication adds; None for a value that is not a price."""
    return float(f"{usd_per_token * 1e6:.10g}") if _is_amount(usd_per_token) else None


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _TOO_MUCH
