"""A conversation that two strict models have answered: each gets only the state that it has made."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from aamc_models.testing import Script, StubServer

STRICT = Script(thinking="Let me think.", strict=True)
DOWN = Script(fault="status", status=500)
THINKING = {"type": "enabled", "budget_tokens": 1024}


def post(url: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    request = urllib.request.Request(f"{url}/v1/messages", json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["x-aamc-model"], json.load(answer)


@pytest.mark.parametrize("second", [{"provider": "anthropic"}, {"provider": "openai"}], ids=["anthropic", "openai"])
def test_a_conversation_that_has_moved_goes_on_where_it_is(serve: Any, stub: StubServer, second: dict[str, str]) -> None:
    stub.scripts.update(alpha=STRICT, beta=STRICT)
    own = {**second, "base_url": stub.url if second["provider"] == "anthropic" else f"{stub.url}/v1"}
    gateway = serve({"alpha": {"provider": "anthropic", "base_url": stub.url}, "beta": own})
    body: dict[str, Any] = {"model": "aamc/auto", "max_tokens": 2000, "thinking": THINKING, "messages": []}
    models = []
    for turn, (alpha, beta) in enumerate([(STRICT, STRICT), (DOWN, STRICT), (DOWN, STRICT), (STRICT, STRICT), (STRICT, DOWN), (STRICT, STRICT)]):
        stub.scripts.update(alpha=alpha, beta=beta)
        body["messages"].append({"role": "user", "content": f"Question {turn}"})
        model, answer = post(gateway.url, body)
        models.append(model)
        body["messages"].append({"role": "assistant", "content": answer["content"]})
    assert models == ["alpha", "beta", "beta", "beta", "alpha", "alpha"]
    assert stub.counts("alpha").refused == stub.counts("beta").refused == 0


def test_the_model_that_has_answered_so_far_is_the_first_fallback(serve: Any, stub: StubServer) -> None:
    stub.scripts.update(first=DOWN, second=DOWN, third=Script())
    gateway = serve({"first": {}, "second": {}, "third": {}})
    body: dict[str, Any] = {"model": "aamc/auto", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
    assert post(gateway.url, body)[0] == "third"
    stub.scripts["second"] = Script()
    body["messages"] += [{"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Go on."}]
    assert post(gateway.url, body)[0] == "third"
