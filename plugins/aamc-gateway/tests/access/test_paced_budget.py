"""The router ``paced`` behind a real gateway: a day's budget is kept over requests and restarts, then refused."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from aamc_gateway.testing import stub_candidate
from aamc_models.testing import Script, StubServer
from forked_gateway import ForkedGateway

pytestmark = pytest.mark.one_python

PRICES = (("cheap", 1e4), ("strong", 1e5))
"""USD per million tokens: an answer of ten tokens costs 0.1 or 1 USD, its expectation of ten tokens too."""
BUDGET = 3.5


def test_a_paced_gateway_keeps_the_day_over_a_restart_and_then_refuses(tmp_path: Path) -> None:
    script = Script(output_tokens=10, prompt_tokens=0)
    router = {"name": "paced", "router": {"name": "llm-only", "model": "strong"}, "usd_per_day": BUDGET}
    spent, served = 0.0, []
    with StubServer({"cheap": script, "strong": script}) as stub:
        candidates = [stub_candidate(name, f"{stub.url}/v1", input_price=0.0, output_price=price) for name, price in PRICES]
        for _ in range(2):
            with ForkedGateway(tmp_path, candidates, router=router, settings={}) as gateway:
                for _ in range(60):
                    body = {"model": "aamc/auto", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}
                    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=60)
                    if answer.status_code != 200:
                        break
                    served.append(answer.headers["x-aamc-model"])
                    spent += {"cheap": 0.1, "strong": 1.0}[served[-1]]
        assert answer.status_code == 402
        assert "wait for the next day (UTC)" in answer.text
        assert float(answer.headers["retry-after"]) > 0
    assert served[0] == "strong"
    assert BUDGET - 1.0 <= spent <= BUDGET + 1.0


def test_a_request_above_the_limit_of_a_whole_minute_must_change(tmp_path: Path) -> None:
    router = {"name": "paced", "router": "llm-only", "tokens_per_minute": 600.0}
    body = {"model": "aamc/auto", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello " * 500}]}
    with (
        StubServer({"cheap": Script()}) as stub,
        ForkedGateway(tmp_path, [stub_candidate("cheap", f"{stub.url}/v1")], router=router, settings={}) as gateway,
    ):
        answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=60)
    assert (answer.status_code, answer.headers.get("retry-after"), answer.headers["x-should-retry"]) == (400, None, "false")
    assert "may use tokens_per_minute 600, and this request is expected to use at least" in answer.text
