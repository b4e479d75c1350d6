import asyncio
import json
from pathlib import Path

import attrs
import numpy as np
import pytest
from aamc_agents.sandbox import machine_fences
from aamc_puppeteer.config import DEFAULT_AGENTS, PuppeteerConfig
from aamc_puppeteer.orchestrator import Puppeteer
from aamc_puppeteer.tasks.verifiers import Exact
from aamc_puppeteer.testbed import SUITES, TOOLS, load_suite
from aamc_puppeteer.testbed.dataset_format import SuiteOptions, TaskDataset, TaskSuites

from aamc_sdk import Services, Training, get_plugin_manager
from aamc_sdk.cli import main
from aamc_sdk.errors import ConfigError, DataError
from aamc_sdk.testing import assert_conforms


def read(services: Services, path: str, **options: object) -> TaskDataset:
    return TaskSuites(SuiteOptions(**options), services).read(path)


def test_rows_are_tasks_with_their_texts_kinds_and_answers(services: Services) -> None:
    dataset = read(services, "tables", size=6, seed=7)
    tasks = load_suite("tables", seed=7, size=6)
    assert list(dataset.tasks) == tasks
    assert [query.text for query in dataset.queries] == [task.text for task in tasks]
    assert list(dataset.references) == [task.reference for task in tasks]
    assert dataset.labels.complexity.tolist() == [0.0, 0.5, 1.0, 0.0, 0.5, 1.0]
    assert set(dataset.labels.category) == {"tables"}


def test_a_split_keeps_each_row_with_its_task(services: Services) -> None:
    dataset = read(services, "mixed", size=10)
    taken = dataset.take(np.array([7, 2]))
    assert [task.text for task in taken.tasks] == [query.text for query in taken.queries] == [dataset.tasks[7].text, dataset.tasks[2].text]


def test_the_seed_is_the_runs_own_where_none_is_given(services: Services) -> None:
    assert list(read(services, "strings", size=5).tasks) == load_suite("strings", seed=services.seed, size=5)


def test_another_verifier_may_be_chosen(services: Services) -> None:
    assert {type(task.verifier) for task in read(services, "arithmetic", size=3, verifier="exact").tasks} == {Exact}


def test_a_published_file_stands_after_another_colon(services: Services, tmp_path: Path) -> None:
    file = tmp_path / "gsm.jsonl"
    file.write_text(json.dumps({"input": "What is 2 + 2?", "target": 4}), encoding="utf-8")
    assert read(services, f"gsm-hard:{file}").references == ["4"]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("arithmetik", "did you mean 'arithmetic'"),
        ("gsm-hard", "no path was given"),
        ("tables:here", "no task suite 'tables:here': 'tables' is generated"),
    ],
)
def test_what_there_is_not_is_refused(services: Services, path: str, error: str) -> None:
    with pytest.raises((ConfigError, DataError), match=error):
        read(services, path)


def test_the_format_conforms() -> None:
    assert_conforms("dataset", "tasks", get_plugin_manager(), {"size": 20})


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_can_be_inspected(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["data", "inspect", f"tasks:{name}", "--set", "dataset.size=30", "--json"])
    assert not left.value.code
    (facts,) = json.loads(capsys.readouterr().out)["datasets"]
    assert facts["rows"] == 30
    assert set(facts["categories"]) == ({name} if name != "mixed" else set(SUITES) - {"mixed"})


def test_unit_tests_need_a_kernel_that_confines_programs_or_permission(services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_agents.sandbox.runner.compiled_filter", lambda: None)
    machine_fences.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"the kernel here does not confine programs.*; set dataset.unconfined=true"):
            TaskSuites(SuiteOptions(size=1, verifier="unit-tests"), services).read("strings")
        (task,) = TaskSuites(SuiteOptions(size=1, verifier="unit-tests", unconfined=True), services).read("strings").tasks
    finally:
        machine_fences.cache_clear()
    assert asyncio.run(task.verifier(attrs.evolve(task, reference="assert f() == 1"), "def f(): return 1")).correct


def test_a_puppeteer_without_named_agents_gets_those_that_the_suite_is_made_for(services, tmp_path) -> None:
    generated = TaskSuites(SuiteOptions(size=20), services).read("strings")
    published = attrs.evolve(generated, agents=())
    short = PuppeteerConfig(updates=0)
    for dataset, names in ((generated, TOOLS), (published, DEFAULT_AGENTS)):
        puppeteer = Puppeteer(short, services)
        puppeteer.train(Training(dataset=dataset))
        assert puppeteer.pool.names == puppeteer.config.agents == names
        puppeteer.close()
    for chosen in (Puppeteer(attrs.evolve(short, agents=("calculator",)), services), Puppeteer(short, services)):
        chosen.use([services.make("agent", "calculator", {})])
        chosen.train(Training(dataset=generated))
        assert chosen.pool.names == ("calculator",)
        chosen.close()
