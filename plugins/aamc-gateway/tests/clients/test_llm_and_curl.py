"""The ``llm`` command and curl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aamc_models.testing import Script
from clients.fixtures import needs_service

pytestmark = pytest.mark.one_python

TEXT = Script().text
ASKED = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


@pytest.mark.parametrize("options", [[], ["--no-stream"]], ids=["streamed", "whole"])
def test_llm_answers(target: Any, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: aamc\n  model_name: {target.model}\n  api_base: {target.url}/v1\n  api_key_name: aamc\n", encoding="utf-8"
    )
    (tmp_path / "keys.json").write_text('{"aamc": "a-key"}', encoding="utf-8")
    command = [sys.executable, "-m", "llm", "-m", "aamc", *options, "What is the capital of France?"]
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert (ended.stdout.strip(), ended.returncode) == (TEXT, 0), ended.stderr


def curl(url: str, body: Any, *options: str) -> str:
    if shutil.which("curl") is None:
        needs_service("no curl: install apt-packages.txt")
    command = ["curl", "-sS", "--max-time", "30", url, "-H", "content-type: application/json", "-d", json.dumps(body), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_curl_reads_a_whole_answer(target: Any) -> None:
    answer = json.loads(curl(f"{target.url}/v1/chat/completions", {"model": target.model, **ASKED}))
    assert answer["choices"][0]["message"]["content"] == TEXT


def test_curl_reads_a_stream(target: Any) -> None:
    lines = curl(f"{target.url}/v1/chat/completions", {"model": target.model, "stream": True, **ASKED}, "-N").splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"]) == TEXT
    assert [line for line in lines if line][-1] == "data: [DONE]"


@pytest.mark.parametrize("header", ["x-api-key: a-key", "Authorization: Bearer a-key"])
def test_curl_reads_a_message_with_either_form_of_key(target: Any, header: str) -> None:
    body = {"model": target.model, "max_tokens": 100, **ASKED}
    answer = json.loads(curl(f"{target.url}/v1/messages", body, "-H", header, "-H", "anthropic-version: 2023-06-01"))
    assert answer["content"][-1]["text"] == TEXT
