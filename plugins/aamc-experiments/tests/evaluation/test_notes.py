from __future__ import annotations

from typing import Any

from aamc_experiments.evaluation.notes import data_notes, few_queries_note, router_notes, trust_note


def test_a_trust_note_says_the_validated_gain_or_that_there_is_none() -> None:
    found = trust_note("ppo", {"factor": 0.5, "gain": 0.0015, "ci95": [0.0011, 0.002]})
    assert found == "ppo gains 0.0015 (0.0011 to 0.0020) of mean reward over its starting rule, greedy, in validation, at trust factor 0.5."
    assert "nothing beyond its starting rule" in trust_note("ppo", {"factor": 0.0, "gain": 0.0, "ci95": [0.0, 0.0]})


def test_a_note_names_the_candidate_whose_gaps_cost_most_queries() -> None:
    (found,) = data_notes({"most_missing": {"candidate": "late", "missing": 300, "queries_without": 242}})
    gaps = "Most gaps: late lacks 300 outcomes; without it 242 queries could be compared."
    assert found == f"{gaps} If these calls failed, late looks better than it is: record them with quality 0."


def test_few_questions_are_few_however_many_rows_repeat_them() -> None:
    assert few_queries_note(199).startswith("Only 199 queries: differences may be chance.")
    assert few_queries_note(199, 199) == few_queries_note(199)
    assert few_queries_note(400, 40).startswith("Only 40 questions in 400 queries: differences may be chance.")
    assert few_queries_note(400, 200) == ""


def test_a_wide_interval_of_cost_or_latency_is_noted_with_the_routers() -> None:
    def row(cost: float, latency: float | None) -> dict[str, Any]:
        ci95 = {"mean_cost_usd": [0.8, 0.8 + cost], "mean_latency_ms": None if latency is None else [0.8, 0.8 + latency]}
        return {"mean_cost_usd": 1.0, "mean_latency_ms": None if latency is None else 1.0, "ci95": ci95}

    routers = {"a": row(0.41, 0.3), "b": row(0.39, 0.5), "c": row(0.5, None)}
    assert list(router_notes(routers, {"queries": 200})) == [
        "Few expensive queries determine the mean cost of a, c: the true mean may be above the interval. Evaluate on more queries.",
        "Few slow queries determine the mean latency of b: the true mean may be above the interval. Evaluate on more queries.",
    ]
    assert not list(router_notes(routers, {"queries": 400, "questions": 199}))  # these carry another warning
    assert not list(router_notes({"old": {"mean_cost_usd": 1.0}}, {"queries": 200}))
    many = next(router_notes(dict.fromkeys("abcd", row(0.5, None)), {"queries": 200}))
    assert "mean cost of 4 routers, a, b, c among them: the" in many


def test_a_candidate_without_latency_is_named_since_the_preference_then_weighs_none() -> None:
    timed, data = {"a": {"mean_latency_ms": 3.0}}, {"preference": [0.9, 0.1, 0.0], "models": list("vwxyz"), "queries": 200}
    rest = "is unknown, so the preference weighs quality and cost alone, by 0.9 and 0.1."
    assert list(router_notes(timed, data)) == []
    assert list(router_notes(timed, {**data, "without_latency": ["x", "y"]})) == [f"The latency of x, y {rest}"]
    assert list(router_notes(timed, {**data, "without_latency": list("wxyz")})) == [f"The latency of 4 candidates, w, x, y among them {rest}"]
    for unknown in ({}, {"without_latency": data["models"]}):
        assert list(router_notes({"a": {"mean_latency_ms": None}}, {**data, **unknown})) == [f"Latency {rest}"]
