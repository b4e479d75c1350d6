"""Rows with a single candidate's outcome, as in a log: routers that learn which candidate of a row was best are refused before a training."""

import json
import re

import pytest

from aamc_sdk.testing import run_command

COMPARING = ("puppeteer", "router-r1-choice", "supervised")


@pytest.mark.parametrize("router", COMPARING)
def test_a_router_that_learns_from_comparisons_alone_is_refused(tmp_path, monkeypatch, router) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"query": f"question {n}", "outcomes": {("a", "b")[n % 2]: {"quality": n % 3 / 2, "cost_usd": 1.0}}} for n in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, _, err = run_command("train", "--router", router, "--estimator", "lexical", "--dataset", "outcomes:rows.jsonl", "--out", "run")
    assert status == 1
    reason, _, others = err.partition("; use one that these rows can train: ")
    assert f"{router} learns which candidate of each row did best" in reason
    assert reason.endswith("rows.jsonl have one outcome each")
    assert "knn" in others
    assert not set(COMPARING) & set(re.findall(r"[\w-]+", others))
    assert not (tmp_path / "run").exists()
