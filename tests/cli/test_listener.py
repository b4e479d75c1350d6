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


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "127.0.0.1:80"])
def test_an_address_of_another_machine_or_of_none_is_refused(host):
    with pytest.raises(ConfigError, match=rf"cannot listen on {host}:0: .+; choose another --host, such as 127\.0\.0\.1, or 0\.0\.0\.0 for all"):
        listening_socket(host, 0)
