"""A store's URL: its options are the store's, and each is given once."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from aamc_sdk.errors import ConfigError, PluginError
from aamc_sdk.log import open_store
from aamc_sdk.log.memory import MemoryStore
from aamc_sdk.plugins import Plugins


@pytest.mark.parametrize("url", ["memory:?store_text=true&store_text=false", "memory://host/log?store_text=true&store_text=true"])
def test_an_option_that_a_url_gives_twice_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="gives the option 'store_text' twice; leave one out"):
        open_store(url, Plugins())


@pytest.mark.parametrize("path", ["", "/log"])
def test_a_part_of_a_password_that_reads_as_an_option_is_not_named(path: str) -> None:
    with pytest.raises(ConfigError, match="the URL of store sqlite has an option with @; write the URL of a server as sqlite://HOST") as raised:
        open_store(f"sqlite:ann:se?cret@host{path}", Plugins())
    assert "cret" not in str(raised.value)


def test_a_servers_own_parameter_that_a_url_gives_twice_is_refused_without_its_value() -> None:
    with pytest.raises(ConfigError, match="the URL of store memory gives the option 'password' twice") as raised:
        open_store("memory://host/log?password=secret&password=word", Plugins())
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("slashes", ["", "///"])
def test_an_unknown_option_of_a_file_is_refused_and_makes_no_file(slashes: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="store sqlite has no option 'store_txt'; did you mean 'store_text'"):
        open_store(f"sqlite:{slashes}{tmp_path}/log.db?store_txt=true", Plugins())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("method", "message"), [("__init__", "cannot be made"), ("exists", "failed")])
def test_a_store_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, method: str, message: str) -> None:
    monkeypatch.setattr(MemoryStore, method, lambda *_: {}["host"])
    with pytest.raises(PluginError, match=rf"^store 'memory'.* {message}: KeyError: 'host'$"):
        open_store("memory:", Plugins(), existing=True)


@pytest.mark.parametrize("url", ["memory:foo", "memory:state.db?store_text=true", "memory://host/log"])
def test_a_log_in_memory_has_no_path(url: str) -> None:
    with pytest.raises(ConfigError, match="store memory has neither a path nor a server; use memory: alone, or sqlite:PATH for a log in a file"):
        open_store(url, Plugins())


def test_sqlites_own_name_for_a_database_in_memory_makes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="sqlite::memory: would be a file of that name; use memory: for a log in memory"):
        open_store("sqlite::memory:", Plugins())
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_name_has_a_question_mark_may_contain_a_log(tmp_path: Path) -> None:
    folder = tmp_path / "what? 100%41 #1"
    folder.mkdir()
    with closing(open_store(f"sqlite:{folder / 'log.db'}?store_text=true", Plugins())) as store:
        assert store.config.store_text
    assert [file.name for file in folder.iterdir()] == ["log.db"]
