"""``aamc serve``: what it serves, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aamc_gateway.server.gateway import Gateway
from aamc_gateway.server.http.app import GatewayApp
from aamc_gateway.server.processes.launch import Launch
from aamc_gateway.server.processes.supervisor import _work
from aamc_gateway.testing import GatewayProcess
from aamc_models.testing import Script
from click.testing import CliRunner
from forked_gateway import ForkedGateway

from aamc_sdk import Component, hookimpl
from aamc_sdk.cli.main import aamc
from aamc_sdk.config import load_yaml
from aamc_sdk.errors import AamcError, ConfigError, PluginError, PoolError, StoreError
from aamc_sdk.log import MemoryStore, open_store
from aamc_sdk.plugins import Plugins, get_plugin_manager
from aamc_sdk.routing import find_pool, pool_to_dict

from .conftest import running


@pytest.mark.parametrize("router", [None, "epsilon-greedy"])
@pytest.mark.parametrize("stream", [False, True])
def test_without_a_pool_it_answers_with_echo(router: str | None, stream: bool) -> None:
    with running(Launch(router=router)) as served:
        answer = served.chat("Hello there", stream=stream)
        assert answer.status == 200
        text = (
            "".join(event["choices"][0]["delta"].get("content", "") for event in answer.events)
            if stream
            else answer.json["choices"][0]["message"]["content"]
        )
        assert text == "Hello there"


def test_check_says_what_would_be_served() -> None:
    result = CliRunner().invoke(aamc, ["serve", "--check", "--port", "0"])
    assert result.exit_code == 0
    served = "a free port of 127.0.0.1, router thompson, candidates echo-small, echo-large"
    assert result.output == f"OK: {served}; the log is in memory and ends with the process\n"


def test_check_leaves_the_history_of_prices_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text("candidates: [{name: a, prices: {input: 1, output: 2}, endpoint: {provider: echo}}]")
    command = ["serve", "--check", "--port", "0", "--pool", str(tmp_path / "pool.yaml"), "--store", f"sqlite:{tmp_path / 'state.db'}"]
    assert CliRunner().invoke(aamc, command).exit_code == 0
    with closing(sqlite3.connect(tmp_path / "state.db.gateway")) as kept:
        assert kept.execute("SELECT count(*) FROM shared_values").fetchone() == (0,)


@pytest.mark.parametrize(
    ("endpoint", "unset"),
    [
        ("provider: openai, base_url: 'http://127.0.0.1:9/v1', api_key_env: AAMC_TEST_KEY", "AAMC_TEST_KEY"),
        ("provider: anthropic", "ANTHROPIC_API_KEY"),
        ("provider: openai, base_url: 'http://127.0.0.1:9/v1', deployments: [{}, {api_key_env: AAMC_TEST_KEY}]", "AAMC_TEST_KEY"),
        ("provider: openai, base_url: 'http://127.0.0.1:9/v1'", None),
        ("provider: openai, headers: {Authorization: Bearer x}", None),
    ],
)
def test_check_warns_of_an_api_key_that_is_not_set(endpoint: str, unset: str | None, tmp_path: Path, monkeypatch, caplog) -> None:
    for name in ("AAMC_TEST_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "pool.yaml").write_text(f"candidates: [{{name: a, prices: {{input: 1, output: 2}}, endpoint: {{{endpoint}}}}}]")
    command = ["serve", "--check", "--port", "0", "--pool", str(tmp_path / "pool.yaml"), "--store", "memory:"]
    assert CliRunner().invoke(aamc, command).exit_code == 0
    warned = [record.getMessage() for record in caplog.records if "API key" in record.getMessage()]
    assert warned == (
        []
        if unset is None
        else [f"calls of candidate 'a' carry no API key: ${unset} is not set; set it, or write api_key_env: \"\" if the server needs none"]
    )
    if unset is not None:
        caplog.clear()
        monkeypatch.setenv(unset, "key")
        CliRunner().invoke(aamc, command)
        assert "API key" not in caplog.text


@pytest.mark.parametrize(
    ("endpoint", "options", "address"),
    [
        ("'http://127.0.0.1:8123/v1'", {}, "127.0.0.1:8123"),
        ("'http://[::1]:8123/v1'", {}, "::1:8123"),
        ("{provider: openai, base_url: 'http://127.0.0.1:9/v1', deployments: [{}, {base_url: 'http://localhost:8123/v1'}]}", {}, "localhost:8123"),
        ("'http://LocalHost:8123/v1'", {"host": "0.0.0.0"}, "localhost:8123"),
        ("'http://192.0.2.1:8123/v1'", {"host": "192.0.2.1"}, "192.0.2.1:8123"),
        ("'http://localhost/v1'", {"port": 80}, "localhost:80"),
    ],
)
def test_a_candidate_that_is_the_gateway_itself_is_refused(endpoint: str, options: dict[str, Any], address: str, tmp_path: Path) -> None:
    prices = "prices: {input: 1, output: 2}"
    (tmp_path / "pool.yaml").write_text(f"candidates: [{{name: other, {prices}, endpoint: {{provider: echo}}}}, {{name: a, endpoint: {endpoint}}}]")
    launch = Launch(**{"port": 8123, "pool": str(tmp_path / "pool.yaml"), "store": "memory:", **options})
    with pytest.raises(PoolError, match=f"candidate 'a' has the address of this gateway, {address}, .*another --port"):
        launch.gateway()


@pytest.mark.parametrize(
    ("endpoint", "options"),
    [("http://127.0.0.1:8124/v1", {}), ("http://192.0.2.1:8123/v1", {"host": "0.0.0.0"}), ("http://127.0.0.1:8123/v1", {"host": "192.0.2.1"})],
)
def test_a_candidate_at_another_address_is_served(endpoint: str, options: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text(f"candidates: [{{name: a, prices: {{input: 1, output: 2}}, endpoint: '{endpoint}'}}]")
    gateway = Launch(port=8123, pool=str(tmp_path / "pool.yaml"), store="memory:", **options).gateway()
    asyncio.run(gateway.close())


def test_check_finds_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = CliRunner().invoke(aamc, ["serve", "--check", "--port", str(port)])
    assert isinstance(result.exception, AamcError)
    assert str(result.exception).startswith(f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another --port")


BLOCKED = """
import pathlib, sys, time
if "--multiprocessing-fork" in sys.orig_argv:
    pathlib.Path("spawned").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
"""


def test_serving_is_said_once_the_workers_serve(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKED, encoding="utf-8")
    echo = {"name": "echo", "prices": {"input": 1.0, "output": 2.0}, "endpoint": {"provider": "echo"}}
    gateway = GatewayProcess(tmp_path, [echo], options=["--workers", "2"], environment={"PYTHONPATH": str(tmp_path)})
    with ThreadPoolExecutor(1) as thread:
        started = thread.submit(gateway.start)
        wait_for(lambda: (tmp_path / "spawned").exists() or started.done())
        assert "Serving" not in gateway.output
        (tmp_path / "go").touch()
        started.result()
        wait_for(lambda: "Serving" in gateway.output)
        assert gateway.output.count("Serving") == 1
        assert gateway.stop() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_workers_end_when_the_process_that_watches_them_is_killed(tmp_path: Path) -> None:
    """Workers that stay would keep the port, and the gateway could not be started again."""
    echo = {"name": "echo", "prices": {"input": 1.0, "output": 2.0}, "endpoint": {"provider": "echo"}}
    gateway = GatewayProcess(tmp_path, [echo], options=["--workers", "2"])
    with gateway:
        gateway.kill()
        wait_for(lambda: is_free(gateway.port))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_the_end_does_not_wait_for_a_reload(tmp_path: Path) -> None:
    """The reload waits for its configuration, a pipe, as it may wait minutes for a router that learns a large log."""
    echo = {"name": "echo", "prices": {"input": 1.0, "output": 2.0}, "endpoint": {"provider": "echo"}}
    with ForkedGateway(tmp_path, [echo], settings={}) as gateway:
        (tmp_path / "gateway.yaml").unlink()
        os.mkfifo(tmp_path / "gateway.yaml")
        gateway.process.send_signal(signal.SIGHUP)
        with (tmp_path / "gateway.yaml").open("w"):  # returns when the reload reads
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(60) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
@pytest.mark.one_python
def test_a_reload_during_the_start_follows_it(tmp_path: Path) -> None:
    """The start waits for its pool, a pipe, as it may wait minutes for a router that learns a large log."""
    echo = {"name": "echo", "prices": {"input": 1.0, "output": 2.0}, "endpoint": {"provider": "echo"}}
    gateway, pool = GatewayProcess(tmp_path, [echo], settings={}), tmp_path / "pool.yaml"
    content = pool.read_text()
    pool.unlink()
    os.mkfifo(pool)
    gateway.process = gateway._launched()
    try:
        with pool.open("w") as pipe:  # returns when the start reads
            pool.unlink()
            pool.write_text(content)
            gateway.process.send_signal(signal.SIGHUP)
            pipe.write(content)
        wait_for(lambda: gateway.process.poll() is not None or "the configuration was reloaded" in gateway.output)
        assert gateway.ready()
    finally:
        gateway.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the processes of a process are listed by Linux")
@pytest.mark.one_python
def test_a_reload_ends_no_worker_that_starts(tmp_path: Path) -> None:
    echo = {"name": "echo", "prices": {"input": 1.0, "output": 2.0}, "endpoint": {"provider": "echo"}}
    gateway = GatewayProcess(tmp_path, [echo], settings={"workers": 2})
    gateway.process = gateway._launched()
    children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children")
    try:
        wait_for(lambda: len(children.read_text().split()) == 3)  # two workers and multiprocessing's tracker of resources
        gateway.process.send_signal(signal.SIGHUP)
        wait_for(gateway.ready)
        assert "ended with status" not in gateway.output
        assert gateway.stop() == 0
    finally:
        gateway.kill()


def is_free(port: int) -> bool:
    with socket.socket() as other:
        return other.connect_ex(("127.0.0.1", port)) != 0


def wait_for(true: Any) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("importable", [True, False])
def test_check_warns_once_of_a_candidate_whose_provider_cannot_be_made(tmp_path: Path, monkeypatch, caplog, importable: bool) -> None:
    def fail(*_: Any) -> None:
        raise TypeError("an address is missing")

    if importable:
        monkeypatch.setattr("aamc_models.providers.openai.OpenAI.__init__", fail)
    else:
        monkeypatch.setitem(sys.modules, "aamc_models.providers.openai", None)
    candidates = [{"name": name, "endpoint": {"provider": provider}} for name, provider in (("a", "openai"), ("b", "echo"))]
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump({"candidates": candidates}))
    command = ["serve", "--check", "--port", "0", "--pool", str(tmp_path / "pool.yaml"), "--store", "memory:"]
    result = CliRunner().invoke(aamc, command)
    assert result.exit_code == 0, result.output
    (warned,) = [record.getMessage() for record in caplog.records if "cannot be called" in record.getMessage()]
    assert warned.startswith("candidate 'a' of the pool cannot be called: provider 'openai'")
    assert ("TypeError: an address is missing" if importable else "cannot be loaded: ModuleNotFoundError") in warned


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"router": "oracle"}, "evaluation only"),
        ({"router": "knn"}, "router 'knn' must be trained first; train it with: "),
        ({"router": "greedy"}, "router 'greedy' needs an estimator, and none is named"),
        ({"router": "greedy", "estimator": "lexical"}, "router 'greedy' can score no request: greedy needs each candidate's expected quality"),
        ({"config": "paced.yaml"}, "router 'paced' can score no request: greedy needs each candidate's expected quality"),
        ({"config": "latency.yaml"}, "router 'thompson' can score no request: the preference weighs only latency"),
        ({"pool": "default"}, "no candidate of the pool has an endpoint"),
        ({"pool": "misspelt.yaml"}, "no candidate of the pool can be called: a: no provider is named 'opneai'; did you mean 'openai'?"),
        ({"store": "sqlite:log.db?read_only=true"}, "the gateway logs each decision, and sqlite:log.db would only be read; leave out read_only"),
        ({"config": "misspelt.yaml"}, "misspelt.yaml is a pool; pass it with --pool"),
        ({"config": "checkpoint.yaml"}, "the router must be a name such as thompson, not the folder './trained'; serve"),
        ({"config": "orchestrated.yaml"}, "orchestrated.yaml names the orchestrator 'puppeteer', and requests are decided by a router"),
        ({"workers": 2}, "several workers cannot share a log in memory"),
        ({"host": "0.0.0.0"}, "without keys"),
        ({"run": "runs/none"}, "there is no run"),
        ({"config": "none.yaml"}, "cannot read none.yaml: there is no such file; check the path"),
    ],
)
def test_what_cannot_be_served_is_refused(options: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("misspelt.yaml").write_text("candidates: [{name: a, endpoint: {provider: opneai}}]")
    open_store("sqlite:log.db", get_plugin_manager()).close()
    Path("orchestrated.yaml").write_text("orchestrator: puppeteer")
    Path("checkpoint.yaml").write_text("router: ./trained")
    Path("latency.yaml").write_text("preference: [0, 0, 1]")
    Path("paced.yaml").write_text("{router: {name: paced, router: greedy}, estimator: lexical}")
    result = CliRunner().invoke(aamc, ["serve", "--check", *(part for name, value in options.items() for part in (f"--{name}", str(value)))])
    assert isinstance(result.exception, AamcError)
    assert message in str(result.exception)


@pytest.mark.parametrize(("unset", "cause"), [(lambda _: {}["key"], "KeyError: 'key'"), (lambda _: None, "TypeError: ")])
def test_a_provider_that_fails_to_name_its_unset_keys_is_named(unset: Any, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aamc_sdk.serving.models.echo.Echo.unset_keys", unset)
    result = CliRunner().invoke(aamc, ["serve", "--check", "--port", "0"])
    assert isinstance(result.exception, PluginError)
    assert f"the provider of 'echo-small' failed to return its unset keys: {cause}" in str(result.exception)


ECHO = "{provider: echo}"
KEY = "sk-proj-abcdefgh1234567890"


@pytest.mark.parametrize(
    ("gateway", "second", "message"),
    [
        ("access: {models: {smal: {requests_per_minute: 5}}}", ECHO, "gateway.access.models must name candidates, not 'smal'; did you mean 'small'?"),
        ("access: {models: {small: {usd_per_day: 5}}}", ECHO, "gateway.access.models gives 'small' a budget, and it has no prices"),
        ("access: {users: {'*': {usd_total: 5}}}", ECHO, "gateway.access has a budget in USD, and no candidate has prices"),
        (f"access: {{admin_key_env: {KEY}}}", ECHO, "admin_key_env must be the name of an environment variable"),
        ("access: {limits: {usd_per_hour: 5}}", ECHO, "gateway: access: limits has no option 'usd_per_hour'"),
        ("observe: {logs: json}", ECHO, "gateway: observe: logs must be keys and values such as {format: text}, not 'json'"),
        ("access: {tenants: anna}", ECHO, "gateway: access: tenants must be keys and values such as {a: 1}, not 'anna'"),
        ("sessions: {header: 'x y'}", ECHO, "header must be the name of a header, of letters, digits, - and _, not 'x y'"),
        ("sessions: {ties: [thinkin]}", ECHO, "ties must name state of a request, not 'thinkin'; did you mean 'thinking'?"),
        ("observe: {tracing: {endpoint: foo}}", ECHO, "endpoint must be a URL such as http://127.0.0.1:4318/v1/traces, not 'foo'"),
        ("{}", '{provider: openai, headers: {a: "x\\ny"}}', "the endpoint of candidate 'second' (openai): headers: 'a' must be the name of a header"),
        (
            "{}",
            f"{ECHO}, parameters: {{max_tokens: lots}}",
            "candidate 'second': the parameter max_tokens must be a number of tokens, such as 1000, not 'lots'",
        ),
        ("{}", "{provider: openai, retries: -1}", "the endpoint of candidate 'second' (openai): retries must be at least 0"),
        ("{}", f"{{provider: openai, api_key_env: {KEY}}}", "api_key_env must be the name of an environment variable, such as OPENAI_API_KEY"),
        ("{}", '{provider: echo}}, {name: "a\\nb", endpoint: {provider: echo}', "has a character that no header can carry"),
    ],
)
def test_a_configuration_that_would_fail_later_is_refused(gateway: str, second: str, message: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    file = f"pool: {{candidates: [{{name: small, endpoint: {ECHO}}}, {{name: second, endpoint: {second}}}]}}\ngateway:\n  {gateway}\n"
    Path("serve.yaml").write_text(file.replace("gateway:\n  {}", "gateway: {}"), encoding="utf-8")
    result = CliRunner().invoke(aamc, ["serve", "--check", "--port", "0", "--store", "memory:", "--config", "serve.yaml"])
    assert isinstance(result.exception, AamcError), result.output
    assert message in str(result.exception)
    assert str(result.exception).startswith("serve.yaml")
    assert KEY not in f"{result.exception}{result.output}"


SMALL = "{name: small, prices: {input: 1, output: 1}, endpoint: {provider: echo}}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("gateway: {arena: {judge: nobody}}", "gateway.arena.judge must be a candidate with an endpoint, not 'nobody'"),
        ("gateway: {orchestrators: {none-such: {}}}", "no orchestrator is named 'none-such'"),
        ("gateway: {orchestrators: {puppeteer: {stepz: 1}}}", "gateway: orchestrators.puppeteer has no option 'stepz'; did you mean 'steps'?"),
        ("gateway: {orchestrators: {puppeteer: 3}}", "gateway: orchestrators.puppeteer must be keys and values such as {run: 1}, not 3"),
        ("router: none-such", "no router is named 'none-such'"),
        ("{router: thompson, estimator: none-such}", "no estimator is named 'none-such'"),
        ("{router: thompson, preference: 'a,b'}", "a preference must be three numbers such as"),
        ("pool: none-such", "no model pool is named 'none-such'"),
        ("pool: {candidates: [{name: small, endpoint: {provider: none-such}}]}", "no candidate of the pool can be called: small: no provider"),
        ("pool: {candidates: [{name: small, prices: {input: -1, output: 1}}]}", "pool, candidate 1 (small): prices: price input must be USD"),
        (f"pool: {{candidates: [{SMALL}, {SMALL}]}}", "pool: names of candidates must be unique; used twice in the pool: small"),
    ],
)
def test_an_error_in_a_configuration_file_names_the_file_and_the_key(content: str, message: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("serve.yaml").write_text(content, encoding="utf-8")
    result = CliRunner().invoke(aamc, ["serve", "--check", "--port", "0", "--store", "memory:", "--config", "serve.yaml"])
    assert isinstance(result.exception, AamcError), result.output
    assert str(result.exception).startswith(f"serve.yaml: {message}")


def test_an_error_in_another_pool_file_names_that_file_alone(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("serve.yaml").write_text("gateway: {limits: {body_mb: 8}}", encoding="utf-8")
    Path("pool.yaml").write_text(f"candidates: [{SMALL}, {SMALL}]", encoding="utf-8")
    result = CliRunner().invoke(aamc, ["serve", "--check", "--port", "0", "--config", "serve.yaml", "--pool", "pool.yaml"])
    assert str(result.exception).startswith("pool.yaml: names of candidates must be unique")


def test_a_wrong_store_of_the_command_line_is_not_an_error_in_the_configuration_file(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("serve.yaml").write_text("router: thompson", encoding="utf-8")
    result = CliRunner().invoke(aamc, ["serve", "--check", "--port", "0", "--config", "serve.yaml", "--store", "none-such:"])
    assert str(result.exception).startswith("no store is named 'none-such'")


class LastingStore(MemoryStore):
    """A plugin's log that outlives its process; the gateway does not know where to keep shared state with it."""

    persistent = True


class Lasting:
    """Offers it."""

    @hookimpl
    def aamc_stores(self) -> list[Component]:
        return [Component("lasting", "lasting_store:LastingStore", "")]


@pytest.mark.parametrize(
    ("access", "workers", "message"),
    [
        ("{models: {small: {usd_per_day: 5}}}", 1, "gateway.access has a budget, and lasting: keeps none over a restart; give --store sqlite:PATH"),
        ("{}", 2, "several workers cannot share lasting: and its keys, budgets and sessions; give --store sqlite:PATH"),
        ("{models: {small: {requests_per_minute: 5}}}", 1, None),
    ],
)
def test_what_a_store_without_shared_state_cannot_hold_is_refused(
    access: str, workers: int, message: str | None, tmp_path: Path, monkeypatch
) -> None:
    plugins = Plugins({"lasting": Lasting()})
    monkeypatch.setitem(sys.modules, "lasting_store", sys.modules[__name__])
    monkeypatch.setattr("aamc_gateway.server.processes.launch.get_plugin_manager", lambda: plugins)
    file = tmp_path / "serve.yaml"
    file.write_text(f"pool: {{candidates: [{SMALL}]}}\ngateway: {{access: {access}}}", encoding="utf-8")
    command = ["serve", "--check", "--port", "0", "--store", "lasting:", "--config", str(file), "--workers", str(workers)]
    error = CliRunner().invoke(aamc, command).exception
    assert (message or "None") in str(error)


@pytest.mark.parametrize("pool", ["pool: pool.yaml, ", ""])
def test_an_orchestrator_that_could_answer_no_request_is_refused(pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    echo = "{name: a, prices: {input: 1, output: 1}, endpoint: {provider: echo}}"
    Path("serve.yaml").write_text(f"gateway: {{orchestrators: {{router-r1: {{{pool}options: {{policy: absent}}}}}}}}")
    Path("pool.yaml").write_text(f"candidates: [{echo}, {echo.replace('a,', 'b,', 1)}]")
    result = CliRunner().invoke(aamc, ["serve", "--check", "--port", "0", "--config", "serve.yaml", "--pool", "pool.yaml"])
    assert isinstance(result.exception, AamcError)
    assert "policy must be a candidate of the pool (a, b), not 'absent'" in str(result.exception)


@pytest.mark.parametrize("option", ["router", "run"])
def test_a_file_that_names_components_goes_with_no_run_and_no_other_router(option: str, tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("{pool: pool.yaml, gateway: {limits: {body_mb: 8}}}")
    result = CliRunner().invoke(aamc, ["serve", "--check", "--config", str(file), f"--{option}", "thompson"])
    assert isinstance(result.exception, SystemExit)
    assert f"--{option} and --config go together only where the file has no section other than gateway" in result.output


def test_a_file_of_settings_alone_goes_with_a_router(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("gateway: {limits: {body_mb: 8}}")
    result = CliRunner().invoke(aamc, ["serve", "--check", "--port", "0", "--config", str(file), "--router", "epsilon-greedy"])
    assert result.exit_code == 0
    assert "router epsilon-greedy, candidates echo-small, echo-large" in result.output
    assert Launch(config=file, router="epsilon-greedy").settings().limits.body_mb == 8


def test_a_file_without_a_pool_serves_the_provider_echo(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("{router: epsilon-greedy, preference: [1, 0, 0]}")
    result = CliRunner().invoke(aamc, ["serve", "--check", "--port", "0", "--config", str(file)])
    assert result.exit_code == 0, result.exception
    assert "router epsilon-greedy, candidates echo-small, echo-large; the log is in memory" in result.output


def test_the_configuration_is_read_once_and_again_at_a_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("{router: epsilon-greedy, gateway: {limits: {body_mb: 8}}}")
    read: list[Path] = []
    monkeypatch.setattr("aamc_gateway.server.processes.launch.load_yaml", lambda path: read.append(path) or load_yaml(path))
    launch = Launch(config=file)
    assert launch.is_trial
    assert launch.settings().limits.body_mb == 8
    assert len(read) == 1
    file.write_text("{router: epsilon-greedy, gateway: {limits: {body_mb: 9}}}")
    assert launch.again().settings().limits.body_mb == 9


@pytest.fixture(scope="module")
def knn_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("knn") / "run"
    dataset = ["--set", "dataset.n_train=80", "--set", "dataset.n_validation=20", "--set", "dataset.n_test=40"]
    trained = CliRunner().invoke(aamc, ["train", "--router", "knn", "--estimator", "lexical", *dataset, "--out", str(folder)])
    assert trained.exit_code == 0, trained.output
    return folder


def echo_candidates() -> list[dict[str, Any]]:
    """Return the candidates of the default pool, which are those of its runs, with endpoints."""
    candidates = pool_to_dict(find_pool("default", get_plugin_manager()))["candidates"]
    return [{**candidate, "endpoint": {"provider": "echo"}} for candidate in candidates]


def test_a_file_of_settings_alone_goes_with_a_run(knn_run: Path, tmp_path: Path) -> None:
    file, pool = tmp_path / "serve.yaml", tmp_path / "pool.yaml"
    pool.write_text(yaml.safe_dump({"candidates": echo_candidates()}))
    file.write_text("gateway: {access: {limits: {requests_per_minute: 1}}}")
    with running(Launch(run=str(knn_run), config=file, pool=str(pool), store="memory:")) as served:
        assert [served.chat().status for _ in range(2)] == [200, 429]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
@pytest.mark.parametrize("option", ["--run", "--router"])
def test_a_reload_that_finds_another_run_keeps_the_log_and_its_keys(option: str, knn_run: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        shutil.copytree(knn_run, tmp_path / name)
    latest = tmp_path / "latest"
    latest.symlink_to("first")
    log = f"sqlite:{tmp_path / 'first' / 'log.db'}"
    assert CliRunner().invoke(aamc, ["keys", "add", "me", "--admin", "--store", log]).exit_code == 0
    gateway = GatewayProcess(tmp_path, echo_candidates())
    gateway.arguments = ["--port", str(gateway.port), "--pool", "pool.yaml", option, "./latest"]
    with gateway:
        assert httpx.get(f"{gateway.url}/v1/models").status_code == 401
        latest.unlink()
        latest.symlink_to("second")
        gateway.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "the configuration was reloaded" in gateway.output)
        assert httpx.get(f"{gateway.url}/v1/models").status_code == 401
    assert not (tmp_path / "second" / "log.db").exists()


@pytest.mark.one_python  # the puppeteer is installed there alone
def test_an_untrained_orchestrator_is_refused_with_the_settings_to_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("serve.yaml").write_text("gateway: {orchestrators: {puppeteer: {}}}")
    result = CliRunner().invoke(aamc, ["serve", "--check", "--port", "0", "--config", "serve.yaml"])
    assert isinstance(result.exception, AamcError)
    assert "(for a gateway: run and agents in its file)" in str(result.exception)


def test_an_address_that_needs_keys_is_refused_in_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from aamc_sdk.cli import main; main()", "serve", "--host", "0.0.0.0", "--port", "0"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2
    assert found.stderr.startswith("aamc: without keys the gateway listens on 127.0.0.1 only")
    assert found.stderr.count("\n") == 1


def test_a_reload_serves_the_new_pool_and_drops_no_request(serve: Any, stub: Any) -> None:
    served = serve(good=Script(pace_ms=50, chunks=20))
    answers: list[Any] = []
    client = threading.Thread(target=lambda: answers.append(served.chat(stream=True)))
    client.start()
    assert stub.wait(lambda now: now.active == 1)
    old = served.gateway
    asyncio.run_coroutine_threadsafe(served.app.reload(), served.loop).result(30)
    assert served.gateway is not old
    assert served.chat(model="good").status == 200
    client.join(30)
    assert answers[0].events[-1]["aamc"]["model"] == "good"


def test_a_reload_warns_of_changed_settings_that_hold_from_the_start_on(serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    served = serve({"limits": {"header_kb": 32}}, good=Script())
    file = tmp_path / "serve.yaml"
    first = file.read_text()
    for text in (first.replace("header_kb: 32", "header_kb: 16\n    body_mb: 1"), first.replace("header_kb: 32", "header_kb: 16"), first):
        file.write_text(text, encoding="utf-8")
        asyncio.run_coroutine_threadsafe(served.app.reload(), served.loop).result(30)
    warned = [line for line in caplog.messages if line.startswith("the reload leaves")]
    assert warned == ["the reload leaves limits.header_kb as at the start: restart to change it"] * 2


def test_of_two_reloads_the_last_one_counts(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve(good=Script())
    make, made = served.app._make, list[Gateway]()

    async def make_the_first_slowly() -> Gateway:
        gateway = await make()
        made.append(gateway)
        if len(made) == 1:
            await asyncio.sleep(0.5)
        return gateway

    async def reload_twice() -> None:
        await asyncio.gather(served.app.reload(), served.app.reload())

    monkeypatch.setattr(served.app, "_make", make_the_first_slowly)
    asyncio.run_coroutine_threadsafe(reload_twice(), served.loop).result(30)
    assert served.gateway is made[1]


def test_a_reload_while_the_gateway_starts_waits_and_leaves_no_other_open(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Launch().gateway(), Launch().gateway()
    start = first.start

    async def start_slowly() -> None:
        await asyncio.sleep(0.2)
        await start()

    async def make() -> Gateway:
        return second

    async def main() -> None:
        app = GatewayApp(first, make)
        await asyncio.gather(app.start(), app.reload())
        await asyncio.gather(*app._closing)
        assert app.gateway is second
        with pytest.raises(StoreError, match="closed"):
            first.controller.route("Hello")
        await app.close()

    monkeypatch.setattr(first, "start", start_slowly)
    asyncio.run(main())


def test_a_reload_that_comes_too_late_closes_its_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Gateway] = []
    close = Gateway.close

    async def noted(self: Gateway) -> None:
        closed.append(self)
        await close(self)

    monkeypatch.setattr(Gateway, "close", noted)

    async def reload_and_close() -> None:
        async def make() -> Gateway:
            await proceed.wait()
            return second

        proceed, first, second = asyncio.Event(), Launch(store="memory:").gateway(), Launch(store="memory:").gateway()
        app = GatewayApp(first, make)
        await app.start()
        reload = asyncio.create_task(app.reload())
        await asyncio.sleep(0)
        await app.close()
        proceed.set()
        await reload
        assert closed == [first, second]

    asyncio.run(reload_and_close())


def test_a_reload_that_fails_leaves_no_gateway_open(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[Gateway] = []

    async def fail(gateway: Gateway) -> None:
        failed.append(gateway)
        raise ConfigError("the new configuration is wrong")

    served = serve(good=Script())
    monkeypatch.setattr(Gateway, "start", fail)
    asyncio.run_coroutine_threadsafe(served.app.reload(), served.loop).result(30)
    with pytest.raises(StoreError, match="closed"):
        failed[0].controller.route("Hello")
    assert served.chat().status == 200


@pytest.mark.parametrize("options", [["--router", "oracle"], ["--router", "knn"]])
def test_a_router_that_cannot_be_served_leaves_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(aamc, ["serve", "--port", "0", "--store", "sqlite:new.db", *options])
    assert isinstance(result.exception, ConfigError), result.output
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_cannot_start_again_says_so_in_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aamc_gateway.server.processes.supervisor._end_with_supervisor", lambda: None)
    file = tmp_path / "serve.yaml"
    file.write_text("gateway: {limitz: 3}", encoding="utf-8")
    with socket.socket() as listener, pytest.raises(SystemExit) as ended:
        _work(Launch(config=str(file)), listener, multiprocessing.Semaphore(0))
    assert ended.value.code == 1
    assert f"a worker cannot start: {file}: gateway has no option 'limitz'" in caplog.text
    assert "Traceback" not in caplog.text
