"""What a run keeps of the questions that it was trained on."""

from __future__ import annotations

import attrs
import pytest
from aamc_experiments.data import TrainingFingerprint, decision_name

from aamc_sdk.errors import CheckpointError
from aamc_sdk.storage import read_arrays, write_arrays

TRAINED = ["which river runs through the old town before it meets the sea?", "sort a list of names by their last letter", "what is 6 times 7?"]


@pytest.fixture
def kept(tmp_path) -> str:
    return TrainingFingerprint.of(TRAINED).write(tmp_path)


def path_of(folder, name):
    return folder / "fingerprints" / f"{name}.npz"


def test_a_fingerprint_knows_its_questions_and_their_near_duplicates_again(tmp_path, kept) -> None:
    asked = [TRAINED[0], TRAINED[1] + ", please", "what is 6 times 8?", "who wrote the letter?"]
    assert TrainingFingerprint.read(tmp_path, kept).contains(asked).tolist() == [True, True, False, False]


def test_a_fingerprint_knows_what_its_questions_shared(tmp_path) -> None:
    header = "read the following text with care and answer in one word only what is asked at its very end:"
    trained = [f"{header} {'abcdefghijklmnopqrstuvwxyz'[n] * 12} and more" for n in range(25)]
    fingerprint = TrainingFingerprint.read(tmp_path, TrainingFingerprint.of(trained).write(tmp_path))
    assert fingerprint.boilerplate
    assert fingerprint.contains([trained[3] + ".", f"{header} something else entirely"]).tolist() == [True, False]


def test_no_text_is_kept(tmp_path, kept) -> None:
    arrays = read_arrays(path_of(tmp_path, kept))
    assert set(arrays) == {"questions", "signatures", "boilerplate", "algorithm"}
    assert all(len(name) == 64 for name in arrays["questions"].tolist())
    assert b"river" not in b"".join(values.tobytes() for values in arrays.values())


def test_its_name_is_of_what_it_holds_in_whatever_order(tmp_path, kept) -> None:
    assert TrainingFingerprint.of([*TRAINED[::-1], TRAINED[0]]).write(tmp_path) == kept
    assert TrainingFingerprint.of(TRAINED[:2]).write(tmp_path) != kept


def test_a_changed_file_is_an_error(tmp_path, kept) -> None:
    arrays = read_arrays(path_of(tmp_path, kept))
    write_arrays(path_of(tmp_path, kept), arrays | {"questions": arrays["questions"][:1]})
    with pytest.raises(CheckpointError, match="was changed"):
        TrainingFingerprint.read(tmp_path, kept)


def test_a_cut_or_missing_file_is_an_error(tmp_path, kept) -> None:
    path = path_of(tmp_path, kept)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="is damaged"):
        TrainingFingerprint.read(tmp_path, kept)
    path.unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        TrainingFingerprint.read(tmp_path, kept)


def test_signatures_of_another_algorithm_are_not_compared_and_that_is_said(caplog) -> None:
    fingerprint = attrs.evolve(TrainingFingerprint.of(TRAINED), algorithm="rensa.RMinHash 1")
    assert fingerprint.contains([TRAINED[0], TRAINED[1] + ", please"]).tolist() == [True, False]
    assert "only equal questions: the fingerprint was made by rensa.RMinHash 1" in caplog.text


def test_nothing_is_in_an_empty_seal_and_nothing_is_no_question(tmp_path) -> None:
    empty = TrainingFingerprint.read(tmp_path, TrainingFingerprint.of([]).write(tmp_path))
    assert empty.contains(TRAINED).tolist() == [False] * 3
    assert TrainingFingerprint.of(TRAINED).contains([]).tolist() == []


def test_rows_without_text_are_known_by_their_decisions_and_all_of_them_count_where_these_are_not_recorded():
    names = [decision_name("d1"), decision_name("d2"), "a question"]
    assert TrainingFingerprint.of([decision_name("d1"), *TRAINED]).contains(names).tolist() == [True, False, False]
    assert TrainingFingerprint.of(["", *TRAINED]).contains(names).tolist() == [True, True, False]
