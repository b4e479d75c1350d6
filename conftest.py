"""Settings of every test of the repository."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator

import pytest
from hypothesis import settings

# The same examples in every run, and no limit on the time that one takes: a busy machine would break it now and then. To look for new ones, run
# pytest --hypothesis-profile=default.
settings.load_profile("ci")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-rerunfailures send its counts at once: each test waited 40 ms for the kernel to acknowledge those of the test before."""
    if hasattr(config, "workerinput") and hasattr(config, "failures_db"):
        config.failures_db.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector away from the collected tests and their modules, a million objects that it would go through again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest test first: the other processes would wait for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_proof.py")
