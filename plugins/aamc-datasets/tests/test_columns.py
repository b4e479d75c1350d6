"""Columns of CSV and Parquet files, and tables made of their rows."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # likewise
import pytest
from aamc_datasets.columns import column_names, read_columns
from aamc_datasets.published.score_table import from_rows
from aamc_datasets.recognition import single_file

from aamc_sdk.errors import DataError

Write = Callable[[str, str], Path]


def test_every_form_of_a_score_is_read(write: Write) -> None:
    column = read_columns(write("a.csv", "s,t\nTrue,x\nfalse,x\n0.25,x\n1,x\n,x\nnan,x\n"), ["s"])["s"]
    np.testing.assert_array_equal([1, 0, 0.25, 1, np.nan, np.nan], column.scores())


@pytest.mark.parametrize("value", ["inf", "-0.1", "1e-400x", "0.5.1", "yes"])
def test_what_is_no_score_is_refused_with_its_row(write: Write, value: str) -> None:
    column = read_columns(write("a.csv", f"s\n1\n0\n{value}\n"), ["s"])["s"]
    with pytest.raises(DataError, match="column 's', row 3: it must be a number from 0 to 1"):
        column.scores()


def test_parquet_has_the_same_columns_whatever_their_type(tmp_path: Path) -> None:
    categorical = pa.DictionaryArray.from_arrays(pa.array([1, 1, 0]), pa.array(["a", "b", ""]))
    table = pa.table({"truth": [True, False, None], "number": [1, 0, 1], "name": categorical, "id": [3, 4, 3]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert column_names(tmp_path / "a.parquet") == ["truth", "number", "name", "id"]
    columns = read_columns(tmp_path / "a.parquet", ["truth", "number", "name", "id"])
    np.testing.assert_array_equal([1, 0, np.nan], columns["truth"].scores())
    np.testing.assert_array_equal([1, 0, 1], columns["number"].scores())
    assert columns["name"].texts() == ["b", "b", "a"]
    assert columns["id"].names() == ["3", "4", "3"]


def test_decimals_are_numbers(tmp_path: Path) -> None:
    costs = pa.array([Decimal("0.02"), Decimal("1.50"), None], pa.decimal128(18, 9))
    pq.write_table(pa.table({"cost": costs}), tmp_path / "a.parquet")
    column = read_columns(tmp_path / "a.parquet", ["cost"])["cost"]
    np.testing.assert_array_equal([0.02, 1.5, np.nan], column.amounts())
    np.testing.assert_array_equal([0.02, 1.5, np.nan], column.scores(strict=False))
    with pytest.raises(DataError, match="row 2: it must be a number from 0 to 1"):
        column.scores()


def test_a_file_larger_than_a_block_keeps_its_rows_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_datasets.columns.MAX_ROW_BYTES", 256)
    rows = [f"text {n % 7}\nwith a line" for n in range(200)]
    (tmp_path / "a.csv").write_text("t,s\n" + "".join(f'"{row}",{n / 200}\n' for n, row in enumerate(rows)))
    columns = read_columns(tmp_path / "a.csv", ["t", "s"])
    assert columns["t"].texts() == rows
    np.testing.assert_allclose(np.arange(200) / 200, columns["s"].scores())


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfs,t\n1,x\n")
    assert column_names(tmp_path / "a.csv") == ["s", "t"]
    np.testing.assert_array_equal([1], read_columns(tmp_path / "a.csv", ["s"])["s"].scores())


def test_empty_lines_before_the_header_are_skipped(write: Write) -> None:
    file = write("a.csv", "\r\n\nname,score\na,1\n")
    assert column_names(file) == ["name", "score"]
    assert read_columns(file, ["score"])["score"].scores().tolist() == [1.0]


def test_a_compressed_file_is_refused_with_advice(write: Write) -> None:
    with pytest.raises(DataError, match=r"as format arena reads; decompress it first: gunzip --keep .*a\.csv\.gz"):
        single_file(str(write("a.csv.gz", "")), "arena")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match=r"cannot read .*a\.csv.*give a CSV file in UTF-8"):
        column_names(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes(b"s\n\xff\xfe\n")
    with pytest.raises(DataError, match=r"cannot read .*b\.csv"):
        read_columns(tmp_path / "b.csv", ["s"])
    (tmp_path / "c.csv").write_text("s,t\n1,2,3\n")
    with pytest.raises(
        DataError, match=r"cannot read .*c\.csv as CSV: .*; give a CSV file in UTF-8 with as many fields in each row as in the header"
    ):
        read_columns(tmp_path / "c.csv", ["s"])


def test_rows_keep_the_order_in_which_they_appear_and_repeats_are_averaged() -> None:
    quality = np.array([0.0, 1.0, 0.5, np.nan, 0.25])
    cost = np.array([1.0, 2.0, 3.0, 4.0, np.nan])
    table = from_rows(
        "data", ["k", "j", "k", "j", "k"], ["K", "J", "K", "J", "K"], ["c", "d", "c", "d", "c"], ["m", "n", "m", "m", "n"], quality, cost
    )
    assert (list(table.texts), list(table.categories), list(table.candidates)) == (["K", "J"], ["c", "d"], ["m", "n"])
    np.testing.assert_array_equal([[0.25, 0.25], [np.nan, 1.0]], table.quality)
    np.testing.assert_array_equal([[2.0, np.nan], [4.0, 2.0]], table.cost_usd)
