"""A store's URL: its options are the store's, and each is given once."""

from __future__ import annotations

import pytest

from aamc_sdk.errors import ConfigError
from aamc_sdk.log import open_store
from aamc_sdk.plugins import Plugins


@pytest.mark.parametrize("url", ["memory:?store_text=true&store_text=false", "memory://host/log?store_text=true&store_text=true"])
def test_an_option_that_a_url_gives_twice_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="gives the option 'store_text' twice; leave one out"):
        open_store(url, Plugins())


def test_a_servers_own_parameter_that_a_url_gives_twice_is_refused_without_its_value() -> None:
    with pytest.raises(ConfigError, match="the URL of store memory gives the option 'password' twice") as raised:
        open_store("memory://host/log?password=secret&password=word", Plugins())
    assert "secret" not in str(raised.value)
