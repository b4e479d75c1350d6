from __future__ import annotations

from aamc_experiments.evaluation.notes import few_queries_note, trust_note


def test_a_trust_note_says_the_validated_gain_or_that_there_is_none() -> None:
    found = trust_note("ppo", {"factor": 0.5, "gain": 0.0015, "ci95": [0.0011, 0.002]})
    assert found == "ppo gains 0.0015 (0.0011 to 0.0020) of mean reward over its starting rule, greedy, in validation, at trust factor 0.5."
    assert "nothing beyond its starting rule" in trust_note("ppo", {"factor": 0.0, "gain": 0.0, "ci95": [0.0, 0.0]})


def test_few_questions_are_few_however_many_rows_repeat_them() -> None:
    assert few_queries_note(199).startswith("Only 199 queries: differences may be chance.")
    assert few_queries_note(199, 199) == few_queries_note(199)
    assert few_queries_note(400, 40).startswith("Only 40 questions in 400 queries: differences may be chance.")
    assert few_queries_note(400, 200) == ""
