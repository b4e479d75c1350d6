"""The page with a minimal component of each kind: its modules pass the conformance kit and do what the page says."""

import asyncio
import http.server
import importlib
import json
import re
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from aamc_sdk import DataError, MetaController, ModelSpec, Pool, builtin
from aamc_sdk.cli.main import aamc
from aamc_sdk.errors import ProviderError, StoreError
from aamc_sdk.log import open_store
from aamc_sdk.plugins import KINDS, Plugins
from aamc_sdk.testing import Subject, assert_conforms

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "write-a-component.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"```python\n# my_package/(\w+)\.py\n(.*?)\n```", PAGE, flags=re.DOTALL))
COMPONENTS = [
    (next(kind for kind, announced in KINDS.items() if announced == hook), name)
    for hook, body in re.findall(r"def (aamc_\w+)\(\):\n(.*?)(?=\n\n|\Z)", MODULES["plugin"], flags=re.DOTALL)
    for name in re.findall(r'Component\("([\w-]+)"', body)
]


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    (folder / "my_package").mkdir()
    for name, source in {"__init__": "", **MODULES}.items():
        (folder / "my_package" / f"{name}.py").write_text(source, encoding="utf-8")
    sys.path.insert(0, str(folder))
    yield Plugins({"core": builtin, "mine": importlib.import_module("my_package.plugin")}, discover=False)
    sys.path.remove(str(folder))


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = f"{asked['model']}: {asked['messages'][-1]['content']}"
            answer = {
                "choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 7, "completion_tokens": 5},
            }
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *arguments):
            pass

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}/v1"
    served.shutdown()
    thread.join()
    served.server_close()


def test_every_kind_has_a_component_and_every_module_is_announced():
    assert {kind for kind, _ in COMPONENTS} == set(KINDS)
    assert {f"my_package.{name}" for name in MODULES if name != "plugin"} == set(re.findall(r'"(my_package\.\w+):', MODULES["plugin"]))


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_the_component_conforms(plugins, kind, name):
    assert_conforms(kind, name, plugins)


def test_the_provider_conforms_with_its_server(plugins, server):
    assert_conforms("provider", "http-json", plugins, {"base_url": server})


def test_the_online_router_turns_away_from_a_candidate_that_fails(plugins):
    with MetaController.build(router="mean-quality", pool="two-models", plugins=plugins) as controller:
        first = controller.route("a").candidate
        for _ in range(3):
            decision = controller.route("a")
            controller.feedback(decision.id, quality=float(decision.candidate != first))
            controller.learner.flush()
        assert controller.route("a").candidate != first


def test_the_online_router_counts_a_revision_once(plugins):
    with MetaController.build(router="mean-quality", pool="two-models", plugins=plugins) as controller:
        decision = controller.route("a")
        controller.feedback(decision.id, quality=1.0)
        controller.feedback(decision.id, quality=0.0, revision=1)
        controller.learner.flush()
        assert controller.router.totals == {decision.candidate: [0.0, 1]}


def test_the_asynchronous_router_asks_its_model(plugins):
    async def route(reply):
        router = {"name": "ask-model", "endpoint": {"provider": "echo", "reply": reply}}
        with MetaController.build(router=router, pool="two-models", plugins=plugins) as controller:
            return (await controller.aroute("Prove it")).candidate

    assert [asyncio.run(route(reply)) for reply in ("9", "1")] == ["large", "small"]


def test_the_provider_calls_a_server_and_names_a_failure(plugins, server):
    assert_conforms("provider", "http-json", plugins, {"base_url": server})
    pool = Pool([ModelSpec("m", endpoint={"provider": "http-json", "base_url": server})])
    with MetaController.build(router="cheapest", pool=pool, plugins=plugins) as controller:
        answer = controller.complete("Hello")
        assert (answer.text, answer.usage.output_tokens) == ("m: Hello", 5)
    nobody = Pool([ModelSpec("m", endpoint={"provider": "http-json", "base_url": "http://127.0.0.1:1"})])
    with MetaController.build(router="cheapest", pool=nobody, plugins=plugins) as controller, pytest.raises(ProviderError, match="'m' at http"):
        controller.complete("Hello")


def test_the_dataset_format_reads_a_table(plugins, tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("query,candidate,quality,cost_usd\na,small,1,0.1\na,large,1,0.2\nb,small,0,0.1\n")
    table = plugins.make("dataset", "csv-table", None).read(str(file))
    assert [query.text for query in table.queries] == ["a", "b"]
    assert table.pool.names == ("small", "large")
    assert table.complete.tolist() == [True, False]
    file.write_text("query,candidate\n")
    with pytest.raises(DataError, match="no rows"):
        plugins.make("dataset", "csv-table", None).read(str(file))


def test_the_environment_leaves_out_rows_with_unknown_outcomes(plugins):
    subject = Subject("environment", "table", plugins)
    env = subject.make()
    env.prepare({"train": subject.other_training().dataset})  # its table lacks a few cells
    streams = env.vector(8, "train")
    streams.reset()
    rewards = [streams.step(np.full(8, n % 4))[1] for n in range(200)]
    assert not np.isnan(rewards).any()


def test_the_store_is_copied_when_it_is_closed_and_the_command_counts_it(plugins, tmp_path):
    url = f"archived:{tmp_path / 'log.db'}?archive={tmp_path / 'archive'}"
    with MetaController.build(router="cheapest", pool="two-models", store=url, plugins=plugins) as controller:
        controller.route_batch(["a", "b", "c"])
    command = plugins.load("command", "count-decisions")
    done = CliRunner().invoke(command, ["--store", f"sqlite:{tmp_path / 'archive' / 'log.db'}", "--json"], obj=plugins)
    assert json.loads(done.output) == {"schema": 1, "decisions": 3}


def test_the_log_in_one_file_is_there_again_when_it_is_opened(plugins, tmp_path):
    url = f"one-file:{tmp_path / 'log'}"
    with MetaController.build(router="cheapest", pool="two-models", store=url, plugins=plugins) as controller:
        decision = controller.route("a")
        controller.attempt(decision.id, cost_usd=0.5)
        controller.feedback("still to come", quality=1.0)
    with MetaController.build(router="cheapest", pool="two-models", store=url, plugins=plugins) as controller:
        assert controller.store.record(decision.id).decision == decision
        assert [call.cost_usd for call in controller.store.experience().attempts] == [0.5]
        assert [feedback.decision_id for feedback in controller.store.pending()] == ["still to come"]


def test_the_log_in_one_file_is_open_once(plugins, tmp_path):
    url = f"one-file:{tmp_path / 'log'}"
    with closing(open_store(url, plugins)), pytest.raises(StoreError, match="log is open in another process; stop that one first"):
        open_store(url, plugins)
    open_store(url, plugins).close()


def test_the_log_in_one_file_refuses_a_wrong_path(plugins, tmp_path):
    with pytest.raises(StoreError, match=r"there is no store at .*missing"):
        open_store(f"one-file:{tmp_path / 'missing'}", plugins, existing=True)
    for content in (b"", b"notes\n", b"\x92\x01\x02"):
        (tmp_path / "notes").write_bytes(content)
        with pytest.raises(StoreError, match=r"notes is not a decision log, or is damaged .*; choose another path"):
            open_store(f"one-file:{tmp_path / 'notes'}", plugins)
        assert (tmp_path / "notes").read_bytes() == content


@pytest.fixture
def old_gateway(plugins, tmp_path):
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(plugins.load("config_format", "old-gateway").example()))
    return file


def test_a_controller_reads_the_configuration_format(plugins, old_gateway):
    with MetaController.from_file(old_gateway, plugins=plugins) as controller:
        assert controller.route("Hello").candidate == "small"


def test_both_commands_read_the_configuration_format(plugins, old_gateway, tmp_path, monkeypatch):
    for needed in ("aamc_gateway", "aamc_environments"):
        pytest.importorskip(needed)
    information = tmp_path / "my_package-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[aamc]\nmine = my_package.plugin\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    served = CliRunner().invoke(aamc, ["serve", "--config", str(old_gateway), "--check", "--port", "0", "--store", "memory:"])
    assert (served.exit_code, "router cheapest, candidates small, large" in served.output) == (0, True), served.output
    ran = CliRunner().invoke(aamc, ["run", "--config", str(old_gateway), "--routers", "random", "--json"])
    assert ran.exit_code == 0, ran.output
    assert set(json.loads(ran.stdout)["routers"]) == {"cheapest", "random"}
