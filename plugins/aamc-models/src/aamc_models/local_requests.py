"""Requests of this machine, the only ones that a server without keys answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache


def foreign_header(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the header that shows that a request comes from another machine, or from another site's page in a browser; None without one.

    Args:
        headers: The headers of an ASGI scope, with names in lower case.
    """
    for name, value in headers:
        if name not in (b"host", b"origin", b"x-forwarded-for", b"forwarded"):
            continue
        text = value.decode("latin-1").lower()
        if name in (b"x-forwarded-for", b"forwarded") or not is_loopback(_host_of(text.rpartition("://")[2])):
            return f"{name.decode()} {text[:100]!r}"
    return None


def _host_of(address: str) -> str:
    """Return an address without its port."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0]


@lru_cache(256)  # the same few hosts are looked at for each request
def is_loopback(host: str) -> bool:
    """Return whether a name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
