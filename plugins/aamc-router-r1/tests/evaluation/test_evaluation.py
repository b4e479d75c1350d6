"""``aamc evaluate --orchestrator router-r1`` on a benchmark's file, with a real server behind it."""

import json
import math

import numpy as np
import pytest
import yaml
from aamc_models.testing import Script
from aamc_router_r1.evaluation import AnsweredQuestion, strongest_of, summary
from policy_server import THOUGHT, pool_of

from aamc_sdk.cli import main
from aamc_sdk.routing import pool_from_dict
from aamc_sdk.types import wilson_interval


@pytest.fixture
def files(server, tmp_path):
    """A pool file and ten questions, half of which the strong model answers rightly."""
    server.scripts |= {"small": Script(text="Rome"), "big": Script(text="Jane Austen")}
    server.turns["policy"] = [f"{THOUGHT}<search> big: Who? </search>", f"{THOUGHT}<answer> Jane Austen </answer>"]
    content = pool_of(server, policy={}, small={}, big={"prices": {"input": 10.0, "output": 20.0}})
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(content))
    golds = ["Jane Austen", "Dickens"] * 5
    rows = [{"question": f"Who wrote book {n}?", "answer": [gold]} for n, gold in enumerate(golds)]
    (tmp_path / "nq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(files, *more):
    options = ["--orchestrator", "router-r1", "--dataset", f"nq:{files / 'nq.jsonl'}", "--pool", str(files / "pool.yaml")]
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *options, "--set", "orchestrator.policy=policy", *more])
    return ended.value.code


def test_router_r1_stands_beside_its_baselines(files, capsys):
    assert run(files, "--json", "--out", str(files / "out"), "--routers", "random,thompson") == 0
    document = json.loads(capsys.readouterr().out)
    systems = document["systems"]
    assert list(systems) == ["router-r1", "direct", "strongest", "cheapest", "random", "thompson"]
    assert document["data"] == {"source": f"nq:{files / 'nq.jsonl'}", "queries": 10, "questions": 10, "policy": "policy", "strongest": "big"}
    assert systems["strongest"]["exact_match"] == 0.5
    assert systems["strongest"]["ci95"]["exact_match"] == list(wilson_interval(0.5, 10))
    assert systems["strongest"]["strongest_share"] == 1
    assert systems["cheapest"]["strongest_share"] == 0
    router_r1 = systems["router-r1"]
    assert router_r1["exact_match"] == 0.5
    assert router_r1["malformed_share"] == 0
    assert router_r1["mean_cost_usd"] > 0
    assert set(router_r1["calls_per_model"]) <= {"big", "small"}
    episodes = [json.loads(line) for line in (files / "out" / "episodes.jsonl").read_text().splitlines()]
    assert len(episodes) == 10
    assert math.fsum(each["cost_usd"] for each in episodes) == pytest.approx(10 * router_r1["mean_cost_usd"])
    assert "Who wrote book 3?" in (files / "out" / "episodes.html").read_text()
    assert json.loads((files / "out" / "results.json").read_text()) == document


def records(files, *names):
    """Write records whose models are those named, and whose second gold answer is right."""
    models = [{"name": name, "cost": 1.0 + n, "latency": 0.1, "description": f"Model number {n}."} for n, name in enumerate(names)]
    rows = [{"query": f"Who wrote book {n}?", "candidate_models": models, "ground_truth": ["Austen", "Jane Austen"]} for n in range(3)]
    (files / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["--dataset", f"router-r1:{files / 'records.jsonl'}"]


def test_records_are_evaluated_with_their_own_models_and_all_their_gold_answers(files, server, capsys):
    content = pool_of(server, policy={}, small={}, big={"prices": {"input": 10.0, "output": 20.0}}, other={"prices": {"input": 90.0, "output": 90.0}})
    (files / "pool.yaml").write_text(yaml.safe_dump(content))
    assert run(files, *records(files, "small", "big"), "--json", "--routers", "random") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["data"]["strongest"] == "big"
    assert document["systems"]["router-r1"]["exact_match"] == 1
    assert document["systems"]["strongest"]["exact_match"] == 1
    assert all("other" not in system["calls_per_model"] for system in document["systems"].values())
    prompt = server.asked["policy"][0]["messages"][0]["content"]
    assert "Model number 1." in prompt
    assert "other" not in prompt


def test_records_whose_models_cannot_be_called_are_refused(files, capsys):
    assert run(files, *records(files, "small", "elsewhere")) == 2
    assert "'elsewhere' is to reply to 'Who wrote book 0?' and has no endpoint in the pool" in capsys.readouterr().err


def test_failed_calls_are_counted(files, server, capsys):
    server.scripts["small"] = Script(fault="status")
    assert run(files, "--json", "--routers", "random") == 0
    systems = json.loads(capsys.readouterr().out)["systems"]
    assert systems["cheapest"]["failed_share"] == 1
    assert systems["strongest"]["failed_share"] == 0
    assert systems["random"]["failed_share"] == pytest.approx(systems["random"]["calls_per_model"].get("small", 0))
    assert systems["random"]["failed_share"] > 0
    assert systems["random"]["unknown_costs"] == 0  # a failed call costs nothing, as in an episode


def test_an_evaluation_whose_every_call_failed_fails(files, server, capsys):
    for name in ("policy", "small", "big"):
        server.turns.pop(name, None)
        server.scripts[name] = Script(fault="status")
    assert run(files, "--json", "--routers", "random") == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["message"].startswith("all 40 calls failed, such as: ")
    assert error["hint"] == "check the endpoints of the pool"


def test_baselines_choose_among_the_models_that_the_policy_can_consult(files, server, capsys):
    content = pool_of(server, policy={"prices": {"input": 10.0, "output": 99.0}}, small={}, big={"prices": {"input": 10.0, "output": 20.0}})
    (files / "pool.yaml").write_text(yaml.safe_dump(content))
    assert run(files, "--json", "--routers", "random") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["data"]["strongest"] == "big"
    assert set(document["systems"]["random"]["calls_per_model"]) == {"small", "big"}
    assert run(files, "--json", "--routers", "random", "--set", "orchestrator.consult_policy=true") == 0
    assert json.loads(capsys.readouterr().out)["data"]["strongest"] == "policy"


def test_the_table_shows_every_system(files, capsys):
    assert run(files) == 0
    out = capsys.readouterr().out
    for text in ("router-r1", "direct", "strongest", "cheapest", "random", "thompson", "exact match", "malformed", "failed"):
        assert text in out


def test_an_evaluation_with_the_same_seed_gives_the_same_figures(files, capsys):
    chosen = []
    for _ in range(3):
        assert run(files, "--json", "--routers", "random,thompson") == 0
        systems = json.loads(capsys.readouterr().out)["systems"]
        chosen.append([systems[name]["calls_per_model"] for name in ("random", "thompson")])
    assert chosen[0] == chosen[1] == chosen[2]


def test_an_earlier_evaluation_is_not_overwritten(files, capsys):
    (files / "out").mkdir()
    (files / "out" / "results.json").write_text("earlier")
    assert run(files, "--out", str(files / "out")) == 1
    assert "is not empty; choose another folder with --out" in capsys.readouterr().err
    assert (files / "out" / "results.json").read_text() == "earlier"


def test_an_interrupted_evaluation_keeps_the_episodes_that_were_paid_for(files, server, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("aamc_router_r1.evaluation._of_call", interrupted)
    assert run(files, "--out", str(files / "out")) != 0
    assert "interrupted" in capsys.readouterr().err
    episodes = [json.loads(line) for line in (files / "out" / "episodes.jsonl").read_text().splitlines()]
    assert len(episodes) == 10
    assert all(each["cost_usd"] > 0 for each in episodes)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--gate"], "leave out --gate"),
        (["--set", "orchestrator.polici=policy"], "no option 'polici'"),
        (["--routers", "supervised"], "train"),
    ],
)
def test_wrong_options_are_refused(more, message, files, capsys):
    assert run(files, *more) != 0
    assert message in capsys.readouterr().err


def test_figures_of_a_system():
    answers = [
        AnsweredQuestion(answer="a", exact_match=1, f1=1, cost_usd=0.1, seconds=1, tokens=10, rounds=2, consulted=["big", "small"]),
        AnsweredQuestion(answer=None, exact_match=0, f1=0, cost_usd=math.nan, seconds=3, tokens=30, malformed=True, outcome="malformed"),
    ]
    found = summary(answers, ["big"] * 2, np.arange(2))
    assert (found["exact_match"], found["mean_cost_usd"], found["mean_rounds"], found["mean_tokens"]) == (0.5, 0.1, 1, 20)
    assert (found["strongest_share"], found["malformed_share"], found["unknown_costs"]) == (0.5, 0.5, 1)
    assert found["calls_per_model"] == {"big": 0.5, "small": 0.5}
    assert found["outcomes"] == {"answered": 1, "malformed": 1}
    assert summary(answers[1:], ["big"], np.arange(1))["strongest_share"] is None


def test_the_calls_of_a_question_are_not_independent():
    def share(calls):
        names = [["big"] * calls, ["small"] * calls] * 50
        answers = [AnsweredQuestion(answer="a", exact_match=1, f1=1, cost_usd=0, seconds=1, tokens=1, consulted=each) for each in names]
        return summary(answers, ["big"] * len(answers), np.arange(len(answers)))["ci95"]["strongest_share"]

    assert share(4) == share(1) == pytest.approx([0.4, 0.6], abs=0.01)


@pytest.mark.parametrize(("f1", "bounds"), [(1.0, [0.025**0.2, 1.0]), (0.0, [0.0, 1 - 0.025**0.2])])
def test_five_answers_of_one_f1_are_not_sure_of_it(f1, bounds):
    answers = [AnsweredQuestion(answer="a", exact_match=f1, f1=f1, cost_usd=0, seconds=1, tokens=1)] * 5
    found = summary(answers, ["big"] * 5, np.arange(5))
    assert found["f1"] == f1
    assert found["ci95"]["f1"] == pytest.approx(bounds)  # resamples of equal values have no width


def test_repeated_answers_to_a_question_say_no_more_about_others():
    def intervals(repeats):
        each = [{"exact_match": n % 2, "f1": n / 10, "cost_usd": n, "consulted": [["big", "small"][n % 2]]} for n in range(10)]
        answers = [AnsweredQuestion(answer="a", seconds=1, tokens=n, **known) for _ in range(repeats) for n, known in enumerate(each)]
        return summary(answers, ["big"] * len(answers), np.tile(np.arange(10), repeats))["ci95"]

    once, repeated = intervals(1), intervals(20)
    for name, bounds in once.items():
        assert repeated[name] == pytest.approx(bounds), name


def test_the_strongest_is_the_one_with_the_highest_price():
    def pool(*prices):
        priced = [{} if price is None else {"prices": {"input": 0, "output": price}} for price in prices]
        return pool_from_dict({"candidates": [{"name": f"m{n}", **each} for n, each in enumerate(priced)]}, "test")

    assert strongest_of(pool(1, 5, 2)) == "m1"
    assert strongest_of(pool(None, None)) == "m1"
