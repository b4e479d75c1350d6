"""Format ``synthetic``: splits, seeds, files, and whether it can be learned."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aamc_datasets.synthetic.composition import CATEGORIES
from aamc_datasets.synthetic.synthetic_format import FILES, Synthetic, SyntheticOptions, compose_splits, read_labelled, split_of, write_labelled
from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]  # it ships no types
from sklearn.linear_model import LogisticRegression, Ridge  # type: ignore[import-untyped]  # likewise

from aamc_sdk import Dataset, Query, Services
from aamc_sdk.config import configure
from aamc_sdk.errors import ConfigError, DataError

SIZES = {"train": 300, "validation": 80, "test": 120}
HEADER = "text,complexity,category,tool_use\n"
Write = Callable[[str, str], Path]


def keys(dataset: Dataset) -> set[str]:
    return {" ".join(query.text.split()).lower() for query in dataset.queries}


def test_splits_have_the_sizes_asked_for_and_share_no_text() -> None:
    splits = compose_splits(SIZES, seed=1)
    assert {split: len(dataset) for split, dataset in splits.items()} == SIZES
    assert sum(SIZES.values()) == len(set.union(*(keys(dataset) for dataset in splits.values())))


def test_a_training_text_is_a_test_text_of_no_other_seed_or_size() -> None:
    for seed, sizes in ((1, SIZES), (2, {"train": 10, "validation": 400, "test": 20})):
        for split, dataset in compose_splits(sizes, seed).items():
            assert {split} == {split_of(key) for key in keys(dataset)}


def test_a_larger_size_only_adds_texts() -> None:
    small, large = compose_splits(SIZES, seed=4), compose_splits({**SIZES, "train": 500}, seed=4)
    assert small["train"].queries == large["train"].queries[:300]


def test_the_runs_seed_is_used_unless_the_configuration_has_one(services: Services) -> None:
    sizes = {"n_train": 20, "n_validation": 5, "n_test": 5}
    by_run = Synthetic(SyntheticOptions(**sizes), services).read("")
    by_option = Synthetic(SyntheticOptions(**sizes, seed=9), services).read("")
    assert isinstance(by_run, dict)
    assert isinstance(by_option, dict)
    assert compose_splits({"train": 20, "validation": 5, "test": 5}, services.seed)["test"].queries == by_run["test"].queries
    assert compose_splits({"train": 20, "validation": 5, "test": 5}, 9)["test"].queries == by_option["test"].queries


def test_preset_quick_is_smaller_than_the_default() -> None:
    assert configure(SyntheticOptions, {}, preset="quick").n_train < SyntheticOptions().n_train
    assert SyntheticOptions() == configure(SyntheticOptions, {}, preset="paper")


@pytest.mark.parametrize("option", [{"n_train": 0}, {"n_test": -1}, {"n_validation": 2.5}, {"seed": -1}, {"n_train": 10**9}])
def test_sizes_that_make_no_sense_are_refused(option: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        configure(SyntheticOptions, option)


def test_files_come_back_as_they_were_written(tmp_path: Path, services: Services) -> None:
    splits = compose_splits(SIZES, seed=1)
    for split, name in FILES.items():
        write_labelled(tmp_path / name, splits[split])
    read = Synthetic(SyntheticOptions(), services).read(str(tmp_path))
    assert isinstance(read, dict)
    for split, dataset in splits.items():
        assert dataset.queries == read[split].queries
        for label in ("complexity", "category", "tool_use"):
            np.testing.assert_array_equal(getattr(dataset.labels, label), getattr(read[split].labels, label))


def test_one_csv_file_is_one_dataset(write: Write, services: Services) -> None:
    path = write("own.csv", 'category,text,tool_use,complexity\nmath,"Add 2, 3",1,0.25\n')
    dataset = Synthetic(SyntheticOptions(), services).read(str(path))
    assert isinstance(dataset, Dataset)
    assert [Query("Add 2, 3")] == dataset.queries
    assert (dataset.labels.complexity[0], dataset.labels.category[0], dataset.labels.tool_use[0]) == (0.25, "math", 1.0)  # type: ignore[index]  # labelled


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; give a header"),
        (HEADER, "no row"),
        ("txt,complexity,category,tool_use\na,1,b,0\n", "no column 'text'; did you mean 'txt'"),
        ("prompt,gpt-4\nq,True\n", "its header must be .*; it looks like format routellm: --dataset routellm:"),
        ("text," + HEADER + "a,b,0.5,math,1\n", "more than one column text"),
        (HEADER + "a,0.5,math\n", "line 2 does not have as many fields"),
        (HEADER + "a,0.5,math,1,1\n", "line 2 has more fields than the header"),
        (HEADER + "a,0.5,math,1\n ,0.5,math,1\n", "line 3 has an empty text"),
        (HEADER + "a,0.5,,1\n", "empty category"),
        (HEADER + "a,1.5,math,1\n", "complexity must be a number from 0 to 1, not '1.5'"),
        (HEADER + "a,nan,math,1\n", "complexity must be a number from 0 to 1, not 'nan'"),
        (HEADER + "a,high,math,1\n", "not 'high'"),
        (HEADER + "a,0.5,math,maybe\n", "tool_use must be 0 or 1, not 'maybe'"),
        (HEADER + '"a,0.5,math,1\n', "is not valid CSV"),
        (HEADER + "a" * 200_000 + ",0.5,math,1\n", "line 2.* field larger than"),
    ],
)
def test_a_bad_csv_file_is_refused_with_its_line(write: Write, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_labelled(write("bad.csv", content))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match=r"cannot read .*bad\.csv"):
        read_labelled(tmp_path / "bad.csv")


def test_paths_of_nothing_or_of_another_format_are_refused(write: Write, tmp_path: Path, services: Services) -> None:
    synthetic = Synthetic(SyntheticOptions(), services)
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        synthetic.read(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"no train\.csv.*aamc data generate"):
        synthetic.read(str(tmp_path))
    with pytest.raises(DataError, match=r"looks like format outcomes: --dataset outcomes:"):
        synthetic.read(str(write("rows.jsonl", '{"query": "a", "outcomes": {}}')))
    write("llm_candidates.json", "{}")
    with pytest.raises(DataError, match=r"looks like format llmrouter: --dataset llmrouter:"):
        synthetic.read(str(tmp_path))


def test_a_dataset_without_labels_cannot_be_written_as_csv(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="complexity, category and tool_use"):
        write_labelled(tmp_path / "x.csv", Dataset([Query("a")]))
    assert list(tmp_path.iterdir()) == []


def test_labels_can_be_learned_from_the_text_but_not_perfectly() -> None:
    splits = compose_splits({"train": 2_000, "validation": 1, "test": 600}, seed=0)
    vectorizer = TfidfVectorizer()
    train = vectorizer.fit_transform([query.text for query in splits["train"].queries])
    test = vectorizer.transform([query.text for query in splits["test"].queries])
    fit, true = splits["train"].labels, splits["test"].labels
    accuracy = LogisticRegression(C=10, max_iter=300).fit(train, fit.category).score(test, true.category)
    assert 0.85 < accuracy < 1.0
    assert 0.5 < Ridge().fit(train, fit.complexity).score(test, true.complexity) < 1.0


def test_equal_shares_of_all_categories_change_no_text() -> None:
    sizes = {"train": 50, "validation": 1, "test": 1}
    default, empty, equal = (compose_splits(sizes, 3, shares)["train"] for shares in (None, {}, dict.fromkeys(CATEGORIES, 2.0)))
    assert default.queries == empty.queries == equal.queries


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"maths": 1}, "no texts of category 'maths' can be generated; did you mean 'math'.*--dataset synthetic:FILE"),
        ({"math": -1}, "the share of 'math' must be a finite number of at least 0, not -1"),
        ({"math": 0}, "at least one category needs a share above 0"),
    ],
)
def test_shares_that_mean_nothing_are_refused(shares: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SyntheticOptions(shares=shares)
