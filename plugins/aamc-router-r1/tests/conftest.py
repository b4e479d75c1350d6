from collections.abc import Iterator

import pytest
from aamc_models.testing import Script
from policy_server import PolicyServer


@pytest.fixture
def server() -> Iterator[PolicyServer]:
    """A server with the models ``small`` and ``big``, which answer with their names."""
    with PolicyServer({}, {"small": Script(text="small says: Austen"), "big": Script(text="big says: Jane Austen")}) as started:
        yield started
