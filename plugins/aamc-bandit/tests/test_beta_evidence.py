from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from aamc_bandit.thompson.beta_evidence import GLOBAL_ENTITY, BetaEvidence
from aamc_bandit.thompson.evidence_keys import EvidenceKeys

from aamc_sdk.errors import CheckpointError

WON, LOST, TIED = 1.0, 0.0, 0.5
NO_KEYS = EvidenceKeys()


def add(evidence: BetaEvidence, *qualities: float, candidate: str = "a", keys: EvidenceKeys = NO_KEYS) -> None:
    for quality in qualities:
        evidence.add(keys, [(candidate, quality)], 1.0, implicit=False, time=5.0)


def wins_and_losses(evidence: BetaEvidence, candidate: str = "a", level: str = "global", name: str = GLOBAL_ENTITY) -> list[float]:
    return evidence.table(level, name, [candidate])[0, :2].tolist()


def test_nothing_is_known_at_first() -> None:
    assert BetaEvidence().table("user", "anna", ["a", "b"]).tolist() == [[0, 0, 0, 0], [0, 0, 0, 0]]


def test_wins_losses_and_ties_are_added() -> None:
    evidence = BetaEvidence()
    add(evidence, WON, WON, LOST, TIED, 0.25)
    assert evidence.table("global", GLOBAL_ENTITY, ["b", "a"]).tolist() == [[0, 0, 0, 0], [2.75, 2.25, 5, 2]]


def test_every_level_that_the_place_names_hears() -> None:
    evidence = BetaEvidence()
    add(evidence, WON, keys=EvidenceKeys("code", "anna", None))
    assert [wins_and_losses(evidence, level=level, name=name) for level, name in (("global", ""), ("category", "code"), ("user", "anna"))] == [
        [1, 0]
    ] * 3
    assert not evidence.entities("session")


def test_explicit_and_implicit_feedback_and_its_time_are_counted_apart() -> None:
    evidence = BetaEvidence()
    for implicit, time in ((True, 30.0), (False, 20.0), (True, 10.0)):
        evidence.add(NO_KEYS, [("a", WON)], 1.0, implicit=implicit, time=time)
    cell = evidence.entities("global")[GLOBAL_ENTITY].candidates["a"]
    assert (cell.total, cell.explicit, cell.implicit, cell.updated) == (3, 1, 2, 30.0)


def test_discounted_wins_are_the_geometric_sum() -> None:
    gamma, outcomes = 0.9, [1, 0, 1, 1, 0, 1]
    evidence = BetaEvidence(discount=gamma)
    add(evidence, *[WON if won else LOST for won in outcomes])
    ages = np.arange(len(outcomes))[::-1]
    assert wins_and_losses(evidence) == pytest.approx([(gamma**ages)[np.array(outcomes) == won].sum() for won in (1, 0)], rel=1e-12)


def test_after_many_wins_discounting_holds_what_the_series_converges_to() -> None:
    evidence = BetaEvidence(discount=0.9)
    add(evidence, *[WON] * 400)
    assert wins_and_losses(evidence) == pytest.approx([1 / (1 - 0.9), 0], rel=1e-12)


def test_evidence_fades_while_others_are_heard_of_and_by_each_entitys_own_clock() -> None:
    evidence = BetaEvidence(discount=0.5)
    add(evidence, WON, keys=EvidenceKeys(user="anna"))
    add(evidence, WON, WON, candidate="b", keys=EvidenceKeys(user="otto"))
    assert wins_and_losses(evidence) == [0.25, 0]
    assert wins_and_losses(evidence, level="user", name="anna") == [1, 0]


def test_a_window_holds_exactly_its_last_feedback() -> None:
    evidence = BetaEvidence(window=3)
    add(evidence, WON, WON, WON, 0.3, LOST)
    assert wins_and_losses(evidence) == pytest.approx([1.3, 1.7], abs=2**-32)
    add(evidence, *[LOST] * 3, candidate="b")
    assert wins_and_losses(evidence) == [0, 0]  # nothing is left of it, not even rounding
    assert evidence.table("global", GLOBAL_ENTITY, ["a"])[0, 2] == 5


def test_training_rows_leave_a_window_together() -> None:
    evidence = BetaEvidence(window=3)
    for quality in (WON, WON, WON, 0.3, LOST):
        evidence.add(NO_KEYS, [("a", quality), ("b", WON)], 1.0, implicit=False, time=0.0, ageing=False)
    assert wins_and_losses(evidence) == pytest.approx([3.3, 1.7], abs=2**-31)
    assert wins_and_losses(evidence, "b") == [5, 0]
    add(evidence, LOST, LOST)
    assert wins_and_losses(evidence) == pytest.approx([3.3, 3.7], abs=2**-31)
    add(evidence, LOST)
    assert [wins_and_losses(evidence, name) for name in "ab"] == [[0, 3], [0, 0]]


def test_a_revision_in_a_window_leaves_training_rows_of_the_same_age() -> None:
    evidence, places = BetaEvidence(window=2), {}
    evidence.add(NO_KEYS, [("a", LOST)], 1.0, implicit=False, time=0.0, places=places)
    evidence.add(NO_KEYS, [("a", WON)], 1.0, implicit=False, time=0.0, ageing=False)
    evidence.remove(NO_KEYS, [("a", LOST)], 1.0, implicit=False, places=places)
    evidence.add(NO_KEYS, [("b", WON)], 1.0, implicit=False, time=0.0, places=places)
    assert [wins_and_losses(evidence, name) for name in "ab"] == [[1, 0], [1, 0]]
    add(evidence, WON, WON, candidate="c")
    assert [wins_and_losses(evidence, name) for name in "abc"] == [[0, 0], [0, 0], [2, 0]]


@pytest.mark.parametrize(("options", "left"), [({}, [1, 0]), ({"discount": 0.5}, [1, 0.5]), ({"window": 7}, [1, 1])])
def test_feedback_of_unknown_age_is_taken_back_where_evidence_does_not_age(options: dict[str, float], left: list[float]) -> None:
    evidence = BetaEvidence(**options)
    add(evidence, LOST, WON)
    evidence.remove(NO_KEYS, [("a", LOST)], 1.0, implicit=False, places={})
    assert wins_and_losses(evidence) == left


def test_users_that_were_not_heard_of_for_longest_are_forgotten_first() -> None:
    evidence = BetaEvidence(max_users=2)
    for user in ("anna", "otto", "anna", "ida"):
        add(evidence, WON, keys=EvidenceKeys(user=user))
    assert list(evidence.entities("user")) == ["anna", "ida"]
    assert wins_and_losses(evidence, level="user", name="otto") == [0, 0]


def test_sessions_are_bounded_and_categories_are_not() -> None:
    evidence = BetaEvidence(max_sessions=10)
    for n in range(100):
        add(evidence, WON, keys=EvidenceKeys(category=f"c{n}", session=f"s{n}"))
    assert [len(evidence.entities(level)) for level in ("category", "session")] == [100, 10]


@pytest.mark.parametrize("options", [{}, {"discount": 0.97}, {"window": 7}, {"max_users": 3, "max_sessions": 2}])
def test_saved_and_loaded_evidence_goes_on_bit_for_bit(options: dict[str, float], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole, halves = BetaEvidence(**options), BetaEvidence(**options)
    for step in range(60):
        keys = EvidenceKeys(*(str(rng.integers(5)) if rng.random() < 0.8 else None for _ in range(3)))
        qualities = [(str(name), quality) for name, quality in zip(rng.permutation(4)[:2].tolist(), rng.random(2).tolist(), strict=True)]
        for evidence in (whole, halves):
            evidence.add(keys, qualities, 1.0, implicit=bool(step % 3), time=step / 3)
            evidence.selections += 2
        if step % 10 == 9:
            state = halves.encoded()
            halves = BetaEvidence(**options)
            halves.restore(state)
    assert halves.to_json() == whole.to_json()
    assert list(halves.entities("user")) == list(whole.entities("user"))


def test_names_of_any_kind_survive(tmp_path: Path) -> None:
    evidence = BetaEvidence()
    add(evidence, WON, candidate="modèle/ü", keys=EvidenceKeys("a b", "user/123", 'session:"abc"\n'))
    loaded = BetaEvidence()
    loaded.restore(evidence.encoded())
    assert wins_and_losses(loaded, "modèle/ü", "user", "user/123") == wins_and_losses(loaded, "modèle/ü", "session", 'session:"abc"\n') == [1, 0]


def test_evidence_of_another_version_says_to_train_again() -> None:
    with pytest.raises(CheckpointError, match="another version made it: train again"):
        BetaEvidence().restore(BetaEvidence().to_json() | {"columns": ["wins"]})


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("levels"),
        lambda state: state["levels"].pop("user"),
        lambda state: state.update(columns=["wins"]),
        lambda state: state["levels"]["global"][""]["cells"].update(a=[1, 2]),
        lambda state: state["levels"]["global"][""]["cells"]["a"].__setitem__(0, -1.0),
        lambda state: state["levels"]["global"][""]["cells"]["a"].__setitem__(0, float("nan")),
        lambda state: state["levels"].update({"global": 7}),
        lambda state: state.update(selections=-1),
        lambda state: state.update(selections=1.5),
        lambda state: state["levels"]["global"][""].update(heard=0),  # before what it heard last
        lambda state: state["levels"]["global"][""].update(recent=[[["a", float("nan"), 0.0]]]),
    ],
)
def test_what_is_no_evidence_is_refused_and_changes_nothing(damage: object) -> None:
    evidence = BetaEvidence()
    add(evidence, WON)
    before, state = evidence.to_json(), json.loads(json.dumps(evidence.to_json()))
    damage(state)  # type: ignore[operator]  # a function
    with pytest.raises(CheckpointError):
        evidence.restore(state)
    assert evidence.to_json() == before


def test_a_snapshot_may_be_taken_while_something_is_learned() -> None:
    evidence, done = BetaEvidence(), threading.Event()

    def learn() -> None:
        for n in range(3000):
            add(evidence, WON, keys=EvidenceKeys(f"c{n}", f"u{n}", f"s{n}"))
        done.set()

    thread = threading.Thread(target=learn)
    thread.start()
    while not done.is_set():
        levels = evidence.to_json()["levels"]
        assert len({len(levels[level]) for level in ("category", "user", "session")}) == 1
    thread.join()
