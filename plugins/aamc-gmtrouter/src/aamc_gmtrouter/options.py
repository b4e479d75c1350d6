"""The options of router ``gmtrouter``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from aamc_sdk import option
from aamc_sdk.errors import ConfigError


@attrs.frozen(kw_only=True)
class GMTRouterConfig:
    """Options of ``gmtrouter``."""

    model: str = option(
        "combined",
        "combined: the preference model, plus the graph network if it improves predictions for new users; preference: only the preference model; "
        "graph: only the network, based on the published method.",
        choices=("combined", "preference", "graph"),
    )
    objective: str = option(
        "pairwise", "pairwise: compare the answers of a turn; absolute: compare each answer with an average model.", choices=("pairwise", "absolute")
    )
    record_per_user: int = option(10, "Number of latest turns of a user in the graph.", at_least=1)
    prediction_count: int = option(256, "Predicted pairs per training step of the graph network.", at_least=1)
    multi_turn: bool = option(True, "Link each session and turn to the next one in the graph.")
    aggregation: str = option("mean", "How the states of a user's sessions join the user's own state.", choices=("mean", "last"))
    history: int = option(64, "Number of latest turns of a user that the router keeps.", at_least=1)
    use_context: bool = option(True, "Use the text that describes the user (a leading system turn) as the user's first feature.")
    use_preferred: bool = option(True, "Use the models that a user prefers in general as weak evidence.")
    dimensions: int = option(32, "Maximum width of reduced embeddings.", at_least=1)
    steps: int = option(200, "Training steps of the graph network.", at_least=0)
    learning_rate: float = option(5e-4, "Step size of Adam for the graph network.", above=0)
    hidden: int = option(32, "Width of the graph network; a multiple of heads.", at_least=1)
    heads: int = option(4, "Attention heads of the graph network.", at_least=1)
    layers: int = option(2, "Layers of the graph transformer.", at_least=1)
    dropout: float = option(0.1, "Dropout in the graph network.", at_least=0, at_most=0.9)
    evaluate_every: int = option(20, "Training steps between two validations of the graph network.", at_least=1)
    patience: int = option(5, "Validations without a lower loss after which the graph network's training ends; 0 for all steps.", at_least=0)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "full": {"steps": 1000},
        "paper": {
            "model": "graph",
            "dimensions": 768,
            "steps": 350,
            "hidden": 256,
            "multi_turn": False,
            "evaluate_every": 5,
            "patience": 0,
        },
    }

    def __attrs_post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ConfigError(f"hidden must be a multiple of heads, not {self.hidden} with {self.heads} heads")
