"""Texts as vectors: centred on tasks, of one length, and the same after a restart."""

from pathlib import Path

import numpy as np
import pytest
from aamc_puppeteer.policy.encoder import LENGTH
from aamc_puppeteer.policy.text_embedding import TextEmbedding

from aamc_sdk import Estimates, Estimator, Services
from aamc_sdk.errors import CheckpointError, EstimatesError
from aamc_sdk.storage import write_arrays

TASKS = ["Add one and two.", "Who wrote the book of songs?", "Reverse the word lemon."]


@pytest.fixture
def lexical(services: Services) -> Estimator:
    made: Estimator = services.make("estimator", "lexical", {})
    return made


def test_tasks_are_centred_and_as_long_as_hashed_words(lexical: Estimator) -> None:
    vectors = TextEmbedding.trained(lexical, TASKS, ["Adds numbers."])(TASKS)
    assert vectors.mean(axis=0) == pytest.approx(0.0, abs=1e-5)
    assert np.sqrt((vectors**2).sum(axis=1).mean()) == pytest.approx(LENGTH, rel=1e-5)


def test_without_tasks_other_texts_are_the_measure(lexical: Estimator) -> None:
    others = ["Adds numbers.", "Finds books.", ""]
    assert TextEmbedding.trained(lexical, [], others)(others[:2]).mean(axis=0) == pytest.approx(0.0, abs=1e-5)


def test_an_estimator_that_embeds_nothing_is_refused(services: Services) -> None:
    class Blind(Estimator):
        def estimate(self, queries):
            return Estimates.unknown(len(queries))

    with pytest.raises(EstimatesError, match="Blind"):
        TextEmbedding.trained(Blind(None, services), TASKS, [])


def test_it_is_the_same_after_a_restart_and_damage_is_found(lexical: Estimator, services: Services, tmp_path: Path) -> None:
    embedding = TextEmbedding.trained(lexical, TASKS, [])
    embedding.save(tmp_path)
    loaded = TextEmbedding.load(tmp_path, services.make("estimator", "lexical", {}))
    assert np.array_equal(loaded(TASKS), embedding(TASKS))
    for arrays in ({"centre": np.zeros(2)}, {"centre": np.full(2, np.nan), "scale": np.array(1.0)}):
        write_arrays(tmp_path / "embedding.npz", arrays)
        with pytest.raises(CheckpointError, match="damaged"):
            TextEmbedding.load(tmp_path, services.make("estimator", "lexical", {}))
