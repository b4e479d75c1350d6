"""What this package offers; importing it loads no format."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_datasets() -> list[Component]:
    """Offer the dataset formats."""
    return [
        Component("synthetic", "aamc_datasets.synthetic:Synthetic", "Labelled texts composed from a grammar, or CSV files of such texts."),
        Component("outcomes", "aamc_datasets.outcomes:OutcomesFormat", "Measured outcomes in the native format: JSON lines or Parquet."),
        Component("llmrouter", "aamc_datasets.llmrouter:LLMRouter", "LLMRouter's folder of outcomes.json and llm_candidates.json."),
    ]


@hookimpl
def aamc_commands() -> list[Component]:
    """Offer the command that writes synthetic datasets."""
    return [Component("data generate", "aamc_datasets.commands:generate", "Write a synthetic dataset as train.csv, val.csv and test.csv.")]
