"""Render the public Python names as markdown pages, one a package."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ForwardRef, Protocol, get_origin, is_typeddict

import attrs
from reference_examples import EXAMPLES

MODULES = (
    "aamc_sdk",
    "aamc_sdk.controller",
    "aamc_sdk.types",
    "aamc_sdk.interfaces",
    "aamc_sdk.errors",
    "aamc_sdk.messages",
    "aamc_sdk.concurrency",
    "aamc_sdk.hookspecs",
    "aamc_sdk.plugins",
    "aamc_sdk.distributions",
    "aamc_sdk.lazy_exports",
    "aamc_sdk.config",
    "aamc_sdk.routing",
    "aamc_sdk.serving",
    "aamc_sdk.explain",
    "aamc_sdk.log",
    "aamc_sdk.storage",
    "aamc_sdk.cli",
    "aamc_sdk.testing",
)
"""The core's public modules, in the order of the index."""
EXPERIMENTS = "aamc_experiments"
WIDTH = 110
"""A signature that is longer has one argument a line."""
_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):$")
_ENTRY = re.compile(r"^    (\S[^:]*?): (.*)$")


@cache
def public_modules() -> tuple[str, ...]:
    """Return the names of all documented modules, those of the experiments included."""
    package = importlib.import_module(EXPERIMENTS)
    found = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name != "plugin")
    return (*MODULES, EXPERIMENTS, *(f"{EXPERIMENTS}.{name}" for name in found))


@cache
def public_names(module_name: str) -> tuple[str, ...]:
    """Return the names that a module exports: ``__all__``, else the names that it defines and that do not begin with an underscore."""
    module = importlib.import_module(module_name)
    if hasattr(module, "__all__"):
        return tuple(sorted(module.__all__, key=str.lower))
    defined = [name for name in _assigned(module) if not name.startswith("_") and name not in ("logger", "T")]
    return tuple(sorted(defined, key=str.lower))


def docstring(module_name: str, name: str) -> str:
    """Return the docstring of an exported name; for a constant the text below its assignment; ``""`` without one."""
    value = getattr(importlib.import_module(module_name), name)
    is_alias = get_origin(value) is not None  # which Python 3.10 takes for a class
    if (inspect.isclass(value) and not is_alias) or _is_function(value, name):
        return inspect.cleandoc(value.__doc__ or "")
    home = _home_of_constant(module_name, name)
    return inspect.cleandoc(_assigned(importlib.import_module(home)).get(name, ""))


def pages() -> Iterator[tuple[str, str]]:
    """Yield each page's file name and content."""
    yield "index.md", _index()
    for name in public_modules():
        yield f"{name}.md", _page(name)


def _index() -> str:
    rows = [f"| [`{name}`]({name}.md) | {_first_sentence(importlib.import_module(name).__doc__ or '')} |" for name in public_modules()]
    return "\n".join(
        (
            "# The Python interface",
            "",
            "Import from `aamc_sdk`, or from one of the packages and modules below; never from a module inside a package.",
            "",
            "| import from | contents |",
            "|---|---|",
            *rows,
            "",
        )
    )


def _page(module_name: str) -> str:
    module = importlib.import_module(module_name)
    names = public_names(module_name)
    parts = [f"# `{module_name}`", _markdown(inspect.cleandoc(module.__doc__ or ""))]
    if module_name in EXAMPLES:
        parts.append(_code(EXAMPLES[module_name].strip()))
    if names:
        table = [f"| {_link(module_name, name)} | {_first_sentence(docstring(module_name, name))} |" for name in names]
        parts.append("\n".join(("| name | |", "|---|---|", *table)))
    parts += [_entry(module_name, name) for name in names if _page_of(module_name, name) == module_name]
    return "\n\n".join(part for part in parts if part) + "\n"


def _page_of(module_name: str, name: str) -> str:
    """Return the module whose page documents a name: for the names of a distribution's package itself, their home."""
    if "." in module_name:
        return module_name
    modules = (home for home in public_modules() if home.startswith(f"{module_name}."))
    homes = [home for home in modules if name in public_names(home) and hasattr(importlib.import_module(home), name)]
    return homes[0] if homes else module_name


def _link(module_name: str, name: str) -> str:
    home = _page_of(module_name, name)
    page = "" if home == module_name else f"{home}.md"
    return f"[`{name}`]({page}#{name.lower()})"


def _entry(module_name: str, name: str) -> str:
    value = getattr(importlib.import_module(module_name), name)
    parts = [f"## `{name}`"]
    if inspect.isclass(value):
        parts += [_code(_class_signature(value)), _markdown(docstring(module_name, name)), _abstract_note(value), *_members(value)]
    elif _is_function(value, name):
        parts += [_code(_signature(value, name)), _markdown(docstring(module_name, name))]
    else:
        parts.append(_markdown(docstring(module_name, name)))
    return "\n\n".join(part for part in parts if part)


def _is_function(value: object, name: str) -> bool:
    """Return whether a value is a function of that name, and no decorator or alias that is kept in a constant."""
    return inspect.isfunction(value) and value.__name__ == name


def _abstract_note(cls: type) -> str:
    """Return which methods a subclass has to define; ``""`` for none."""
    names = sorted(getattr(cls, "__abstractmethods__", ()))
    return f"A subclass must define {', '.join(f'`{name}`' for name in names)}." if names else ""


def _members(cls: type) -> Iterator[str]:
    """Yield an entry for each documented method and property that a class defines itself, of private ones for those that subclasses must define."""
    for name, member in vars(cls).items():
        if name.startswith("_") and name not in getattr(cls, "__abstractmethods__", ()):
            continue
        function = getattr(member, "fget", None) or getattr(member, "func", None) or getattr(member, "__func__", member)
        if not inspect.isfunction(function) or not function.__doc__:
            continue
        yield f"### `{cls.__name__}.{name}`"
        yield _code(_method_signature(member, function, name))
        yield _markdown(inspect.cleandoc(function.__doc__))


def _class_signature(cls: type) -> str:
    if is_typeddict(cls):
        keys = (f"    {name}: {_annotation(annotation)}" for name, annotation in cls.__annotations__.items())
        return "\n".join((f"class {cls.__name__}(TypedDict{'' if cls.__total__ else ', total=False'}):", *keys))  # type: ignore[attr-defined]
    bases = [base.__name__ for base in cls.__bases__ if base is not object]
    head = f"class {cls.__name__}({', '.join(bases)})" if bases else f"class {cls.__name__}"
    if "__init__" not in vars(cls) or Protocol in cls.__bases__ or issubclass(cls, BaseException):
        return head
    own = inspect.signature(cls.__init__)  # type: ignore[misc]  # read, not called
    arguments = own.replace(parameters=list(own.parameters.values())[1:], return_annotation=inspect.Signature.empty)
    return f"{head}\n\n{_spelled(cls.__name__, arguments, cls)}"


def _method_signature(member: object, function: Any, name: str) -> str:
    if isinstance(member, property) or hasattr(member, "func"):
        return f"{name}: {_annotation(inspect.signature(function).return_annotation)}"
    decorator = "@classmethod\n" if isinstance(member, classmethod) else "@staticmethod\n" if isinstance(member, staticmethod) else ""
    return decorator + _signature(function, name)


def _signature(function: Any, name: str) -> str:
    prefix = "async def" if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function) else "def"
    return f"{prefix} {_spelled(name, inspect.signature(function))}"


def _spelled(name: str, signature: inspect.Signature, cls: type | None = None) -> str:
    """Return a call as source, on one line if it fits."""
    arguments = list(_arguments(signature, cls))
    returns = "" if signature.return_annotation is inspect.Signature.empty else f" -> {_annotation(signature.return_annotation)}"
    line = f"{name}({', '.join(arguments)}){returns}"
    if len(line) <= WIDTH:
        return line
    return "\n".join((f"{name}(", *(f"    {argument}," for argument in arguments), f"){returns}"))


def _arguments(signature: inspect.Signature, cls: type | None) -> Iterator[str]:
    starred = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        starred |= parameter.kind is parameter.VAR_POSITIONAL
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        annotated = parameter.annotation is not parameter.empty
        text = f"{stars}{parameter.name}" + (f": {_annotation(parameter.annotation)}" if annotated else "")
        if parameter.default is not parameter.empty:
            text += (" = " if annotated else "=") + _default(parameter, cls)
        yield text


def _annotation(annotation: object) -> str:
    annotation = annotation.__forward_arg__ if isinstance(annotation, ForwardRef) else annotation
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return text.strip("'\"").replace("typing.", "")


def _default(parameter: inspect.Parameter, cls: type | None) -> str:
    if cls is not None and attrs.has(cls):
        defaults = {field.alias: field.default for field in attrs.fields(cls)}
        found = defaults.get(parameter.name)
        if isinstance(found, attrs.Factory):  # type: ignore[arg-type]  # a class at run time
            return {dict: "{}", list: "[]"}.get(found.factory, "...")  # type: ignore[call-overload]  # likewise
    text = repr(parameter.default)
    return "..." if "<" in text or " object at " in text or len(text) > WIDTH else text  # a long one may hold a set, whose order varies


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _markdown(text: str) -> str:
    """Return a docstring's text, sections and literal blocks as markdown."""
    lines: list[str] = []
    section = ""
    for line in _with_code_blocks(_inline(text).splitlines()):
        heading = _SECTION.match(line)
        if heading:
            section = heading[1]
            lines += [f"**{section}**", ""]
        elif section and line.startswith("    "):
            lines += _section_line(line, section)
        else:
            section = section if not line.strip() else ""
            lines.append(line)
    return "\n".join(lines).strip()


def _section_line(line: str, section: str) -> list[str]:
    entry = None if section in ("Returns", "Yields") else _ENTRY.match(line)
    if entry:
        return [f"- `{entry[1].strip('`')}`: {entry[2]}"]
    return [line[4:] if section in ("Returns", "Yields") else f"  {line.strip()}"]


def _with_code_blocks(lines: list[str]) -> list[str]:
    """Fence the indented blocks that follow a line with ``::``."""
    result: list[str] = []
    rest = list(lines)
    while rest:
        line = rest.pop(0)
        if not line.endswith("::"):
            result.append(line)
            continue
        result += [line[:-1], "", "```python"]
        while rest and not rest[0].strip():
            rest.pop(0)
        while rest and rest[0].startswith("    "):
            result.append(rest.pop(0)[4:])
        result.append("```")
    return result


def _inline(text: str) -> str:
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return re.sub(r"``(.+?)``", r"`\1`", text)


def _first_sentence(text: str) -> str:
    paragraph = " ".join(_inline(inspect.cleandoc(text)).split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.!?])\s+(?=[A-Z`])", paragraph)[0]
    return sentence.removesuffix("::").replace("|", "\\|")


def _home_of_constant(module_name: str, name: str) -> str:
    """Return the module that assigns a constant, following the imports of ``__init__`` modules."""
    module = importlib.import_module(module_name)
    tree = _tree(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and any((alias.asname or alias.name) == name for alias in node.names):
            return _home_of_constant(node.module, name)
    return module_name


@cache
def _tree(module: ModuleType) -> ast.Module:
    assert module.__file__ is not None
    return ast.parse(Path(module.__file__).read_text(encoding="utf-8"))


def _assigned(module: ModuleType) -> dict[str, str]:
    """Return the names that a module defines at its top level, each with the text below it, ``""`` for none."""
    found: dict[str, str] = {}
    body = _tree(module).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        if isinstance(node, ast.Assign):
            targets = [name for target in node.targets for name in (target.elts if isinstance(target, ast.Tuple) else [target])]
            found |= {target.id: str(text) for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = str(text)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = ast.get_docstring(node) or ""
    return found
