"""The file in which writes wait: nothing leaves it unless it was delivered, and repetitions are what they are on the server."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import attrs
import pytest
from aamc_stores.spool import Spool, default_spools

from aamc_sdk.errors import StoreAwayError, StoreError
from aamc_sdk.log import Addition, Erasure, Row, addition_of, feedback_addition
from aamc_sdk.log.rows.decision_row import decision_row
from aamc_sdk.log.rows.row import attempt_row
from aamc_sdk.testing import POOL, make_dataset, make_request
from aamc_sdk.types import Attempt, Decision, Feedback, Preference, Query, Records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    with closing(Spool(path, "aamc")) as opened:
        yield opened


def judged(name: str, quality: float = 1.0, call: Attempt | None = None, **fields) -> Addition:
    return feedback_addition(Feedback(decision_id=name, quality=quality, **fields), call)


def decided(name: str) -> Row:
    return decision_row(Records([Decision(name, POOL.names[0], 1.0, Preference())], make_request(make_dataset(1)))[0], store_text=False)


def waiting(spool: Spool) -> list[str]:
    return [entry[-1].id for _, entry in spool.first(100)]


def refused(path: Path) -> list[tuple[str, str]]:
    """Return the lines that were set aside, and why."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT line, refused FROM spool WHERE refused IS NOT NULL ORDER BY n").fetchall()


def test_a_process_that_is_late_to_remove_takes_nothing_of_another(spool, path) -> None:
    """Two processes deliver the same entries; the one that comes last must not remove what came meanwhile."""
    spool.put([judged("d"), judged("e")])
    numbers = [number for number, _ in spool.first(100)]
    with closing(Spool(path, "aamc")) as other:
        other.remove(numbers)
        other.put([judged("f")])
    spool.remove(numbers)
    assert waiting(spool) == ["f/explicit"]


def test_a_new_file_is_opened_by_many_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(6)

    def open_and_look(path: Path) -> int:
        together.wait()
        with closing(Spool(path, "aamc")) as spool:
            return len(spool.first(1))

    with ThreadPoolExecutor(6) as threads:
        for attempt in range(30):
            assert list(threads.map(open_and_look, [tmp_path / f"{attempt}.db"] * 6)) == [0] * 6


def test_a_repetition_is_kept_once_and_known_as_such(spool) -> None:
    assert spool.put([judged("d", time=1.0)]) == [True]
    assert spool.put([judged("d", time=2.0), judged("d", source="judge")]) == [False, True]
    assert spool.put([(decided("d"),)]) == [True]
    assert [row and row.id for row in spool.put_decisions([decided("d")])] == ["d"]
    assert waiting(spool) == ["d/explicit", "d/judge", "d"]


def test_other_content_under_one_id_is_refused_and_what_stands_before_it_stays(spool) -> None:
    spool.put([judged("d")])
    with pytest.raises(StoreError, match="'d/explicit' is in the log with other content"):
        spool.put([judged("e"), judged("d", quality=0.0), judged("f")])
    with pytest.raises(StoreError, match="'thumb' is in the log with other content"):
        spool.put([judged("d", id="thumb"), judged("e", id="thumb")])
    assert waiting(spool) == ["d/explicit", "e/explicit", "thumb"]


def test_of_a_whole_that_is_refused_nothing_is_kept(spool) -> None:
    spool.put([(decided("d"),), judged("d", candidate=POOL.names[0])])
    with pytest.raises(StoreError, match="no candidate 'nobody'"):
        spool.put_attempts([attempt_row(Attempt("d", 0, POOL.names[0])), attempt_row(Attempt("d", 1, "nobody"))])
    assert waiting(spool) == ["d", "d/explicit"]


def test_figures_may_come_after_the_feedback_that_they_belong_to(spool) -> None:
    feedback, later = judged("d"), judged("d", call=Attempt("d", 0, "", cost_usd=0.25))
    assert spool.put([feedback, later, later]) == [True, False, False]
    (_, known), (_, (call, more)) = spool.first(9)
    assert (known, more, call.fields["cost_usd"]) == (feedback, feedback[0], 0.25)
    with pytest.raises(StoreError, match="other content"):
        spool.put([judged("d", call=Attempt("d", 0, "", cost_usd=0.5))])


def test_a_line_that_nobody_can_read_is_set_aside(spool, path) -> None:
    spool.put([judged("d")])
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE spool SET line = '{'")
    assert spool.first(1) == []
    spool.put([judged("d"), judged("e")])
    assert waiting(spool) == ["d/explicit", "e/explicit"]
    ((line, why),) = refused(path)
    assert (line, "not a log entry" in why) == ("{", True)


def test_whatever_the_file_suffers_is_a_store_error(spool, path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DROP TABLE spool")
    for use in (lambda: spool.put([judged("d")]), lambda: spool.first(1), lambda: spool.decision("d"), lambda: spool.remove([1]), spool.counts):
        with pytest.raises(StoreError, match="cannot be used"):
            use()


def test_a_full_disk_is_named_with_its_remedy(spool) -> None:
    spool._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreError, match=r"cannot be used \(database or disk is full\); its disk is full.*free some space"):
        spool.put([judged(f"{n:0512}") for n in range(400)])


def test_an_attempt_without_a_number_is_numbered_as_far_as_the_spool_knows(spool) -> None:
    rows = [attempt_row(Attempt("d", cost_usd=0.5)), attempt_row(Attempt("d", 3)), attempt_row(Attempt("e"))]
    assert spool.put_attempts(rows) == [0, 3, 0]
    assert spool.put_attempts(rows) == [0, 3, 0]
    assert [row.fields["n"] for _, (row,) in spool.first(9)] == [None, 3, None]  # the server gives the numbers
    assert spool.counts() == (3, 0)


def test_asking_again_is_known_in_the_spool_and_another_request_is_refused(spool) -> None:
    first = decided("d")
    assert spool.put_decisions([first]) == [None]
    assert spool.put_decisions([attrs.evolve(first, candidate=POOL.names[1], content=first.content.replace(POOL.names[0], POOL.names[1]))]) == [first]
    with pytest.raises(StoreError, match="other content"):
        spool.put_decisions([attrs.evolve(first, content=first.content.replace("}", "} "), fingerprint="other")])
    assert spool.decision("d") == first


def test_another_process_that_delivers_at_once_changes_no_answer(spool, path, monkeypatch) -> None:
    """Between the moment when an entry is kept and the answer, another process may deliver and remove it."""
    writing = Spool._writing
    other = Spool(path, "aamc")

    @contextmanager
    def writing_and_delivered(self: Spool) -> Iterator[sqlite3.Connection]:
        with writing(self) as connection:
            yield connection
        if self is spool:
            other.remove([number for number, _ in other.first(9)])

    first = decided("d")
    other.put([(first,)])
    monkeypatch.setattr(Spool, "_writing", writing_and_delivered)
    with closing(other):
        assert spool.put_decisions([attrs.evolve(first, content=first.content.replace(POOL.names[0], POOL.names[1]))]) == [first]
        assert spool.put_attempts([attempt_row(Attempt("d", cost_usd=0.5)), attempt_row(Attempt("d", 3))]) == [0, 3]
    assert spool.is_empty


def test_what_waits_on_some_decisions_is_found_with_what_waits_on_those_of_some_feedback(spool) -> None:
    spool.put([judged("d"), (decided("e"),), judged("e", id="thumb"), judged("f")])
    assert [number for number, _ in spool.about(["d"], [])] == [1]
    assert [number for number, _ in spool.about(["f", "unknown"], ["thumb", "f/explicit"])] == [2, 3, 4]
    spool.set_aside(4, "refused")
    assert [number for number, _ in spool.about(["f"], [])] == []
    assert not spool.is_empty


def test_revisions_wait_beside_each_other(spool) -> None:
    revised = judged("d", quality=0.0, revision=1)
    assert spool.put([judged("d"), revised, revised]) == [True, True, False]
    with pytest.raises(StoreError, match="a revision above 1"):
        spool.put([judged("d", quality=0.5)])
    assert [row.revision for _, (row,) in spool.first(9)] == [0, 1]


@pytest.mark.parametrize(
    ("forgotten", "left"),
    [
        (("ann", None), [(None, "t1"), (None, "t2"), ("bob", "t1")]),
        (("ann", "t1"), [(None, "t1"), ("ann", "t2"), ("bob", "t1")]),
        ((None, "t1"), [(None, None), ("ann", "t2"), (None, None)]),
    ],
)
def test_refused_decisions_are_erased_for_forgotten_users_alone(spool, forgotten, left) -> None:
    request = make_request(make_dataset(3))
    queries = [Query("Hi", user=user, tenant=tenant) for user, tenant in (("ann", "t1"), ("ann", "t2"), ("bob", "t1"))]
    made = [Decision(f"d{n}", POOL.names[0], 1.0, Preference()) for n in range(3)]
    spool.put([(decision_row(record, store_text=False),) for record in Records(made, attrs.evolve(request, queries=queries))])
    for number, _ in spool.first(3):
        spool.set_aside(number, "refused")
    with closing(sqlite3.connect(spool.path)) as connection, connection:
        connection.execute("INSERT INTO spool (kind, id, decision_id, line, refused) VALUES ('decision', 'x', 'x', 'damaged', 'unreadable')")
    spool.forget(Erasure(*forgotten))
    entries = [addition_of(line)[0] for line, why in refused(spool.path) if why == "refused"]
    assert [(query["user"], query.get("tenant")) for query in (entry.fields["query"] for entry in entries)] == left


def test_no_file_has_the_bytes_of_delivered_or_erased_entries(spool, path) -> None:
    """A program may keep the spool open for months."""
    request = attrs.evolve(make_request(make_dataset(2)), queries=[Query("Hi", user=user) for user in ("ann-from-accounting", "bob")])
    rows = [decision_row(record, store_text=False) for record in Records([Decision(n, POOL.names[0], 1.0, Preference()) for n in "ab"], request)]
    spool.put([(row,) for row in rows])
    (first, _), (second, _) = spool.first(2)
    spool.set_aside(first, "refused")
    spool.forget(Erasure("ann-from-accounting"))
    assert not any(b"ann-from-accounting" in file.read_bytes() for file in path.parent.iterdir())
    spool.remove([second])
    assert not any(b'"bob"' in file.read_bytes() for file in path.parent.iterdir())


def test_a_deleted_spool_takes_nothing_more_and_still_delivers_what_waits(spool, path) -> None:
    """A later process would not find the entries of a file without a name."""
    spool.put([judged("d")])
    for replaced in (False, True):
        for file in path.parent.glob("spool.db*"):
            file.unlink()
        other = Spool(path, "aamc") if replaced else None
        for put in (lambda: spool.put([judged("e")]), lambda: spool.put_decisions([decided("e")])):
            with pytest.raises(StoreAwayError, match=r"spool.db was deleted or replaced .* keep the program running until the server is back"):
                put()
        if other is not None:
            other.close()
    assert waiting(spool) == ["d/explicit"]
    spool.remove([number for number, _ in spool.first(1)])
    assert spool.is_empty


def test_entries_of_one_log_do_not_reach_another_that_has_the_same_spool(path) -> None:
    with closing(Spool(path, "shop")) as spool:
        spool.put([judged("d")])
        with pytest.raises(StoreAwayError, match=r"is that of the log with the prefix 'shop', not 'bank': name another file by the option spool"):
            Spool(path, "bank")
    with closing(Spool(path, "shop")) as again:
        assert waiting(again) == ["d/explicit"]


def test_it_is_the_same_file_in_another_working_directory(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    spool = Spool(Path("spool.db"), "aamc")
    monkeypatch.chdir("/")
    assert spool.put([judged("d")]) == [True]
    spool.close()


def test_a_spool_in_a_folder_behind_a_link_is_not_taken_over_by_itself(tmp_path, monkeypatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "link"))
    present, earlier = default_spools("redis://host/0", "redis://host/0", "aamc")  # a URL without a password
    with closing(Spool(present, "aamc")) as spool:
        spool.put([judged("d")])
        spool.adopt(earlier)
        assert spool.counts() == (1, 0)
