"""What is kept for a user goes when the user is forgotten."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aamc_models.testing import Script


@pytest.mark.parametrize("forget", [{"user": "anna"}, {"user": "anna", "tenant": None}])
def test_cached_answers_and_arena_prompts_of_a_forgotten_user_are_deleted(serve: Any, forget: dict[str, Any]) -> None:
    running = serve({"cache": {"enabled": True}}, good=Script(), other=Script())

    def sweep() -> int:
        return int(asyncio.run_coroutine_threadsafe(running.gateway.erasable.sweep(), running.loop).result(30))

    def asked(user: str) -> dict[str, Any]:
        return {"text": f"The secret of {user}", "temperature": 0, "aamc": {"user": user}}

    def is_cached(user: str) -> bool:
        """Ask until the answer has been kept, which happens just after it was sent; return whether the first one came from the cache."""
        first = found = running.chat(**asked(user), model="good")
        until = time.monotonic() + 60
        while found.headers.get("x-aamc-cache") != "hit":
            assert time.monotonic() < until
            found = running.chat(**asked(user), model="good")
        return "x-aamc-cache" in first.headers

    votes = {user: running.chat(**asked(user), model="aamc/arena").headers["x-aamc-vote"] for user in ("anna", "ben")}
    assert not any(is_cached(user) for user in ("anna", "ben"))
    assert sweep() == 0
    running.log()
    running.gateway.controller.forget(**forget)
    assert sweep() == 2
    assert {user: running.ask(vote, method="GET").status for user, vote in votes.items()} == {"anna": 404, "ben": 200}
    assert is_cached("ben")
    assert not is_cached("anna")
    running.log()
    assert sweep() == 0  # who comes back has a cache again
    assert is_cached("anna")
