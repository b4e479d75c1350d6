"""``aamc orchestrate --orchestrator router-r1``, ``aamc trace`` and ``aamc serve-router`` as users run them."""

import json
import socket
import subprocess
import sys
import time
from contextlib import closing

import httpx
import pytest
import yaml
from aamc_router_r1 import trace
from policy_server import THOUGHT, make, play, pool_of

from aamc_sdk import Attempt, Feedback, Preference, Query, get_plugin_manager
from aamc_sdk.cli import main
from aamc_sdk.log import open_store


@pytest.fixture
def pool(server, tmp_path, monkeypatch):
    server.turns["policy"] = [f"{THOUGHT}<search> small: Who? </search>", f"{THOUGHT}<answer> Jane Austen </answer>"]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pool.yaml"
    path.write_text(yaml.safe_dump(pool_of(server, policy={}, small={})))
    return path


def orchestrate(pool, *more, question="Who wrote Emma?"):
    options = ["--orchestrator", "router-r1", "--pool", str(pool), "--set", "orchestrator.policy=policy"]
    with pytest.raises(SystemExit) as ended:
        main(["orchestrate", question, *options, *more])
    return ended.value.code


def test_the_document_has_what_was_promised(pool, capsys):
    assert orchestrate(pool, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["answer"], document["outcome"], document["rounds"]) == ("Jane Austen", "answered", 1)
    assert [step["candidate"] for step in document["steps"]] == ["policy", "small", "policy"]
    assert document["cost_usd"] == pytest.approx(sum(step["cost_usd"] for step in document["steps"]))
    assert all(step["text"] and step["tokens"] > 0 for step in document["steps"])


def test_what_models_say_steers_no_terminal(pool, server, capsys):
    server.turns["policy"] = ["\x1b]0;owned\x07 <answer> \x1b[31mJane </answer>"]
    assert orchestrate(pool, "--trajectory", "kept.jsonl") == 0
    with pytest.raises(SystemExit):
        main(["trace", "kept.jsonl"])
    shown = "".join(capsys.readouterr())
    assert shown.count("Jane") >= 3
    assert "\x1b" not in shown


def test_a_long_word_is_shown_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    word = 100_000 * "x"
    episode = {"task": word, "episode": "1", "steps": [], "outcome": "answered", "cost_usd": 0, "answer": word}
    (tmp_path / "kept.jsonl").write_text(json.dumps(episode))
    began = time.process_time()
    with pytest.raises(SystemExit) as ended:
        main(["trace", "kept.jsonl"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.count("x") >= 2 * len(word)
    assert time.process_time() - began < 10


def test_the_ending_says_how_many_calls_have_no_known_cost(pool, server, capsys):
    candidates = pool_of(server, policy={}, small={})["candidates"]
    pool.write_text(yaml.safe_dump({"candidates": [{**candidate, "prices": None} for candidate in candidates]}))
    assert orchestrate(pool) == 0
    assert "answered with 3 calls of unknown cost after 3 steps, 0 USD" in " ".join(capsys.readouterr().err.split())


def test_no_answer_has_status_1_and_says_why(pool, server, capsys):
    server.turns["policy"] = ["never"]
    assert orchestrate(pool, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["answer"], document["outcome"]) == (None, "no_answer")
    assert document["cost_usd"] > 0


@pytest.mark.parametrize(
    ("more", "question", "message"),
    [
        ((), " ", "must not be empty"),
        (("--set", "orchestrator.policy=polici"), "q", "'polici'; did you mean 'policy'"),
        (("--set", "orchestrator.codec=xml"), "q", "codec must be one of"),
        (("--agents", "calculator"), "q", "no option --agents"),
    ],
)
def test_wrong_options_are_refused(more, question, message, pool, capsys):
    assert orchestrate(pool, *more, question=question) != 0
    assert message in capsys.readouterr().err


def test_a_trace_is_shown_from_the_file_and_from_the_log(pool, capsys, tmp_path):
    assert orchestrate(pool, "--json", "--store", "sqlite:log.db") == 0
    document = json.loads(capsys.readouterr().out)
    with closing(open_store("sqlite:log.db", get_plugin_manager())) as store:  # what a judge reports is not a call of the episode
        store.add_feedback([(Feedback(decision_id=document["id"], quality=1.0), Attempt(document["id"], cost_usd=5.0))])
    in_log = ["--store", "sqlite:log.db", "--episode"]
    for source in (["trajectories.jsonl"], [*in_log, document["episode"]], [*in_log, document["id"]]):
        with pytest.raises(SystemExit) as ended:
            main(["trace", *source])
        assert ended.value.code == 0
        shown = capsys.readouterr().out
        for text in ("Who wrote Emma?", "small says: Austen", "Jane Austen", "answered", f"{document['cost_usd']:.3g} USD"):
            assert text in shown
        with pytest.raises(SystemExit):
            main(["trace", *source, "--html", "trace.html"])
        page = (tmp_path / "trace.html").read_text()
        assert page.startswith("<!doctype html>")
        assert "small says: Austen" in page
        assert "<search>" not in page  # escaped


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name either"),
        (["--store", "sqlite:log.db"], "--episode"),
        (["bad.jsonl"], "line 1: no episode of router-r1; give trajectories"),
        (["--store", "sqlite:log.db", "--episode", "nothing"], "no episode 'nothing'"),
    ],
)
def test_a_missing_trace_is_an_error(arguments, message, pool, capsys, tmp_path):
    (tmp_path / "bad.jsonl").write_text("{}\n")
    orchestrate(pool, "--store", "sqlite:log.db")
    with pytest.raises(SystemExit) as ended:
        main(["trace", *arguments])
    assert ended.value.code != 0
    assert message in capsys.readouterr().err


def test_serve_router_answers_in_a_process_of_its_own(pool, server):
    server.turns["policy"] = [f"{THOUGHT}<search> small: Who? </search>"]
    arguments = ["serve-router", "--pool", str(pool), "--set", "orchestrator.policy=policy", "--port", "0"]
    program = [sys.executable, "-m", "aamc_sdk.cli", *arguments]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = next(line for line in process.stderr if "Uvicorn running" in line).split("running on ")[1].split()[0]
            answer = httpx.post(f"{url}/route", json={"query": "Who wrote Emma?"}, timeout=30)
            assert (answer.status_code, answer.json()["selected_model"]) == (200, "small")
            with socket.create_connection(("127.0.0.1", httpx.URL(url).port), timeout=30) as client:
                client.sendall(b"GET /health HTTP/1.1\r\nx-own: " + b"a" * 20_000)
                assert client.recv(100).startswith(b"HTTP/1.1 400")  # headers are limited
        finally:
            process.terminate()


def test_serve_router_names_a_port_that_is_taken(pool, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            main(["serve-router", "--pool", str(pool), "--set", "orchestrator.policy=policy", "--port", str(port)])
    assert ended.value.code == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another --port" in capsys.readouterr().err


def test_serve_router_needs_a_key_to_listen_to_other_machines(pool, capsys, monkeypatch):
    monkeypatch.delenv("AAMC_ROUTER_KEY", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["serve-router", "--pool", str(pool), "--set", "orchestrator.policy=policy", "--host", "0.0.0.0", "--port", "0"])
    assert ended.value.code == 2
    assert "without a key serve-router listens on 127.0.0.1 only, not on '0.0.0.0': set the environment variable AAMC_ROUTER_KEY" in " ".join(
        capsys.readouterr().err.split()
    )


def test_serve_router_does_not_start_with_an_endpoint_that_is_wrong(tmp_path, capsys):
    pool = tmp_path / "pool.yaml"
    pool.write_text("candidates:\n- {name: policy, endpoint: {provider: openai, base_urls: x}}\n- {name: small}\n")
    with pytest.raises(SystemExit) as ended:
        main(["serve-router", "--pool", str(pool), "--set", "orchestrator.policy=policy", "--port", "0"])
    assert ended.value.code != 0
    assert "base_urls" in capsys.readouterr().err


def test_a_log_without_texts_keeps_none(server):
    server.turns["policy"] = [f"{THOUGHT}<search> small: Who? </search>", f"{THOUGHT}<answer> Jane Austen </answer>"]
    episode = play(make(server))
    records, attempts = trace.logged(episode, Query("Who wrote Emma?", user="anna"), Preference())
    for kept in (True, False):
        with closing(open_store("memory:", get_plugin_manager(), {"store_text": kept})) as store:
            store.add_decisions(records)
            store.add_attempts(attempts)
            found = trace.document_of(store.episode(episode.id), {attempt.decision_id: attempt for attempt in attempts})
            text = "\n".join(map(repr, [store.record(record.decision.id) for record in records]))
        assert (found["outcome"], found["cost_usd"]) == ("answered", pytest.approx(episode.cost_usd))
        assert (found["answer"] == "Jane Austen") is kept
        for word in ("Austen", "Emma", "hm"):
            assert (word in text) is kept


@pytest.mark.parametrize(
    "turns",
    [
        [f"{THOUGHT}<search> small: Who? </search>", "<answer> Jane Austen </answer>"],
        ["<answer> Jane Austen </answer>"],
        [THOUGHT, f"{THOUGHT}<answer> Jane Austen </answer>"],
        [f"{THOUGHT}<search> nobody: Who? </search>", f"{THOUGHT}<answer> Jane Austen </answer>"],
    ],
)
def test_the_log_and_the_file_tell_the_same_of_an_episode(server, turns):
    server.turns["policy"] = turns
    episode = play(make(server))
    records, attempts = trace.logged(episode, Query("Who wrote Emma?"), Preference())
    in_log, in_file = trace.document_of(records, {attempt.decision_id: attempt for attempt in attempts}), trace.document(episode)
    assert [in_log[key] for key in ("outcome", "rounds", "malformed")] == [in_file[key] for key in ("outcome", "rounds", "malformed")]
    assert ("no_thinking" in in_log["steps"][-1]["faults"]) is not turns[-1].startswith(THOUGHT)
