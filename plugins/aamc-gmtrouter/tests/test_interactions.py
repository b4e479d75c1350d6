"""Dataset format ``interactions``."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from aamc_gmtrouter.interactions import Interactions, InteractionsOptions

from aamc_sdk import Dataset
from aamc_sdk.errors import ConfigError, DataError


def item(query: str, model: str, feedback: Any, **more: Any) -> dict[str, Any]:
    return {"query": query, "model_used": model, "user_feedback": feedback, **more}


def read(folder: Path, *lines: Any, **options: Any) -> Dataset:
    path = folder / "history.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    return Interactions(InteractionsOptions(**options), None).read(str(path))  # type: ignore[arg-type]  # needs no services


def user(*items: dict[str, Any], name: str = "ann", **more: Any) -> dict[str, Any]:
    return {"user_id": name, "interactions": list(items), **more}


def comparisons(dataset: Dataset) -> list[tuple[str, str]]:
    assert dataset.experience is not None
    chosen = {decision.id: decision.candidate for decision in dataset.experience.decisions}
    return [(chosen[each.decision_id], each.over) for each in dataset.experience.feedback if each.over is not None]


def test_answers_to_one_query_become_comparisons_and_ties_none(tmp_path: Path) -> None:
    dataset = read(tmp_path, user(item("q", "a", "positive"), item("q", "b", "negative"), item("q", "c", "positive")))
    assert comparisons(dataset) == [("a", "b"), ("c", "b")]


def test_a_json_file_has_one_user_or_a_list_or_lines(tmp_path: Path) -> None:
    ann, bob = user(item("q", "a", "positive")), user(item("q", "b", "negative"), name="bob")
    path = tmp_path / "users.json"
    reader = Interactions(InteractionsOptions(), None)  # type: ignore[arg-type]  # needs no services
    for content, users in ((json.dumps(ann, indent=2), ["ann"]), (json.dumps([ann, bob], indent=2), ["ann", "bob"])):
        path.write_text(content)
        assert list(reader.read(str(path)).groups or ()) == users
    path.write_text(f"{json.dumps(ann)}\n{json.dumps(bob)}\n")
    assert list(reader.read(str(path)).groups or ()) == ["ann", "bob"]
    path.write_text(json.dumps([ann, {"user_id": 5}], indent=2))
    line = len(json.dumps([ann], indent=2).splitlines())
    with pytest.raises(DataError, match=rf"users\.json, line {line}: "):
        reader.read(str(path))
    path.write_text(json.dumps(ann, indent=2)[:-2])
    with pytest.raises(DataError, match=r"users\.json is not valid JSON"):
        reader.read(str(path))


def test_turns_of_interleaved_sessions_are_in_the_order_of_their_first_answers(tmp_path: Path) -> None:
    asked = [("q1", "X"), ("q2", "Y"), ("q3", "X"), ("q4", "Y"), ("q3", "X")]
    dataset = read(tmp_path, user(*(item(query, f"m{n}", n / 9, timestamp=n, session=session) for n, (query, session) in enumerate(asked))))
    assert [query.text for query in dataset.queries] == ["q1", "q2", "q3", "q3", "q4"]
    assert comparisons(dataset) == [("m4", "m2")]


def test_a_file_with_each_line_twice_is_read_as_the_file_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = user(item("q", "a", "positive", timestamp=1), item("q", "b", "negative"), item("r", "a", "positive", timestamp=9))
    (tmp_path / "twice").mkdir()
    once, twice = read(tmp_path, line), read(tmp_path / "twice", line, line)
    assert once.experience is not None
    assert twice.experience is not None
    assert (list(twice.queries), list(twice.experience.feedback)) == (list(once.queries), list(once.experience.feedback))
    assert "user 'ann': 3 interactions left out, as they repeat earlier ones" in caplog.text
    assert "backwards" not in caplog.text


def test_models_of_a_turn_are_compared_once_by_the_mean_of_their_ratings(tmp_path: Path) -> None:
    ratings = [("a", 1.0), ("b", 0.6), ("a", 0.0), ("b", 0.6), ("c", 0.5)]
    dataset = read(tmp_path, user(*(item("q", model, rating, timestamp=n) for n, (model, rating) in enumerate(ratings))))
    assert comparisons(dataset) == [("b", "a"), ("b", "c")]


def test_a_lone_answer_keeps_its_rating(tmp_path: Path) -> None:
    experience = read(tmp_path, user(item("q", "a", "positive"), item("r", "b", 0.25))).experience
    assert experience is not None
    assert [each.quality for each in experience.feedback] == [1.0, 0.25]


def test_published_lines_are_read_with_ratings_scaled_by_the_file(tmp_path: Path) -> None:
    def line(model: str, *ratings: float) -> dict[str, Any]:
        exchanges = [{"query": f"q{n}", "response": "r", "rating": rating, "query_emb": [0.1]} for n, rating in enumerate(ratings)]
        return {"judge": "j", "model": model, "question_id": 81, "turn": 2, "model_emb": [1], "conversation": exchanges}

    dataset = read(tmp_path, line("a", 10, 4), line("b", 1, 7))
    assert comparisons(dataset) == [("a", "b"), ("b", "a")]
    assert [len(query.turns) for query in dataset.queries] == [0, 0, 2, 2]  # the second exchange follows the first
    assert set(dataset.groups or ()) == {"j"}


def test_context_and_preferred_models_come_with_every_query(tmp_path: Path) -> None:
    dataset = read(tmp_path, user(item("q", "a", "positive"), context="developer", preferred_models=["b"]))
    turns = dataset.queries[0].turns
    assert [(turn.role, turn.content, turn.model) for turn in turns] == [("system", "developer", None), ("preferred", "", "b")]
    assert dataset.pool is not None
    assert set(dataset.pool.names) == {"a", "b"}


def test_timestamps_that_go_backwards_or_are_missing_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = read(
            tmp_path,
            user(item("late", "a", 1, timestamp=9), item("early", "a", 1, timestamp=3), item("none", "a", 1), item("same", "a", 1, timestamp=3)),
        )
    assert [query.text for query in dataset.queries] == ["early", "none", "same", "late"]
    assert "go backwards 1 time" in caplog.text
    assert "1 interaction without a timestamp" in caplog.text


def test_a_long_history_keeps_its_latest_turns_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = read(tmp_path, user(*(item(f"q{n}", "a", 1, timestamp=n) for n in range(20))), max_turns=5)
    assert [query.text for query in dataset.queries] == [f"q{n}" for n in range(15, 20)]
    assert "has 20 turns; the latest 5 are used" in caplog.text


def test_the_last_of_different_descriptions_of_a_user_counts_and_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [user(item(query, "a", 1), context=context, own="kept") for query, context in (("q", "terse"), ("r", ""), ("s", "verbose"))]
    assert {query.turns[0].content for query in read(tmp_path, *lines).queries} == {"verbose"}
    assert caplog.messages == [f"{tmp_path / 'history.jsonl'}, line 3: user 'ann' has contexts that differ from earlier ones; the last ones count"]


def test_a_user_without_interactions_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert set(read(tmp_path, user(name="empty"), user(item("你好", "a", "positive"))).groups or ()) == {"ann"}
    assert "1 user" in caplog.text
    with pytest.raises(DataError, match="no interaction"):
        read(tmp_path, user(name="empty"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not valid JSON"),
        ({"interactions": []}, "line 2: has no 'user_id'"),
        ({"user_id": "", "interactions": []}, "line 2: 'user_id' must be a name"),
        (user(prefered_models=["a"]), "line 2: has the unknown key 'prefered_models'; did you mean 'preferred_models'"),
        (user(item("q", "a", 1, time_stamp=1)), "line 2: interaction 1: has the unknown key 'time_stamp'; did you mean 'timestamp'"),
        ({"user_id": "x"}, "line 2: 'interactions' of user 'x' must be a list"),
        (user(item("q", "a", "great")), "line 2: interaction 1: 'user_feedback' must be a finite number or one of"),
        (user(item("q", "a", 3)), "line 2: a rating must be a number from 0 to 1, not 3"),
        (user(item("q", "a", 10**400)), "line 2: interaction 1: 'user_feedback' must be a finite number"),
        (user(item("q", "a", 1, timestamp=10**400)), "line 2: interaction 1: 'timestamp' must be seconds"),
        (user(item("q", "a", True)), "line 2: interaction 1: 'user_feedback'"),
        (user(item(" ", "a", 1)), "line 2: interaction 1: 'query' must be a text"),
        (user(item("q", "a", 1, timestamp=-1)), "line 2: interaction 1: 'timestamp' must be seconds"),
        (user(item("q", "a", 1), preferred_models="a"), "line 2: 'preferred_models' must be a list"),
        (user(item("q", "a", 1, timestamp=1706300000000)), "line 2: a decision's time must be seconds since the epoch"),
        (json.dumps(user(item("q", "a", 1), name="\ud800")), "line 2: a query's user must be valid Unicode"),
        (json.dumps(user(item("q", "a", 1, session="\ud800"))), "line 2: a query's session must be valid Unicode"),
        (json.dumps(user(item("q", "a", 1), name="ben", context="\ud800")), "line 2: 'context' must be valid Unicode"),
        (json.dumps(user(item("q", "a", 1), name="ben", preferred_models=["\ud800"])), "line 2: a model in 'preferred_models' must be valid Unicode"),
        ({"judge": "j", "model": "a", "question_id": 1, "conversation": []}, "line 2: 'conversation' must be a list"),
        ({"judge": "j", "model": "a", "question_id": 1, "conversation": [{"query": "q"}]}, "line 2: exchange 1: has no 'rating'"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, user(item("q", "a", "positive")), line)


def test_a_file_of_a_folder_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "first.jsonl").write_text(json.dumps(user(item("q", "a", 1))))
    (tmp_path / "second.jsonl").write_text(json.dumps(user(item("q", "a", 1), name="\ud800")))
    with pytest.raises(DataError, match=r"second\.jsonl, line 1: a query's user"):
        Interactions(InteractionsOptions(), None).read(str(tmp_path))  # type: ignore[arg-type]  # needs no services


def test_a_user_without_interactions_is_checked_on_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: 'context' must be valid Unicode"):
        read(tmp_path, user(item("q", "a", 1)), json.dumps({**user(), "context": "\ud800"}))


@pytest.mark.parametrize(("ratings", "compared"), [((-1.7e308, 1.7e308), [("b", "a")]), ((0, 5e-324), [])])
def test_scales_as_wide_or_narrow_as_numbers_go(tmp_path: Path, ratings: tuple[float, float], compared: list[tuple[str, str]]) -> None:
    rows = [
        {"judge": "j", "model": name, "question_id": 1, "conversation": [{"query": "q", "rating": rating}]}
        for name, rating in zip("ab", ratings, strict=True)
    ]
    assert comparisons(read(tmp_path, *rows)) == compared


def test_a_scale_that_is_given_counts(tmp_path: Path) -> None:
    assert comparisons(read(tmp_path, user(item("q", "a", 5), item("q", "b", 2)), minimum_rating=1.0, maximum_rating=5.0)) == [("a", "b")]
    with pytest.raises(ConfigError, match="minimum_rating must be below"):
        InteractionsOptions(minimum_rating=2.0, maximum_rating=1.0)


def judged(rating: float) -> dict[str, Any]:
    return {"judge": "j", "model": "a", "question_id": rating, "conversation": [{"query": f"q{rating}", "rating": rating}]}


def test_the_files_of_a_folder_have_one_scale(tmp_path: Path) -> None:
    for name, ratings in (("one", (1, 4)), ("two", (3, 10))):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(judged(rating)) for rating in ratings))
    found = Interactions(InteractionsOptions(), None).read(str(tmp_path)).experience  # type: ignore[arg-type]  # needs no services
    assert found is not None
    assert [feedback.quality for feedback in found.feedback] == pytest.approx([0, 3 / 9, 2 / 9, 1])


def test_equal_ratings_without_a_scale_are_neutral_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = read(tmp_path, judged(7)).experience
    assert found is not None
    assert [feedback.quality for feedback in found.feedback] == [0.5]
    assert "all ratings are 7" in caplog.text


def test_missing_files_are_named(tmp_path: Path) -> None:
    reader = Interactions(InteractionsOptions(), None)  # type: ignore[arg-type]  # needs no services
    for path, error in (("", ConfigError), (str(tmp_path / "none.jsonl"), DataError), (str(tmp_path), DataError)):
        with pytest.raises(error):
            reader.read(path)
