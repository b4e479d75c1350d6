"""``aamc feedback``: adding, taking the log elsewhere, and forgetting."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from aamc_sdk.interfaces import Store
from aamc_sdk.log import SqliteOptions, SqliteStore, addition_of
from aamc_sdk.serving.pseudonyms import pseudonym
from aamc_sdk.testing import POOL, make_dataset, make_request, run_command
from aamc_sdk.types import Attempt, Decision, Feedback, Preference, Query, Records, Snapshot, Turn

FIRST, SECOND = POOL.names[:2]


@pytest.fixture
def aamc(tmp_path, monkeypatch):
    """Run the command line in a folder with a log; return exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    with closing(opened("log.db")) as store:
        fill(store)

    def call(*arguments: str) -> tuple[int, str, str]:
        return run_command("feedback", *arguments)

    return call


def opened(path: str) -> SqliteStore:
    return SqliteStore(f"sqlite:{path}", SqliteOptions())


def fill(store: Store) -> None:
    """Log two decisions of ann's, a call with its feedback, a comparison, and feedback that waits."""
    request = make_request(make_dataset(2))
    asked = attrs.evolve(request, queries=[Query("a secret", user=user, session="s") for user in ("ann", pseudonym("ann", "key"))])
    decisions = [Decision(name, FIRST, 0.5, Preference(), {FIRST: 0.5, SECOND: 0.5}, time=7.0) for name in "de"]
    store.add_decisions(Records(decisions, asked))
    store.add_feedback([(Feedback(decision_id="d", quality=0.5, time=8.5), Attempt("d", 0, "", cost_usd=0.25))])
    store.add_feedback([(Feedback(decision_id="e", over=SECOND, source="arena", time=9.0), None)])
    store.add_feedback([(Feedback(decision_id="later", quality=1.0, time=10.0), None)])


def content(store: Store) -> list[Any]:
    """Return everything that can be read from a store."""
    found = store.experience()
    attempts = [(attempt.decision_id, attempt.n, attempt.candidate, attempt.cost_usd) for attempt in found.attempts]
    return [found.position, found.decisions, found.queries, attempts, found.feedback, store.pending(), store.record("d").expected.cost_usd.tolist()]


def test_an_exported_log_is_the_same_when_it_is_imported(aamc) -> None:
    assert aamc("export", "all.jsonl", "--store", "sqlite:log.db") == (0, "", "6 entries exported.\n")
    assert json.loads(aamc("import", "all.jsonl", "--store", "sqlite:copy.db", "--json")[1]) == {"schema": 1, "lines": 6, "new": 6}
    assert json.loads(aamc("import", "all.jsonl", "--store", "sqlite:copy.db", "--json")[1]) == {"schema": 1, "lines": 6, "new": 0}
    with closing(opened("log.db")) as log, closing(opened("copy.db")) as copy:
        assert content(copy) == content(log)
        embeddings = [store.experience().estimates.embedding for store in (log, copy)]
        assert embeddings[0].tobytes() == embeddings[1].tobytes()
        retried = (Feedback(decision_id="d", quality=0.5), Attempt("d", 0, "", cost_usd=0.25))
        assert copy.add_feedback([retried]) == [False]  # a client's retry counts once there too
    assert aamc("export", "--store", "sqlite:copy.db")[1] == Path("all.jsonl").read_text()


def test_fields_of_later_versions_are_exported_and_imported(aamc) -> None:
    with closing(opened("log.db")) as log:
        known = log.record("d")
        decision = attrs.evolve(known.decision, id="new", episode="task", utilities={FIRST: 0.5})
        query = attrs.evolve(known.query, turns=[Turn("assistant", "", FIRST, 0.5)], tenant="acme")
        fresh = attrs.evolve(known, decision=decision, query=query, in_flight=known.wait_ms + 1, budget_usd=0.5, fingerprint="")
        log.add_decisions([fresh])
        log.add_attempts([Attempt("new", status="cancelled", first_token_ms=2.0, cached_tokens=7), Attempt("new", error="gone")])
        log.add_feedback([(Feedback(decision_id="d", quality=1.0, revision=1), None)])
    aamc("export", "all.jsonl", "--store", "sqlite:log.db")
    for new in (10, 0):
        assert json.loads(aamc("import", "all.jsonl", "--store", "sqlite:copy.db", "--json")[1])["new"] == new
    with closing(opened("log.db")) as log, closing(opened("copy.db")) as copy:
        found, expected = copy.record("new"), log.record("new")
        assert (found.decision, found.query, found.budget_usd) == (expected.decision, expected.query, 0.5)
        assert found.in_flight is not None
        assert found.in_flight.tolist() == (known.wait_ms + 1).tolist()
        assert repr(copy.experience().attempts) == repr(log.experience().attempts)
        assert [item.quality for item in copy.experience().replaced] == [0.5]
        assert [found.decision.id for found in copy.episode("task")] == ["new"]
        assert list(copy.add_decisions([fresh])) == [decision]  # the fingerprint came along
    assert aamc("export", "--store", "sqlite:copy.db")[1] == Path("all.jsonl").read_text()


def test_an_export_of_version_0_1_is_imported_and_counts_once(aamc) -> None:
    old = Path(__file__).parents[1] / "log" / "data" / "version-0.1.jsonl"
    for new in (11, 0):
        assert json.loads(aamc("import", str(old), "--store", "sqlite:copy.db?store_text=true", "--json")[1]) == {
            "schema": 1,
            "lines": 11,
            "new": new,
        }
    assert aamc("export", "--store", "sqlite:copy.db")[1] == old.read_text()


def test_an_import_that_is_refused_at_its_first_line_makes_no_log(aamc) -> None:
    Path("other.jsonl").write_text('{"kind": "x"}\n')
    status, _, err = aamc("import", "other.jsonl", "--store", "sqlite:new.db")
    assert status == 1
    assert "other.jsonl, line 1: not a log entry" in err
    assert not Path("new.db").exists()


def test_feedback_is_revised(aamc) -> None:
    arguments = ("d", "--quality", "1", "--store", "sqlite:log.db")
    assert aamc("add", *arguments)[0] == 1  # the log has 0.5 under that id
    assert aamc("add", *arguments, "--revision", "1") == (0, "", "Recorded as d/explicit.\n")
    assert aamc("add", *arguments, "--revision", "1") == (0, "", "d/explicit was in the log already; it counts once.\n")


def test_prompts_are_imported_where_the_log_keeps_them(aamc) -> None:
    with closing(SqliteStore("sqlite:texts.db", SqliteOptions(store_text=True))) as store:
        fill(store)
    aamc("export", "texts.jsonl", "--store", "sqlite:texts.db")
    assert "a secret" in Path("texts.jsonl").read_text()
    aamc("import", "texts.jsonl", "--store", "sqlite:copy.db")
    with closing(opened("copy.db")) as copy, closing(opened("log.db")) as log:
        assert content(copy) == content(log)
    with closing(SqliteStore("sqlite:kept.db", SqliteOptions(store_text=True))) as kept:
        kept.add([addition_of(line) for line in Path("texts.jsonl").read_text().splitlines()])
        assert kept.record("d").query.text == "a secret"


def test_feedback_is_imported_from_lines_written_by_hand(aamc) -> None:
    judged = {
        "feedback": {"decision_id": "d", "quality": 1, "source": "judge"},
        "attempt": {"decision_id": "d", "n": 0, "candidate": "", "cost_usd": 0.5},
    }
    tied = {"feedback": {"decision_id": "e", "over": SECOND, "tie": True, "confidence": 0.5}}
    Path("mine.jsonl").write_text(f"{json.dumps(judged)}\n\n{json.dumps(tied)}\n")
    assert aamc("import", "mine.jsonl", "--store", "sqlite:log.db") == (0, "", "2 entries read, 2 of them new.\n")
    with closing(opened("log.db")) as log:
        *_, judge, tie = log.experience().feedback
        assert (judge.source, judge.quality, tie.tie, tie.confidence) == ("judge", 1, True, 0.5)
        assert [attempt.cost_usd for attempt in log.experience().attempts] == [0.25, 0.5]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not a log entry"),
        ("[1]", "must be a JSON object"),
        pytest.param("[" * 100_000, "not a log entry", id="deep"),
        ('{"feedback": {"decision_id": "d", "quality": NaN}}', "NaN is not a number"),
        ('{"feedback": {"decision_id": "d", "quality": 1, "quality": 0}}', "key 'quality' occurs twice"),
        ('{"feedback": {"decision_id": "d", "quality": 2}}', "from 0 to 1"),
        ('{"feedback": {"decision_id": "d", "quality": 1, "confidence": 2}}', "confidence must be a number from 0 to 1"),
        (f'{{"feedback": {{"decision_id": "d", "over": "{FIRST}", "candidate": "{FIRST}", "source": "x"}}}}', "cannot beat itself"),
        ('{"feedback": {"decision_id": "d", "quality": 1, "colour": "red"}}', "colour"),
        ('{"feedback": {"decision_id": "d", "quality": 1}}', "other content"),
        ('{"feedback": {"decision_id": "d", "quality": 1, "source": "x", "candidate": "nobody"}}', "no candidate 'nobody'"),
        ('{"feedback": {"decision_id": "d", "quality": 1, "colour": "red"}}', "feedback has no field 'colour'"),
        ('{"feedback": {"quality": 1}}', "feedback must have the field 'decision_id'"),
        ('{"attempt": {"decision_id": "d"}}', "attempt must have the field 'n'"),
        ('{"attempt": {"decision_id": "d", "n": 0, "candidate": "", "cost_usd": "1"}}', "cost_usd must be a number"),
        ('{"attempt": {"decision_id": "d", "call": "\\ud800"}}', "an attempt's call must be"),
        ('{"attempt": {"decision_id": "d", "feedback": 7, "n": 0}}', "an attempt's feedback must be"),
        ('{"decision": {"id": "x"}}', "a decision's entry has no field 'id'"),
        ('{"decision": null}', "must be a JSON object whose values are objects"),
        ('{"attempt": null}', "must be a JSON object whose values are objects"),
        ('{"thought": {}}', "its keys are thought"),
        ("{}", "it has no keys"),
    ],
)
def test_a_bad_line_is_named_and_what_stands_before_it_is_kept(aamc, line: str, why: str) -> None:
    good = [json.dumps({"feedback": {"decision_id": "d", "quality": 1, "source": source}}) for source in ("one", "two")]
    Path("mine.jsonl").write_text("\n".join([good[0], "", line, good[1]]) + "\n")
    status, _, err = aamc("import", "mine.jsonl", "--store", "sqlite:log.db")
    assert status == 1
    assert "mine.jsonl, line 3: " in err
    assert why in err
    with closing(opened("log.db")) as log:
        sources = [feedback.source for feedback in log.experience().feedback]
    assert sources == ["explicit", "arena", "one"]


def test_a_line_that_is_no_text_is_named(aamc) -> None:
    Path("latin.jsonl").write_bytes(b'\n{"feedback": {"decision_id": "d", "quality": 1, "source": "Zo\xeb"}}\n')
    status, _, err = aamc("import", "latin.jsonl", "--store", "sqlite:log.db")
    assert status == 1
    assert "latin.jsonl, line 2: not a log entry: 'utf-8' codec can't decode byte 0xeb" in err


@pytest.mark.parametrize(
    ("start", "why"), [(b"PAR1", "a Parquet file: only JSON Lines can be imported"), (b"SQLite format 3\0", "an SQLite file: only JSON Lines")]
)
def test_a_log_of_another_format_is_not_imported_and_named_as_such(aamc, start: bytes, why: str) -> None:
    Path("log.bin").write_bytes(start + bytes(range(256)))
    status, _, err = aamc("import", "log.bin", "--store", "sqlite:log.db")
    assert status == 1
    assert f"log.bin, {why}" in err


def exported(aamc) -> dict[str, Any]:
    """Return the first decision of the log as it is exported."""
    return json.loads(aamc("export", "--store", "sqlite:log.db")[1].splitlines()[0])


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("query", 5, "a decision's query must be keys and values, not 5"),
        ("query.colour", "red", "query has no field 'colour'"),
        ("query.user", 7, "query.user must be a string or null, not 7"),
        ("wait_s", [0.0], "a decision's entry has no field 'wait_s'; did you mean 'wait_ms'"),
        ("expected.cost_us", [0.0], "expected has no field 'cost_us'; did you mean 'cost_usd'"),
        ("estimates.tools", 0.5, "estimates has no field 'tools'"),
        ("decision.colour", "red", "decision has no field 'colour'"),
        ("decision.id", 7, "decision.id must be a string, not 7"),
        ("decision.preference", [1, 2], "a preference must be three numbers"),
        ("decision.candidate", "nobody", "a decision's candidates must be a list of names, 'nobody' among them"),
        ("decision.propensity", "x", 'decision.propensity must be a number or null, not "x"'),
        ("candidates", "abc", "a decision's candidates must be a list of names"),
        ("wait_ms", [0.0], "a decision's wait_ms must be 4 numbers of at least 0, one a candidate"),
        ("expected.cost_usd", ["1", 2, 3, 4], "a decision's cost_usd must be 4 numbers"),
        ("expected.quality", [0.5], "a decision's quality must be 4 numbers"),
        ("expected.output_tokens", [64.0], "a decision's output_tokens must be 4 numbers"),
        ("pressure", [0.5], "a decision's pressure must be 4 numbers"),
        ("budget_usd", "low", 'budget_usd must be a number or null, not "low"'),
        ("time", "yesterday", "a decision's time must be"),
        ("decision.preference", [True, 1, 1], "decision.preference[0] must be a number, not true"),
        ("decision.probabilities", None, "decision.probabilities must be keys and values, not null"),
        ("decision.utilities", 3, "decision.utilities must be keys and values, not 3"),
        ("decision.utilities", {"a": "high"}, "decision.utilities must have a number or null for each key"),
        ("estimates.complexity", [1], "estimates.complexity must be a number or null, not [1]"),
        ("decision.probabilities", {"nobody": 0.5}, "a decision's probabilities must be numbers from 0 to 1 by candidate, not {'nobody': 0.5}"),
        ("decision.probabilities", {FIRST: 2.0}, "a decision's probabilities must be numbers from 0 to 1 by candidate"),
        ("wait_ms", [-1.0, 0, 0, 0], "a decision's wait_ms must be 4 numbers of at least 0, one a candidate, not [-1.0, 0, 0, 0]"),
        ("expected.cost_usd", [1, 2, 3, -4], "a decision's cost_usd must be 4 numbers of at least 0"),
        ("expected.latency_ms", [1, 2, 3, -4], "a decision's latency_ms must be 4 numbers of at least 0"),
        ("query.user", "", "a query's user must not be empty"),
        ("query.turns", None, "a query's turns must be a list of objects, not None"),
        ("query.turns", 5, "a query's turns must be a list of objects, not 5"),
        ("query.turns", ["hello"], "a query's turns must be a list of objects, not ['hello']"),
        ("query.turns", [{"role": "user"}], "turn must have the field 'content'"),
        ("query.turns", [{"role": "user", "content": "hello", "name": "ann"}], "turn has no field 'name'"),
        ("estimates.category_names", ["code"], "a decision's categories must be 1 numbers, one a name, not [0."),
    ],
)
def test_a_decision_that_could_not_be_read_from_the_log_is_refused(aamc, path: str, value: Any, why: str) -> None:
    line = exported(aamc)
    *sections, field = ["decision", *path.split(".")]
    section = line
    for name in sections:
        section = section[name]
    section[field] = value
    Path("mine.jsonl").write_text(json.dumps(line))
    status, _, err = aamc("import", "mine.jsonl", "--store", "sqlite:copy.db")
    assert status == 1
    assert f"mine.jsonl, line 1: not a log entry: {why}" in err
    assert "$." not in err


def test_a_decision_written_by_hand_may_leave_out_the_user(aamc) -> None:
    line = exported(aamc)
    del line["decision"]["query"]["user"]
    Path("mine.jsonl").write_text(json.dumps(line))
    assert aamc("import", "mine.jsonl", "--store", "sqlite:copy.db") == (0, "", "1 entry read, 1 of them new.\n")
    with closing(opened("copy.db")) as copy:
        assert copy.record("d").query.user is None


def test_a_comparison_is_added_with_its_winner(aamc) -> None:
    status, out, err = aamc(
        "add", "d", "--over", SECOND, "--candidate", FIRST, "--confidence", "0.5", "--source", "me", "--store", "sqlite:log.db", "--json"
    )
    assert status == 0, err
    assert json.loads(out) == {"schema": 1, "id": "d/me", "decision_id": "d", "new": True, "waits": False}
    with closing(opened("log.db")) as log:
        last = log.experience().feedback[-1]
    assert (last.candidate, last.over, last.confidence, last.tie) == (FIRST, SECOND, 0.5, False)


def test_other_feedback_of_the_same_source_says_how_it_can_count(aamc) -> None:
    def add(*options: str) -> tuple[int, str, str]:
        return aamc("add", "d", "--source", "me", "--store", "sqlite:log.db", *options)

    assert add("--quality", "1")[0] == 0
    status, _, err = add("--quality", "0")
    assert status == 1
    assert "give a revision above 0 to replace it, or another source or id to count both" in err
    assert add("--quality", "0", "--id", "d/me/again") == (0, "", "Recorded as d/me/again.\n")
    assert add("--quality", "0", "--revision", "1")[0] == 0
    assert add("--quality", "0", "--source", "you")[0] == 0


def test_feedback_cannot_wait_in_a_log_that_ends_with_the_command(aamc) -> None:
    status, _, err = aamc("add", "soon", "--quality", "1", "--wait", "--store", "memory:")
    assert status == 2
    assert "--wait needs a log that outlives this command: name it with --store, such as sqlite:state.db" in err


def test_an_import_into_a_log_that_ends_with_the_command_is_refused(aamc) -> None:
    assert aamc("add", "soon", "--quality", "1", "--wait", "--store", "sqlite:log.db")[0] == 0
    assert aamc("export", "lines.jsonl", "--store", "sqlite:log.db")[0] == 0
    status, out, err = aamc("import", "lines.jsonl", "--store", "memory:")
    assert (status, out) == (2, "")
    assert "an import needs a log that outlives this command: name it with --store, such as sqlite:state.db" in err


def test_feedback_waits_for_an_unknown_decision_where_that_is_meant(aamc) -> None:
    status, _, err = aamc("add", "soon", "--quality", "1", "--store", "sqlite:log.db")
    assert status == 1
    assert "--wait" in err
    assert aamc("add", "soon", "--quality", "1", "--wait", "--store", "sqlite:log.db") == (
        0,
        "",
        "Recorded as soon/explicit; pending until decision soon is in the log.\n",
    )


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (["--quality", "nan"], 2, "--quality must be a number from 0 to 1, not 'nan'"),
        (["--quality", "-0.5"], 2, "--quality must be from 0 to 1, not -0.5"),
        (["--quality", "1", "--confidence", "2"], 2, "--confidence must be from 0 to 1, not 2.0"),
        (["--quality", "1", "--revision", "-1"], 2, "--revision must be from 0 to 1000000000000, not -1"),
        (["--quality", "1", "--revision", "1e5"], 2, "--revision must be a whole number from 0 to 1000000000000, not '1e5'; write 100000"),
        (["--quality", "1", "--revision", "x"], 2, "--revision must be a whole number from 0 to 1000000000000, not 'x' (see"),
        (["--over", FIRST], 1, "cannot beat itself"),
        (["--over", FIRST, "--candidate", FIRST], 1, "cannot beat itself"),
        (["--quality", "1", "--candidate", "nobody"], 1, "no candidate 'nobody'"),
        (["--quality", "1", "--over", SECOND], 2, "not both"),
        ([], 2, "--quality"),
    ],
)
def test_feedback_that_makes_no_sense_is_refused(aamc, arguments: list[str], status: int, why: str) -> None:
    found, _, err = aamc("add", "d", *arguments, "--source", "me", "--store", "sqlite:log.db")
    assert found == status
    assert why in err
    assert "Traceback" not in err


def test_a_user_is_forgotten_by_name_or_by_pseudonym(aamc) -> None:
    Path("key").write_text("key\n")
    assert json.loads(aamc("forget", "--user", "ann", "--store", "sqlite:log.db", "--json")[1])["decisions"] == 1
    status, _, err = aamc("forget", "--user", "ann", "--store", "sqlite:log.db")
    assert (status, "0 decisions erased" in err, "--user-key-file" in err) == (0, True, True)
    assert "1 decision erased" in aamc("forget", "--user", "ann", "--user-key-file", "key", "--store", "sqlite:log.db")[2]
    with closing(opened("log.db")) as log:
        assert [query.user for query in log.experience().queries] == [None, None]
    assert b"ann" not in Path("log.db").read_bytes()


def test_a_key_that_is_not_there_or_empty_is_refused(aamc) -> None:
    Path("empty").touch()
    for file, expected, why in (("nothere", 1, "cannot read nothere: there is no such file"), ("empty", 2, "is empty")):
        status, _, err = aamc("forget", "--user", "ann", "--user-key-file", file, "--store", "sqlite:log.db")
        assert status == expected
        assert why in err


def test_a_log_that_cannot_be_used_is_left_as_it_is(aamc) -> None:
    with closing(sqlite3.connect("newer.db")) as connection:
        connection.execute("PRAGMA user_version = 9")
    Path("corrupt.db").write_bytes(b"SQLite format 3\0" + b"rubbish " * 1000)
    for name, why in (("newer", "newer than"), ("corrupt", "damaged")):
        before = Path(f"{name}.db").read_bytes()
        for command in (["add", "d", "--quality", "1"], ["export", "all.jsonl"], ["forget", "--user", "ann"]):
            status, _, err = aamc(*command, "--store", f"sqlite:{name}.db")
            assert status == 1
            assert why in err
        assert Path(f"{name}.db").read_bytes() == before
    assert not Path("all.jsonl").exists()


@pytest.mark.parametrize("start", [b"PAR1", b"SQLite format 3\0"])
def test_an_export_does_not_replace_a_log(aamc, start: bytes) -> None:
    before = Path("log.db").read_bytes()
    status, _, err = aamc("export", "log.db", "--store", "sqlite:log.db")
    assert (status, "log.db is an SQLite file, which may be a log, and was left as it is" in err) == (1, True)
    assert Path("log.db").read_bytes() == before
    Path("other").write_bytes(start + b"...")
    assert aamc("export", "other", "--store", "sqlite:log.db")[0] == 1
    assert Path("other").read_bytes() == start + b"..."
    Path("lines.jsonl").write_text("an earlier export")
    assert aamc("export", "lines.jsonl", "--store", "sqlite:log.db")[0] == 0


def test_one_tenants_entries_or_those_of_a_range_are_exported(aamc) -> None:
    with closing(opened("log.db")) as log:
        known = log.record("d")
        query, decision = attrs.evolve(known.query, tenant="acme"), attrs.evolve(known.decision, id="new", time=1_000_000_000.0)
        log.add_decisions([attrs.evolve(known, decision=decision, query=query, fingerprint="")])
        log.add_feedback([(Feedback(decision_id="new", quality=1.0), None)])
    everything = aamc("export", "--store", "sqlite:log.db")[1].splitlines()
    assert len(everything) == 8
    for options in (["--tenant", "acme"], ["--since", "2001-09-09T01:46:40"]):
        lines = aamc("export", "--store", "sqlite:log.db", *options)[1].splitlines()
        assert [next(iter(json.loads(line))) for line in lines] == ["decision", "feedback"]
    assert aamc("export", "--store", "sqlite:log.db", "--until", "1970-01-02")[1].splitlines() == everything[:5]


def test_times_beyond_the_calendar_are_its_first_or_last_one(aamc) -> None:
    everything = aamc("export", "--store", "sqlite:log.db", "--until", "9999-12-31T23:59-05:00")[1]
    for since in ("99999999d", "0001-01-01T00:00+05:00"):
        assert aamc("export", "--store", "sqlite:log.db", "--since", since)[1] == everything
    status, _, err = aamc("export", "--store", "sqlite:log.db", "--since", "9999999d", "--until", "99999999d")
    assert (status, "--since must be before --until, but 0001-01-01T00:00:00+00:00 is not" in err) == (2, True)


@pytest.mark.parametrize("form", ["memory", "xml"])
def test_an_export_needs_a_format_that_can_be_read_again(aamc, form: str) -> None:
    status, _, err = aamc("export", "all", "--store", "sqlite:log.db", "--format", form)
    assert status == 2
    assert f"--format must be jsonl or a store that reads exports, such as parquet, not {form!r}" in err
    assert aamc("export", "--store", "sqlite:log.db", "--json")[0] == 2


@pytest.mark.parametrize(("arguments", "who"), [(("--user", "ann"), "user"), (("--tenant", "acme"), "tenant")])
def test_forgetting_names_the_retention_floors_that_are_left(aamc, monkeypatch, arguments: tuple[str, str], who: str) -> None:
    url = "sqlite:old.db?retention={days: 30}"
    with closing(opened("old.db")) as log:
        with monkeypatch.context() as past:
            past.setattr("time.time", lambda: 1_000_000_000.0)
            fill(log)
            past.setattr("time.time", lambda: 1_000_100_000.0)
            known = log.record("d")
            log.add_decisions([attrs.evolve(known, decision=attrs.evolve(known.decision, id="new"), fingerprint="")])
        log.put_snapshot("stopped", Snapshot(5, b"with ann"))
    assert json.loads(aamc("retain", "--store", url, "--json")[1])["partitions_dropped"] == 1
    assert f"erased. The {who} may stay in 1 retention floor until the router of each runs again." in aamc("forget", *arguments, "--store", url)[2]
    assert json.loads(aamc("forget", *arguments, "--store", url, "--json")[1])["floors_to_clean"] == 1


def test_forgetting_needs_a_user_or_a_tenant(aamc) -> None:
    status, _, err = aamc("forget", "--store", "sqlite:log.db")
    assert status == 2
    assert "--user, --tenant, or both" in err


def test_what_is_beyond_the_limits_is_dropped_at_once(aamc, monkeypatch) -> None:
    with monkeypatch.context() as past, closing(opened("old.db")) as log:
        past.setattr("time.time", lambda: 1_000_000_000.0)
        fill(log)
        past.setattr("time.time", lambda: 1_000_100_000.0)
        known = log.record("d")
        log.add_decisions([attrs.evolve(known, decision=attrs.evolve(known.decision, id="new"), fingerprint="")])
    (old, new) = json.loads(aamc("partitions", "--store", "sqlite:old.db", "--json")[1])["partitions"]
    assert (old["number"], old["first"], old["last"], new["last"]) == (0, 1, 5, None)
    assert "2001-09-09T01:46:40+00:00" in aamc("partitions", "--store", "sqlite:old.db")[1]
    found = json.loads(aamc("retain", "--store", "sqlite:old.db?retention={days: 30}", "--json")[1])
    assert found == {"schema": 1, "decisions": 3, "partitions_dropped": 2, "partitions": 1, "needed_gb": 0.0}  # an empty one is left
    assert "0 decisions and 0 partitions dropped; 1 left." in aamc("retain", "--store", "sqlite:old.db?retention={max_gb: 1}")[2]
    _, out, _ = aamc("retain", "--store", "sqlite:old.db?retention={max_gb: 0.00005}", "--json")
    assert json.loads(out)["needed_gb"] > 0.00005


def test_a_log_in_memory_drops_nothing(aamc) -> None:
    status, out, _ = aamc("retain", "--store", "memory:", "--json")
    assert (status, json.loads(out)["decisions"]) == (0, 0)


@pytest.mark.parametrize("output", [(), ("--json",)])
def test_a_log_without_a_limit_says_so_where_it_is_to_be_brought_within_it(aamc, output) -> None:
    status, _, err = aamc("retain", "--store", "sqlite:log.db", *output)
    assert status == 0
    assert "sqlite:log.db has no limit, so nothing is dropped. Set one in the store's URL, such as ?retention={days: 30}" in err
