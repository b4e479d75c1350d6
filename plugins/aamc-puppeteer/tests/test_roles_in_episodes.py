"""Roles in episodes and as judges, with a real local server in place of a model."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from aamc_agents.tasks import Task
from aamc_puppeteer.episodes import Executor, RewardRule, Stop
from aamc_puppeteer.tasks import Numeric
from aamc_puppeteer.testbed import in_order, play
from aamc_puppeteer.testbed.dataset_format import GeneratedSuites, SuiteOptions


@pytest.fixture
def serve_model() -> Iterator[Callable[..., Any]]:
    """Start a server that answers chat completions by a function of the request."""
    with ExitStack() as started:

        def serve(answer: Callable[[dict[str, Any]], str]) -> SimpleNamespace:
            asked: list[dict[str, Any]] = []

            class Handler(BaseHTTPRequestHandler):
                def do_POST(self) -> None:
                    body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                    asked.append(body)
                    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer(body)}}
                    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
                    said = {"id": "c", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice], "usage": usage}
                    content = json.dumps(said).encode()
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

                def log_message(self, *args: object) -> None:
                    pass

            server = started.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            started.callback(server.shutdown)
            return SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/v1", asked=asked)

        yield serve


def test_roles_and_tools_solve_a_task_together_with_models_that_a_router_chose(serve_model, make_agent, tmp_path) -> None:
    def play_role(body):
        role, work = (message["content"] for message in body["messages"])
        if "You are the concluder" in role:
            return "84" if "calculator: 84" in work else "I do not know"
        return "12 * (3 + 4)"

    server = serve_model(play_role)
    file = tmp_path / "pool.yaml"
    file.write_text(f"candidates: [{{name: a, endpoint: '{server.url}', prices: {{input: 1, output: 2}}}}]", encoding="utf-8")
    team = {name: make_agent(name, router="random", pool=str(file)) for name in ("reasoner", "concluder")}
    executor = Executor({**team, "calculator": make_agent("calculator")}, timeout=20.0, max_characters=10_000)
    task = Task(id="t", text="Twelve bags hold three red pears and four green ones each. How many?", verifier=Numeric(), reference="84")
    (trajectory,) = play([task], in_order(("reasoner", "calculator", "concluder", "reasoner")), executor, RewardRule(), steps=8)
    executor.close()
    assert (trajectory.stop, trajectory.succeeded) == (Stop.ANSWERED, True)
    assert [activation.cost for activation in trajectory.state.history] == pytest.approx([140e-6, 0.001, 140e-6])


def test_a_judge_model_verifies_the_tasks_of_a_suite(serve_model, services) -> None:
    server = serve_model(lambda body: "CORRECT" if "Answer: fine" in body["messages"][0]["content"] else "WRONG, as it is not fine")
    options = SuiteOptions(size=1, verifier="judge", judge={"base_url": server.url, "model": "judge-1"})
    (task,) = GeneratedSuites(options, services).read("arithmetic").tasks
    assert asyncio.run(task.verifier(task, "fine")).correct
    assert asyncio.run(task.verifier(task, "poor")).why == "WRONG, as it is not fine"
    assert server.asked[0]["model"] == "judge-1"
