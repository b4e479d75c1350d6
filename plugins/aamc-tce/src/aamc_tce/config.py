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

    encoder: str = option("bundled", "Text encoder: bundled, distilbert-base-uncased, bert-tiny, mobilebert, or the name or folder of any AutoModel.")
    runtime: str = option(
        "auto",
        "Engine that computes embeddings, in training and serving; auto is onnx for the bundled encoder on a CPU, else torch.",
        choices=RUNTIMES,
    )
    fine_tune: bool = option(False, "Train the encoder together with the heads; otherwise only the heads.")
    lambda_c: float = option(1.0, "Weight of the complexity loss.", at_least=0)
    lambda_cat: float = option(1.0, "Weight of the category loss.", at_least=0)
    lambda_t: float = option(1.0, "Weight of the tool-use loss.", at_least=0)
    lambda_q: float = option(1.0, "Weight of the quality loss.", at_least=0)
    learning_rate: float = option(2e-5, "Maximum learning rate of a fine-tuned encoder.", above=0)
    head_learning_rate: float = option(1e-3, "Maximum learning rate of the heads.", above=0)
    weight_decay: float = option(0.01, "Weight decay of AdamW; biases and layer norms have none.", at_least=0)
    epochs: int = option(10, "Maximum number of passes over the training texts.", at_least=1)
    patience: int = option(3, "Epochs without a lower validation loss before training stops.", at_least=1)
    batch_size: int = option(32, "Texts per forward pass in training.", at_least=1)
    gradient_accumulation: int = option(1, "Batches per update.", at_least=1)
    mixed_precision: str = option(
        "auto",
        "Number format of a fine-tuning's forward passes; auto is bfloat16 on a GPU that computes it, float16 on any other, never on a CPU.",
        choices=("auto", "bfloat16", "float16", "never"),
    )
    max_length: int = option(256, "Maximum tokens read from a text; of a longer one, half from the start and half from the end.", at_least=8)
    layers: int = option(4, "Pooled layers of a frozen encoder, evenly spaced from its input to its last layer.", at_least=1)
    dimensions: int = option(256, "Principal components kept of a frozen encoder's embedding.", at_least=1)
    hidden: int = option(256, "Units of the hidden layer of the heads.", at_least=1)
    dropout: float = option(0.1, "Dropout rate in training.", at_least=0, at_most=0.9)

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"max_length": 128, "max_train_texts": 3000},
        "full": {},
        "paper": {"encoder": "distilbert-base-uncased", "fine_tune": True, "folds": 2},
    }

    def __attrs_post_init__(self) -> None:
        if self.fine_tune and self.runtime == "onnx-int8":
            raise ConfigError("runtime onnx-int8 cannot be used with fine_tune, which trains the heads in full precision; use runtime: onnx")
