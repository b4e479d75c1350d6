"""Settings of every test of the repository."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import settings

# The same examples in every run, and no limit on the time that one takes: a busy machine would break it now and then. To look for new ones, run
# pytest --hypothesis-profile=default.
settings.load_profile("ci")


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
