"""The core's own commands, in a module without imports: ``aamc --version`` needs no plugins."""

COMMANDS = {
    "orchestrate": "Solve a task with an orchestrator, and print the answer.",
    "route": "Choose a candidate for one query, and explain the choice.",
    "complete": "Choose a model for one query, call it, and print its answer.",
    "explain": "Explain a logged decision.",
    "feedback": "Record feedback on decisions, and export or import their log.",
    "plugins": "List, show and check plugins.",
    "doctor": "Check the installation and suggest fixes.",
}
"""Each command and its summary."""
