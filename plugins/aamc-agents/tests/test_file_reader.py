import os
from pathlib import Path

import pytest
from aamc_agents.file_reader import read_below
from aamc_agents.tasks import Task
from aamc_agents.tool import AgentError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    folder = tmp_path / "open"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "note.txt").write_text("Grüße", encoding="utf-8")
    (folder / "bytes.bin").write_bytes(b"\xff\xfe\x00")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "inside.txt").symlink_to(folder / "deep" / "note.txt")
    (folder / "way").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.txt")
    return folder


def test_a_file_below_the_folder_is_read(say, folder: Path) -> None:
    assert say("file-reader", "What stands in deep/note.txt?", folder=str(folder)) == "Grüße"
    assert say("file-reader", "?", "Read deep/note.txt, please.", folder=str(folder)) == "Grüße"


def test_the_tasks_own_files_come_first_and_need_no_folder(say) -> None:
    assert say("file-reader", Task(id="t", text="Read n.csv", files={"n.csv": "1,2"})) == "1,2"


def test_a_name_may_lack_a_dot_or_stand_in_quotes(say, folder: Path) -> None:
    (folder / "LICENSE").write_text("free", encoding="utf-8")
    (folder / "deep" / "two words.txt").write_text("deep", encoding="utf-8")
    (folder / "two words").write_text("flat", encoding="utf-8")
    assert say("file-reader", "What does LICENSE say?", folder=str(folder)) == "free"
    assert say("file-reader", "Open 'deep/two words.txt'.", folder=str(folder)) == "deep"
    assert say("file-reader", "What's in `two words`, and is it Mia's?", folder=str(folder)) == "flat"
    assert say("file-reader", Task(id="t", text="Read Makefile.", files={"Makefile": "all:"})) == "all:"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("../secret.txt", "must lead down from the folder"),
        ("deep/../../secret.txt", "must lead down from the folder"),
        ("/etc/passwd.txt", "must lead down from the folder"),
        ("./deep/note.txt", "must lead down from the folder"),
        ("link.txt", "a link or not a folder"),
        ("inside.txt", "a link or not a folder"),
        ("way/secret.txt", "a link or not a folder"),
        ("pipe.txt", "not a regular file"),
        ("deep", "Is a directory"),
        ("gone.txt", "No such file"),
        ("bytes.bin", "not UTF-8 text"),
        ("a.txt\0b.c", r"'a\.txt\\x00b\.c' cannot be the name of a file"),
        ("\ud800.txt", r"'\\ud800\.txt' cannot be the name of a file"),
    ],
)
def test_what_is_not_a_plain_file_reached_straight_is_refused(folder: Path, name: str, error: str) -> None:
    with pytest.raises(AgentError, match=error):
        read_below(folder, name, max_bytes=100)


def test_a_file_may_have_so_many_bytes_and_no_more(folder: Path) -> None:
    assert read_below(folder, "deep/note.txt", max_bytes=7) == "Grüße"
    with pytest.raises(AgentError, match="more than 6 bytes"):
        read_below(folder, "deep/note.txt", max_bytes=6)


@pytest.mark.parametrize(("text", "error"), [("Hello", "no file is named"), ("Read a.txt", "no folder is open")])
def test_without_a_file_or_a_folder_there_is_nothing_to_read(say, text: str, error: str) -> None:
    with pytest.raises(AgentError, match=error):
        say("file-reader", text)


@pytest.mark.parametrize("name", ["a.txt\0b.c", "\ud800.txt", "x" * 300 + ".txt"])
def test_a_name_that_no_file_can_have_is_billed_like_any_other(say, folder: Path, name: str) -> None:
    with pytest.raises(AgentError) as raised:
        say("file-reader", f"Read {name}", folder=str(folder))
    assert raised.value.cost == pytest.approx(0.001)


def test_a_file_without_text_fails(say, folder: Path) -> None:
    (folder / "empty.txt").write_text("\n")
    with pytest.raises(AgentError, match=r"'empty.txt' has no text"):
        say("file-reader", "Read empty.txt", folder=str(folder))
    with pytest.raises(AgentError, match=r"'own.txt' has no text"):
        say("file-reader", Task(id="t", text="Read own.txt", files={"own.txt": ""}))
