"""Errors of all packages reach another process: ``multiprocessing`` and the like pickle them."""

import ast
import copy
import importlib
import math
import pickle
from pathlib import Path

import pytest

from aamc_sdk import errors
from aamc_sdk.errors import AamcError, LimitError

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).resolve().parents[2]


def error_classes() -> list[str]:
    """Return the module and name of each subclass of AamcError in the sources, found by the names of its bases."""
    names, found = {name for name in vars(errors) if name.endswith("Error")}, []
    for source in (ROOT / "aamc_sdk", *sorted((ROOT / "plugins").glob("*/src/*"))):
        for file in sorted(source.rglob("*.py")):
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and names & {base.id for base in node.bases if isinstance(base, ast.Name)}:
                    names.add(node.name)
                    found.append(f"{'.'.join(file.relative_to(source.parent).with_suffix('').parts)}:{node.name}")
    return found


ERRORS = error_classes()


def test_the_errors_of_the_core_and_of_plugins_are_found() -> None:
    assert {"aamc_sdk.errors:LimitError", "aamc_agents.tool:AgentTimeoutError", "aamc_stores.spool:SpoolError"} <= set(ERRORS)


@pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy], ids=["pickled", "copied"])
@pytest.mark.parametrize("path", ERRORS)
def test_an_error_is_copied_with_its_message_and_attributes(path: str, copied) -> None:
    module, name = path.split(":")
    kind = getattr(importlib.import_module(module), name)
    error = kind.__new__(kind)  # whatever its __init__ takes
    error.args = ("a kind", "a message") if name == "ProtocolError" else ("a message",)
    error.detail = 1.5
    found = copied(error)
    assert (type(found), found.args, str(found), found.detail) == (kind, error.args, str(error), 1.5)


def test_a_limits_kind_and_time_reach_another_process() -> None:
    found = pickle.loads(pickle.dumps(LimitError("the budget is spent", kind="budget", retry_after_s=math.inf)))
    assert (str(found), found.kind, found.retry_after_s, found.reasons) == ("the budget is spent", "budget", math.inf, {})
    assert isinstance(found, AamcError)
