"""A real server whose policies follow scripts, and orchestrators that call it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson
from aamc_models.testing import Script, StubServer
from aamc_models.testing.playback import Playback, PlaybackStep, whole
from aamc_router_r1.episode.episode import Episode
from aamc_router_r1.orchestrator import RouterR1

from aamc_sdk import Query, get_plugin_manager
from aamc_sdk.config import configure
from aamc_sdk.interfaces import Budget
from aamc_sdk.routing import pool_from_dict
from aamc_sdk.serving import make_services

THOUGHT = "<think> hm </think>"
PRICES = {"input": 1.0, "output": 2.0}


@attrs.frozen
class ToolCalls:
    """A turn in OpenAI's tool calls: pairs of a tool's name and its arguments."""

    thinking: str
    calls: Sequence[tuple[str, Mapping[str, str]]] = ()


class PolicyServer(StubServer):
    """A stub whose models in ``turns`` give their texts one after the other, the last one for ever; a turn may be raw bytes of a body.

    Stop sequences are honoured only for models in ``stops``, so that the client's own cut is tested as well.
    """

    def __init__(self, turns: Mapping[str, Sequence[str | bytes | ToolCalls]], scripts: Mapping[str, Script] | None = None) -> None:
        super().__init__(scripts)
        self.turns = dict(turns)
        self.stops: set[str] = set()
        self.asked: dict[str, list[Mapping[str, Any]]] = {}
        self.vanish_after: int | None = None
        self.route: bytes | None = None
        self.status = 200

    def answer(self, received: Any) -> Playback:
        model = str(received.body.get("model"))
        asked = self.asked.setdefault(model, [])
        asked.append(received.body)
        if self.vanish_after is not None and sum(map(len, self.asked.values())) > self.vanish_after:
            return Playback([PlaybackStep(0.0, b"")], end="close")
        if received.path == "/route" and self.route is not None:
            return Playback([PlaybackStep(0.0, whole(self.status, self.route))])
        if model not in self.turns:
            return super().answer(received)
        turns = self.turns[model]
        turn = turns[min(len(asked), len(turns)) - 1]
        if isinstance(turn, bytes):
            return Playback([PlaybackStep(0.0, whole(200, turn))])
        message: dict[str, Any] = {"role": "assistant", "content": turn}
        if isinstance(turn, ToolCalls):
            tools = [
                {"id": f"x{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
                for n, (name, arguments) in enumerate(turn.calls)
            ]
            message = {"role": "assistant", "content": turn.thinking, **({"tool_calls": tools} if tools else {})}
        elif model in self.stops:
            for stop in received.body.get("stop") or []:
                message["content"] = message["content"].partition(stop)[0]
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        document = {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}
        return Playback([PlaybackStep(0.0, whole(200, orjson.dumps(document)))])


def pool_of(server: StubServer, **models: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pool file's content with models of a server, which are called once and not again."""
    endpoint = {"provider": "openai", "base_url": f"{server.url}/v1", "retries": 0}
    candidates = [{"name": name, "prices": PRICES, "endpoint": endpoint, **more} for name, more in models.items()]
    return {"candidates": candidates}


def make(server: StubServer, policy: str = "policy", models: Mapping[str, Mapping[str, Any]] | None = None, **options: Any) -> RouterR1:
    """Return an orchestrator with a policy and the models ``small`` and ``big`` of a server."""
    described = models or {policy: {}, "small": {"description": "Cheap."}, "big": {"description": "Strong."}}
    services = make_services(pool_from_dict(pool_of(server, **described), "test"), get_plugin_manager())
    return RouterR1(configure(RouterR1.Config, {"policy": policy, **options}), services)


def play(router_r1: RouterR1, question: str = "Who wrote Emma?", budget: Budget | None = None) -> Episode:
    """Play one episode to its end."""

    async def work() -> Episode:
        episode = router_r1.episode(Query(question), budget)
        async for _ in episode.play():
            pass
        return episode

    try:
        return asyncio.run(work())
    finally:
        router_r1.close()
