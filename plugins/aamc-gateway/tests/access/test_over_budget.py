"""Over budget, through a real gateway: refused, or routed to what still fits."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import httpx
import pytest
from aamc_gateway.testing import stub_candidate
from aamc_models.testing import Script, StubServer
from click.testing import CliRunner
from forked_gateway import ForkedGateway
from openai import APIStatusError, OpenAI

from aamc_sdk.cli import aamc


@pytest.mark.parametrize("policy", ["refuse", "cheaper"])
def test_a_request_beyond_the_budget_is_refused_or_goes_to_the_candidate_that_fits(policy: str, tmp_path: Path) -> None:
    script = Script(output_tokens=10, prompt_tokens=10)
    settings = {"access": {"over_budget": policy, "limits": {"usd_total": 0.5}}}
    with StubServer({"cheap": script, "strong": script}) as stub:
        candidates = [
            stub_candidate(name, f"{stub.url}/v1", input_price=0.0, output_price=price) for name, price in (("cheap", 1e4), ("strong", 1e6))
        ]
        with ForkedGateway(tmp_path, candidates, settings=settings) as gateway:
            client = OpenAI(base_url=f"{gateway.url}/v1", api_key="none")

            def ask(model: str) -> str:
                found = client.chat.completions.with_raw_response.create(model=model, messages=[{"role": "user", "content": "Hello"}], max_tokens=10)
                return str(found.headers["x-aamc-model"])

            if policy == "cheaper":  # an answer of cheap costs 0.1 USD, one of strong 10
                assert [ask("aamc/auto") for _ in range(5)] == ["cheap"] * 5
            for model in ("aamc/auto", "strong"):
                with pytest.raises(APIStatusError, match=r"USD left of 0\.5 USD") as refused:
                    ask(model)
                assert refused.value.status_code == 402
                assert refused.value.code == "insufficient_quota"
                assert refused.value.response.headers["x-should-retry"] == "false"
            assert stub.counts("strong").calls == 0
            body = {"model": "strong", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}
            answer = httpx.post(f"{gateway.url}/v1/messages", json=body, timeout=60)
            assert answer.json()["error"]["type"] == "billing_error"


@pytest.mark.parametrize("left", [0.15, 0.05])
def test_a_request_that_fits_only_a_candidate_over_its_minute_limit_says_when_it_may_come_again(left: float, tmp_path: Path) -> None:
    script = Script(output_tokens=10, prompt_tokens=10)
    limits = {"limits": {"usd_total": 0.1 + left}, "models": {"cheap": {"requests_per_minute": 1}}}
    with StubServer({"cheap": script, "strong": script}) as stub:
        candidates = [
            stub_candidate(name, f"{stub.url}/v1", input_price=0.0, output_price=price) for name, price in (("cheap", 1e4), ("strong", 1e6))
        ]
        with ForkedGateway(tmp_path, candidates, settings={"access": {"over_budget": "cheaper", **limits}}) as gateway:
            body = {"model": "aamc/auto", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}
            assert httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=60).status_code == 200
            time.sleep(0.5)  # a worker remembers for a quarter of a second which candidates are over their limits
            refused = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=60)
    if left < 0.1:  # an answer of cheap costs 0.1 USD
        assert (refused.status_code, refused.headers.get("retry-after")) == (402, None)
    else:
        assert refused.status_code == 503
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert "cheap is over a limit of its own; try again later" in refused.json()["error"]["message"]


def test_a_monthly_budget_that_a_reload_introduces_counts_what_the_key_spent_before(tmp_path: Path) -> None:
    made = CliRunner().invoke(aamc, ["keys", "add", "ci", "--store", f"sqlite:{tmp_path / 'state.db'}"], catch_exceptions=False)
    headers = {"x-api-key": made.stdout.strip()}
    body = {"model": "cheap", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}
    with StubServer({"cheap": Script(output_tokens=10, prompt_tokens=10)}) as stub:
        candidates = [stub_candidate("cheap", f"{stub.url}/v1", input_price=0.0, output_price=1e4)]  # an answer costs 0.1 USD
        with ForkedGateway(tmp_path, candidates, settings={}) as gateway:
            for _ in range(2):
                assert httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=60).status_code == 200
            (tmp_path / "gateway.yaml").write_text("router: llm-only\ngateway: {access: {limits: {usd_per_month: 0.25}}}\n")
            gateway.process.send_signal(signal.SIGHUP)
            end = time.monotonic() + 60
            while "was reloaded" not in gateway.output or _spent(tmp_path) != {"day": 0.2, "month": 0.2, "total": 0.2}:
                assert time.monotonic() < end, gateway.output
                time.sleep(0.1)
            refused = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert refused.status_code == 402
    assert "has 0.05 USD left of 0.25 USD a month" in refused.json()["error"]["message"]


def _spent(folder: Path) -> dict[str, float]:
    listed = CliRunner().invoke(aamc, ["keys", "list", "--json", "--store", f"sqlite:{folder / 'state.db'}"], catch_exceptions=False)
    spent: dict[str, float] = json.loads(listed.stdout)["keys"][0]["spent_usd"]
    return spent
