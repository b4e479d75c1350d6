"""Shell completion: commands, options, and the names of components."""

from __future__ import annotations

import pytest

from aamc_sdk.testing import run_command

WORDS = [
    ("aamc da", "data"),
    ("aamc data ge", "generate"),
    ("aamc run --rou", "--router --routers"),
    ("aamc run --router gree", "greedy"),
    ("aamc run --routers best-single,ora", "best-single,oracle"),
    ("aamc run --preset qu", "quick"),
    ("aamc run --pool def", "default"),
    ("aamc run --test-dataset routera", "routerarena:"),
    ("aamc bench compare --estimator lex", "lexical"),
    ("aamc data inspect routera", "routerarena:"),
    ("aamc evaluate --logs sql", "sqlite:"),
    ("aamc feedback add x --store post", "postgres:"),
    ("aamc orchestrate hi --agents python,calc", "python,calculator"),
    ("aamc plugins show rou", "router"),
    ("aamc plugins show plug", "plugin"),
    ("aamc plugins show store mem", "memory"),
    ("aamc plugins show plugin lex", "lexical"),
    ("aamc plugins check aamc-lex", "aamc-lexical"),
    ("aamc plugins check rou", "router"),
    ("aamc plugins check store mem", "memory"),
]


@pytest.mark.parametrize(("typed", "expected"), WORDS)
def test_the_last_word_is_completed(monkeypatch, typed: str, expected: str) -> None:
    assert complete(monkeypatch, typed) == [f"plain,{word}" for word in expected.split()]


def test_a_folder_may_stand_where_a_name_may(monkeypatch) -> None:
    assert complete(monkeypatch, "aamc run --router ./runs/la") == ["file,./runs/la"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(monkeypatch, shell: str) -> None:
    monkeypatch.setenv("_AAMC_COMPLETE", f"{shell}_source")
    assert "_AAMC_COMPLETE" in run_command()[1]


def complete(monkeypatch, typed: str) -> list[str]:
    monkeypatch.setenv("_AAMC_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    return run_command()[1].split()
