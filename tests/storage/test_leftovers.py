"""What killed processes leave of files is removed; files in use, and others, are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from aamc_sdk.storage import remove_leftovers, replacing_alone


def leftover(target: Path) -> Path:
    file = target.with_name(f".{target.name}.a1b2_c3d")
    file.write_text("killed")
    return file


def test_leftovers_of_the_target_alone_are_removed(tmp_path: Path) -> None:
    target = tmp_path / "log.parquet"
    others = [tmp_path / name for name in (".log.parquet.backup", ".log.parquet.a1b2_c3", ".logxparquet.a1b2_c3d", "log.parquet.a1b2_c3d")]
    for other in others:
        other.touch()
    left = leftover(target)
    remove_leftovers(target)
    assert not left.exists()
    assert all(other.exists() for other in others)


def test_a_file_that_is_being_written_stays(tmp_path: Path) -> None:
    target = tmp_path / "log.parquet"
    with replacing_alone(target) as file:
        file.write(b"whole")
        remove_leftovers(target)
        with replacing_alone(target) as second:
            second.write(b"second")
    assert target.read_bytes() == b"whole"
    assert [each.name for each in tmp_path.iterdir()] == ["log.parquet"]


def test_writing_removes_leftovers_beside_the_file_that_a_link_names(tmp_path: Path) -> None:
    target, link = tmp_path / "log.parquet", tmp_path / "link"
    link.symlink_to(target)
    left = leftover(target)
    with replacing_alone(link) as file:
        file.write(b"whole")
    assert (target.read_bytes(), left.exists()) == (b"whole", False)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), replacing_alone(tmp_path / "log.parquet"):
        raise ValueError("no")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_has_no_leftovers(tmp_path: Path) -> None:
    remove_leftovers(tmp_path / "missing" / "log.parquet")
