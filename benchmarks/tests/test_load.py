"""The load of the benchmarks of servers."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from aamc_models.testing import Script, StubServer
from service_processes import program
from serving.load import buffered


def test_a_varied_load_asks_no_question_twice_in_two_measurements_and_all_of_one_length(tmp_path: Path) -> None:
    program("wrk")
    body = '{"model": "good", "messages": [{"role": "user", "content": "Question NUMBER"}]}'
    with StubServer({"good": Script()}) as stub:
        stub.requests = deque()  # it keeps the latest 1,000 by itself
        for _ in range(2):
            sent = buffered(f"{stub.url}/v1/chat/completions", body, {}, at_once=2, seconds=1, varied=True, core=0, folder=tmp_path)
            assert sent["errors"] == 0
    asked = [request.body["messages"][0]["content"] for request in stub.requests]
    assert len(asked) >= 20
    assert len(set(asked)) == len(asked)
    assert len(set(map(len, asked))) == 1
