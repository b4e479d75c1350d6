"""The socket of a command that serves."""

import socket

import pytest

from aamc_sdk.cli import listening_socket
from aamc_sdk.errors import ConfigError


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_port_0_takes_a_free_one(host):
    with listening_socket(host, 0) as listener, socket.create_connection(listener.getsockname()[:2]):
        pass


def test_a_port_that_another_program_listens_on_is_refused():
    with listening_socket("127.0.0.1", 0) as other, pytest.raises(ConfigError, match="Address already in use; choose another --port"):
        listening_socket("127.0.0.1", other.getsockname()[1])


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0: Cannot assign requested address"):
        listening_socket("192.0.2.1", 0)
