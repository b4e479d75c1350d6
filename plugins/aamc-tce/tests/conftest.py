"""Small real models and datasets, and no cache outside the tests' own folder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aamc_tce.config import TCEConfig
from aamc_tce.estimator import TaskComplexityEstimator

from aamc_sdk import Dataset, Labels, ModelSpec, Outcomes, Pool, Prices, Query
from aamc_sdk.interfaces import Services
from aamc_sdk.routing import LinearReward

WORDS = ("sort", "list", "python", "function", "sum", "number", "add", "multiply", "poem", "story", "river", "love", "please", "now", "a", "the")
TOPICS = {"code": WORDS[:4], "maths": WORDS[4:8], "writing": WORDS[8:12]}
STRENGTHS = {"coder": (0.9, 0.3, 0.2), "sage": (0.3, 0.9, 0.4), "poet": (0.2, 0.3, 0.9)}
"""How often each candidate succeeds at each topic."""


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AAMC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def pool() -> Pool:
    descriptions = ("writes programs and code", "solves mathematics", "writes poems and stories")
    return Pool(
        ModelSpec(name, text, prices=Prices(price, price)) for name, text, price in zip(STRENGTHS, descriptions, (1.0, 2.0, 4.0), strict=True)
    )


@pytest.fixture(scope="session")
def make_dataset(pool: Pool) -> Callable[..., Dataset]:
    """Return a maker of texts about three topics, whose labels and outcomes follow from the topic."""

    def make(rows: int, seed: int = 0, labels: bool = True, outcomes: bool = True) -> Dataset:
        generator = np.random.default_rng(seed)
        topic = generator.integers(3, size=rows)
        names = np.array(list(TOPICS))[topic]
        texts = [" ".join((*generator.choice(TOPICS[name], 4), *generator.choice(WORDS[12:], 3), str(seed), str(n))) for n, name in enumerate(names)]
        chances = np.array(list(STRENGTHS.values())).T[topic]
        quality = (generator.random(chances.shape) < chances).astype(float)
        return Dataset(
            queries=[Query(text) for text in texts],
            pool=pool,
            outcomes=Outcomes(quality, np.ones_like(quality), np.ones_like(quality)) if outcomes else None,
            labels=Labels(complexity=np.array((0.9, 0.5, 0.1))[topic], category=names, tool_use=(topic == 0).astype(float)) if labels else Labels(),
        )

    return make


def _save_words(folder: Path) -> int:
    """Write a tokenizer of whole words to a folder and return the size of its vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: place for place, word in enumerate(("[PAD]", "[UNK]", *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return len(vocabulary)


@pytest.fixture(scope="session")
def tiny_distilbert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of a real DistilBERT with two small layers and a word vocabulary."""
    import torch
    from transformers import DistilBertConfig, DistilBertModel

    folder = tmp_path_factory.mktemp("distilbert")
    size = _save_words(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = DistilBertConfig(vocab_size=size, dim=16, hidden_dim=32, n_layers=2, n_heads=2, max_position_embeddings=32)
        DistilBertModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of a real RoBERTa without a pooler, as many masked language models are published."""
    import torch
    from transformers import RobertaConfig, RobertaModel

    folder = tmp_path_factory.mktemp("roberta")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 34}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        RobertaModel(RobertaConfig(vocab_size=_save_words(folder), pad_token_id=1, **sizes), add_pooling_layer=False).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def make_estimator(pool: Pool, tiny_distilbert: str) -> Callable[..., TaskComplexityEstimator]:
    """Return a maker of estimators on the tiny encoder."""

    def make(seed: int = 0, **options: Any) -> TaskComplexityEstimator:
        services = Services(pool=pool, reward=LinearReward(), make=lambda *_: None, seed=seed, device="cpu")
        return TaskComplexityEstimator(TCEConfig(**({"encoder": tiny_distilbert, "max_length": 16} | options)), services)

    return make
