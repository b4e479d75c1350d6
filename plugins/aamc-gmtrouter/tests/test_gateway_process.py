"""The gateway serves a trained run: a new user's ratings change their decisions, and go when the user is forgotten."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aamc_gateway.testing import GatewayProcess
from click.testing import CliRunner
from taste_world import TasteWorld, WorldSettings

from aamc_sdk.cli import aamc

MODELS = 4
ASKED = "query 3 11"
PATIENCE_S = 60.0
"""Maximum time until the gateway has learned what it acknowledged."""


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatewayProcess]:
    """Serve a trained run, whose models the provider echo answers for."""
    world = TasteWorld.drawn(0, WorldSettings(models=MODELS, users=40, comparisons=12))
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps(world.document(user)) for user in world.training_users))
    lines = (f"  - {{name: model-{m}, description: trait {m}, endpoint: {{provider: echo}}}}" for m in range(MODELS))
    (tmp_path / "pool.yaml").write_text("candidates:\n" + "\n".join(lines))
    monkeypatch.chdir(tmp_path)
    options = ["--dataset", "interactions:train.jsonl", "--pool", "pool.yaml", "--set", "router.model=preference", "--out", "run"]
    trained = CliRunner().invoke(aamc, ["train", "--router", "gmtrouter", *options])
    assert trained.exit_code == 0, trained.output
    served = GatewayProcess(tmp_path)
    served.arguments = ["--port", str(served.port), "--run", "run", "--store", "sqlite:state.db"]
    with served:
        yield served


def post(gateway: GatewayProcess, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Return the document and the headers of an answer."""
    request = urllib.request.Request(f"{gateway.url}{path}", json.dumps(body).encode(), {"content-type": "application/json"})  # an own address
    with urllib.request.urlopen(request, timeout=60) as answer:  # likewise
        return json.loads(answer.read()), answer.headers


def decided(gateway: GatewayProcess, user: str) -> tuple[str, dict[str, float], str]:
    """Return the chosen candidate for a user, all utilities, and the reason."""
    found, _ = post(gateway, "/v1/route", {"text": ASKED, "user": user})
    return found["candidate"], {each["name"]: each["utility"] for each in found["candidates"]}, found["why"]


def decided_later(gateway: GatewayProcess, user: str, ready: Callable[[dict[str, float]], bool]) -> tuple[str, dict[str, float], str]:
    """Return the first decision for a user whose utilities are ready, since learning follows the acknowledgement."""
    end = time.monotonic() + PATIENCE_S
    while not ready((found := decided(gateway, user))[1]):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def test_ten_ratings_change_the_next_decision_and_go_when_the_user_is_forgotten(gateway: GatewayProcess) -> None:
    first, unknown, _ = decided(gateway, "new")
    chosen, before, why = first, unknown, ""
    for turn in range(10):
        chat = {"model": "aamc/auto", "messages": [{"role": "user", "content": f"query {turn} 1"}], "user": "new"}
        answer, headers = post(gateway, "/v1/chat/completions", chat)
        feedback = {"decision_id": headers["x-aamc-decision-id"], "quality": 0.0 if answer["model"] == first else 1.0}
        assert post(gateway, "/v1/feedback", feedback)[0]["new"]
        chosen, before, why = decided_later(gateway, "new", lambda found, known=before: found != known)
    assert chosen != first
    assert "past turns of the user moved the utility most" in why
    assert decided(gateway, "other")[1] == unknown
    forget = [sys.executable, "-m", "aamc_sdk.cli", "feedback", "forget", "--user", "new", "--store", "sqlite:state.db"]
    subprocess.run(forget, check=True, cwd=gateway.folder, timeout=60)
    assert decided_later(gateway, "new", lambda found: found == unknown)[0] == first
