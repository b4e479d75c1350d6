"""The page ``docs/how-to/gateway.md`` does what it says: its programs and commands run against a gateway with its pool."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aamc_gateway.testing import GatewayProcess

pytestmark = pytest.mark.one_python

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "gateway.md"
TEXT = PAGE.read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", TEXT, flags=re.DOTALL)


def file_of_page(name: str) -> str:
    (content,) = re.findall(rf"```yaml\n# {re.escape(name)}\n(.*?)```", TEXT, flags=re.DOTALL)
    return str(content)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "pool.yaml").write_text(file_of_page("pool.yaml"), encoding="utf-8")
    with GatewayProcess(folder, router="thompson", store="sqlite:gateway.db", options=["--pool", "pool.yaml"]) as started:
        yield started


@pytest.mark.parametrize(("program", "shown"), PROGRAMS)
def test_a_program_of_the_page_prints_what_it_shows(gateway: GatewayProcess, program: str, shown: str) -> None:
    ended = subprocess.run([sys.executable, "-c", program.replace("http://127.0.0.1:8000", gateway.url)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, shown), ended.stderr


def commands(*beginnings: str) -> list[str]:
    blocks = "".join(re.findall(r"```console\n(.*?)```", TEXT, flags=re.DOTALL)).replace("\\\n", " ")
    found = [line for line in blocks.splitlines() if line.startswith(beginnings)]
    assert found
    return found


@pytest.mark.parametrize("command", commands("curl", "aamc keys"))
def test_a_command_of_the_page_succeeds(gateway: GatewayProcess, tmp_path: Path, command: str) -> None:
    folder = gateway.folder if command.startswith("curl") else tmp_path
    environment = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    line = command.replace("http://127.0.0.1:8000", gateway.url)
    ended = subprocess.run(line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert not command.startswith("curl") or "from the" in ended.stdout


@pytest.mark.parametrize("command", commands("aamc serve"))
def test_a_server_of_the_page_could_start(tmp_path: Path, command: str) -> None:
    for name in ("pool.yaml", "serve.yaml"):
        (tmp_path / name).write_text(file_of_page(name), encoding="utf-8")
    environment = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    ended = subprocess.run(f"{command} --check --port 0", shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
