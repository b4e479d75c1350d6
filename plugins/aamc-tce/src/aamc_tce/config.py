"""The options of the task-complexity estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
from aamc_lexical.config import LearningConfig

from aamc_sdk import option
from aamc_sdk.errors import ConfigError

RUNTIMES = ("auto", "torch", "onnx", "onnx-int8")


@attrs.frozen(kw_only=True)
class TCEConfig(LearningConfig):
    """Options of the estimator ``tce``."""

    encoder: str = option("bundled", "Text encoder: bundled, distilbert-base-uncased, bert-tiny, mobilebert, or any AutoModel name or folder.")
    runtime: str = option(
        "auto", "What computes embeddings, trained and served; auto is onnx for the bundled encoder on a CPU, else torch.", choices=RUNTIMES
    )
    fine_tune: bool = option(False, "Train the encoder along with the heads; otherwise it stays as it is.")
    lambda_c: float = option(1.0, "Weight of the complexity loss.", at_least=0)
    lambda_cat: float = option(1.0, "Weight of the category loss.", at_least=0)
    lambda_t: float = option(1.0, "Weight of the tool-use loss.", at_least=0)
    lambda_q: float = option(1.0, "Weight of the quality loss.", at_least=0)
    learning_rate: float = option(2e-5, "Greatest learning rate of a fine-tuned encoder.", above=0)
    head_learning_rate: float = option(1e-3, "Greatest learning rate of the heads.", above=0)
    weight_decay: float = option(0.01, "AdamW's weight decay.", at_least=0)
    epochs: int = option(10, "Most times that every training text is seen.", at_least=1)
    patience: int = option(3, "Epochs without a better validation loss after which training stops.", at_least=1)
    batch_size: int = option(32, "Texts that are held in memory at once in training.", at_least=1)
    gradient_accumulation: int = option(1, "Batches that make one update.", at_least=1)
    mixed_precision: str = option("auto", "Train in bfloat16: auto is where a GPU has it.", choices=("auto", "on", "off"))
    max_length: int = option(256, "Tokens of a text that are read.", at_least=8)
    layers: int = option(4, "Layers of a frozen encoder that are pooled, evenly spaced from its input to its last.", at_least=1)
    dimensions: int = option(256, "Principal components of a frozen encoder's embedding that are kept.", at_least=1)
    hidden: int = option(256, "Units of the heads' hidden layer.", at_least=1)
    dropout: float = option(0.1, "Share of units left out in a training step.", at_least=0, at_most=0.9)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"max_length": 128, "max_train_texts": 3000},
        "full": {},
        "paper": {"encoder": "distilbert-base-uncased", "fine_tune": True, "folds": 2},
    }

    def __attrs_post_init__(self) -> None:
        if self.fine_tune and self.runtime == "onnx-int8":
            raise ConfigError("runtime onnx-int8 needs heads that are trained on it, and fine_tune trains them on full precision; use runtime: onnx")
