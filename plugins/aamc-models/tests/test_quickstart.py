"""The README's quickstart calls a model with each kind of server; the ready-made pools are complete and call what they name."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from aamc_models.testing import Script, StubServer

from aamc_sdk import get_plugin_manager
from aamc_sdk.routing import pool_from_dict, pool_to_dict, read_pool
from aamc_sdk.serving import make_services
from aamc_sdk.testing import run_command
from aamc_sdk.types import Endpoint

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
POOLS = sorted((ROOT / "examples" / "pools").glob("*.yaml"))
ENDPOINTS = [ast.literal_eval(found) for found in re.findall(r"^\| .* \| `(\{\"provider\": .*\})` \|$", README, flags=re.MULTILINE)]
(PROGRAM,) = (program for program in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "endpoint=" in program)


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer(default=Script(text="42")) as stub:
        yield stub


def replaced(endpoint: dict[str, object], stub: StubServer) -> dict[str, object]:
    """Return an endpoint at the stub's address instead of its own."""
    return {**endpoint, "base_url": stub.url if endpoint["provider"] == "anthropic" else f"{stub.url}/v1"}


def test_the_readme_has_the_four_kinds_of_servers() -> None:
    assert [endpoint["provider"] for endpoint in ENDPOINTS] == ["openai", "anthropic", "openai", "openai"]
    assert len([line for line in PROGRAM.splitlines() if line]) == 5


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=["openai", "anthropic", "ollama", "compatible"])
def test_the_readmes_program_calls_a_model(endpoint: dict[str, object], stub: StubServer, tmp_path: Path) -> None:
    program = re.sub(r"endpoint=\{.*?\}", lambda found: f"endpoint={replaced(endpoint, stub)!r}", PROGRAM)
    key = str(endpoint.get("api_key_env", {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}[str(endpoint["provider"])]))
    environment = {**os.environ, **({key: "secret-1"} if key else {})}
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "42\n"), ended.stderr
    (request,) = stub.requests
    assert request.body["messages"] == [{"role": "user", "content": "What is 6 x 7?"}]
    sent = {request.headers.get("authorization"), request.headers.get("x-api-key")}
    assert sent & {"Bearer secret-1", "secret-1"} if key else sent == {None}


@pytest.mark.parametrize("path", POOLS, ids=lambda path: path.stem)
def test_a_ready_made_pool_has_prices_with_their_date_and_endpoints_that_its_provider_takes(path: Path) -> None:
    pool = read_pool(path)
    text = path.read_text(encoding="utf-8")
    assert re.search(r"^# .*\b20\d\d-\d\d-\d\d\b", text, flags=re.MULTILINE)
    models = make_services(pool, get_plugin_manager()).models
    for candidate in pool:
        assert candidate.prices is not None
        assert candidate.context_window
        assert candidate.description
        models.provider(candidate)
        endpoint = Endpoint.of(candidate.endpoint).options
        if "api.openai.com" not in endpoint["base_url"]:
            assert endpoint["api_key_env"] != "OPENAI_API_KEY"  # no key goes to another vendor


@pytest.mark.parametrize("path", POOLS, ids=lambda path: path.stem)
def test_the_commands_call_the_models_of_a_ready_made_pool(path: Path, stub: StubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = pool_to_dict(read_pool(path))
    for entry in content["candidates"]:
        entry["endpoint"] = replaced(entry["endpoint"], stub)
        if variable := entry["endpoint"]["api_key_env"]:
            monkeypatch.setenv(variable, "secret-2")
    file = tmp_path / "pool.yaml"
    file.write_text(yaml.safe_dump(content))
    status, out, err = run_command("models", "check", "--pool", str(file))
    assert status == 0, out + err
    status, out, err = run_command("complete", "What is 6 x 7?", "--pool", str(file), "--store", f"sqlite:{tmp_path / 'state.db'}")
    assert (status, out) == (0, "42\n"), err


@pytest.mark.parametrize("page", ["add-models", "call-models"])
def test_the_pools_in_the_docs_can_be_called(page: str) -> None:
    found = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found
    for text in found:
        pool = pool_from_dict(yaml.safe_load(text), page)
        models = make_services(pool, get_plugin_manager()).models
        assert [models.provider(candidate) for candidate in pool]


def test_the_nine_providers_have_a_pool() -> None:
    assert [path.stem for path in POOLS] == ["anthropic", "gemini", "groq", "mistral", "ollama", "openai", "openrouter", "together", "vllm"]
