"""A pool file that is edited: comments, order and form of the rest stay as they are."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import attrs
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from aamc_models.prices.price_map import ListedModel, PriceMap
from aamc_sdk.config import load_yaml, parse_yaml
from aamc_sdk.errors import ConfigError, PoolError
from aamc_sdk.messages import read_errors
from aamc_sdk.routing import pool_from_dict
from aamc_sdk.types import Endpoint

FILLED, KEPT, UNKNOWN, LOCAL = "filled", "kept", "no price", "not called"
"""Results of filling in a candidate's prices: filled in, left as they were, not in the map, or without an endpoint to price."""


@attrs.frozen(kw_only=True)
class Priced:
    """The result of filling in a candidate's prices.

    Attributes:
        candidate: The candidate's name.
        status: One of ``FILLED``, ``KEPT``, ``UNKNOWN`` and ``LOCAL``.
        model: The model's name in the map; ``""`` without one.
        has_prices: Whether the candidate has prices now.
        tiered: Whether the model's long prompts cost more than that.
        off_peak: Whether it costs less at some hours.
        others: Names of the map that are alike, if it has none.
    """

    candidate: str
    status: str
    model: str = ""
    has_prices: bool
    tiered: bool = False
    off_peak: bool = False
    others: list[str] = attrs.field(factory=list)


class PoolFile:
    """A pool file; one that cannot be used as a pool raises PoolError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with read_errors(path, "name a pool file in YAML", raises=PoolError):
            content = path.read_bytes().decode()
        text = content.replace("\r\n", "\n")
        self._line_end = "\n" if text == content else "\r\n"
        try:
            self._wanted = load_yaml(path)  # first, as it bounds depth and aliases
            pool_from_dict(self._wanted, str(path))
            self._yaml = _round_trip(text)
            self._content: Any = self._yaml.load(text)
        except YAMLError as error:
            raise PoolError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
        except ConfigError as error:
            raise PoolError(str(error)) from error

    def fill(self, prices: PriceMap, today: date, *, replace: bool = False) -> list[Priced]:
        """Fill in prices, context windows and abilities by the endpoints' models, and return the result for each candidate.

        Prices get a comment with the date, ``today``, and the source. ``replace`` overwrites prices that the file has.
        """
        return [self._fill(number, prices, today, replace) for number in range(len(self._content["candidates"]))]

    def _fill(self, number: int, prices: PriceMap, today: date, replace: bool) -> Priced:
        entry: CommentedMap = self._content["candidates"][number]
        name, had = str(entry["name"]), bool(entry.get("prices"))
        given = self._wanted["candidates"][number].get("endpoint")
        if given is None or (endpoint := Endpoint.of(given)).provider == "echo":
            return Priced(candidate=name, status=LOCAL, has_prices=had)
        listed = prices.find(endpoint, name)
        if listed is None:
            return Priced(candidate=name, status=UNKNOWN, has_prices=had, others=prices.others(endpoint, name))
        changes = _changes(entry, listed, replace)
        for place in (self._content, self._content["candidates"], entry) if changes else ():
            place.fa.set_block_style()  # a comment needs a line of its own
        first, below = _position(entry), _comments_below_prices(entry)
        for position, (key, value) in enumerate(changes.items(), first):
            if key not in entry:
                entry.insert(position, key, value)
            entry[key] = value
            self._wanted["candidates"][number][key] = value
        if "prices" in changes:
            entry.ca.items.get("prices", [])[3:] = [None]  # a comment within the replaced prices, beside which ruamel.yaml adds none
            entry.yaml_add_eol_comment(f"{today.isoformat()}, {prices.source}: {listed.name}{below}", "prices", 0)
        status = FILLED if "prices" in changes else KEPT
        return Priced(candidate=name, status=status, model=listed.name, has_prices=True, tiered=listed.tiered, off_peak=listed.off_peak)

    def text(self) -> str:
        """Return the file's content.

        Raises:
            PoolError: The file's form cannot be edited, such as a candidate that is an alias of another.
        """
        out = io.StringIO()
        self._yaml.dump(self._content, out)
        if parse_yaml(out.getvalue(), str(self.path)) != self._wanted:
            raise PoolError(f"{self.path} has a form of YAML that cannot be edited without loss; write its candidates as a plain list")
        return out.getvalue().replace("\n", self._line_end)


def _changes(entry: Mapping[str, Any], listed: ListedModel, replace: bool) -> dict[str, Any]:
    """Return the keys to set, in order."""
    changes: dict[str, Any] = {}
    if replace or not entry.get("prices"):
        changes["prices"] = CommentedMap(listed.prices)
        changes["prices"].fa.set_flow_style()
    if listed.context_window is not None and entry.get("context_window") is None:
        changes["context_window"] = listed.context_window
    if listed.abilities and not entry.get("abilities"):
        changes["abilities"] = CommentedSeq(sorted(listed.abilities))
        changes["abilities"].fa.set_flow_style()
    return changes


def _comments_below_prices(entry: CommentedMap) -> str:
    """Return the lines of comments between the prices and the next key or candidate, which ruamel.yaml keeps with the prices' own comment."""
    value = entry.get("prices")
    holders = [entry.ca.items.get("prices"), *([value.ca.items.get(list(value)[-1])] if isinstance(value, CommentedMap) and value else [])]
    lines = [holder[2].value.partition("\n")[2].rstrip("\n") for holder in holders if holder is not None and holder[2] is not None]
    return "".join(f"\n{text}" for text in lines if text)


def _position(entry: CommentedMap) -> int:
    """Return the position to insert at: after name and description, but before the last key, below which comments on the next candidate may stand."""
    keys = list(entry)
    after = max(keys.index(key) for key in ("name", "description") if key in keys) + 1
    return min(after, len(keys) - 1)


def _round_trip(text: str) -> YAML:
    """Return a reader and writer that keeps the file's form: indentation of lists, quotes, long lines."""
    found = re.search(r"^( *)-( +)\S", text, flags=re.MULTILINE)
    offset = len(found[1]) if found else 2
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 10_000
    editor.indent(mapping=2, sequence=offset + 2, offset=offset)
    return editor
