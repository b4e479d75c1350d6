import pytest
from aamc_models import foreign_header, is_loopback


@pytest.mark.parametrize("host", ["localhost", "app.localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_names_and_addresses_of_this_machine_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example"])
def test_other_hosts_are_not(host: str) -> None:
    assert not is_loopback(host)


def test_the_header_that_leads_elsewhere_is_named() -> None:
    local = [(b"host", b"[::1]:8100"), (b"origin", b"http://localhost:3000"), (b"content-type", b"text/plain")]
    assert foreign_header(local) is None
    for foreign in ((b"host", b"evil.example"), (b"origin", b"null"), (b"x-forwarded-for", b"127.0.0.1"), (b"forwarded", b"for=127.0.0.1")):
        assert foreign_header([*local, foreign]) == f"{foreign[0].decode()} {foreign[1].decode()!r}"
