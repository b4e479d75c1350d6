import json
import os
import re
import signal
import stat
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from aamc_sdk.config import load_yaml
from aamc_sdk.errors import CheckpointError, OutputError
from aamc_sdk.storage import (
    append_text,
    check_parameters,
    plain,
    read_arrays,
    read_bytes,
    read_json,
    read_json_object,
    replacing,
    to_json,
    write_arrays,
    write_json,
    write_text,
    write_yaml,
)

ARRAYS = {"weights": np.arange(60.0).reshape(6, 10), "names": np.array(["a", "ü"])}


def test_a_file_is_written_whole(tmp_path):
    write_text(tmp_path / "new" / "file.txt", "größe\n")
    assert (tmp_path / "new" / "file.txt").read_bytes() == "größe\n".encode()
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["file.txt"]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt):
        _stop_in_the_middle(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _stop_in_the_middle(path):
    with replacing(path) as file:
        file.write(b"half of the ne")
        raise KeyboardInterrupt


def test_a_link_stays_and_leads_to_the_new_file(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes of this kind")
def test_a_pipe_is_written_and_not_replaced(tmp_path):
    """Replaced as a file, ``/dev/null`` would be gone for the whole machine."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with ThreadPoolExecutor(1) as thread:
            read = thread.submit(pipe.read_bytes)
            write_text(path, "text")
            assert read.result(10) == b"text"
    assert pipe.is_fifo()
    assert link.is_symlink()


def test_an_unwritable_folder_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "below", tmp_path / "folder"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(OutputError, match="cannot write"):
            write_text(path, "text")


def test_json_has_no_nan_and_no_numpy():
    value = {"a": np.float32(0.5), 2: np.array([1.0, np.nan, np.inf]), "set": {"b", "a"}, "path": (None, True, np.int64(3))}
    assert json.loads(to_json(value)) == {"a": 0.5, "2": [1.0, None, None], "set": ["a", "b"], "path": [None, True, 3]}
    assert plain(float("-inf")) is None


def test_json_survives_writing_and_reading(tmp_path):
    write_json(tmp_path / "file.json", {"ü": [1, 2.5, None]})
    assert read_json(tmp_path / "file.json") == {"ü": [1, 2.5, None]}


def test_arrays_survive_writing_and_reading(tmp_path):
    write_arrays(tmp_path / "file.npz", ARRAYS)
    found = read_arrays(tmp_path / "file.npz")
    assert {name: array.tolist() for name, array in found.items()} == {name: array.tolist() for name, array in ARRAYS.items()}


@pytest.fixture
def closed():
    """Return a folder that cannot be searched; root drops its rights first."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "closed"
        folder.mkdir()
        folder.chmod(0)
        if root:
            Path(parent).chmod(0o755)
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


def test_a_folder_that_cannot_be_looked_into_is_said(closed):
    with pytest.raises(OutputError, match=r"cannot write .*Permission denied; choose another folder"):
        write_text(closed / "file.txt", "text")
    for read in (read_bytes, read_json, read_arrays):
        with pytest.raises(CheckpointError, match=r"file\.x cannot be read: Permission denied$"):
            read(closed / "file.x")


def test_appended_lines_begin_on_a_new_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_text(path, "1\n2\n")
    path.write_text(path.read_text() + '{"cut o')  # by a kill
    append_text(path, "3\n")
    assert path.read_text().splitlines() == ["1", "2", '{"cut o', "3"]


@pytest.mark.skipif(sys.platform == "win32", reason="it has no named pipes")
def test_lines_are_written_to_a_pipe_too(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with os.fdopen(os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        append_text(tmp_path / "pipe", "1\n")
        assert reader.readline() == b"1\n"


@pytest.mark.skipif(sys.platform == "win32", reason="it has no limits of files")
def test_of_lines_that_do_not_fit_none_is_appended(tmp_path):
    import resource

    path, limit = tmp_path / "rows.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    append_text(path, "1\n")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            append_text(path, "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_text() == "1\n"


@pytest.mark.parametrize("read", [read_bytes, read_json, read_arrays])
def test_a_missing_file_is_a_checkpoint_error(tmp_path, read):
    with pytest.raises(CheckpointError, match=r"file\.x is missing"):
        read(tmp_path / "file.x")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2", b'{"a": NaN}', b"[-Infinity]", b'{"a": 1, "a": 2}'])
def test_damaged_json_is_a_checkpoint_error(tmp_path, content):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        read_json(tmp_path / "file.json")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_truncated_arrays_are_a_checkpoint_error(tmp_path, share):
    path = tmp_path / "file.npz"
    write_arrays(path, ARRAYS)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="damaged"):
        read_arrays(path)


def test_any_changed_byte_gives_the_arrays_or_a_checkpoint_error(tmp_path):
    path = tmp_path / "file.npz"
    write_arrays(path, ARRAYS)
    content = path.read_bytes()
    refused = 0
    for position in range(0, len(content), 3):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        try:
            read_arrays(path)
        except CheckpointError:
            refused += 1
    assert refused > len(content) / 6


def test_reading_arrays_runs_no_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    np.savez(tmp_path / "file.npz", trap=np.array([Trap()], dtype=object))
    with pytest.raises(CheckpointError, match="damaged"):
        read_arrays(tmp_path / "file.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("text", ["1e-4", "-2E5", ".5e3", "1_0.", "yes", "null", "2024-01-01", "a: b", " x "])
def test_yaml_keeps_texts_that_look_like_something_else(tmp_path: Path, text: str) -> None:
    write_yaml(tmp_path / "a.yaml", {"a": text, text: 1e-5})
    assert load_yaml(tmp_path / "a.yaml") == {"a": text, text: 1e-5}


def test_yaml_keeps_the_order_of_keys_and_writes_plain_values(tmp_path: Path) -> None:
    write_yaml(tmp_path / "a.yaml", {"b": np.array([1.0, np.nan]), "a": "ü"})
    assert (tmp_path / "a.yaml").read_text(encoding="utf-8") == "b:\n- 1.0\n- null\na: ü\n"


def test_a_damaged_npz_file_gets_no_advice_to_load_pickles(tmp_path):
    path = tmp_path / "file.npz"
    path.write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match=r"file\.npz is damaged \(it is not an npz file, or a part of one\); delete it$"):
        read_arrays(path, "delete it")
    np.savez(path, objects=np.array([{}], dtype=object))
    with pytest.raises(CheckpointError, match=r"file\.npz is damaged \(objects holds Python objects, which are never loaded\)"):
        read_arrays(path)


@pytest.mark.parametrize("content", ["[]", "null", '"x"', "5"])
def test_a_json_document_that_is_no_object_is_refused(tmp_path, content):
    (tmp_path / "file.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"file\.json is damaged: it must hold a JSON object, not .*; restore the file, or train again$"):
        read_json_object(tmp_path / "file.json")


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_text(tmp_path / "new", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_a_private_file_is_private_while_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("old")
    (tmp_path / "secret").chmod(0o600)
    with replacing(tmp_path / "secret"):
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.touch(mode=0o600)
    write_text(path, "mine")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "weight should have shape (2,) and has nothing"),
        ({"weight": np.zeros(2), "bias": np.zeros(1)}, "bias should have shape nothing and has (1,)"),
        ({"weight": np.zeros(3)}, "weight should have shape (2,) and has (3,)"),
        ({"weight": np.array([0, np.nan])}, "is damaged: weight has values that are not finite; train again"),
    ],
)
def test_parameters_of_another_configuration_or_damaged_ones_are_refused(arrays: dict[str, np.ndarray], words: str) -> None:
    check_parameters({"weight": np.ones(2)}, {"weight": np.zeros(2)}, Path("policy.npz"))
    with pytest.raises(CheckpointError, match=re.escape(words)):
        check_parameters(arrays, {"weight": np.zeros(2)}, Path("policy.npz"))
