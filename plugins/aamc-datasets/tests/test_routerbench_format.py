"""Format ``routerbench``: small files made here, as CSV and Parquet."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # likewise
import pytest
from aamc_datasets.published.routerbench import RouterBench
from aamc_datasets.published.score_table import CostOptions

from aamc_sdk import Services
from aamc_sdk.errors import DataError

COLUMNS = {
    "sample_id": ["s.1", "s.2", "s.3"],
    "prompt": ["one", "two", "three"],
    "eval_name": ["hellaswag", "mbpp", "mbpp"],
    "a/small": [0.25, 1.0, None],
    "large": [1.0, 0.0, 1.0],
    "a/small|model_response": ["x", "y", "z"],
    "a/small|total_cost": [0.001, 0.002, 0.003],
    "large|total_cost": [0.1, 0.2, None],
    "oracle_model_to_route_to": ["large", "a/small", "large"],
}
Write = Callable[[str, str], Path]


@pytest.fixture
def reader(services: Services) -> RouterBench:
    return RouterBench(CostOptions(), services)


def test_responses_give_the_lengths_of_answers(write: Write, reader: RouterBench) -> None:
    write("routerbench.csv", as_csv(COLUMNS | {"a/small|model_response": ["x" * 8, "y" * 9, None]}))  # type: ignore[arg-type]  # lists of several types
    outcomes = reader.read(str(write("other.txt", "").parent / "routerbench.csv")).outcomes
    assert outcomes is not None
    np.testing.assert_array_equal([[2, np.nan], [3, np.nan], [np.nan, np.nan]], outcomes.output_tokens)


def as_csv(columns: dict[str, list[object]]) -> str:
    rows = [",".join("" if value is None else str(value) for value in row) for row in zip(*columns.values(), strict=True)]
    return "\n".join([",".join(columns), *rows]) + "\n"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_scores_costs_and_benchmarks_are_read(write: Write, reader: RouterBench, tmp_path: Path, kind: str) -> None:
    if kind == "csv":
        write("routerbench.csv", as_csv(COLUMNS))  # type: ignore[arg-type]  # lists of several types
    else:
        pq.write_table(pa.table(COLUMNS), tmp_path / "routerbench.parquet")
    dataset = reader.read(str(tmp_path))
    assert dataset.outcomes is not None
    assert dataset.pool is not None
    assert dataset.pool.names == ("a/small", "large")
    assert [query.text for query in dataset.queries] == ["one", "two", "three"]
    assert list(dataset.labels.category) == ["hellaswag", "mbpp", "mbpp"]  # type: ignore[arg-type]  # labelled
    np.testing.assert_array_equal([[0.25, 1], [1, 0], [np.nan, np.nan]], dataset.outcomes.quality)
    np.testing.assert_array_equal([[0.001, 0.1], [0.002, 0.2], [np.nan, np.nan]], dataset.outcomes.cost_usd)
    assert dataset.cost_note == ""


def test_a_model_without_costs_is_left_out_and_named(write: Write, reader: RouterBench, caplog: pytest.LogCaptureFixture) -> None:
    columns = {name: values for name, values in COLUMNS.items() if name != "large|total_cost"}
    dataset = reader.read(str(write("bench.csv", as_csv(columns))))  # type: ignore[arg-type]  # lists of several types
    assert dataset.pool is not None
    assert dataset.pool.names == ("a/small",)
    assert "bench.csv: columns large are left out, because they have no '<model>|total_cost'" in caplog.text
    caplog.clear()
    reader.read(str(write("bench.csv", as_csv(COLUMNS))))  # type: ignore[arg-type]  # likewise
    assert caplog.text == ""


def test_a_pickle_is_refused_unread_with_a_conversion_that_can_be_run(reader: RouterBench, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[type[BaseException], tuple[str]]:
            return (SystemExit, ("the pickle was run",))

    file = tmp_path / "bench.pkl"
    file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="is a pickle, which can run any code") as error:
        reader.read(str(file))
    code = str(error.value).partition('python -c "')[2].removesuffix('"')
    compile(code, "conversion", "exec")
    assert f"'{file}'" in code
    assert f"'{tmp_path / 'bench.csv'}'" in code


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_id": None}, "no column 'sample_id'"),
        ({"large": None}, r"no column 'large' \(it has: .*\); each '<model>\|total_cost' needs the model's score"),
        ({"large|total_cost": None, "a/small|total_cost": None}, r"no column '<model>\|total_cost'"),
        ({"large": [1.0, 1.0, 15.0]}, "column 'large', row 3: it must be a number from 0 to 1, not 15.0"),
        ({"large|total_cost": [1.0, -1.0, 1.0]}, r"column 'large\|total_cost', row 2: it must be a number from 0 to 1e\+12, not -1.0"),
        ({"large|total_cost": [1.0, "free", 1.0]}, r"row 2: it must be a number from 0 to 1e\+12, not 'free'"),
    ],
)
def test_bad_columns_are_refused(write: Write, reader: RouterBench, change: dict[str, list[object] | None], message: str) -> None:
    columns = {name: values for name, values in {**COLUMNS, **change}.items() if values is not None}
    with pytest.raises(DataError, match=message):
        reader.read(str(write("bench.csv", as_csv(columns))))  # type: ignore[arg-type]  # lists of several types


def test_files_of_nothing_of_another_kind_or_several_are_refused(write: Write, reader: RouterBench, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no \.csv or \.parquet file"):
        reader.read(str(tmp_path))
    with pytest.raises(DataError, match=r"neither \.csv nor \.parquet.*looks like format outcomes"):
        reader.read(str(write("rows.jsonl", '{"query": "a", "outcomes": {}}')))
    with pytest.raises(DataError, match=r"cannot read .* as Parquet"):
        reader.read(str(write("rows.parquet", "text")))
    write("a.csv", "")
    with pytest.raises(DataError, match=r"several files \(a\.csv, rows\.parquet\); name one"):
        reader.read(str(tmp_path))
    with pytest.raises(DataError, match=r"a\.csv is empty"):
        reader.read(str(tmp_path / "a.csv"))
