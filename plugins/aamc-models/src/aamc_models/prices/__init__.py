"""List prices of models: LiteLLM's price map, and pool files that they are filled into."""

from aamc_models.prices.pool_file import PoolFile
from aamc_models.prices.price_map import ListedModel, PriceMap

__all__ = ["ListedModel", "PoolFile", "PriceMap"]
