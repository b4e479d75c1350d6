"""A component in another Python process, in which ``hash()`` of a text and the order of a set are others."""

from __future__ import annotations

import faulthandler
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from aamc_sdk.errors import PluginError
from aamc_sdk.hookspecs import Component, hookimpl
from aamc_sdk.plugins import KINDS, Plugins
from aamc_sdk.testing.findings import require, skip
from aamc_sdk.testing.subject import Subject

T = TypeVar("T")
_GIVEN, _FOUND, _STATE = "given.pickle", "found.pickle", "state"
_SECONDS = 300.0


def in_another_process(subject: Subject, component: Any, method: Callable[[Subject, Any], T]) -> T:
    """Return ``method(subject, copy)`` of a process with another hash seed, in which the copy loads the component's saved state."""
    module = subject.plugins.find(subject.kind, subject.name).component.target.partition(":")[0]
    if getattr(sys.modules.get(module), "__spec__", None) is None:
        skip(f"another process cannot import {module}")
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}  # noqa: PTH109  # a text
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / _STATE).mkdir()
        component.save(folder / _STATE)
        offered = [(each.kind, each.component) for each in subject.plugins.components if each.error is None]
        (folder / _GIVEN).write_bytes(pickle.dumps((subject.kind, subject.name, offered, subject.options, method)))
        command = [sys.executable, "-m", __name__, name]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS)  # noqa: S603  # this module
        require(ended.returncode == 0, f"it fails in another process: {ended.stderr.strip().rpartition(chr(10))[2]}")
        found, error = pickle.loads((folder / _FOUND).read_bytes())  # noqa: S301  # of this process
    if error:
        skip(f"it cannot be made in another process: {error}")
    return found  # type: ignore[no-any-return]  # the result of the method


class _Offered:
    """A plugin that announces components."""

    def __init__(self, offered: Sequence[tuple[str, Component]]) -> None:
        for kind, hook in KINDS.items():
            components = [component for of, component in offered if of == kind]
            setattr(self, hook, hookimpl(lambda components=components: components))


def _run(folder: Path) -> None:
    """Write the result of the method for the component with the saved state, or why that cannot be made."""
    kind, name, offered, options, method = pickle.loads((folder / _GIVEN).read_bytes())  # noqa: S301  # of this process
    found, why = None, ""
    with closing(Subject(kind, name, Plugins({"kit": _Offered(offered)}, discover=False), options)) as subject:
        try:
            component = subject.make()
        except PluginError as error:  # it, or a component that it takes as an option, is of a module of the tests
            why = str(error)
        else:
            component.load(folder / _STATE)
            found = method(subject, component)
    (folder / _FOUND).write_bytes(pickle.dumps((found, why)))


if __name__ == "__main__":
    faulthandler.dump_traceback_later(_SECONDS, exit=True)  # a process that hangs must not outlive a check that was left behind
    _run(Path(sys.argv[1]))
