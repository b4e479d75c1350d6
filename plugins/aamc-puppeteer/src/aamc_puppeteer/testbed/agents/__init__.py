"""Rule-based agents that solve the testbed's suites without a model. They understand the suites' sentences and nothing else."""

TOOLS = ("calculator", "checker", "extractor", "parser", "python", "retriever", "reviser", "strings", "table")
"""Names of the agents that solve the generated suites together, without a model."""
