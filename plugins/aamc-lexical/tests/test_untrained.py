"""The estimator ``lexical`` before it is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from aamc_lexical.config import LexicalConfig
from aamc_lexical.lexicon import hashed_embedding

from aamc_sdk import MetaController, Query
from aamc_sdk.errors import EstimatesError

CONFIG = LexicalConfig()


def test_texts_with_words_in_common_are_nearer_than_others() -> None:
    code, same, poem = hashed_embedding(["sort a list in python", "sort this python list", "write a poem about love"], CONFIG)
    assert code @ same > 0.5 > code @ poem


def test_products_are_on_average_those_of_the_terms_weights() -> None:
    words = LexicalConfig(word_run=1, character_run=0, dimensions=4096)
    one, other = hashed_embedding([" ".join(f"w{n}" for n in range(100)), " ".join(f"w{n}" for n in range(70, 170))], words)
    assert one @ other == pytest.approx(0.3, abs=0.05)
    assert one @ one == pytest.approx(1.0)


def test_a_text_without_terms_is_at_zero_and_no_text_is_no_row() -> None:
    assert not hashed_embedding([""], CONFIG).any()
    assert hashed_embedding([], CONFIG).shape == (0, CONFIG.dimensions)


def test_the_first_and_the_last_characters_are_read_without_regard_to_case() -> None:
    short = LexicalConfig(max_characters=8)
    first, second, other = hashed_embedding(["sort many long lists", "SORT a poem or LISTS", "sort many long poems"], short)
    assert first.tolist() == second.tolist() != other.tolist()


def test_it_says_what_needs_no_training(make_estimator, pool) -> None:
    estimator = make_estimator()
    estimates = estimator.estimate([Query("sort a list"), Query("a poem")])
    assert estimates.embedding.shape == (2, CONFIG.dimensions)
    assert np.isnan(estimates.complexity).all()
    assert estimates.category_names == ()
    assert estimator.quality(estimates, pool) is None
    assert estimates.fingerprint == make_estimator().estimate([]).fingerprint != make_estimator(dimensions=8).estimate([]).fingerprint


def test_there_is_nothing_to_save(make_estimator, tmp_path: Path) -> None:
    with pytest.raises(EstimatesError, match="lexical has not been trained; train it with: aamc train --estimator lexical"):
        make_estimator().save(tmp_path)


@pytest.mark.parametrize("router", ["thompson", "linear-thompson"])
def test_a_bandit_embedded_with_it_decides_learns_and_goes_on_after_a_restart(router: str, tmp_path: Path) -> None:
    def build() -> MetaController:
        return MetaController.build(router=router, estimator="lexical", pool="default", store=f"sqlite:{tmp_path / 'state.db'}", seed=0)

    with build() as controller:
        for n in range(20):
            decision = controller.route("Sort a list in Python", user="anna", decision_id=f"d{n}")
            controller.feedback(decision.id, quality=float(decision.candidate == "LLM-Code"))
        controller.learner.flush()
        before = controller.route("Sort a list in Python", user="anna", decision_id="before").probabilities
    with build() as controller:
        controller.learner.flush()
        assert controller.route("Sort a list in Python", user="anna", decision_id="after").probabilities == before
    assert max(before, key=before.get) == "LLM-Code"


def test_a_router_that_needs_expected_quality_says_so() -> None:
    wanted = "an estimator trained on outcomes"
    with (
        MetaController.build(router="greedy", estimator="lexical") as controller,
        pytest.raises(EstimatesError, match=wanted),
    ):
        controller.route("Sort a list in Python")
