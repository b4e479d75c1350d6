"""The components of aamc-datasets."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_datasets() -> list[Component]:
    """Return the dataset formats."""
    return [
        Component("synthetic", "aamc_datasets.synthetic:Synthetic", "Labelled texts composed from a grammar, or CSV files of such texts."),
        Component("outcomes", "aamc_datasets.outcomes:OutcomesFormat", "Measured outcomes in the native format: JSON lines or Parquet."),
        Component("llmrouter", "aamc_datasets.published.llmrouter:LLMRouter", "LLMRouter's folder of outcomes.json and llm_candidates.json."),
        Component("routellm", "aamc_datasets.published.routellm:RouteLLM", "RouteLLM's CSV files of right and wrong answers, and mt_bench.jsonl."),
        Component("routerarena", "aamc_datasets.published.routerarena:RouterArena", "RouterArena's folder of evaluated answers, one file per model."),
        Component("routerbench", "aamc_datasets.published.routerbench:RouterBench", "RouterBench's scores and costs as CSV or Parquet."),
        Component("llmrouterbench", "aamc_datasets.published.llmrouterbench:LLMRouterBench", "LLMRouterBench's folder of results, one file per run."),
        Component("embedllm", "aamc_datasets.published.embedllm:EmbedLLM", "EmbedLLM's right and wrong answers, one row per answer."),
        Component("arena", "aamc_datasets.published.arena_votes:ArenaVotes", "Chatbot Arena's votes, for routers that learn from comparisons."),
        Component("log", "aamc_datasets.log:LogFormat", "A decision log: served decisions, their attempts and feedback."),
    ]


@hookimpl
def aamc_stores() -> list[Component]:
    """Return the store that reads exported logs."""
    return [Component("parquet", "aamc_datasets.parquet_log:ParquetStore", "Exported Parquet files, for reading; parquet:FOLDER.")]


@hookimpl
def aamc_commands() -> list[Component]:
    """Return the commands about data."""
    return [
        Component("data generate", "aamc_datasets.data_commands:generate", "Write a synthetic dataset as train.csv, val.csv and test.csv."),
        Component("data fetch", "aamc_datasets.downloads:fetch_datasets", "Download public question-answering datasets."),
        Component("data inspect", "aamc_datasets.data_commands:inspect", "Summarise datasets, and count questions shared by two of them."),
        Component("data convert", "aamc_datasets.data_commands:convert", "Write a dataset with outcomes in the native format."),
    ]
