"""Format ``embedllm``: small files made here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aamc_datasets.published.embedllm import EmbedLLM
from aamc_datasets.published.score_table import CostOptions

from aamc_sdk import Dataset, Services
from aamc_sdk.errors import DataError

HEADER = "question_id,question,model_id,label\n"
ROWS = HEADER + "7,xxxx,a,1\n8,y,b,0\n7,xxxx,b,1\n"
Write = Callable[[str, str], Path]


def read(file: Path, services: Services, **options: Any) -> Dataset:
    return EmbedLLM(CostOptions(**options), services).read(str(file))


def test_rows_become_a_table_with_missing_cells(write: Write, services: Services) -> None:
    dataset = read(write("train.csv", ROWS), services)
    assert dataset.outcomes is not None
    assert dataset.pool is not None
    assert dataset.pool.names == ("a", "b")
    assert [query.text for query in dataset.queries] == ["xxxx", "y"]
    assert dataset.labels.category is None
    np.testing.assert_array_equal([[1, 1], [np.nan, 0]], dataset.outcomes.quality)


def test_published_names_of_columns_are_known(write: Write, services: Services) -> None:
    header = "prompt_id,model_id,category_id,label,prompt,model_name,category\n"
    dataset = read(write("train.csv", header + "7,0,3,1,xxxx,org__a,law\n7,1,3,0,xxxx,org__b,law\n"), services)
    assert dataset.outcomes is not None
    assert dataset.pool is not None
    assert dataset.pool.names == ("org__a", "org__b")
    assert list(dataset.labels.category) == ["law"]  # type: ignore[arg-type]  # labelled
    np.testing.assert_array_equal([[1, 0]], dataset.outcomes.quality)


def test_without_prices_every_candidate_costs_the_same_and_it_is_said(write: Write, services: Services) -> None:
    dataset = read(write("train.csv", ROWS), services)
    assert dataset.outcomes is not None
    np.testing.assert_allclose([[257e-6, 257e-6], [np.nan, 257e-6]], dataset.outcomes.cost_usd)
    assert dataset.cost_note.endswith("every candidate is taken to cost 1 USD per million tokens, so cost does not distinguish candidates")


def test_prices_are_those_of_the_options_for_all_candidates_or_none(write: Write, services: Services) -> None:
    file, prices = write("train.csv", ROWS), {"a": {"input": 1.0, "output": 2.0}, "b": {"input": 10.0, "output": 20.0}}
    dataset = read(file, services, prices=prices)
    assert dataset.outcomes is not None
    np.testing.assert_allclose([513e-6, 5130e-6], dataset.outcomes.cost_usd[0])
    assert "tells none apart" not in dataset.cost_note
    with pytest.raises(DataError, match=r"train\.csv: candidate 'b' has no price \(1 of 2 have none\)"):
        read(file, services, prices={"a": prices["a"]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "question_id,question,model,label\n1,q,a,1\n",
            r"no column 'model_id'; did you mean 'model'\? \(it has: label, model, question, question_id\)",
        ),
        (HEADER + "1,q,a,2\n", "column 'label', row 1: it must be a number from 0 to 1, not 2.0"),
        (HEADER + "1,,a,1\n", "column 'question', row 1 must be a text that is not empty"),
        (HEADER + "1,q,,1\n", "column 'model_id', row 1 must be a name or a number, not ''"),
        (HEADER + "1,q,a,1\n1,r,b,1\n", r"train\.csv: question '1' has two texts, 'q' and 'r'"),
        ("model_a,model_b,prompt,winner\na,b,q,tie\n", "no column 'question_id'.*looks like format arena"),
    ],
)
def test_bad_files_are_refused(write: Write, services: Services, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write("train.csv", content), services)
