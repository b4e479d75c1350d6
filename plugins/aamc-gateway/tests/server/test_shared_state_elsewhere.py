"""Keys, budgets and workers with a plugin's log: ``gateway.shared_state`` names where they are kept."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aamc_gateway.server.processes.launch import Launch
from aamc_gateway.testing import GatewayProcess, stub_candidate
from aamc_models.testing import Script, StubServer
from click.testing import CliRunner
from forked_gateway import ForkedGateway

from aamc_sdk.cli.main import aamc

from .conftest import key, running

PLUGIN = """
from aamc_sdk import Component, hookimpl
from aamc_sdk.log import SqliteStore


class OwnStore(SqliteStore):
    \"\"\"A log that several processes can open, of which the gateway knows nothing.\"\"\"


@hookimpl
def aamc_stores():
    return [Component("own", "own_log:OwnStore", "Its own log.")]
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with an installed plugin."""
    information = tmp_path / "own_log-1.0.dist-info"
    information.mkdir()
    (tmp_path / "own_log.py").write_text(PLUGIN, encoding="utf-8")
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: own-log\nVersion: 1.0\n", encoding="utf-8")
    (information / "entry_points.txt").write_text("[aamc]\nown = own_log\n", encoding="utf-8")
    return tmp_path


def invoke(*command: str) -> Any:
    result = CliRunner().invoke(aamc, [*command, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def status(gateway: GatewayProcess, secret: str) -> int:
    body = json.dumps({"model": "good", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {secret}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{gateway.url}/v1/chat/completions", body, headers), timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_workers_with_a_plugins_log_share_keys_and_budgets_kept_elsewhere(plugin: Path, stub: StubServer, tmp_path: Path) -> None:
    stub.scripts["good"] = Script()
    state = f"sqlite:{tmp_path / 'keys.db'}"
    secret = invoke("keys", "add", "anna", "--usd-total", "0.05", "--store", state)["key"]
    candidate = stub_candidate("good", f"{stub.url}/v1", input_price=0.0, output_price=0.0, request_price=0.01)
    settings, environment = {"workers": 2, "shared_state": state}, {"PYTHONPATH": str(plugin)}
    gateway = ForkedGateway(tmp_path, [candidate], store="own:log.db", settings=settings, environment=environment)
    with gateway, ThreadPoolExecutor(8) as clients:
        assert status(gateway, "none") == 401
        assert Counter(clients.map(lambda _: status(gateway, secret), range(20))) == {200: 5, 402: 15}
    with gateway:
        assert status(gateway, secret) == 402, "a restart resets no budget"
    assert invoke("keys", "list", "--store", state)["keys"][0]["spent_usd"]["total"] == pytest.approx(0.05)


def test_keys_outlive_a_log_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(f"gateway: {{shared_state: 'sqlite:{tmp_path / 'keys.db'}'}}", encoding="utf-8")
    with running(Launch(config=str(file))) as first:
        header = key(first, "anna")
    with running(Launch(config=str(file))) as second:
        assert [second.chat(headers=header).status, second.chat().status] == [200, 401]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory:", "gateway.shared_state must be '', sqlite:PATH, redis://... or postgres://..., not 'memory:'"),
        ("keys.db", "gateway.shared_state must be '', sqlite:PATH, redis://... or postgres://..., not 'keys.db'"),
        ("sqlite:none/keys.db", "none/keys.db"),
    ],
)
def test_a_place_that_cannot_keep_state_is_refused(url: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(f"gateway: {{shared_state: '{url}'}}", encoding="utf-8")
    error = CliRunner().invoke(aamc, ["serve", "--check", "--port", "0", "--config", str(file)]).exception
    assert message in str(error)


def test_several_workers_cannot_share_a_log_that_ends_with_its_process(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = (plugin / "own_log.py").read_text(encoding="utf-8")
    (plugin / "own_log.py").write_text(own.replace("SqliteStore", "MemoryStore"), encoding="utf-8")
    monkeypatch.syspath_prepend(str(plugin))
    file = plugin / "serve.yaml"
    file.write_text(f"gateway: {{workers: 2, shared_state: 'sqlite:{plugin / 'keys.db'}'}}", encoding="utf-8")
    error = CliRunner().invoke(aamc, ["serve", "--check", "--port", "0", "--config", str(file), "--store", "own:"]).exception
    assert str(error).endswith(
        "several workers cannot share own:, which ends with its process; give --store sqlite:PATH, redis://... or postgres://..."
    )
