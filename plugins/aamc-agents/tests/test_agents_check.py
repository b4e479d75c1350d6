from __future__ import annotations

import pytest
from aamc_agents import python
from aamc_agents.sandbox import Ran

from aamc_sdk.plugins import get_plugin_manager
from aamc_sdk.testing import assert_conforms


def test_the_check_of_the_sandbox_conforms() -> None:
    assert_conforms("check", "sandbox", get_plugin_manager())


@pytest.mark.parametrize(
    ("printed", "error", "fences", "status"),
    [
        ("42\n", None, ("limits", "landlock", "seccomp", "audit"), "ok"),
        ("42\n", None, ("limits", "audit"), "warning"),
        ("", "it was killed", ("limits",), "broken"),
    ],
)
def test_the_strength_of_the_sandbox_is_told(monkeypatch: pytest.MonkeyPatch, printed: str, error: str, fences: tuple[str, ...], status: str) -> None:
    async def run(*_: object) -> Ran:
        return Ran(printed=printed, error=error, fences=fences)

    monkeypatch.setattr(python, "run_python", run)
    (found,) = python.check_sandbox()
    assert (found.subject, found.status) == ("sandbox", status)
    assert (error or fences[-1]) in found.state
