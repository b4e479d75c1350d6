"""State that the workers of a gateway share: budgets, limits, keys, sessions and cached answers."""

from aamc_gateway.access.shared.operations import Claim, Exceeded, decoded
from aamc_gateway.access.shared.state import LASTING, NO_LIMIT, SharedState, is_lasting, open_shared, state_store

__all__ = ["LASTING", "NO_LIMIT", "Claim", "Exceeded", "SharedState", "decoded", "is_lasting", "open_shared", "state_store"]
