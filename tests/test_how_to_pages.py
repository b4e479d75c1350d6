"""The how-to pages do what they say: each program runs in a folder of its own and prints the output that the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

HOW_TO = Path(__file__).parents[1] / "docs" / "how-to"
PAGES = ("add-models", "call-models", "collect-outcomes", "deploy", "learn-from-feedback", "router-r1", "train-on-outcomes")

FASTAPI_CLIENT = """
from fastapi.testclient import TestClient

with TestClient(app) as client:
    answer = client.post("/answers", json={"text": "Hello", "user": "anna"}).json()
    assert answer["text"].startswith("from the"), answer
    judged = client.post(f"/answers/{answer['id']}/feedback", json={"quality": 1.0}).json()
    assert judged == {"new": True}, judged
    assert client.post(f"/answers/{answer['id']}/feedback", json={"quality": 1.0}).json() == {"new": False}
    with client.stream("POST", "/texts", json={"text": "Hello"}) as streamed:
        assert "".join(streamed.iter_text()).startswith("from the"), streamed
"""


def page_of(name):
    return (HOW_TO / f"{name}.md").read_text(encoding="utf-8")


def run(program, folder):
    environment = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    ended = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def folder(tmp_path):
    (pool,) = re.findall(r"```yaml\n# models\.yaml\n(.*?)```", page_of("add-models"), flags=re.DOTALL)
    (tmp_path / "models.yaml").write_text(pool, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_programs_print_what_it_shows(name, folder):
    programs = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", page_of(name), flags=re.DOTALL)
    assert programs
    for program, shown in programs:
        printed = run(program, folder)
        (folder / "state.db").unlink(missing_ok=True)
        assert printed == shown


def test_the_fastapi_application_answers_and_takes_feedback(folder):
    programs = re.findall(r"```python\n(.*?)```", page_of("fastapi"), flags=re.DOTALL)
    run("\n".join((*programs, FASTAPI_CLIENT)), folder)
