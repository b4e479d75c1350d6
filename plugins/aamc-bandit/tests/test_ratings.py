"""State files of vLLM Semantic Router: ratings, read as the wins and losses that they were made from."""

from __future__ import annotations

import base64

import pytest
from aamc_bandit.semantic_router.ratings import CandidateRating, is_ratings, read_ratings
from hypothesis import given
from hypothesis import strategies as st

from aamc_sdk.errors import CheckpointError


def rating(alpha: float, beta: float, comparisons: int) -> dict[str, float]:
    """Return what their file keeps of a posterior."""
    return {
        "model": "m",
        "rating": 1000 + 1000 * alpha / (alpha + beta),
        "comparisons": comparisons,
        "wins": int(alpha - 1),
        "losses": int(beta - 1),
        "ties": 0,
    }


def key(prefix: str, whose: str) -> str:
    return prefix + base64.urlsafe_b64encode(whose.encode()).decode().rstrip("=")


def tally_of(figures: dict[str, float]) -> CandidateRating:
    ((_, _, only),) = read_ratings({"version": 1, "global_ratings": {"m": figures}})
    return only["m"]


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_whole_wins_and_losses_come_back_exactly(wins, losses) -> None:
    found = tally_of(rating(1 + wins, 1 + losses, wins + losses))
    assert found == CandidateRating(wins, losses, wins + losses, wins)


@given(st.floats(0, 50), st.integers(0, 50))
def test_fractions_of_either_come_back_too(wins, losses) -> None:
    found = tally_of(rating(1 + wins, 1 + losses, 7))
    assert (found.wins, found.losses) == pytest.approx((wins, losses), rel=1e-6, abs=1e-6)
    mirrored = tally_of(rating(1 + losses, 1 + wins, 7))
    assert (mirrored.wins, mirrored.losses) == pytest.approx((losses, wins), rel=1e-6, abs=1e-6)


@given(st.floats(0, 50), st.floats(0, 50))
def test_of_two_fractions_the_mean_is_kept_and_nothing_is_made_up(wins, losses) -> None:
    found = tally_of(rating(1 + wins, 1 + losses, 9))
    assert found.wins <= wins + 1e-6
    assert found.losses <= losses + 1e-6
    assert (1 + found.wins) / (2 + found.wins + found.losses) == pytest.approx((1 + wins) / (2 + wins + losses), rel=1e-6)


def test_an_elo_rating_gives_its_counts() -> None:
    figures = {"model": "m", "rating": 1632.0, "comparisons": 10, "wins": 7, "losses": 1, "ties": 2}
    assert tally_of(figures) == CandidateRating(8.0, 2.0, 10, 7)
    assert tally_of(figures | {"rating": 2400.0}) == CandidateRating(8.0, 2.0, 10, 7)


def test_ties_count_half_whatever_the_rating() -> None:
    figures = {"model": "m", "rating": 1500.0, "comparisons": 10, "wins": 4, "losses": 2, "ties": 4}
    assert tally_of(figures) == CandidateRating(6.0, 4.0, 10, 4)
    session = read_ratings({"category_ratings": {key("_rl_session:", "s"): {"m": figures}}})[0][2]["m"]
    assert (session.successes, session.feedback) == (4, 10)  # a tie is not a success


@pytest.mark.parametrize("whose", ["user/123", "session:abc", "o'brien", "名前", "a+b=c?", ""])
def test_users_and_sessions_keep_their_ids(whose) -> None:
    content = {
        "category_ratings": {
            "coding": {"m": rating(3, 1, 2)},
            key("_rl_user:", whose): {"m": rating(2, 1, 1)},
            key("_rl_session:", whose): {"m": {"rating": 1333.3, "comparisons": 3, "wins": 1, "losses": 2}},
        }
    }
    assert [(level, entity) for level, entity, _ in read_ratings(content)] == [("category", "coding"), ("user", whose), ("session", whose)]
    assert read_ratings(content)[2][2]["m"] == CandidateRating(1.0, 2.0, 3, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"global_ratings": ["m"]}, "keys and values"),
        ({"global_ratings": {"m": 5}}, "keys and values"),
        ({"global_ratings": {"m": {"rating": "high"}}}, "rating of 'm' must be a finite number of at least 0, not 'high'"),
        ({"global_ratings": {"m": rating(3, 1, 2) | {"wins": -8}}}, "wins of 'm' must be a finite number of at least 0, not -8"),
        ({"global_ratings": {"m": rating(3, 1, 2) | {"rating": 5000}}}, "rating of 'm' must be at most 4000, not 5000"),
        ({"global_ratings": {"m": rating(3, 1, 2) | {"wins": 1e300}}}, r"counts of 'm' must be at most 2\*\*53, not 1e\+300"),
        ({"global_ratings": {"m": rating(3, 1, 2) | {"ties": float("nan")}}}, "ties of 'm' must be a finite number of at least 0, not nan"),
        ({"category_ratings": {"_rl_user:?!": {"m": rating(1, 1, 0)}}}, "does not encode the id of a user"),
    ],
)
def test_what_is_no_rating_is_refused(content, message) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_ratings(content)


def test_a_level_without_ratings_is_left_out() -> None:
    assert read_ratings({"global_ratings": None, "category_ratings": {"coding": {"m": None}, "math": {}}}) == []


def test_ratings_are_told_from_other_documents() -> None:
    assert is_ratings({"version": 1, "last_updated": "2026-01-01T00:00:00Z", "global_ratings": {}, "category_ratings": {}})
    assert not is_ratings({"version": 1})
    assert not is_ratings([])
