"""Command ``data generate``."""

import json
from pathlib import Path

import pytest
from aamc_datasets.data_commands import generate
from aamc_datasets.synthetic.synthetic_format import FILES, Synthetic, SyntheticOptions
from click.testing import CliRunner, Result

from aamc_sdk import Services
from aamc_sdk.errors import OutputError

SMALL = ("--n-train", "40", "--n-val", "10", "--n-test", "12")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(generate, [*SMALL, *arguments])


def test_three_files_are_written_with_their_columns_and_rows(tmp_path: Path) -> None:
    result = run("--out", str(tmp_path / "new" / "folder"))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "wrote 40 training, 10 validation and 12 test texts" in result.stderr
    lines = {name: (tmp_path / "new" / "folder" / name).read_text().splitlines() for name in ("train.csv", "val.csv", "test.csv")}
    assert {"text,complexity,category,tool_use"} == {rows[0] for rows in lines.values()}
    assert [len(rows) for rows in lines.values()] == [41, 11, 13]


def test_json_is_one_document_on_standard_output(tmp_path: Path) -> None:
    result = run("--out", str(tmp_path), "--seed", "5", "--json")
    expected = {"schema": 1, "out": str(tmp_path), "seed": 5, "rows": {"train.csv": 40, "val.csv": 10, "test.csv": 12}}
    assert expected == json.loads(result.stdout)
    assert result.stderr == ""


def test_files_are_the_same_for_the_same_seed_and_differ_for_another(tmp_path: Path) -> None:
    for folder, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run("--out", str(tmp_path / folder), "--seed", seed)
    for name in FILES.values():
        a, b, c = ((tmp_path / folder / name).read_bytes() for folder in "abc")
        assert a == b
        assert a != c


def test_what_was_written_can_be_read_as_a_dataset(tmp_path: Path, services: Services) -> None:
    run("--out", str(tmp_path))
    splits = Synthetic(SyntheticOptions(), services).read(str(tmp_path))
    assert isinstance(splits, dict)
    assert {split: len(dataset) for split, dataset in splits.items()} == {"train": 40, "validation": 10, "test": 12}


def test_categories_have_their_shares(tmp_path: Path, services: Services) -> None:
    assert run("--out", str(tmp_path), "--n-train", "400", "--shares", "code=3,chat=1").exit_code == 0
    splits = Synthetic(SyntheticOptions(), services).read(str(tmp_path))
    assert isinstance(splits, dict)
    categories = splits["train"].labels.category
    assert categories is not None
    assert {"code", "chat"} == set(categories)
    assert 0.68 < (categories == "code").mean() < 0.82  # 0.75 and three standard deviations


@pytest.mark.parametrize("name", FILES.values())
def test_existing_files_are_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("rows of a larger dataset")
    result = run("--out", str(tmp_path))
    assert isinstance(result.exception, OutputError)
    assert str(result.exception) == f"{tmp_path / name} already exists; choose another folder, or remove the file first"
    assert {name: "rows of a larger dataset"} == {path.name: path.read_text() for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--n-train", "0"),
        ("--n-val", "-3"),
        ("--n-test", "many"),
        ("--n-train", "10000000"),
        ("--seed", "-1"),
        ("--shares", "code"),
        ("--shares", "code=much"),
        ("--shares", "code=1,code=2"),
        ("--shares", "code=-1"),
        ("--shares", "code=nan"),
        ("--shares", "code=0"),
        ("--shares", "law=1"),
    ],
)
def test_nonsense_is_wrong_usage_and_writes_nothing(tmp_path: Path, option: str, value: str) -> None:
    result = run("--out", str(tmp_path / "out"), option, value)
    assert result.exit_code == 2
    assert option in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run("--out", str(tmp_path / "file" / "folder"))
    assert isinstance(result.exception, OutputError)
