"""Datasets: rows and their labels, outcomes and votes."""

import attrs
import numpy as np

from aamc_sdk import Attempt, Dataset, Decision, Estimates, Experience, Feedback, Preference, Query


def logged(texts):
    decisions = [Decision(str(row), "a", 1.0, Preference()) for row in range(len(texts))]
    return Experience(
        position=len(texts),
        queries=[Query(text) for text in texts],
        estimates=Estimates.unknown(len(texts)),
        decisions=decisions,
        entries=[entry for each in decisions for entry in (Attempt(each.id, 0, "a"), Feedback(decision_id=each.id, quality=1.0))],
        expected_quality=[{"a": float(row)} for row in range(len(texts))],
        decision_ids=[decision.id for decision in decisions],
    )


def test_rows_come_with_the_experience_about_their_questions_alone():
    dataset = Dataset([Query(text) for text in ("one", "two", "three")], experience=logged(["two", "ONE ", "three", "two"]))
    part = dataset.take(np.array([1]))
    assert part.queries == [Query("two")]
    assert part.experience.queries == [Query("two"), Query("two")]
    assert [decision.id for decision in part.experience.decisions] == ["0", "3"]
    assert [attempt.decision_id for attempt in part.experience.attempts] == ["0", "3"]
    assert [feedback.decision_id for feedback in part.experience.feedback] == ["0", "3"]
    assert len(part.experience.estimates) == 2
    assert part.experience.expected_quality == [{"a": 0.0}, {"a": 3.0}]
    assert part.experience.rows == {"0": 0, "3": 1}


def test_decisions_and_entries_are_read_in_log_order_also_of_a_part():
    whole = attrs.evolve(logged(["one", "two", "three"]), made=2, entries_before=[2, 4])

    def order(experience):
        return [entry if isinstance(entry, int) else entry.decision_id for entry in experience.in_log_order]

    assert order(whole) == ["0", "0", 1, "1", "1", 2, "2", "2"]
    assert order(attrs.evolve(whole, entries_before=())) == [1, 2, "0", "0", "1", "1", "2", "2"]
    assert order(whole.take(np.array([1, 2]))) == [0, "1", "1", 1, "2", "2"]


def test_no_question_of_a_split_is_in_the_experience_of_another():
    texts = [str(row) for row in range(10)]
    dataset = Dataset([Query(text) for text in texts], experience=logged(texts))
    rows = {"train": np.arange(6), "test": np.arange(6, 10)}
    asked = {name: {query.text for query in dataset.take(part).experience.queries} for name, part in rows.items()}
    assert asked == {"train": set(texts[:6]), "test": set(texts[6:])}


def test_a_split_of_a_log_has_its_own_decisions_alone_also_those_whose_texts_are_forgotten():
    texts = ["one", "", "two", "", ""]
    dataset = Dataset([Query(text) for text in texts], experience=logged(texts))
    part = dataset.take(np.array([0, 3]))
    assert part.experience.rows == {"0": 0, "3": 1}
    assert part.rows_are_decisions
    assert part.take(np.array([1])).experience.rows == {"3": 0}


def test_a_decision_without_text_is_on_no_question_of_a_table():
    dataset = Dataset([Query("one"), Query("")], experience=logged(["", "one", ""]))
    assert not dataset.rows_are_decisions
    assert dataset.take(np.array([0, 1])).experience.rows == {"1": 0}


def test_rows_of_a_dataset_without_experience_have_none():
    assert Dataset([Query("one")]).take(np.array([0])).experience is None


def test_the_repr_of_many_rows_is_short():
    dataset = Dataset([Query(f"question {row}") for row in range(20_000)], experience=logged([f"question {row}" for row in range(20_000)]))
    assert "question 2'" in repr(dataset)
    assert "question 3'" not in repr(dataset)
    assert "... 19997 more]" in repr(dataset)
    assert len(repr(dataset)) < 10_000
    assert "..." not in repr(Dataset(dataset.queries[:3]))
