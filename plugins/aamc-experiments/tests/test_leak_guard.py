"""Evaluations leave out what was trained on, whoever trained on it."""

from __future__ import annotations

import json
import shutil

import attrs
import numpy as np
import pytest
from aamc_experiments.data import TrainingFingerprint, read_splits
from aamc_experiments.leak_guard import checkpoint_fingerprints, fingerprint_of, leave_out_trained_rows
from aamc_experiments.measurement import EvaluationRequest, evaluate_run
from aamc_experiments.run_folder import RunFolder
from aamc_experiments.settings import Source, read_settings
from aamc_experiments.target_preferences import Target, calibrate
from aamc_experiments.training import Experiment
from tiny import Tiny, TinyFormat

from aamc_sdk import Candidate, Dataset, Decision, Estimates, Experience, Pool, Preference, Query, builtin
from aamc_sdk.errors import CheckpointError, DataError
from aamc_sdk.interfaces import NoProgress
from aamc_sdk.plugins import Plugins
from aamc_sdk.testing import make_dataset

CONTENT = {"router": "favourite", "estimator": "means", "environment": "table", "dataset": "tiny:100", "routers": ["seer"]}


@pytest.fixture
def plugins() -> Plugins:
    return Plugins(extra={"core": builtin, "tiny": Tiny()}, discover=False)


@pytest.fixture
def made(tmp_path, plugins):
    """Make a run and return it with its metrics."""

    def make(name: str = "run", **changes) -> tuple[RunFolder, dict]:
        metrics = Experiment(read_settings(CONTENT | changes), plugins, tmp_path / name, NoProgress()).complete()
        return RunFolder.open(tmp_path / name), metrics

    return make


@pytest.fixture
def evaluate(plugins):
    """Evaluate a run on a tiny dataset, on rows of its own where none is named."""

    def measure(run: RunFolder, source=None, **options) -> dict:
        given = None if source is None else Source.of(source, "")
        return evaluate_run(run, EvaluationRequest(names=["favourite"], preference=run.settings.preference, source=given, **options), plugins)

    return measure


def sizes(run: RunFolder) -> dict[str, int]:
    return {name: about["queries"] for name, about in run.content["splits"].items()}


def test_a_run_keeps_a_fingerprint_of_what_it_trained_and_chose_by(made) -> None:
    run, metrics = made()
    (fingerprint,) = run.fingerprints
    assert len(fingerprint.questions) == sizes(run)["train"] + sizes(run)["validation"]
    assert (metrics["data"]["split"], metrics["data"]["dropped"]) == ("test", 0)


def test_the_rows_of_a_run_are_read_once_for_all_of_its_checkpoints(made) -> None:
    run, _ = made()
    (fingerprint,) = checkpoint_fingerprints([run.folder / "routers" / "favourite", run.folder / "estimator"], strict=True)
    assert fingerprint.questions.tolist() == run.fingerprints[0].questions.tolist()


def test_other_data_is_evaluated_without_the_rows_that_were_trained_on(made, evaluate, caplog) -> None:
    run, _ = made()
    data = evaluate(run, "tiny:120")["data"]
    trained = 100 - sizes(run)["test"]
    assert (data["split"], data["dropped"], data["queries"]) == (None, trained, 120 - trained)
    assert f"{trained} of 120 rows of aamc_sdk.testing were trained on, or near-duplicates of them, such as" in caplog.text


def test_near_duplicates_of_trained_rows_were_trained_on_too(made, evaluate, monkeypatch) -> None:
    run, _ = made(dataset="tiny:60")  # few enough of each template for that not to be boilerplate

    def edited(self, path):
        read = make_dataset(int(path))
        return attrs.evolve(read, queries=[Query(query.text.upper() + "!") for query in read.queries])

    monkeypatch.setattr(TinyFormat, "read", edited)
    assert evaluate(run, "tiny:80")["data"]["dropped"] == 60 - sizes(run)["test"]


def test_with_strict_they_are_an_error_with_their_count_and_an_example(made, evaluate) -> None:
    run, _ = made()
    with pytest.raises(DataError, match=r"^\d+ of 120 rows of .* were trained on, .* such as '.*'; give other rows"):
        evaluate(run, "tiny:120", strict=True)
    assert evaluate(run, {"name": "tiny", "path": "20", "first": 500}, strict=True)["data"]["dropped"] == 0


def test_where_nothing_else_is_left_that_is_an_error(made, plugins) -> None:
    run, _ = made()
    trained = make_dataset(100)
    rows = leave_out_trained_rows(trained, run.fingerprints, strict=False).rows
    assert len(rows) == sizes(run)["test"]
    with pytest.raises(DataError, match="none is left to evaluate"):
        leave_out_trained_rows(trained, [*run.fingerprints, TrainingFingerprint.of([query.text.lower() for query in rows.queries])], strict=False)


def test_decisions_of_forgotten_users_are_recognised_by_their_ids_in_any_split_of_a_log() -> None:
    queries = [Query("" if row % 3 else f"question {row}") for row in range(100)]
    decisions = [Decision(f"d{row}", "a", 1.0, Preference()) for row in range(100)]
    log = Dataset(queries, experience=Experience(100, queries, Estimates.unknown(100), decisions))
    fingerprint = fingerprint_of({"train": log.take(np.arange(60))})
    assert leave_out_trained_rows(log, [fingerprint], strict=False).dropped == 60
    assert leave_out_trained_rows(Dataset([Query(""), Query("other")]), [fingerprint], strict=False).dropped == 0


def test_its_own_trained_rows_are_evaluated_only_by_name_and_that_is_said(made, evaluate, caplog) -> None:
    run, _ = made()
    for split in ("train", "validation"):
        caplog.clear()
        data = evaluate(run, split=split)["data"]
        assert (data["split"], data["dropped"], data["queries"]) == (split, 0, sizes(run)[split])
        assert f"the run was trained on its {split} rows" in caplog.text


def test_data_that_changed_is_not_taken_for_the_runs_own(made, evaluate, monkeypatch) -> None:
    run, _ = made()
    read = TinyFormat.read
    monkeypatch.setattr(TinyFormat, "read", lambda self, path: read(self, "130"))
    with pytest.raises(DataError, match=r"not what it was when the run began: its test rows have other questions; begin another run, or .*--dataset"):
        evaluate(run)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_outcomes_that_changed_are_not_taken_for_the_runs_own(made, evaluate, monkeypatch, plugins, split) -> None:
    run, _ = made()
    monkeypatch.setattr(TinyFormat, "read", lambda *_: failing(make_dataset(100)))
    with pytest.raises(DataError, match=f"when the run began: its {split} rows have other outcomes; begin another run"):
        evaluate(run, split=split)
    with pytest.raises(DataError, match="its train rows have other outcomes"):
        calibrate(run, plugins, NoProgress(), Target("strong-share", 0.5))
    assert evaluate(run, "tiny")["data"]["dropped"] == 100 - sizes(run)["test"]  # as other data they are welcome


def failing(dataset: Dataset) -> Dataset:
    """Return the rows as if every candidate had failed."""
    assert dataset.outcomes is not None
    return attrs.evolve(dataset, outcomes=attrs.evolve(dataset.outcomes, quality=np.zeros_like(dataset.outcomes.known_quality)))


def test_votes_measure_no_router(made, evaluate, monkeypatch) -> None:
    run, _ = made()
    votes = Experience(0, (), Estimates.unknown(0), ())
    monkeypatch.setattr(TinyFormat, "read", lambda *_: Dataset([Query("who won?")], Pool([Candidate("other")]), experience=votes, source="votes.csv"))
    with pytest.raises(DataError, match=r"the rows of votes\.csv have nothing else; name measured outcomes of the same candidates with --dataset"):
        evaluate(run, "tiny:1")


def test_what_a_checkpoint_was_trained_on_is_no_test_of_it(made, evaluate, caplog) -> None:
    first, _ = made("first")
    second, metrics = made("second", estimator=str(first.folder), seed=1)
    dropped = metrics["data"]["dropped"]
    assert dropped > 0
    assert f"{dropped} of {dropped + metrics['data']['queries']} rows" in caplog.text
    assert sizes(second)["test"] == metrics["data"]["queries"]
    assert evaluate(second)["data"] == metrics["data"]
    own, taken_over = second.fingerprints
    assert set(taken_over.questions) == set(first.fingerprints[0].questions) != set(own.questions)


def test_a_preference_is_not_calibrated_on_validation_rows_that_a_checkpoint_was_trained_on(made, plugins, caplog) -> None:
    first, _ = made("first")
    second, _ = made("second", router=str(first.folder), seed=1)
    splits = read_splits(second.settings, lambda source: TinyFormat(TinyFormat.Config(), None))
    new = leave_out_trained_rows(splits["validation"], first.fingerprints, strict=False).rows
    assert 0 < len(new) < sizes(second)["validation"]
    caplog.clear()
    assert calibrate(second, plugins, NoProgress(), Target("strong-share", 1)).rows == len(new)
    assert f"{sizes(second)['validation'] - len(new)} of {sizes(second)['validation']} rows" in caplog.text


def test_a_preference_is_calibrated_on_all_validation_rows_if_a_checkpoint_is_of_the_same_rows(made, plugins) -> None:
    first, _ = made("first")
    second, _ = made("second", router=str(first.folder))
    assert calibrate(second, plugins, NoProgress(), Target("strong-share", 1)).rows == sizes(second)["validation"]


def test_without_a_new_validation_row_no_preference_is_calibrated(made, plugins, monkeypatch) -> None:
    first, _ = made("first")
    second, _ = made("second", router=str(first.folder), seed=1)
    monkeypatch.setattr(TrainingFingerprint, "contains", lambda self, questions: np.ones(len(questions), dtype=bool))
    with pytest.raises(DataError, match="none is left to evaluate: use rows that no component was trained on"):
        calibrate(second, plugins, NoProgress(), Target("strong-share", 1))


def test_what_was_trained_on_is_passed_on_from_run_to_run(made, evaluate) -> None:
    first, _ = made("first")
    second, _ = made("second", router=str(first.folder), dataset={"name": "tiny", "path": "100", "first": 1000})
    third, _ = made("third", router=str(second.folder / "routers" / "favourite"), dataset={"name": "tiny", "path": "100", "first": 2000})
    assert evaluate(third, {"name": "tiny", "path": "120", "first": 0})["data"]["dropped"] == 100 - sizes(first)["test"]


def test_a_checkpoint_of_the_same_rows_costs_no_test_row(made) -> None:
    first, expected = made("first")
    second, metrics = made("second", router=str(first.folder), estimator=str(first.folder))
    assert metrics["data"] == expected["data"]
    assert second.content["fingerprints"] == first.content["fingerprints"]


def test_a_run_with_a_checkpoint_of_the_same_rows_can_be_evaluated_again(made, evaluate, monkeypatch) -> None:
    """Signatures may take a test row for a near-duplicate of a training row, which the comparison of texts does not."""
    monkeypatch.setattr(TrainingFingerprint, "contains", lambda self, questions: np.arange(len(questions)) == 0)
    first, _ = made("first")
    second, metrics = made("second", router=str(first.folder), estimator=str(first.folder))
    assert metrics["data"]["dropped"] == 0
    assert evaluate(second)["data"] == metrics["data"]
    third, metrics = made("third", router=str(first.folder), estimator=str(first.folder), seed=1)
    assert metrics["data"]["dropped"] == 1
    assert evaluate(third)["data"] == metrics["data"]


def test_with_strict_a_checkpoint_of_test_rows_is_an_error_before_anything_is_written(made, tmp_path) -> None:
    first, _ = made("first")
    with pytest.raises(DataError, match="were trained on"):
        made("second", estimator=str(first.folder), seed=1, evaluation={"strict": True})
    assert not (tmp_path / "second").exists()


def test_a_checkpoint_outside_a_run_may_have_seen_anything(made, tmp_path, caplog) -> None:
    first, _ = made("first")
    moved = shutil.copytree(first.folder / "estimator", tmp_path / "elsewhere" / "moved")
    made("second", estimator=str(moved))
    assert f"what {moved} was trained on is not known" in caplog.text
    with pytest.raises(DataError, match="is not known"):
        made("third", estimator=str(moved), evaluation={"strict": True})


def test_a_checkpoint_of_a_run_without_fingerprints_may_have_seen_anything(made, caplog) -> None:
    first, _ = made("first")
    remove_fingerprints(first)
    second, metrics = made("second", estimator=str(first.folder), seed=1)
    assert f"what {first.folder / 'estimator'} was trained on is not known, for its run was made by another version" in caplog.text
    assert (metrics["data"]["dropped"], len(second.fingerprints)) == (0, 1)
    with pytest.raises(DataError, match="is not known, for its run was made by another version"):
        made("third", estimator=str(first.folder), evaluation={"strict": True})


def remove_fingerprints(run: RunFolder) -> None:
    """Make ``run.yaml`` what it was before there were fingerprints."""
    path = run.folder / "run.yaml"
    path.write_text(
        "\n".join(line for line in path.read_text().splitlines() if not line.startswith(("fingerprints:", f"- {run.content['fingerprints'][0]}")))
    )


def test_a_run_without_its_fingerprint_is_not_evaluated_elsewhere(made, evaluate) -> None:
    run, _ = made()
    shutil.rmtree(run.folder / "fingerprints")
    with pytest.raises(CheckpointError, match="is missing"):
        evaluate(run, "tiny:120")
    remove_fingerprints(run)
    with pytest.raises(CheckpointError, match="does not say what was trained on"):
        evaluate(RunFolder.open(run.folder), "tiny:120")


def test_an_evaluation_keeps_in_its_folder_what_was_left_out(made, evaluate, tmp_path) -> None:
    run, _ = made()
    evaluate(run, "tiny:120", out=tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "metrics.json").read_text())["data"]
    assert kept["dropped"] == 100 - sizes(run)["test"]
    assert sizes(RunFolder.open(tmp_path / "out")) == {"test": kept["queries"]}
