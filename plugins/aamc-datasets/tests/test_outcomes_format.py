"""Format ``outcomes``: what is read, what is reckoned, what is refused."""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # likewise
import pytest
from aamc_datasets.columns import parquet_rows
from aamc_datasets.outcomes.outcome_rows import read_outcome_rows
from aamc_datasets.outcomes.outcomes_format import OutcomesFormat, write_outcomes
from hypothesis import given, settings
from hypothesis import strategies as st

from aamc_sdk import Dataset, Labels, Latency, ModelSpec, Outcomes, Pool, Prices, Query, Services
from aamc_sdk.errors import ConfigError, DataError

POOL = """
candidates:
  - {name: small, prices: {input: 1.0, output: 2.0}}
  - {name: large, prices: {input: 10.0, output: 20.0}}
"""
Write = Callable[[str, str], Path]
nan = float("nan")


@pytest.fixture
def reader(services: Services) -> OutcomesFormat:
    return OutcomesFormat(OutcomesFormat.Config(), services)


def line(query: str = "q", **outcomes: Any) -> str:
    return json.dumps({"query": query, "outcomes": outcomes}) + "\n"


def test_rows_become_a_table_in_the_pools_order(write: Write, reader: OutcomesFormat, tmp_path: Path) -> None:
    write("pool.yaml", POOL)
    measured = {"quality": 1, "cost_usd": 0.5, "latency_ms": 30}
    write("outcomes.jsonl", line("a", large=measured, small={"quality": 0.25, "cost_usd": 0.125}) + "\n" + line("b", large=measured))
    dataset = reader.read(str(tmp_path))
    assert dataset.outcomes is not None
    assert dataset.pool is not None
    assert dataset.pool.names == ("small", "large")
    np.testing.assert_array_equal([[0.25, 1], [nan, 1]], dataset.outcomes.quality)
    np.testing.assert_array_equal([[0.125, 0.5], [nan, 0.5]], dataset.outcomes.cost_usd)
    np.testing.assert_array_equal([[nan, 30], [nan, 30]], dataset.outcomes.latency_ms)
    assert dataset.complete.tolist() == [True, False]
    assert dataset.cost_note == ""


def test_a_cost_that_is_missing_is_price_times_tokens_and_said_so(write: Write, reader: OutcomesFormat, tmp_path: Path) -> None:
    write("pool.yaml", POOL)
    row = {"query": "x" * 41, "output_tokens": 100, "outcomes": {"small": {"quality": 1}, "large": {"quality": 1, "cost_usd": 0}}}
    write("outcomes.jsonl", json.dumps(row))
    dataset = reader.read(str(tmp_path))
    assert dataset.outcomes is not None
    np.testing.assert_allclose([[(11 * 1.0 + 100 * 2.0) / 1e6, 0]], dataset.outcomes.cost_usd)
    assert dataset.cost_note.startswith("1 of 2 costs were not measured and are prices times tokens")


def test_without_a_pool_candidates_are_known_by_name(write: Write, reader: OutcomesFormat) -> None:
    path = write("mine.jsonl", line("a", b={"quality": 0, "cost_usd": 1}) + line("b", a={"quality": 0, "cost_usd": 1}))
    pool = reader.read(str(path)).pool
    assert Pool([ModelSpec("b"), ModelSpec("a")]) == pool


def test_what_is_known_of_a_query_is_read(write: Write, reader: OutcomesFormat) -> None:
    row = {
        "query": "q",
        "category": "math",
        "complexity": 0.5,
        "tool_use": True,
        "reference": "42",
        "user": "u",
        "session": "s",
        "needs": ["tools"],
        "prompt_tokens": 3,
        "output_tokens": 7,
        "outcomes": {"m": {"quality": 1, "cost_usd": 1}},
    }
    dataset = reader.read(str(write("o.jsonl", json.dumps(row))))
    assert [Query("q", "u", "s", frozenset({"tools"}), 3, 7)] == dataset.queries
    assert dataset.references == ["42"]
    labels = dataset.labels
    assert (labels.complexity[0], labels.category[0], labels.tool_use[0]) == (0.5, "math", 1.0)  # type: ignore[index]  # labelled


def test_without_labels_there_are_none(write: Write, reader: OutcomesFormat) -> None:
    dataset = reader.read(str(write("o.jsonl", line(m={"quality": 1, "cost_usd": 1}))))
    assert (dataset.labels.complexity, dataset.labels.category, dataset.labels.tool_use, dataset.references) == (None, None, None, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; give at least one line"),
        ("\n\n", "is empty; give at least one line"),
        ('{"query": "a", "outc', "line 1 is not valid JSON"),
        ("[" * 100_000, "line 1 is not valid JSON"),
        (line(small={"quality": 1}) + "[1]", "line 2: must be an object"),
        ('{"qurey": "a", "outcomes": {}}', "line 1: has no 'query'; did you mean 'qurey'"),
        ('{"query": "a"}', "line 1: has no 'outcomes'"),
        (line("  ", small={"quality": 1}), "line 1: 'query' must be a text that is not empty"),
        ('{"query": 7, "outcomes": {}}', "'query' must be a text that is not empty, not 7"),
        ('{"query": "\\ud800", "outcomes": {}}', "line 1: .* valid Unicode"),
        ('{"query": "a", "outcomes": [1]}', "'outcomes' must be an object by candidate"),
        (line(small=1), "the outcome of 'small' must be an object with a quality, not 1"),
        (line(small={"qualty": 1}), "has no 'quality'; did you mean 'qualty'"),
        (line(small={"quality": 1}) + line(small={"quality": 1.5}), "line 2: quality of 'small' must be a number from 0 to 1, not 1.5"),
        (line(small={"quality": nan}), "line 1: quality of 'small' must be a number from 0 to 1, not nan; use null where it is unknown"),
        (line(small={"quality": True}), "quality of 'small' .* not True"),
        (line(small={"quality": "good"}), "quality of 'small' .* not 'good'"),
        (line(small={"quality": 1, "cost_usd": -1}), r"cost_usd of 'small' must be a number from 0 to 1e\+12, not -1"),
        (line(small={"quality": 1, "cost_usd": 10**400}), "cost_usd of 'small' must be a number"),
        (line(small={"quality": 1, "cost_usd": 1e13}), r"cost_usd of 'small' must be a number from 0 to 1e\+12, not 1"),
        ('{"query": "q", "query": "r", "outcomes": {}}', "line 1: key 'query' occurs twice in one object"),
        ('{"query": "q", "outcomes": {"small": {"quality": 1}, "small": {"quality": 0}}}', "line 1: key 'small' occurs twice"),
        (line(small={"quality": 1, "latency_ms": 1e308}), r"latency_ms of 'small' must be a number from 0 to 1e\+12, not 1e\+308"),
        (line(small={"quality": 1, "latency_ms": float("inf")}), "latency_ms of 'small' must be a number from 0 to 1e\\+12, not inf"),
        (line(small={"quality": 1}) + line(smal={"quality": 1}), "line 2: .*pool.yaml has no candidate 'smal'; did you mean 'small'"),
        (line(small={"quality": 1}), "candidate 'large' of .*pool.yaml has no outcome"),
        ('{"query": "a", "category": "\\ud800", "outcomes": {}}', "line 1: 'category' must be valid Unicode"),
        ('{"query": "a", "category": 3, "outcomes": {}}', "'category' must be a text, not 3"),
        ('{"query": "a", "compexity": 1, "outcomes": {}}', "line 1: has the unknown key 'compexity'; did you mean 'complexity'"),
        ('{"query": "a", "outcomes": {"small": {"quality": 1, "cost_us": 1}}}', "'small' has no field 'cost_us'; did you mean 'cost_usd'"),
        ('{"query": "a", "complexity": 2, "outcomes": {}}', "complexity must be a number from 0 to 1, not 2"),
        ('{"query": "a", "tool_use": "yes", "outcomes": {}}', "tool_use must be 0 or 1, not 'yes'"),
        ('{"query": "a", "needs": "tools", "outcomes": {}}', "'needs' must be a list of abilities, not 'tools'"),
        ('{"query": "a", "prompt_tokens": -1, "outcomes": {}}', "line 1: prompt_tokens must be a whole number"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(write: Write, reader: OutcomesFormat, content: str, message: str) -> None:
    write("pool.yaml", POOL)
    with pytest.raises(DataError, match=message) as error:
        reader.read(str(write("outcomes.jsonl", content)))
    assert "\n" not in str(error.value)


def test_a_line_in_another_encoding_is_named(write: Write, reader: OutcomesFormat, tmp_path: Path) -> None:
    write("pool.yaml", POOL)
    good = line(small={"quality": 1}).encode()
    (tmp_path / "outcomes.jsonl").write_bytes(b"\xef\xbb\xbf" + good + good.replace(b'"q"', "caf\u00e9".encode("latin-1").join([b'"'] * 2)))
    with pytest.raises(DataError, match=r"line 2 is not UTF-8 \(invalid continuation byte at byte 15\); give JSON lines in UTF-8"):
        reader.read(str(tmp_path / "outcomes.jsonl"))


def test_no_price_and_no_cost_names_the_candidate_and_the_line(write: Write, reader: OutcomesFormat, tmp_path: Path) -> None:
    write("outcomes.jsonl", line(m={"quality": 1, "cost_usd": 1}) + line(m={"quality": 1}))
    for _ in ("without a pool", "with a pool that has no price"):
        with pytest.raises(DataError, match="line 2: candidate 'm' has no cost_usd, and no prices"):
            reader.read(str(tmp_path))
        write("pool.yaml", "candidates: [{name: m}]")


def test_rows_without_any_candidate_are_refused(write: Write, reader: OutcomesFormat) -> None:
    with pytest.raises(DataError, match="no row has an outcome; give the quality"):
        reader.read(str(write("outcomes.jsonl", line())))


def test_paths_of_nothing_of_another_format_or_of_many_files_are_refused(write: Write, reader: OutcomesFormat, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no path was given"):
        reader.read("")
    with pytest.raises(DataError, match="nowhere does not exist"):
        reader.read(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"has no \.jsonl or \.parquet file, as format outcomes reads"):
        reader.read(str(tmp_path))
    with pytest.raises(DataError, match=r"looks like format synthetic: --dataset synthetic:"):
        reader.read(str(write("train.csv", "text,complexity,category,tool_use\n")))
    write("a.jsonl", "")
    write("b.jsonl", "")
    with pytest.raises(DataError, match=r"several files \(a\.jsonl, b\.jsonl\)"):
        reader.read(str(tmp_path))


def test_a_folder_of_another_format_is_told_apart(write: Write, reader: OutcomesFormat, tmp_path: Path) -> None:
    write("a.jsonl", '{"question": "q", "llm_selected": "m", "evaluation_result": null}')
    with pytest.raises(DataError, match=r"line 1: has no 'query'.*; it looks like format routerarena: --dataset routerarena:"):
        reader.read(str(tmp_path))
    write("b.jsonl", "")
    with pytest.raises(DataError, match=r"several files .*; it looks like format routerarena: --dataset routerarena:"):
        reader.read(str(tmp_path))


def test_rows_with_outcomes_under_another_key_than_query_look_like_no_other_format(write: Write, reader: OutcomesFormat) -> None:
    path = write("mine.jsonl", '{"prompt": "q", "outcomes": {"m": {"quality": 1, "cost_usd": 1}}}')
    with pytest.raises(DataError, match=r"line 1: has no 'query' \(it has: outcomes, prompt\)$"):
        reader.read(str(path))


@pytest.mark.parametrize("as_json_text", [False, True])
def test_parquet_gives_the_same_dataset_as_json_lines(write: Write, reader: OutcomesFormat, tmp_path: Path, as_json_text: bool) -> None:
    write("pool.yaml", POOL)
    cell = {"quality": 1.0, "cost_usd": 0.5, "latency_ms": None}
    rows: list[dict[str, Any]] = [
        {"query": "a", "category": "math", "needs": ["tools"], "outcomes": {"small": cell}},
        {"query": "b", "category": "code", "needs": None, "outcomes": {"small": cell, "large": cell}},
    ]
    expected = reader.read(str(write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))))
    table = [row | {"outcomes": json.dumps(row["outcomes"])} for row in rows] if as_json_text else rows
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "rows.parquet")
    assert_same(expected, reader.read(str(tmp_path / "rows.parquet")))


def test_token_counts_that_parquet_holds_as_floats_are_read(reader: OutcomesFormat, tmp_path: Path) -> None:
    cell = {"m": {"quality": 1.0, "cost_usd": 0.1}}
    rows = [{"query": "a", "prompt_tokens": 12.0, "output_tokens": None, "outcomes": cell}, {"query": "b", "output_tokens": 7.0, "outcomes": cell}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    first, second = reader.read(str(tmp_path / "rows.parquet")).queries
    assert (first.prompt_tokens, first.output_tokens, second.prompt_tokens, second.output_tokens) == (12, None, None, 7)
    pq.write_table(pa.Table.from_pylist([rows[0] | {"prompt_tokens": 1.5}]), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"row 1: prompt_tokens must be a whole number .*, not 1\.5"):
        reader.read(str(tmp_path / "rows.parquet"))


def test_decimals_of_parquet_are_numbers(reader: OutcomesFormat, tmp_path: Path) -> None:
    rows = [{"query": "a", "complexity": Decimal("0.3"), "outcomes": {"m": {"quality": Decimal("0.5"), "cost_usd": Decimal("0.02")}}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    dataset = reader.read(str(tmp_path / "rows.parquet"))
    assert dataset.outcomes is not None
    assert (dataset.outcomes.known_quality.tolist(), dataset.outcomes.cost_usd.tolist()) == ([[0.5]], [[0.02]])
    assert dataset.labels.complexity is not None
    assert dataset.labels.complexity.tolist() == [0.3]


def test_columns_of_parquet_that_are_not_in_the_format_are_not_read(reader: OutcomesFormat, tmp_path: Path) -> None:
    rows = [{"query": "a", "embedding": [0.5] * 8, "outcomes": {"m": {"quality": 1.0, "cost_usd": 0.1}}}]
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    assert list(parquet_rows(file, ("query", "outcomes"))) == [{**rows[0], "embedding": None}]
    assert len(reader.read(str(file))) == 1
    pq.write_table(pa.Table.from_pylist([{"categry": "x", **rows[0]}]), file)
    with pytest.raises(DataError, match="row 1: has the unknown key 'categry'; did you mean 'category'"):
        reader.read(str(file))


def test_a_parquet_file_without_outcomes_is_described(reader: OutcomesFormat, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{"query": "a", "outcome": {"m": {"quality": 1.0}}}]), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"row 1: has no 'outcomes'; did you mean 'outcome'\? \(it has: outcome, query\)"):
        reader.read(str(tmp_path / "rows.parquet"))


def test_parquet_maps_are_read_and_bad_rows_are_counted(reader: OutcomesFormat, tmp_path: Path) -> None:
    cell = pa.struct([("quality", pa.float64()), ("cost_usd", pa.float64())])
    schema = pa.schema([("query", pa.string()), ("outcomes", pa.map_(pa.string(), cell))])
    rows = [{"query": "a", "outcomes": [("m", {"quality": quality, "cost_usd": 1.0})]} for quality in (0.5, 2.0)]
    pq.write_table(pa.Table.from_pylist(rows[:1], schema=schema), tmp_path / "good.parquet")
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "bad.parquet")
    outcomes = reader.read(str(tmp_path / "good.parquet")).outcomes
    assert outcomes is not None
    np.testing.assert_array_equal([[0.5]], outcomes.quality)
    with pytest.raises(DataError, match=r"bad\.parquet, row 2: quality of 'm' must be a number from 0 to 1, not 2\.0"):
        reader.read(str(tmp_path / "bad.parquet"))


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        (pa.array([[1, 2]]), r"'outcomes' must be an object by candidate, not \[1, 2\]"),
        (pa.array([[("m", 1.0), ("m", 0.0)]], pa.map_(pa.string(), pa.float64())), "key 'm' occurs twice in one object"),
    ],
)
def test_parquet_lists_and_maps_with_a_key_twice_are_refused(reader: OutcomesFormat, tmp_path: Path, outcomes: pa.Array, message: str) -> None:
    pq.write_table(pa.table({"query": ["a"], "outcomes": outcomes}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=rf"rows\.parquet, row 1: {message}"):
        reader.read(str(tmp_path / "rows.parquet"))


def test_a_file_that_is_no_parquet_is_refused(write: Write, reader: OutcomesFormat) -> None:
    with pytest.raises(DataError, match="as Parquet"):
        reader.read(str(write("rows.parquet", "text")))


def assert_same(expected: Dataset, actual: Dataset) -> None:
    assert list(expected.queries) == list(actual.queries)
    assert expected.pool == actual.pool
    assert expected.references == actual.references
    assert expected.outcomes is not None
    assert actual.outcomes is not None
    for part in ("quality", "cost_usd", "latency_ms"):
        np.testing.assert_array_equal(getattr(expected.outcomes, part), getattr(actual.outcomes, part))
    for label in ("complexity", "category", "tool_use"):
        np.testing.assert_array_equal(getattr(expected.labels, label), getattr(actual.labels, label))


words = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20)
quality = st.floats(0, 1)
figure = st.one_of(st.just(nan), st.floats(0, 1e6))


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    size = draw(st.integers(1, 4))
    column = st.lists(figure, min_size=2, max_size=2)
    table = [draw(st.lists(cells, min_size=size, max_size=size)) for cells in (st.lists(quality, min_size=2, max_size=2), column)]
    pool = Pool([ModelSpec("small", "Small: a model", {"tools"}, Prices(0.5, 1.5), Latency(10, 20), 4096), ModelSpec("large", prices=Prices(5, 15))])
    return Dataset(
        [Query(draw(words), user=draw(st.none() | words), output_tokens=draw(st.none() | st.integers(0, 99))) for _ in range(size)],
        pool=pool,
        outcomes=Outcomes(np.array(table[0]), np.full((size, 2), 0.25), np.array(table[1])),
        labels=Labels(np.array([draw(quality) for _ in range(size)]), np.array([draw(words) for _ in range(size)]), np.ones(size)),
        references=[draw(words) for _ in range(size)],
    )


@settings(max_examples=40, deadline=None)
@given(datasets())
def test_a_dataset_comes_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, services: Services, dataset: Dataset) -> None:
    folder = tmp_path_factory.mktemp("round-trip")
    write_outcomes(dataset, folder)
    assert_same(dataset, OutcomesFormat(OutcomesFormat.Config(), services).read(str(folder)))


def test_what_costs_assume_is_kept(tmp_path: Path, reader: OutcomesFormat) -> None:
    cost = np.full((1, 1), 0.5)
    dataset = Dataset([Query("a")], Pool([ModelSpec("x")]), Outcomes(cost, cost, cost), cost_note="price times tokens: estimated")
    write_outcomes(dataset, tmp_path)
    assert reader.read(str(tmp_path)).cost_note == "price times tokens: estimated"
    (tmp_path / "pool.yaml").write_text("candidates: [{name: x}]\ncost_note: 3")
    with pytest.raises(DataError, match="cost_note must be a text, not 3"):
        reader.read(str(tmp_path))


def test_unknown_cells_stay_unknown(tmp_path: Path, reader: OutcomesFormat) -> None:
    quality = np.array([[1.0, nan], [nan, 0.5]])
    cost = np.array([[0.5, 0.5], [nan, 0.5]])
    dataset = Dataset([Query("a"), Query("b")], Pool([ModelSpec("x"), ModelSpec("y")]), Outcomes(quality, cost, np.full((2, 2), nan)))
    write_outcomes(dataset, tmp_path)
    assert_same(dataset, reader.read(str(tmp_path)))


def test_a_dataset_without_outcomes_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only a dataset with outcomes"):
        write_outcomes(Dataset([Query("a")]), tmp_path)


@pytest.mark.parametrize("text", ["", " "])
def test_a_row_without_text_cannot_be_written(tmp_path: Path, text: str) -> None:
    cost = np.full((2, 1), 0.5)
    with pytest.raises(DataError, match=r"row 2 has no text, which the format outcomes requires; leave it out"):
        write_outcomes(Dataset([Query("a"), Query(text)], Pool([ModelSpec("x")]), Outcomes(cost, cost, cost)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_lengths_of_answers_are_read_estimated_and_written(write: Write, reader: OutcomesFormat, tmp_path: Path) -> None:
    write("pool.yaml", POOL)
    row = line("xxxx", small={"quality": 1, "output_tokens": 100}, large={"quality": 1, "response": "y" * 40})
    write("outcomes.jsonl", row + line("b", small={"quality": 0}, large={"quality": 0, "response": None}))
    dataset = reader.read(str(tmp_path))
    assert dataset.outcomes is not None
    np.testing.assert_array_equal([[100, 10], [nan, nan]], dataset.outcomes.output_tokens)
    np.testing.assert_allclose([[(1 + 2 * 100) / 1e6, (10 + 20 * 10) / 1e6], [(1 + 2 * 256) / 1e6, (10 + 20 * 256) / 1e6]], dataset.outcomes.cost_usd)
    write_outcomes(dataset, tmp_path / "again")
    again = reader.read(str(tmp_path / "again")).outcomes
    assert again is not None
    np.testing.assert_array_equal(dataset.outcomes.output_tokens, again.output_tokens)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"output_tokens": -1}, "output_tokens of 'small' must be a number from 0 to 1e+09, not -1"),
        ({"output_tokens": "many"}, "output_tokens of 'small' must be a number from 0 to 1e+09, not 'many'"),
        ({"response": 7}, "response of 'small' must be a text, not 7"),
    ],
)
def test_bad_lengths_of_answers_are_refused(write: Write, reader: OutcomesFormat, tmp_path: Path, cell: dict[str, Any], message: str) -> None:
    write("outcomes.jsonl", line("a", small={"quality": 1, "cost_usd": 0.1, **cell}))
    with pytest.raises(DataError, match=re.escape(message)):
        reader.read(str(tmp_path))


def test_a_row_may_have_other_keys(tmp_path: Path) -> None:
    names = ("id", "user_id", "session_id", "category_id", "reference_answer", "tools", "input_tokens", "completion_tokens")
    rows = [{"query": f"q{n}", "outcomes": {"a": {"quality": 1.0}}, **dict.fromkeys(names, "x")} for n in range(2)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert [row.query.text for row in read_outcome_rows(file)] == ["q0", "q1"]
