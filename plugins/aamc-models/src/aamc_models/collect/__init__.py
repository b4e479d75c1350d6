"""A first outcome dataset from a user's own models: every model answers every prompt, and a judge scores the answers."""

from aamc_models.collect.budget import CollectionBudget
from aamc_models.collect.collector import Collection, Collector
from aamc_models.collect.judges import Judge, make_judge
from aamc_models.collect.ledger import CallLedger, LedgerEntry
from aamc_models.collect.prompts import Prompt, read_prompts

__all__ = ["CallLedger", "Collection", "CollectionBudget", "Collector", "Judge", "LedgerEntry", "Prompt", "make_judge", "read_prompts"]
