"""Dataset format ``interactions``: queries of users, the models that answered, and the ratings of the answers."""

from aamc_gmtrouter.interactions.reader import Interactions, InteractionsOptions

__all__ = ["Interactions", "InteractionsOptions"]
