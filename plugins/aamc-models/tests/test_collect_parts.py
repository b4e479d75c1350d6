"""Prompts, budget and ledger of a collection."""

from __future__ import annotations

import asyncio
import errno
import math
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aamc_models.collect.budget import CollectionBudget
from aamc_models.collect.estimate import expected_usd
from aamc_models.collect.judges.references import ExactJudge
from aamc_models.collect.ledger import CallLedger, LedgerEntry
from aamc_models.collect.outcomes import figures
from aamc_models.collect.plan import Collection
from aamc_models.collect.prompts import read_prompts, without_repeats

from aamc_sdk import ModelSpec, Pool, Prices
from aamc_sdk.errors import DataError, OutputError

THINKING = {"type": "enabled", "budget_tokens": 2000}


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_prompts_are_read_from_json_lines_csv_and_text(tmp_path: Path) -> None:
    lines = write(tmp_path, "a.jsonl", '{"question": "One?", "expected": [1, "one"], "tests": "assert f()"}\n\n{"text": "Two?", "answer": ""}\n')
    one, two = read_prompts(lines)
    assert (one.text, one.answers, one.tests) == ("One?", ("1", "one"), ("assert f()",))
    assert (two.text, two.answers, two.location) == ("Two?", (), f"{lines}, line 3")
    (row,) = read_prompts(write(tmp_path, "a.csv", '\ufeffprompt,answer,category\n"a, ""b""\nc",4,math\n'))
    assert (row.text, row.answers, row.row["category"]) == ('a, "b"\nc', ("4",), "math")
    assert [prompt.text for prompt in read_prompts(write(tmp_path, "a.txt", "One?\n\n Two? \nOne?\n"))] == ["One?", "Two?", "One?"]
    assert [prompt.text for prompt in without_repeats(read_prompts(tmp_path / "a.txt"))] == ["One?", "Two?"]


def test_a_repeated_prompt_keeps_all_its_right_answers(tmp_path: Path) -> None:
    rows = '{"prompt": "One?", "answer": "1"}\n{"prompt": "One?", "answer": ["one", "1"]}\n'
    (prompt,) = without_repeats(read_prompts(write(tmp_path, "a.jsonl", rows)))
    assert prompt.answers == ("1", "one")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{}", "must be in a file that ends in .csv, .jsonl, .txt, not 'a.json'"),
        ("a.txt", "\n", "has no prompts"),
        ("a.jsonl", '{"prompt": "One?"}\n{"prompt": ', "a.jsonl, line 2 is not valid JSON"),
        ("a.jsonl", '{"prompt": "One?", "prompt": "Two?"}', "a.jsonl, line 1: key 'prompt' occurs twice"),
        ("a.csv", "prompt,answer\nWhat is 1, or 2?,3\n", "a.csv, line 2 has more fields than the header; quote texts that hold the separator"),
        ("a.csv", 'prompt,answer\n"One?,1\nTwo?,2\n', "a.csv, line 3 is not valid CSV: unexpected end of data"),
        ("a.jsonl", "[1]", "a.jsonl, line 1 must be an object such as"),
        ("a.jsonl", '{"prompt": ""}', "'prompt' must be a text that is not empty"),
        ("a.jsonl", '{"prompt": "\\ud800"}', "lone surrogates"),
        ("a.jsonl", '{"prompt": "a", "answer": ["b", "\\ud800"]}', "the answer must be valid Unicode without lone surrogates"),
        ("a.jsonl", '{"prompt": "a", "tests": "\\ud800"}', "'tests' must be valid Unicode without lone surrogates"),
        ("a.jsonl", '{"prompt": "a", "category": "\\ud800"}', "'category' must be valid Unicode without lone surrogates"),
        ("a.jsonl", '{"prompt": "a", "answer": {"b": 1}}', "the answer must be a text, a finite number, or a list of them"),
        ("a.jsonl", '{"prompt": "a", "answer": NaN}', "the answer must be a text, a finite number, or a list of them, not nan"),
        ("a.jsonl", '{"promt": "a"}', "has no prompt \\(it has: promt\\)"),
    ],
)
def test_prompts_that_cannot_be_used_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_prompts(write(tmp_path, name, content))


@pytest.mark.parametrize(("name", "first"), [("a.jsonl", b'{"prompt": "One?"}\n'), ("a.csv", b"prompt\r\n"), ("a.txt", b"One?\n")])
def test_a_line_in_another_encoding_is_named(tmp_path: Path, name: str, first: bytes) -> None:
    (tmp_path / name).write_bytes(first + "Caf\u00e9?\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"line 2 is not UTF-8 \(invalid continuation byte at byte 4\)"):
        read_prompts(tmp_path / name)


def test_a_long_csv_field_is_read(tmp_path: Path) -> None:
    text = "x" * 1_000_000
    assert [prompt.text for prompt in read_prompts(write(tmp_path, "a.csv", f'prompt,answer\n"{text}",4\n'))] == [text]


def test_parallel_work_cannot_reserve_more_than_the_budget() -> None:
    async def work(budget: CollectionBudget) -> float:
        reservation = await budget.reserve(1.0)
        if reservation is None:
            return 0.0
        await asyncio.sleep(0)
        reservation.charge(0.4)
        await reservation.release()
        return 0.4

    async def everyone() -> tuple[float, CollectionBudget]:
        budget = CollectionBudget(3.0, spent_usd=0.5)
        return sum(await asyncio.gather(*(work(budget) for _ in range(50)))), budget

    spent, budget = asyncio.run(everyone())
    assert spent == pytest.approx(1.6)  # as long as 1 USD is left of 2.5
    assert budget.spent_usd == pytest.approx(0.5 + spent)
    assert budget.exhausted


def test_a_charge_above_its_reservation_leaves_less_of_the_budget() -> None:
    async def charged() -> CollectionBudget:
        budget = CollectionBudget(10.0)
        reservation = await budget.reserve(1.0)
        assert reservation is not None
        reservation.charge(5.0)
        assert budget.fits(5.0)
        assert not budget.fits(5.5)
        await reservation.release()
        return budget

    budget = asyncio.run(charged())
    assert budget.fits(5.0)
    assert not budget.fits(5.5)


def plan_of(candidate: ModelSpec, max_tokens: int, options: dict[str, int] | None = None) -> Collection:
    return Collection(pool=Pool([candidate]), judge=ExactJudge(), options=options or {}, max_tokens=max_tokens)


def test_costs_follow_from_prices_and_tokens() -> None:
    prices = Prices(1.0, 10.0, cache_write=2.0, request=0.5)
    priced, unpriced = ModelSpec("a", prices=prices), ModelSpec("a")
    assert expected_usd(prices, 101, 50) == pytest.approx((101 * 1 + 50 * 10) / 1e6 + 0.5)
    assert plan_of(priced, 50).maximum_usd("answer", priced, 400 * "x") == pytest.approx((464 * 2 + 50 * 10) / 1e6 + 0.5)
    assert expected_usd(None, 400, 50) == plan_of(unpriced, 50).maximum_usd("answer", unpriced, 400 * "x") == 0.0


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({}, {"max_tokens": 9}),
        ({"n": 1}, {"max_tokens": 9, "n": 1}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        ({"max_completion_tokens": None}, {"max_tokens": 9}),
        ({"thinking": THINKING}, {"max_tokens": 2009, "thinking": THINKING}),  # the budget is part of the limit
    ],
)
def test_answers_are_limited_unless_the_parameters_limit_them(parameters: dict[str, Any], found: dict[str, Any]) -> None:
    candidate = ModelSpec("a", endpoint="http://localhost:1/v1", parameters=parameters)
    assert plan_of(candidate, 9).parameters("answer", candidate) == found


def test_a_limit_of_the_options_replaces_the_candidates_own() -> None:
    candidate = ModelSpec("a", endpoint="http://localhost:1/v1", parameters={"max_completion_tokens": 900})
    assert plan_of(candidate, 9, {"max_tokens": 5}).parameters("answer", candidate) == {"max_tokens": 5}


def test_the_ledger_finds_answered_calls_only(tmp_path: Path) -> None:
    folder = tmp_path / "a.ledger"
    with CallLedger.open(folder) as ledger:
        asyncio.run(ledger.add(LedgerEntry(key="1", kind="answer", candidate="a", status="error", error="no")))
        asyncio.run(ledger.add(LedgerEntry(key="2", kind="answer", candidate="a", text="caf\u00e9\u2028", cost_usd=0.5)))
        assert ledger.find("1") is None
    with CallLedger.open(folder) as ledger:
        found = ledger.find("2")
        assert found is not None
        assert (found.text, found.cost_usd, len(ledger.entries)) == ("caf\u00e9\u2028", 0.5, 2)


def test_a_whole_line_whose_newline_an_editor_removed_is_kept(tmp_path: Path) -> None:
    for key in ("1", "2"):
        with CallLedger.open(tmp_path) as ledger:
            asyncio.run(ledger.add(LedgerEntry(key=key, kind="answer", candidate="a")))
        ledger.path.write_bytes(ledger.path.read_bytes().rstrip(b"\n"))
    with CallLedger.open(tmp_path) as ledger:
        assert [entry.key for entry in ledger.entries] == ["1", "2"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param('"charged_usd": NaN', id="a budget that never ends"),
        '"charged_usd": "0"',
        '"text": null',
        '"prompt_tokens": 0.5',
        '"tokens": 1',
        pytest.param(f'"text": {"[" * 100_000}', id="deep"),
    ],
)
def test_a_damaged_value_is_named_by_its_line(tmp_path: Path, damage: str) -> None:
    (tmp_path / "calls.jsonl").write_text(f'{{"key": "1", "kind": "answer", "candidate": "a", {damage}}}\n')
    with pytest.raises(DataError, match=r"calls\.jsonl, line 1 is damaged \(.*\); delete that line"), CallLedger.open(tmp_path):
        pass


def test_a_line_that_a_full_disk_cuts_is_an_error_and_leaves_the_ledger_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = [200]

    def write(file: int, content: bytes) -> int:
        if not space[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real_write(file, content[: space[0]])
        space[0] -= written
        return written

    real_write = os.write
    entries = [LedgerEntry(key=key, kind="answer", candidate="a", text="x" * 300) for key in ("cut", "whole")]
    with CallLedger.open(tmp_path / "a.ledger") as ledger:
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space left"):
            asyncio.run(ledger.add(entries[0]))
        assert ledger.find("cut") is None
        monkeypatch.undo()
        asyncio.run(ledger.add(entries[1]))
    with CallLedger.open(tmp_path / "a.ledger") as ledger:
        assert [entry.key for entry in ledger.entries] == ["whole"]


def test_figures_count_cut_answers_and_leave_unknown_costs_out() -> None:
    ended = {"stop": 0.5, "length": math.nan, "max_tokens": 1.5}
    entries = [LedgerEntry(key=reason, kind="answer", candidate="a", finish_reason=reason, cost_usd=usd) for reason, usd in ended.items()]
    answers = {entry.key: {"a": entry} for entry in entries}
    collector = SimpleNamespace(plan=SimpleNamespace(pool=Pool([ModelSpec("a")])), answers=answers, failed=Counter())
    found = figures([{"outcomes": {"a": {"quality": 1.0}}}], cast("Any", collector))["a"]
    assert (found["cut"], found["mean_cost_usd"]) == (2, 1.0)


def test_a_result_that_cannot_be_written_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"^cannot write pool\.yaml: full$"), CallLedger.open(tmp_path / "a.ledger"):
        raise OutputError("cannot write pool.yaml: full")


def test_an_empty_ledger_leaves_nothing_behind(tmp_path: Path) -> None:
    with CallLedger.open(tmp_path / "a.ledger"):
        pass
    assert list(tmp_path.iterdir()) == []
