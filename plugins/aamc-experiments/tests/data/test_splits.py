from __future__ import annotations

from collections.abc import Sequence

import attrs
import hypothesis
import numpy as np
import pytest
from aamc_experiments.data import (
    Groups,
    about_split,
    check_same_candidates,
    check_unchanged,
    fit_to_pool,
    read_splits,
    read_whole,
    split_hash,
    split_rows,
)
from aamc_experiments.settings import Source, read_settings
from hypothesis import strategies as st

from aamc_sdk import Candidate, Dataset, Decision, Estimates, Experience, Feedback, Outcomes, Pool, Preference, Query
from aamc_sdk.errors import DataError, PluginError
from aamc_sdk.types import Record

QUERIES = [Query(f"question {n}") for n in range(1000)]
NAMES = [query.text for query in QUERIES]
TEMPLATES = (
    "which {} did the old captain of the harbour take with him on his last journey?",
    "please name a {} that a sailor of the old harbour town would know",
)
ASKED = [template.format(word) for template in TEMPLATES for word in ("boat", "boats", "map", "lantern", "lanterns", "rope", "ropes", "flag")]


class Given:
    """A format that returns what it was given."""

    def __init__(self, read):
        self._read = read

    def read(self, path):
        return self._read


def given(**read):
    """Return what makes readers, by the source's name."""
    return lambda source: Given(read[source.name])


def table(names: str, rows: int = 2) -> Dataset:
    values = np.arange(rows * len(names), dtype=float).reshape(rows, len(names)) / 10
    return Dataset(QUERIES[:rows], Pool(Candidate(name) for name in names), Outcomes(values, values, values), source="table")


def test_shares_are_seventy_ten_twenty_and_every_row_is_on_one_side() -> None:
    rows = split_rows(NAMES, seed=0)
    assert sorted(np.concatenate(list(rows.values()))) == list(range(1000))
    assert len(rows["train"]) == pytest.approx(700, abs=50)
    assert len(rows["validation"]) == pytest.approx(100, abs=35)
    assert len(rows["test"]) == pytest.approx(200, abs=45)


def test_a_group_stays_on_its_side_whatever_stands_beside_it() -> None:
    alone = split_rows(NAMES[:500], seed=3)
    among = split_rows(NAMES, seed=3)
    for side, rows in alone.items():
        assert set(rows) <= set(among[side])


def test_repeated_questions_are_never_on_two_sides() -> None:
    repeated = [Query(f"Question  {n % 100}".lower() if n % 2 else f"QUESTION {n % 100}") for n in range(600)]
    splits = read_splits(read_settings({"dataset": "a"}), given(a=Dataset(repeated)))
    sides = [{int(query.text.split()[1]) for query in split.queries} for split in splits.values()]
    assert sum(map(len, sides)) == 100
    assert sum(map(len, splits.values())) == 600


def texts_of(splits) -> dict[str, set[str]]:
    return {name: {query.text for query in split.queries} for name, split in splits.items()}


@hypothesis.given(st.permutations(range(len(ASKED))), st.integers(0, 5))
@hypothesis.settings(max_examples=15, deadline=None)
def test_near_duplicates_are_on_one_side_and_the_order_of_rows_changes_nothing(order, seed) -> None:
    rows = [Query(text) for text in (*ASKED, *NAMES[:60])]
    settings = read_settings({"dataset": "a", "seed": seed})
    expected = read_splits(settings, given(a=Dataset(rows)))
    actual = read_splits(settings, given(a=Dataset([rows[row] for row in order] + rows[len(ASKED) :])))
    assert texts_of(actual) == texts_of(expected)
    groups = Groups.of(*expected.values())
    sides = [set(groups.names(split)) for split in expected.values()]
    assert len(set.union(*sides)) == sum(map(len, sides)) < len(rows)


def test_rows_of_a_split_know_their_near_duplicates_in_it() -> None:
    splits = read_splits(read_settings({"dataset": "a"}), given(a=Dataset([Query(text) for text in (*ASKED, *NAMES[:60])])))
    groups = Groups.of(*splits.values())
    for split in splits.values():
        names = groups.names(split)
        assert split.question_groups is not None
        assert [names.index(name) for name in names] == [split.question_groups.tolist().index(number) for number in split.question_groups]
    users = Dataset(QUERIES[:9], groups=[f"user {row % 3}" for row in range(9)])
    assert read_splits(read_settings({"dataset": "a"}), given(a=users))["train"].question_groups is None


def test_near_duplicates_of_what_is_tested_are_left_out_of_training_and_said(caplog) -> None:
    settings = read_settings({"dataset": "a", "test_dataset": "b"})
    rows = Dataset([*QUERIES[:100], Query(ASKED[0]), Query(ASKED[-1])])
    splits = read_splits(settings, given(a=rows, b=Dataset([Query(ASKED[0].upper() + " Thanks!")])))
    kept = texts_of(splits)["train"] | texts_of(splits)["validation"]
    assert kept == {*NAMES[:100], ASKED[-1]}
    assert "1 of " in caplog.text
    assert "left out: held-out questions or near-duplicates of them" in caplog.text


def test_a_divided_dataset_loses_training_rows_that_are_near_duplicates_of_held_out_ones() -> None:
    parts = {"train": [*NAMES[:5], ASKED[0]], "validation": NAMES[5:8], "test": [ASKED[1], *NAMES[8:10]]}
    splits = read_splits(read_settings({"dataset": "a"}), given(a={name: Dataset([Query(text) for text in part]) for name, part in parts.items()}))
    assert texts_of(splits) == {name: set(part) - {ASKED[0]} for name, part in parts.items()}


def test_a_crowd_of_near_duplicates_stays_on_one_side_and_that_is_said(caplog) -> None:
    crowd = [ASKED[0] + " please" * n for n in range(5)] * 10
    splits = read_splits(read_settings({"dataset": "a"}), given(a=Dataset([Query(text) for text in (*crowd, *NAMES[:100])])))
    assert sorted(sum(query.text.startswith("which") for query in split.queries) for split in splits.values()) == [0, 0, 50]
    assert "50 of 150 rows are near-duplicates of 'which boat" in caplog.text


def test_rows_without_text_are_no_near_duplicates_of_each_other(caplog) -> None:
    """Forgetting users leaves them in a log."""
    splits = read_splits(read_settings({"dataset": "a"}), given(a=Dataset([*QUERIES[:200], *[Query("")] * 100])))
    counts = {name: sum(not query.text for query in split.queries) for name, split in splits.items()}
    assert counts == {"train": pytest.approx(70, abs=15), "validation": pytest.approx(10, abs=8), "test": pytest.approx(20, abs=12)}
    assert sum(counts.values()) == 100
    assert caplog.text == ""


def test_one_row_is_no_crowd(caplog) -> None:
    read_splits(read_settings({"dataset": "a", "test_dataset": "b", "seed": 3}), given(a=Dataset(QUERIES[:8]), b=Dataset([Query("other")])))
    assert caplog.text == ""


def test_rows_that_are_all_one_question_cannot_be_divided() -> None:
    crowd = Dataset([Query(ASKED[0] + " please" * n) for n in range(5)])
    with pytest.raises(DataError, match="5 rows with 1 different question, near-duplicates counted once, are too few"):
        read_splits(read_settings({"dataset": "a"}), given(a=crowd))


def test_another_seed_divides_otherwise() -> None:
    assert set(split_rows(NAMES, 0)["test"]) != set(split_rows(NAMES, 1)["test"])


def test_too_few_rows_to_divide_is_an_error() -> None:
    with pytest.raises(DataError, match=r"too few to divide; give more, or name a --test-dataset$"):
        split_rows(NAMES[:1], seed=0)
    with pytest.raises(DataError, match=r"too few to divide; give more$"):  # one was named already
        split_rows(NAMES[:1], seed=0, test=0.0)


def test_with_a_test_dataset_the_data_is_all_for_training() -> None:
    settings = read_settings({"dataset": "a", "test_dataset": "b"})
    splits = read_splits(settings, given(a=Dataset(QUERIES), b=Dataset([Query("other")])))
    assert [query.text for query in splits["test"].queries] == ["other"]
    assert len(splits["train"]) + len(splits["validation"]) == 1000


def test_a_divided_dataset_stays_as_it_is() -> None:
    parts = {name: Dataset([Query(name)]) for name in ("train", "validation", "test")}
    splits = read_splits(read_settings({"dataset": "a"}), given(a=parts))
    assert {name: split.queries[0].text for name, split in splits.items()} == {name: name for name in parts}


def test_questions_that_are_tested_are_left_out_of_training_and_said(caplog) -> None:
    settings = read_settings({"dataset": "a", "test_dataset": "b"})
    splits = read_splits(settings, given(a=Dataset(QUERIES), b=Dataset([Query("QUESTION  7"), Query("question 8")])))
    kept = {query.text for name in ("train", "validation") for query in splits[name].queries}
    assert kept == {query.text for query in QUERIES} - {"question 7", "question 8"}
    assert "left out: held-out questions" in caplog.text


def test_testing_on_all_training_questions_is_an_error() -> None:
    settings = read_settings({"dataset": "a", "test_dataset": "a"})
    with pytest.raises(DataError, match="no row of its own"):
        read_splits(settings, given(a=Dataset(QUERIES)))


def test_an_empty_dataset_is_an_error() -> None:
    with pytest.raises(DataError, match="no rows"):
        read_splits(read_settings({"dataset": "a"}), given(a=Dataset([])))


def test_a_table_is_brought_into_the_pools_order() -> None:
    fitted = fit_to_pool(table("abc"), Pool([Candidate("c"), Candidate("a")]))
    assert fitted.outcomes is not None
    np.testing.assert_array_equal(fitted.outcomes.cost_usd, [[0.2, 0.0], [0.5, 0.3]])


def test_a_table_without_one_of_the_candidates_is_refused() -> None:
    with pytest.raises(DataError, match="no outcomes for d"):
        fit_to_pool(table("abc"), Pool([Candidate("d")]))


def test_a_test_table_with_a_stranger_is_refused() -> None:
    with pytest.raises(DataError, match="outcomes of c"):
        check_same_candidates(table("abc"), Pool([Candidate("a"), Candidate("b")]))


def test_a_splits_hash_follows_its_questions_and_their_order() -> None:
    assert split_hash(Dataset(QUERIES[:3])) == split_hash(Dataset(QUERIES[:3]))
    assert split_hash(Dataset(QUERIES[:3])) != split_hash(Dataset(QUERIES[2::-1]))


def test_a_source_reads_its_format_and_path() -> None:
    assert Source.of("outcomes:a:b", "x").path == "a:b"


def test_messages_name_the_log_of_a_split_without_its_password() -> None:
    for read in (Dataset([]), {"train": table("ab")}):
        with pytest.raises(DataError, match=r"^log:postgres://host/log (has no rows|lacks the)"):
            read_whole(Source.of("log:postgres://ann:secret@host/log", "x"), given(log=read))


@pytest.mark.parametrize("name", ["", "test"])
def test_steps_of_orchestrators_are_left_out_of_a_log_and_their_agents_out_of_its_pool(caplog: pytest.LogCaptureFixture, name: str) -> None:
    steps = [Decision(f"s{n}", "agent", 0.5, Preference(), episode="e") for n in range(2)]
    records = [Record.of_step(step, query, ["agent", "stop"]) for step, query in zip(steps, QUERIES, strict=False)]
    chosen = Decision("d", "b", 0.5, Preference())
    records.insert(1, attrs.evolve(Record.of_step(chosen, QUERIES[2], "ab"), decision=chosen))
    judged = [Feedback(decision_id=each, quality=1.0) for each in ("s1", "d")]
    decisions, queries = [record.decision for record in records], [record.query for record in records]
    log = Experience(5, queries, Estimates.unknown(3), decisions, judged, 3, records=records)
    pool, values = Pool(map(Candidate, ["agent", "stop", "a", "b"])), np.arange(12.0).reshape(3, 4) / 12
    rows = Dataset(queries, pool, Outcomes(values, values, values), experience=log, source="LOG")
    empty = rows.take(np.array([0, 2]))
    split = {"train": rows, "validation": rows, "test": rows}
    found = read_whole(Source.of("log:LOG", "x"), given(log=split if name else rows))
    assert (list(found.queries), list(found.pool.names), [each.id for each in found.experience.decisions]) == ([QUERIES[2]], ["a", "b"], ["d"])
    assert [each.decision_id for each in found.experience.feedback] == ["d"]
    np.testing.assert_array_equal(found.outcomes.quality, values[1:2, 2:])
    assert f"{6 if name else 2} steps of orchestrators left out" in caplog.text
    where = " in its test rows" if name else ""
    with pytest.raises(DataError, match=f"LOG has only steps of orchestrators{where}; learn from them with: aamc train --from RUN --dataset log:LOG"):
        read_whole(Source.of("log:LOG", "x"), given(log={**split, "test": empty} if name else empty))


def test_what_is_said_of_a_split_follows_its_outcomes_but_not_their_last_digits() -> None:
    first, changed = table("ab"), table("ab")
    assert changed.outcomes is not None
    changed.outcomes.cost_usd[0, 0] += 1e-15
    assert about_split(first) == about_split(changed)
    changed.outcomes.cost_usd[0, 0] += 0.1
    assert about_split(first) != about_split(changed)


def test_what_is_said_of_a_split_follows_its_comparisons() -> None:
    def voted(winner: str, loser: str) -> Dataset:
        decision = Decision("1", winner, np.nan, Preference())
        log = Experience(2, QUERIES[:1], Estimates.unknown(1), [decision], [Feedback(decision_id="1", over=loser)])
        return Dataset(QUERIES[:1], experience=log)

    assert about_split(voted("a", "b")) == about_split(voted("a", "b"))
    assert about_split(voted("a", "b"))["comparisons_sha256"] != about_split(voted("b", "a"))["comparisons_sha256"]


@attrs.frozen
class Model:
    name: str
    price: float
    abilities: frozenset[str] = frozenset()
    anything: object = None


@attrs.frozen(eq=False)
class Consulted(Dataset):
    """Rows with models of their own."""

    row_fields = ("models",)
    models: Sequence[Model] = ()


def test_what_is_said_of_a_split_follows_its_right_answers_and_what_a_format_adds_to_each_row(tmp_path) -> None:
    def rows(answer: str, price: float) -> dict[str, Dataset]:
        models = [Model("small", price, frozenset({"code", "vision", "tools"}), object())]
        return {"train": Consulted(QUERIES[:1], references=[answer], models=models)}

    before = {"train": about_split(rows("Paris", 1.0)["train"])}
    check_unchanged(rows("Paris", 1.0), before, tmp_path)
    with pytest.raises(DataError, match="its train rows have other right answers; begin another run"):
        check_unchanged(rows("Rome", 1.0), before, tmp_path)
    with pytest.raises(DataError, match="its train rows have other models; begin another run"):
        check_unchanged(rows("Paris", 2.0), before, tmp_path)
    check_unchanged({"train": Dataset(QUERIES[:1])}, before, tmp_path)  # questions alone
    older = {key: before["train"][key] for key in ("queries", "sha256")}
    check_unchanged(rows("Rome", 2.0), {"train": older}, tmp_path)  # a version that did not record them


@pytest.mark.parametrize("before", [{}, {"train": 5}, {"train": None}])
def test_a_run_that_does_not_describe_a_split_is_damaged(before, tmp_path) -> None:
    with pytest.raises(DataError, match=r"run\.yaml is damaged: 'splits' does not describe the train rows; restore the file, or train again"):
        check_unchanged({"train": table("ab")}, before, tmp_path)


class Format:
    """A dataset format that returns what it is given, or raises it."""

    def __init__(self, result: object) -> None:
        self.result = result

    def read(self, path: str) -> object:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def outcomes_of(quality: float = 0.5, cost_usd: float = 0.1, latency_ms: float = 100.0, rows: int = 2) -> Dataset:
    pool = Pool([Candidate("a"), Candidate("b")])
    figures = [np.full((rows, 2), value) for value in (quality, cost_usd, latency_ms)]
    return Dataset([Query("one"), Query("two")], pool=pool, outcomes=Outcomes(*figures))


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (outcomes_of(quality=1.5), DataError, r"table:x: outcomes.quality must be from 0 to 1, or NaN where unknown, not 1\.5 \(row 0, candidate '"),
        (outcomes_of(cost_usd=-1.0), DataError, r"table:x: outcomes.cost_usd must be finite and at least 0, or NaN where unknown, not -1\.0 "),
        (outcomes_of(latency_ms=np.inf), DataError, "table:x: outcomes.latency_ms must be finite and at least 0"),
        (outcomes_of(rows=1), DataError, r"table:x: outcomes.quality must be of shape \(2, 2\) \(queries, candidates\), not \(1, 2\)"),
        ({"test": outcomes_of(quality=-0.5)}, DataError, "test of table:x: outcomes.quality must be from 0 to 1"),
        (Dataset(iter([Query("one")])), DataError, "table:x: queries must be a list of aamc_sdk.Query objects, not list_iterator"),
        (None, PluginError, r"dataset format 'table' must return aamc_sdk.Dataset, or one for each split, not NoneType"),
        ({"train": 1}, PluginError, "not int for split 'train'"),
        (ValueError("boom"), PluginError, "dataset format 'table' failed: ValueError: boom"),
        (DataError("no such file"), DataError, "^no such file$"),
    ],
)
def test_what_a_format_reads_is_checked_and_names_the_format(result: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_whole(Source("table", {}, "x"), lambda source: Format(result))


@pytest.mark.parametrize(("source", "name"), [("", "table:x"), ("one.csv", "one.csv")])
def test_a_dataset_without_a_source_is_named_by_its_format(source: str, name: str) -> None:
    read = attrs.evolve(outcomes_of(), source=source)
    assert read_whole(Source("table", {}, "x"), lambda _: Format(read)).source == name
    splits = dict.fromkeys(("train", "validation", "test"), read)
    assert read_whole(Source("table", {}, "x"), lambda _: Format(splits)).source == (name if source else f"test of {name}")
