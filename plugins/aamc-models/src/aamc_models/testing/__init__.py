"""A stub of OpenAI's and Anthropic's servers for tests and benchmarks: it answers, paces, breaks and counts by a script per model."""

from __future__ import annotations

from aamc_models.testing.script import FAULTS, Script
from aamc_models.testing.server import Received, StubServer

__all__ = ["FAULTS", "Received", "Script", "StubServer"]
