"""State that the workers of a gateway share: budgets, limits, keys, sessions and cached answers."""

from aamc_gateway.access.shared.open_state import open_shared
from aamc_gateway.access.shared.operations import Claim, Exceeded, Granted
from aamc_gateway.access.shared.state import SharedState

__all__ = ["Claim", "Exceeded", "Granted", "SharedState", "open_shared"]
