"""The structure of the tree: which package imports which, and that plugins import public names only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import aamc_sdk

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "aamc_sdk"
SOURCES = {path.name: path for path in (CORE, *sorted((ROOT / "plugins").glob("*/src/*")))}
ALLOWED = {
    "errors": set(),
    "messages": {"errors"},
    "concurrency": {"errors"},
    "lazy_exports": set(),
    "core_commands": set(),
    "hookspecs": set(),
    "types": {"errors", "messages"},
    "interfaces": {"concurrency", "errors", "messages", "types"},
    "config": {"errors", "messages", "types"},
    "component_checks": {"errors", "hookspecs", "interfaces"},
    "distributions": {"hookspecs"},
    "plugins": {"component_checks", "config", "core_commands", "distributions", "errors", "hookspecs", "interfaces", "messages"},
    "storage": {"config", "errors", "interfaces", "messages", "plugins"},
    "routing": {"config", "errors", "interfaces", "messages", "storage", "types"},
    "log": {"concurrency", "config", "errors", "interfaces", "messages", "storage", "types"},
    "serving": {"concurrency", "config", "errors", "interfaces", "log", "messages", "plugins", "routing", "storage", "types"},
    "explain": {"errors", "interfaces", "messages", "routing", "storage", "types"},
    "controller": {"config", "errors", "explain", "interfaces", "messages", "plugins", "routing", "serving", "types"},
    "builtin": {"hookspecs"},
    "testing": {
        "cli",
        "concurrency",
        "config",
        "distributions",
        "errors",
        "hookspecs",
        "interfaces",
        "log",
        "messages",
        "plugins",
        "routing",
        "serving",
        "storage",
        "types",
    },
    "cli": {
        "concurrency",
        "config",
        "controller",
        "core_commands",
        "distributions",
        "errors",
        "explain",
        "interfaces",
        "log",
        "messages",
        "plugins",
        "serving",
        "storage",
        "testing",
        "types",
    },
}
"""For each package of the core, the packages that it may import at run time."""


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(file: Path, *, typing_only: bool = False) -> Iterator[ast.ImportFrom]:
    """Yield the ``from x import y`` of a file, with or without those that only type checkers see."""
    skipped: set[int] = set()
    for node in ast.walk(parsed(file)):
        if not typing_only and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped |= {id(child) for child in ast.walk(node)}
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.ImportFrom) and id(node) not in skipped and node.module and node.level == 0:
            yield node


def module_name(file: Path, base: Path) -> str:
    return ".".join(file.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_of_the_core_imports_only_what_it_may(package: str) -> None:
    files = [CORE / f"{package}.py"] if (CORE / f"{package}.py").exists() else sorted((CORE / package).rglob("*.py"))
    found = {
        node.module.split(".")[1]
        for file in files
        for node in imports(file)
        if node.module.startswith("aamc_sdk.") and node.module.split(".")[1] != package
    }
    assert found <= ALLOWED[package]


def test_every_package_of_the_core_has_its_directions() -> None:
    packages = {path.name for path in CORE.iterdir() if (path / "__init__.py").exists()}
    modules = {path.stem for path in CORE.glob("*.py")} - {"__init__"}
    assert packages | modules == set(ALLOWED)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_files_do_not_import_one_another_in_circles(name: str) -> None:
    base = SOURCES[name].parent
    modules = {module_name(file, base): file for file in SOURCES[name].rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for module, file in modules.items():
        found = graph.setdefault(module, set())
        for node in imports(file, typing_only=True):
            for alias in node.names:
                target = f"{node.module}.{alias.name}"
                found.add(target if target in modules else str(node.module))
        found.intersection_update(modules)
        found.discard(module)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a circle: {' -> '.join((*path[path.index(module) :], module))}"
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def public_names(parts: list[str]) -> list[str] | None:
    """Return ``__all__`` of a module of ours, from its text, so that modules whose libraries are missing can be checked too."""
    place = SOURCES[parts[0]].joinpath(*parts[1:])
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    for node in parsed(file).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def outsiders() -> list[Path]:
    places = [*(ROOT / "plugins").glob("*/src"), ROOT / "examples"]
    return sorted(file for place in places for file in place.rglob("*.py"))


@pytest.mark.parametrize("file", outsiders(), ids=lambda file: str(file.relative_to(ROOT)))
def test_plugins_and_examples_import_public_names_one_dot_deep(file: Path) -> None:
    own = next((part for part in file.parts if part.startswith("aamc_")), "")
    for node in imports(file):
        parts = str(node.module).split(".")
        if not parts[0].startswith("aamc_") or parts[0] == own:
            continue
        assert len(parts) <= 2, f"line {node.lineno}: {node.module} is a module inside a package"
        public = public_names(parts)
        for alias in node.names if public is not None else ():
            module = SOURCES.get(parts[0], CORE) / alias.name
            is_module = len(parts) == 1 and (module.with_suffix(".py").exists() or module.is_dir())
            assert is_module or alias.name in public, f"line {node.lineno}: {alias.name} is not a public name of {node.module}"


@pytest.mark.parametrize("project", sorted((ROOT / "plugins").glob("*/pyproject.toml")), ids=lambda file: file.parent.name)
def test_a_plugin_depends_on_every_distribution_of_ours_that_it_imports(project: Path) -> None:
    own = project.parent.name.replace("-", "_")
    declared = set(re.findall(r'"(aamc-[a-z]+(?:-[a-z0-9]+)*)', project.read_text(encoding="utf-8")))
    imported = {
        str(node.module).split(".")[0].replace("_", "-")
        for file in project.parent.glob("src/**/*.py")
        for node in imports(file)
        if str(node.module).startswith("aamc_") and str(node.module).split(".")[0] != own
    }
    assert imported <= declared


def test_the_page_on_the_structure_names_every_package_and_plugin_and_no_file_that_is_not_there() -> None:
    page = (ROOT / "docs" / "explanation" / "structure.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^  ([\w.-]+)", page, flags=re.MULTILINE))
    assert drawn == {f"{name}.py" if (CORE / f"{name}.py").exists() else name for name in ALLOWED} | {
        path.name for path in (ROOT / "plugins").iterdir()
    }
    assert [path for path in re.findall(r"`((?:aamc_sdk|plugins|tests)/[^`]+)`", page) if not (ROOT / path).exists()] == []


def test_no_class_of_a_plugin_has_the_name_of_a_public_class_of_the_core() -> None:
    """Save those of ``aamc_puppeteer.doa``, which has the names of another framework."""
    files = [file for name, source in SOURCES.items() if name != "aamc_sdk" for file in source.rglob("*.py") if "doa" not in file.parts]
    found = {node.name: file.name for file in files for node in parsed(file).body if isinstance(node, ast.ClassDef) and node.name in aamc_sdk.__all__}
    assert found == {}
