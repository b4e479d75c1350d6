"""Roles in episodes and as judges, with a real local server in place of a model."""

import asyncio

import pytest
from aamc_agents.state import Fault
from aamc_agents.tasks import Task
from aamc_puppeteer.episodes import EpisodeReward, Executor, Stop, in_order, play
from aamc_puppeteer.tasks import Numeric
from aamc_puppeteer.testbed.dataset_format import SuiteOptions, TaskSuites

from aamc_sdk.testing import run_command


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
    (trajectory,) = play([task], in_order(("reasoner", "calculator", "concluder", "reasoner")), executor, EpisodeReward(), steps=8)
    executor.close()
    assert (trajectory.stop, trajectory.succeeded) == (Stop.ANSWERED, True)
    assert [activation.cost for activation in trajectory.state.history] == pytest.approx([140e-6, 0.001, 140e-6])


def test_a_role_that_takes_longer_than_its_turn_costs_its_prompt(serve_model, make_agent) -> None:
    server = serve_model("8", 1.0)
    executor = Executor({"reasoner": make_agent("reasoner", endpoint=server.url, prices={"input": 1e6, "output": 1e6})}, 0.4, max_characters=10_000)
    task = Task(id="t", text="How many?", verifier=Numeric(), reference="8")
    (trajectory,) = play([task], in_order(("reasoner",)), executor, EpisodeReward(), steps=1)
    executor.close()
    (activation,) = trajectory.state.history
    assert activation.fault is Fault.TIMEOUT
    assert activation.cost == executor.spent_usd > 50  # a USD for each of its tokens


def test_a_judge_model_verifies_the_tasks_of_a_suite(serve_model, services) -> None:
    server = serve_model(lambda body: "CORRECT" if "Answer: fine" in body["messages"][0]["content"] else "WRONG, as it is not fine")
    judge = {"endpoint": server.url, "model": "judge-1"}
    (task,) = TaskSuites(SuiteOptions(size=1, verifier="judge", judge=judge), services).read("arithmetic").tasks
    assert asyncio.run(task.verifier(task, "fine")).correct
    assert asyncio.run(task.verifier(task, "poor")).why == "WRONG, as it is not fine"
    assert server.asked[0]["model"] == "judge-1"
    assert not task.verifier.has_prices
    priced = SuiteOptions(size=1, verifier="judge", judge={**judge, "prices": {"input": 1.0, "output": 2.0}})
    assert TaskSuites(priced, services).read("arithmetic").tasks[0].verifier.has_prices


def test_a_verdict_that_takes_too_long_costs_its_prompt(serve_model, services) -> None:
    server = serve_model("CORRECT", 1.0)
    judge = {"endpoint": server.url, "model": "judge-1", "prices": {"input": 1e6, "output": 1e6}}
    (task,) = TaskSuites(SuiteOptions(size=1, verifier="judge", judge=judge), services).read("arithmetic").tasks
    executor = Executor({}, 0.4, max_characters=10_000)
    (verdict,) = executor.verify([(task, "fine")])
    executor.close()
    assert verdict.why == "the verifier gave no verdict in 0.4 s"
    assert executor.spent_usd > 50


def test_an_agent_whose_check_breaks_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aamc_agents.calculator.Calculator.check", lambda self: {}["model"])
    status, _, err = run_command("orchestrate", "1 + 1", "--agents", "calculator")
    assert (status, "agent 'calculator' failed: KeyError: 'model'" in err) == (1, True)


TEAM = "orchestrator.agents=[calculator, reasoner]"


@pytest.mark.parametrize(
    "arguments", [["orchestrate", "1 + 1", "--agents", "calculator,reasoner"], ["train", "--orchestrator", "puppeteer", "--set", TEAM]]
)
def test_a_role_without_a_model_ends_the_command_before_anything_is_called(tmp_path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run_command(*arguments)
    assert (status, out) == (2, "")
    assert "agent 'reasoner' cannot work: no language model is configured; add an endpoint to the pool" in err
    assert "(its options: agent_options.reasoner)" in err
    assert not list(tmp_path.rglob("run.yaml"))


def test_a_pool_gives_the_roles_their_model(serve_model, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = serve_model("8")
    (tmp_path / "pool.yaml").write_text(f"candidates: [{{name: small, endpoint: '{server.url}', prices: {{input: 1, output: 2}}}}]")
    status, out, err = run_command("orchestrate", "1 + 7", "--agents", "reasoner,concluder", "--pool", "pool.yaml")
    assert (status, out) == (0, "8\n"), err
    options = ("agents=[reasoner, concluder]", "updates=1", "episodes=2", "max_steps=2")
    given = ["train", "--orchestrator", "puppeteer", "--pool", "pool.yaml", *(part for name in options for part in ("--set", f"orchestrator.{name}"))]
    status, _, err = run_command(*given, "--budget-usd", "1", "--out", "made")
    assert status == 0, err
    status, out, err = run_command("orchestrate", "1 + 7", "--run", "made")
    assert (status, out) == (0, "8\n"), err


def test_a_budget_needs_prices(serve_model, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = serve_model("8")
    options = (TEAM, f"orchestrator.agent_options.reasoner.endpoint={server.url}", "orchestrator.updates=1", "orchestrator.episodes=2")
    given = ["train", "--orchestrator", "puppeteer", *(part for option in options for part in ("--set", option))]
    status, _, err = run_command(*given, "--budget-usd", "5", "--out", "made")
    assert status == 2
    assert "a budget of 5 USD cannot be kept: the model of agent 'reasoner' has no prices; set agent_options.reasoner.prices" in err
    assert server.asked == []
    assert not list(tmp_path.rglob("run.yaml"))
    status, _, err = run_command(*given, "--out", "unknown")
    assert status == 0, err
    episodes_and_validation = 2 * 12 + 27 * (2 * 12 + 2)
    assert f"at most {episodes_and_validation:,} turns of agents; their cost is unknown: no prices for reasoner" in err


def test_a_budget_needs_prices_of_the_judge(serve_model, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = serve_model("CORRECT")
    judge = f"dataset.judge={{endpoint: '{server.url}', model: judge-1}}"
    given = ("train", "--orchestrator", "puppeteer", "--set", "dataset.size=60", "--set", "dataset.verifier=judge", "--set", judge)
    status, _, err = run_command(*given, "--budget-usd", "0.5", "--out", "made")
    assert status == 2, err
    assert "a budget of 0.5 USD cannot be kept: the judge model of the tasks has no prices; set dataset.judge.prices" in " ".join(err.split())
    assert server.asked == []
    assert not list(tmp_path.rglob("run.yaml"))


def test_a_budget_of_one_task_needs_prices_too(serve_model, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = serve_model("8")
    (tmp_path / "pool.yaml").write_text(f"candidates: [{{name: small, endpoint: '{server.url}'}}]")
    given = ("orchestrate", "1 + 7", "--agents", "calculator,reasoner,concluder", "--pool", "pool.yaml")
    status, out, err = run_command(*given, "--budget", "0.5")
    assert (status, out) == (2, "")
    assert "a budget of 0.5 USD cannot be kept: the models of agents 'reasoner', 'concluder' have no prices" in " ".join(err.split())
    assert "set agent_options.reasoner.prices, such as {input: 1, output: 2}, or leave the budget out" in " ".join(err.split())
    assert server.asked == []
    assert run_command(*given)[0] == 0
    free = [part for agent in ("reasoner", "concluder") for part in ("--set", f"agent_options.{agent}.prices={{input: 0, output: 0}}")]
    assert run_command(*given, *free, "--budget", "0.5")[0] == 0
