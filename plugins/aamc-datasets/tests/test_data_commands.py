"""Commands ``data inspect`` and ``data convert``."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aamc_datasets.outcomes.outcomes_format import OutcomesFormat
from aamc_datasets.published.routellm import RouteLLM
from aamc_datasets.published.score_table import CostOptions

from aamc_sdk import Dataset, MetaController, Query, Services
from aamc_sdk.errors import PluginError
from aamc_sdk.testing import POOL as EXAMPLE_POOL
from aamc_sdk.testing import run_command
from aamc_sdk.types import Turn

Write = Callable[[str, str], Path]
POOL = "candidates: [{name: small}, {name: large}]"
Aamc = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aamc() -> Aamc:
    """Run the command line; return exit status, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        return run_command("data", *arguments)

    return call


def line(query: str, small: float | None, large: float | None, category: str = "math") -> str:
    cells = {"small": {"quality": small, "cost_usd": 0.001}, "large": {"quality": large, "cost_usd": 0.01}}
    return json.dumps({"query": query, "category": category, "outcomes": cells}) + "\n"


@pytest.fixture
def native(write: Write) -> str:
    write("pool.yaml", POOL)
    rows = line("a", 1, 1) + line("b", 0, 1) + line("c", 1, 0, "code") + line(" A ", 0, 1) + line("d", None, 0.5)
    return f"outcomes:{write('mine.jsonl', rows)}"


def test_inspect_tells_means_best_single_oracle_and_repeats(aamc: Aamc, native: str) -> None:
    status, out, err = aamc("inspect", native, "--json")
    document = json.loads(out)
    assert (status, err, document["schema"], document["shared"]) == (0, "", 1, [])
    (facts,) = document["datasets"]
    assert (facts["name"], facts["rows"], facts["duplicates"], facts["complete_rows"]) == (native, 5, 1, 4)
    assert facts["categories"] == {"code": 1, "math": 4}
    assert facts["missing_share"] == pytest.approx(0.1)
    small, large = facts["candidates"]
    assert (small["mean_quality"], small["missing_share"]) == (0.5, pytest.approx(0.2))
    assert (large["mean_quality"], large["mean_latency_ms"], large["missing_share"]) == (0.7, None, 0.0)
    assert facts["best_single"] == {"name": "large", "mean_quality": 0.75, "mean_cost_usd": pytest.approx(0.01)}
    assert facts["oracle"] == {"mean_quality": 1.0, "mean_cost_usd": pytest.approx((0.001 + 0.01 + 0.001 + 0.01) / 4)}


@pytest.mark.parametrize(
    "settings",
    [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}, {"PYTHONIOENCODING": "ascii"}],
    ids=["locale", "output"],
)
def test_names_that_the_output_cannot_encode_are_escaped(write: Write, settings: dict[str, str]) -> None:
    rows = (line("a", 1, 1) + line("b", 0, 1)).replace("small", "\u65e5\u672c")
    command = [sys.executable, "-m", "aamc_sdk.cli", "data", "inspect", f"outcomes:{write('mine.jsonl', rows)}"]
    ended = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "\\u65e5\\u672c" in ended.stdout


def test_inspect_counts_the_questions_that_two_datasets_share(aamc: Aamc, native: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "outcomes.jsonl").write_text(line("A", 1, 1) + line("new", 1, 1) + line("B", 1, 1))
    _, out, _ = aamc("inspect", native, f"outcomes:{other}", "--json")
    assert json.loads(out)["shared"] == [{"between": [native, f"outcomes:{other}"], "questions": 2, "near_duplicate_rows": [3, 2]}]
    status, out, _ = aamc("inspect", native, f"outcomes:{other}")
    assert status == 0
    assert "share 2 questions; near-duplicates in the other: 3 rows of the first, 2 rows of the second" in " ".join(out.split())


def test_inspect_counts_near_duplicates_within_a_dataset_and_between_two(aamc: Aamc, write: Write, tmp_path: Path) -> None:
    asked = "Which river runs through the old town before it meets the sea at the harbour"
    write("pool.yaml", POOL)
    mine = f"outcomes:{write('mine.jsonl', line(asked + '?', 1, 1) + line(asked + ', please?', 1, 1) + line('Sort a list.', 1, 1))}"
    other = tmp_path / "other"
    other.mkdir()
    (other / "outcomes.jsonl").write_text(line(asked.replace("river", "stream"), 1, 1))
    _, out, _ = aamc("inspect", mine, f"outcomes:{other}", "--json")
    document = json.loads(out)
    assert [(facts["duplicates"], facts["near_duplicates"]) for facts in document["datasets"]] == [(0, 1), (0, 0)]
    assert document["shared"] == [{"between": [mine, f"outcomes:{other}"], "questions": 0, "near_duplicate_rows": [2, 1]}]
    assert "1 near-duplicate of earlier rows" in " ".join(aamc("inspect", mine)[1].split())


def test_rows_of_a_log_without_texts_repeat_no_question(aamc: Aamc, tmp_path: Path) -> None:
    log = f"sqlite:{tmp_path / 'log.db'}"
    with MetaController.build(router="random", pool=EXAMPLE_POOL, store=log, seed=0) as controller:
        for decision in controller.route_batch([f"question {n}" for n in range(40)]):
            controller.feedback(decision.id, quality=1.0)
    status, out, err = aamc("inspect", f"log:{log}", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert {(facts["duplicates"], facts["near_duplicates"]) for facts in document["datasets"]} == {(0, 0)}
    assert [(shared["questions"], shared["near_duplicate_rows"]) for shared in document["shared"]] == [(0, [0, 0])] * 3


def test_inspect_counts_unknown_latencies_as_missing_cells_if_every_candidate_has_some(aamc: Aamc, write: Write) -> None:
    def timed(latencies: Sequence[float | None]) -> str:
        cells = {name: {"quality": 1, "cost_usd": 0.001, "latency_ms": latency} for name, latency in zip(("a", "b"), latencies, strict=True)}
        return json.dumps({"query": f"question {latencies}", "outcomes": cells}) + "\n"

    rows = write("timed.jsonl", "".join(map(timed, ((5, 7), (5, None), (None, None), (5, 9)))))
    (facts,) = json.loads(aamc("inspect", f"outcomes:{rows}", "--json")[1])["datasets"]
    assert facts["complete_rows"] == 2  # those that a comparison draws
    assert [(each["name"], each["missing_share"]) for each in facts["candidates"]] == [("a", 0.25), ("b", 0.5)]
    assert facts["missing_share"] == pytest.approx(3 / 8)


def test_inspect_prints_a_table_for_people(aamc: Aamc, native: str) -> None:
    status, out, _ = aamc("inspect", native)
    text = " ".join(out.split())
    assert status == 0
    assert "5 rows, 2 categories, 1 repeated question" in text
    assert "10.0% of the cells are missing; rows without any missing: 4" in text
    assert "best single candidate: large, quality 0.750; the oracle's: 1.000" in text
    assert "nan" not in text


def test_brackets_in_names_are_shown_as_they_are(aamc: Aamc, write: Write) -> None:
    outcomes = {"mine[/old]": {"quality": 1, "cost_usd": 0.001}}
    path = write("rows[0].jsonl", json.dumps({"query": "q", "outcomes": outcomes}) + "\n")
    status, out, err = aamc("inspect", f"outcomes:{path}")
    assert status == 0, err
    assert f"outcomes:{path}: 1 row," in "".join(out.splitlines())
    assert any(line.split()[:1] == ["mine[/old]"] for line in out.splitlines())


def test_a_table_without_a_complete_row_has_no_best_and_no_oracle(aamc: Aamc, write: Write) -> None:
    rows = "question_id,question,model_id,label\n1,q,a,1\n2,r,b,0\n"
    status, out, _ = aamc("inspect", f"embedllm:{write('train.csv', rows)}", "--json")
    (facts,) = json.loads(out)["datasets"]
    assert (status, facts["complete_rows"], facts["best_single"], facts["oracle"]) == (0, 0, None, None)
    assert "every candidate is taken to cost 1 USD per million tokens" in facts["cost_note"]
    assert aamc("inspect", f"embedllm:{write('train.csv', rows)}")[0] == 0


def test_splits_and_comparisons_are_told_apart(aamc: Aamc, write: Write) -> None:
    votes = write("votes.csv", "model_a,model_b,prompt,winner\nx,y,one,tie\nx,y,two,model_a\n")
    sizes = [f"--set=dataset.n_{split}=5" for split in ("train", "validation", "test")]
    _, out, _ = aamc("inspect", "synthetic", *sizes, "--json")
    document = json.loads(out)
    assert [(facts["name"], facts["rows"]) for facts in document["datasets"]] == [
        (f"synthetic {name}", 5) for name in ("train", "validation", "test")
    ]
    assert [shared["questions"] for shared in document["shared"]] == [0, 0, 0]
    _, out, _ = aamc("inspect", f"arena:{votes}", "--json")
    (facts,) = json.loads(out)["datasets"]
    assert (facts["comparisons"], facts["candidates"]) == (2, [{"name": "x"}, {"name": "y"}])
    assert "2 comparisons of two candidates" in aamc("inspect", f"arena:{votes}")[1]


def test_what_was_converted_is_the_same_dataset(aamc: Aamc, write: Write, tmp_path: Path, services: Services) -> None:
    file = write("own.csv", 'prompt,weak,strong\n"one, two",True,False\nthree,,True\n')
    prices: dict[str, Any] = {"weak": {"input": 1.0, "output": 2.0}, "strong": {"input": 10.0, "output": 20.0}}
    given = json.dumps(prices)
    status, out, err = aamc("convert", f"routellm:{file}", "--to", str(tmp_path / "native"), "--set", f"dataset.prices={given}")
    assert (status, out) == (0, "")
    assert "wrote 2 rows to" in err
    expected = RouteLLM(CostOptions(prices=prices), services).read(str(file))
    actual = OutcomesFormat(OutcomesFormat.Config(), services).read(str(tmp_path / "native"))
    assert list(expected.queries) == list(actual.queries)
    assert expected.pool == actual.pool
    assert expected.cost_note == actual.cost_note
    assert expected.outcomes is not None
    assert actual.outcomes is not None
    np.testing.assert_array_equal(expected.labels.category, actual.labels.category)
    for part in ("quality", "cost_usd", "latency_ms"):
        np.testing.assert_array_equal(getattr(expected.outcomes, part), getattr(actual.outcomes, part))


def test_convert_writes_over_nothing(aamc: Aamc, native: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "pool.yaml").write_text("mine")
    status, _, err = aamc("convert", native, "--to", str(tmp_path / "there"))
    assert status == 1
    assert "already exists; choose another folder" in err
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["pool.yaml"]
    assert (tmp_path / "there" / "pool.yaml").read_text() == "mine"


def test_convert_as_json_is_one_document(aamc: Aamc, native: str, tmp_path: Path) -> None:
    status, out, err = aamc("convert", native, "--to", str(tmp_path / "new"), "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == {"schema": 1, "from": native, "to": str(tmp_path / "new"), "rows": 5}


def test_convert_leaves_out_decisions_without_text_and_says_what_the_format_cannot_hold(aamc: Aamc, tmp_path: Path) -> None:
    log, folder = f"sqlite:{tmp_path / 'state.db'}", tmp_path / "native"
    with MetaController.build(router="random", pool=EXAMPLE_POOL, store=f"{log}?store_text=true", seed=0) as controller:
        for query in (Query("first", user="eve"), Query("second", tenant="a"), Query("third", turns=(Turn("user", "Shall I?"),))):
            controller.feedback(controller.route(query).id, quality=1.0, cost_usd=0.5)
        controller.forget("eve")
    status, _, err = aamc("convert", f"log:{log}", "--to", str(folder))
    assert status == 0
    assert "left out 1 row without text" in err
    assert "left out candidates without outcomes: " in err  # two decisions, four candidates
    assert "the earlier turns or tenants of 2 rows are not written: the format outcomes has no field for them" in err
    assert "wrote 2 rows" in err
    assert [json.loads(row)["query"] for row in (folder / "outcomes.jsonl").read_text().splitlines()] == ["second", "third"]
    assert aamc("inspect", f"outcomes:{folder}", "--json")[0] == 0


def test_convert_refuses_a_log_without_texts(aamc: Aamc, tmp_path: Path) -> None:
    log, folder = f"sqlite:{tmp_path / 'state.db'}", tmp_path / "native"
    with MetaController.build(router="random", pool=EXAMPLE_POOL, store=log, seed=0) as controller:
        for n in range(3):
            controller.feedback(controller.route(f"question {n}").id, quality=1.0, cost_usd=0.5)
    status, _, err = aamc("convert", f"log:{log}", "--to", str(folder))
    assert status == 1
    assert f"no row of log:{log} train has a text, which the format outcomes requires; a log has texts with the store's option store_text=true" in err
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("inspect",), 2, "Missing argument"),
        (("inspect", "outcome:x"), 2, "no dataset is named 'outcome'; did you mean 'outcomes'?"),
        (("inspect", "outcomes:/nowhere"), 1, "/nowhere does not exist"),
        (("inspect", "routellm:x", "--set", "prices=1"), 2, "--set takes an option of the dataset, such as dataset.output_tokens=128"),
        (("inspect", "routellm:x", "--set", "dataset.price=1"), 2, "routellm has no option 'price'; did you mean 'prices'?"),
        (("convert", "outcomes:x"), 2, "Missing option '--to'"),
        (("convert", "synthetic", "--to", "out"), 1, "only a dataset with outcomes and a pool can be written in the native format"),
    ],
)
def test_mistakes_are_one_line(
    aamc: Aamc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], status: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = aamc(*arguments)
    assert (code, out) == (status, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_inspect_checks_what_a_format_reads(aamc: Aamc, native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OutcomesFormat, "read", lambda self, path: None)
    status, _, err = aamc("inspect", native)
    assert (status, err) == (1, "aamc: dataset format 'outcomes' must return aamc_sdk.Dataset, or one for each split, not NoneType\n")
    monkeypatch.setattr(OutcomesFormat, "read", lambda self, path: Dataset(["text"]))  # type: ignore[list-item]  # as a plugin may
    status, _, err = aamc("inspect", native)
    assert (status, err) == (1, f"aamc: {native}: queries must be aamc_sdk.Query objects, not str\n")


def test_a_bug_is_reported_with_its_line_and_package(aamc: Aamc, native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_datasets.data_commands.read_dataset", None)
    status, _, err = aamc("inspect", native)
    assert status == 1
    assert re.fullmatch(r"aamc: TypeError: .* \(in data_commands.py:\d+ of aamc_datasets, a bug in the SDK or a plugin; .*\)\n", err)


def test_a_format_that_fails_is_reported_with_its_line(aamc: Aamc, native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_datasets.outcomes.outcomes_format.read_outcome_rows", None)
    status, _, err = aamc("inspect", native)
    assert status == 1
    assert re.fullmatch(r"aamc: dataset format 'outcomes' failed: .* \(in outcomes_format.py:\d+ of aamc_datasets, aamc --debug .*\)\n", err)


CHECKED = """
def check():
    raise PluginError("a router's utility must be real numbers")

def read(self, path):
    try:
        check()
    except PluginError as error:
        raise PluginError(f"router 'x': {error}") from error
"""


def test_an_error_that_the_sdk_found_has_no_line(aamc: Aamc, native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scope: dict[str, Any] = {"__name__": "aamc_datasets.pretended", "PluginError": PluginError}
    exec(CHECKED, scope)
    monkeypatch.setattr(OutcomesFormat, "read", scope["read"])
    assert aamc("inspect", native) == (1, "", "aamc: router 'x': a router's utility must be real numbers\n")
