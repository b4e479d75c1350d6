"""Imports: the core imports quickly, and no heavy library."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import attrs
import pytest

import aamc_sdk
import aamc_sdk.interfaces
import aamc_sdk.serving
import aamc_sdk.types

HEAVY = {"torch", "transformers", "gymnasium", "sklearn", "scipy", "matplotlib", "pandas", "pyarrow", "jinja2"}
SLOW = HEAVY | {"numpy", "yaml", "cattrs", "rich"}
CORE = Path(__file__).parents[1] / "aamc_sdk"


def modules_after(program):
    ended = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"], capture_output=True, text=True, check=True
    )
    return set(json.loads(ended.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "program",
    [
        "import aamc_sdk",
        "from aamc_sdk import get_plugin_manager; assert list(get_plugin_manager())",
        "from aamc_sdk import Component, hookimpl",
        "from aamc_sdk.cli import main",
    ],
)
def test_finding_out_what_there_is_imports_nothing_slow(program):
    assert not modules_after(program) & SLOW


def modules_of_command(*arguments):
    program = f"""
import sys
sys.argv = ['aamc', *{arguments!r}]
from aamc_sdk.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end
"""
    return modules_after(program)


@pytest.mark.parametrize("arguments", [["plugins"], ["plugins", "--json"], ["--help"], ["--version"]])
def test_the_quick_commands_import_nothing_slow(arguments):
    assert not modules_of_command(*arguments) & SLOW


def test_a_command_is_loaded_without_the_interfaces_of_components():
    assert "aamc_sdk.interfaces" not in modules_of_command("serve", "--help")


def test_the_version_is_shown_without_looking_for_plugins():
    assert not modules_of_command("--version") & {"aamc_sdk.plugins", "importlib.metadata", "pluggy"}


def test_no_module_of_the_core_imports_a_heavy_library():
    modules = sorted(".".join(file.relative_to(CORE.parent).with_suffix("").parts).removesuffix(".__init__") for file in CORE.rglob("*.py"))
    assert "aamc_sdk.testing.checks.routers" in modules
    program = "import importlib\n" + "\n".join(f"importlib.import_module({name!r})" for name in modules if not name.endswith("__main__"))
    assert not modules_after(program) & HEAVY


def test_every_public_name_is_exported_and_is_listed():
    program = "import aamc_sdk\nfor name in aamc_sdk.__all__: assert getattr(aamc_sdk, name) is not None and name in dir(aamc_sdk), name"
    modules_after(program)


def test_an_unknown_name_is_an_attribute_error():
    import aamc_sdk

    with pytest.raises(AttributeError, match="no attribute 'Ruoter'"):
        _ = aamc_sdk.Ruoter


@pytest.mark.parametrize("package", [aamc_sdk, aamc_sdk.interfaces, aamc_sdk.serving, aamc_sdk.types], ids=lambda package: package.__name__)
def test_type_checkers_see_each_default_of_a_public_class(package: ModuleType) -> None:
    """A default by a decorated method, which attrs allows, is an argument that must be given to all type checkers but mypy."""
    classes = [value for name in package.__all__ if isinstance(value := getattr(package, name), type) and attrs.has(value)]
    assert classes
    for each in classes:
        for field in attrs.fields(each):
            if field.init and isinstance(field.default, attrs.Factory):
                assert field.default.factory not in vars(each).values(), f"{each.__name__}.{field.name}"
