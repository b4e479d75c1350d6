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
        Component("routellm", "aamc_datasets.routellm:RouteLLM", "RouteLLM's CSV files of right and wrong answers, and mt_bench.jsonl."),
        Component("routerarena", "aamc_datasets.routerarena:RouterArena", "RouterArena's folder of evaluated answers, a file a model."),
        Component("routerbench", "aamc_datasets.routerbench:RouterBench", "RouterBench's scores and costs as CSV or Parquet."),
        Component("embedllm", "aamc_datasets.embedllm:EmbedLLM", "EmbedLLM's right and wrong answers, a row an answer."),
        Component("arena", "aamc_datasets.arena:Arena", "Chatbot Arena's votes, for routers that learn from comparisons."),
        Component("log", "aamc_datasets.log:LogFormat", "A decision log: served decisions, their attempts and feedback."),
    ]


@hookimpl
def aamc_commands() -> list[Component]:
    """Offer the commands about data."""
    return [
        Component("data generate", "aamc_datasets.commands:generate", "Write a synthetic dataset as train.csv, val.csv and test.csv."),
        Component("data inspect", "aamc_datasets.commands:inspect", "Say what is in a dataset, and what two of them share."),
        Component("data convert", "aamc_datasets.commands:convert", "Write a dataset with outcomes in the native format."),
    ]
