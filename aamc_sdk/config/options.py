"""Strict configuration: from YAML and ``--set`` to a component's ``Config``.

A class defines the default, meaning and range of each option. Values are not coerced: ``"false"``
is not a bool, 3.7 not an int. The error for an unknown key suggests the nearest known one.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
import cattrs
import numpy as np
import yaml

from aamc_sdk.errors import ConfigError, PluginError
from aamc_sdk.messages import check_known, check_type, nearest, one_of, read_errors, whole_number_hint

T = TypeVar("T")
_LISTS = (list, tuple, frozenset, Sequence)
_MAPPINGS = (dict, Mapping)
MAX_REPEATED = 100_000
"""Maximum number of YAML nodes that aliases repeat: nine short lines of aliases to aliases can stand for a billion."""


def option(
    default: Any,
    meaning: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """Return an attrs field for an option of a component.

    Args:
        default: The default value.
        meaning: One line of meaning and unit.
        at_least: Minimum of a number.
        at_most: Maximum of a number.
        above: Exclusive minimum of a number.
        choices: Allowed values.

    The field raises ConfigError for a value that is not allowed, when the options are made.
    """
    bounds = (("at least", at_least, operator.ge), ("above", above, operator.gt), ("at most", at_most, operator.le))
    limits = [(word, limit, holds) for word, limit, holds in bounds if limit is not None]

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{attribute.name} must be a finite number, not {value!r}")
        if choices is not None and value not in choices:
            raise ConfigError(f"{attribute.name} must be one of {one_of(choices)}, not {value!r}{nearest(str(value), choices)}")
        if value is None or isinstance(value, str):
            return
        for word, limit, holds in limits:
            if not holds(value, limit):
                raise ConfigError(f"{attribute.name} must be {word} {limit:g}, not {value!r}")

    allowed = one_of(choices) if choices is not None else ", ".join(f"{word} {limit:g}" for word, limit, _ in limits)
    metadata = {"meaning": meaning, "choices": choices, "allowed": allowed}
    if isinstance(default, list | dict | set):
        return attrs.field(factory=lambda: type(default)(default), validator=check, metadata=metadata)
    return attrs.field(default=default, validator=check, metadata=metadata)


class _Loader(yaml.SafeLoader):
    """Loads YAML: ``1e-4`` is a float; duplicate keys are refused, and aliases that repeat too much."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._checked: set[yaml.MappingNode] = set()

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            sizes: dict[int, float] = {}
            if _expanded_size(node, sizes) - len(sizes) > MAX_REPEATED:
                raise ConfigError(f"its aliases repeat more than {MAX_REPEATED:,} values; write less with them")
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if node not in self._checked:  # afterwards it has the keys that are merged into it, too
            self._checked.add(node)
            self._check_keys(node)
        super().flatten_mapping(node)

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            line = key_node.start_mark.line + 1
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict | set):
                raise ConfigError(f"a key must be a plain value; in line {line} it is {key!r}")
            if key in seen:
                raise ConfigError(f"key {key!r} is set twice, the second time in line {line}; remove one")
            seen.add(key)


def _expanded_size(node: yaml.Node, sizes: dict[int, float]) -> float:
    """Return the number of nodes of a tree in which each alias counts as the nodes it repeats; ``sizes`` keeps it for each node by its id."""
    if id(node) not in sizes:
        sizes[id(node)] = math.inf  # while it is counted: an alias within the node that it repeats
        items = node.value if isinstance(node, yaml.CollectionNode) else ()
        children = (child for item in items for child in (item if isinstance(item, tuple) else (item,)))  # pairs of a mapping
        sizes[id(node)] = 1 + sum(_expanded_size(child, sizes) for child in children)
    return sizes[id(node)]


class _Dumper(yaml.SafeDumper):
    """Writes YAML that the loader reads as it was: the text "1e-4" in quotes."""


for _reader_or_writer in (_Loader, _Dumper):
    _reader_or_writer.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*(?:[eE][-+]?[0-9]+)|\.[0-9]+(?:[eE][-+]?[0-9]+)?)$"),
        list("-+0123456789."),
    )


def to_yaml(content: Mapping[str, Any]) -> str:
    """Return a mapping of plain values as YAML that :func:`parse_yaml` reads back unchanged; keys keep their order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML; messages name its origin, ``where``.

    Raises:
        ConfigError: The text is not valid YAML, with the line in the message, is nested too deeply, or its aliases repeat too much.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  # a subclass of SafeLoader
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{where} has lists or mappings that are nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # a date such as 2024-13-45 is a ValueError
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = "" if line is None else f" in line {line + 1}"
        raise ConfigError(f"{where} is not valid YAML{place}: {getattr(error, 'problem', None) or ' '.join(str(error).split())}") from error


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file with a mapping.

    Raises:
        ConfigError: The file is missing, unreadable, empty, not YAML, or not a mapping.
    """
    where = "" if path.is_absolute() else f", which is relative to {Path.cwd()}"
    with read_errors(path, f"check the path{where}", raises=ConfigError):
        text = path.read_text(encoding="utf-8")
    if not text.strip():
        raise ConfigError(f"{path} is empty; write keys and values into it, or leave the file out")
    content: dict[str, Any] | None = parse_yaml(text, str(path))
    if content is None:  # comments alone
        return {}
    return check_type(content, dict, f"{path} must hold keys and values", ConfigError)


def set_option(options: dict[str, Any], assignment: str) -> None:
    """Apply ``"router.learning_rate=1e-4"`` to nested options, in place.

    Raises:
        ConfigError: The assignment has no ``=``, or a part of its path is not a section.
    """
    path, equals, value = assignment.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set must be KEY=VALUE such as router.learning_rate=1e-4, not {assignment!r}")
    section = options
    for key in keys[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise ConfigError(f"--set {assignment}: {key!r} is not a section")
    section[keys[-1]] = parse_yaml(value, f"the value of {path}")


def configure(cls: type[T], options: Mapping[str, Any], *, preset: str | None = None, where: str = "") -> T:
    """Make a component's ``Config`` from a preset and the options that the user set, which override it. An unknown preset changes nothing.

    Raises:
        ConfigError: An option is unknown, of the wrong type or out of its range; the message names the component as ``where``.
    """
    check_type(options, Mapping, f"{where}: options must be keys and values", ConfigError)
    _check_options(cls, options, where)
    chosen: Mapping[str, Any] = getattr(cls, "presets", {}).get(preset or "", {})
    _check_options(cls, chosen, f"preset {preset!r}: {where}")
    merged = {**chosen, **options}
    try:
        return _converter().structure(merged, cls)
    except (cattrs.BaseValidationError, ConfigError) as error:
        raise ConfigError(f"{where}: {_first_cause(error)}") from error


def _check_options(cls: type[Any], options: Mapping[str, Any], where: str) -> None:
    """Check the names of options, and values that cattrs would accept wrongly: it makes a list of the characters of a text."""
    fields = attrs.fields_dict(cls)
    check_known(options, fields, f"{where} has no option", ConfigError)
    hints = _type_hints(cls)  # type: ignore[arg-type]  # a class is hashable
    for key, value in options.items():
        hint = _without_none(hints[key])
        if value is None and hint is not hints[key]:
            continue
        if value in ("none", "None") and hint is not hints[key] and hint is not str:  # as descriptions of options say it
            raise ConfigError(f"{where}: {key}: write null instead of {value!r}")
        choices = fields[key].metadata.get("choices")
        if choices is not None and not isinstance(value, str):  # YAML reads words such as on and no as truth values
            raise ConfigError(f"{where}: {key} must be one of {one_of(choices)}, not {value!r}")
        kind, items = get_origin(hint), get_args(hint)
        if kind in _LISTS:
            check_type(value, list | tuple, f"{where}: {key} must be a list such as [a, b]", ConfigError)
            for entry in value:
                _check_group(items[0], entry, f"each of {key}", where)
        elif kind in _MAPPINGS:
            check_type(value, Mapping, f"{where}: {key} must be keys and values such as {{a: 1}}", ConfigError)
            for name, entry in value.items():
                _check_group(items[1], entry, f"{key}.{name}", where)
        else:
            _check_group(hint, value, key, where)


def _check_group(cls: Any, value: Any, key: str, where: str) -> None:
    """Check the options that a value groups, if its type is a class of options."""
    if not attrs.has(cls):
        return
    first = attrs.fields(cls)[0]
    example = (first.metadata.get("choices") or [1])[0]
    check_type(value, Mapping, f"{where}: {key} must be keys and values such as {{{first.name}: {example}}}", ConfigError)
    _check_options(cls, value, f"{where}: {key}")


@cache
def _type_hints(cls: type[Any]) -> Mapping[str, Any]:
    """Return the types of options. Evaluating them takes most of the time of a check, and many keys of a gateway have the same class."""
    hints = get_type_hints(cls)
    if untyped := [field.name for field in attrs.fields(cls) if field.name not in hints]:
        place = f"{cls.__module__}.{cls.__qualname__}"
        raise PluginError(f"the option {untyped[0]!r} of {place} has no type; write {untyped[0]}: int = option(...), for example")
    return hints


def _without_none(hint: Any) -> Any:
    """Return the type of an option that may also be None; any other type as it is."""
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    return kinds[0] if get_origin(hint) in (Union, UnionType) and len(kinds) == 1 else hint


def describe_options(component: Any) -> list[dict[str, Any]]:
    """Return the options of a component's target; none for one without a ``Config``.

    Returns:
        For each option its ``name``, ``type``, ``default`` and ``meaning``; its ``choices``, None if any value may be given; its
        ``allowed`` values in words, ``""`` for any; and in ``presets`` the value of each preset that sets it.
    """
    config = getattr(component, "Config", None)
    if config is None:
        return []
    _type_hints(config)
    defaults = config()
    presets = getattr(config, "presets", {})
    return [
        {
            "name": field.name,
            "type": field.type.__name__ if isinstance(field.type, type) else str(field.type).replace("typing.", ""),
            "default": getattr(defaults, field.name),
            "meaning": field.metadata.get("meaning", ""),
            "choices": list(choices) if (choices := field.metadata.get("choices")) is not None else None,
            "allowed": field.metadata.get("allowed", ""),
            "presets": {preset: values[field.name] for preset, values in presets.items() if field.name in values},
        }
        for field in attrs.fields(config)
    ]


def unstructure(config: Any) -> Any:
    """Return a ``Config`` in plain values, for YAML and JSON."""
    return _converter().unstructure(config)


def changed_options(config: Any) -> dict[str, Any]:
    """Return the options of a ``Config`` that differ from their defaults, in plain values: a new option at its default changes nothing."""
    return _converter(omit_if_default=True).unstructure(config) or {}  # a component may have none


def _first_cause(error: BaseException) -> str:
    """Return the message of the first wrong option, which cattrs wraps once for each level of grouped options, with the path to the option."""
    inner: BaseException = error
    names: list[str] = []
    while isinstance(inner, cattrs.BaseValidationError):
        inner = inner.exceptions[0]
        for note in getattr(inner, "__notes__", []):
            if isinstance(note, cattrs.AttributeValidationNote):
                names.append(note.name)
            elif isinstance(note, cattrs.IterableValidationNote) and isinstance(note.index, str):  # the key of a mapping
                names.append(note.index)
    if isinstance(inner, KeyError) and names and inner.args == (names[-1],):  # cattrs looks a required option up
        return f"{'.'.join(names)} is missing; give it"
    text = str(inner)
    has_name = not names or (isinstance(inner, ConfigError) and text.startswith(f"{names[-1]} "))
    return text if has_name else f"{'.'.join(names)}{' ' if text.startswith('must be ') else ': '}{text}"


@cache
def _converter(*, omit_if_default: bool = False) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, omit_if_default=omit_if_default)
    converter.register_structure_hook(bool, lambda value, _: _exactly(value, "true or false", bool))
    converter.register_structure_hook(int, lambda value, _: _exactly(value, "a whole number", int))
    converter.register_structure_hook(float, lambda value, _: float(_exactly(value, "a number", int, float)))
    converter.register_structure_hook(str, lambda value, _: _exactly(value, "text", str))
    return converter


def _exactly(value: Any, wanted: str, *types: type) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) not in types:
        shown = json.dumps(value) if isinstance(value, bool | None) else repr(value)  # as in YAML
        raise ConfigError(f"must be {wanted}, not {shown}{whole_number_hint(value) if types == (int,) else ''}")
    return value
