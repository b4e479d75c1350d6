"""State that the workers of a gateway share: budgets, limits, keys, sessions and cached answers."""

from aamc_gateway.access.shared.operations import Claim, Exceeded
from aamc_gateway.access.shared.state import SharedState, open_shared

__all__ = ["Claim", "Exceeded", "SharedState", "open_shared"]
