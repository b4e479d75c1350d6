"""The floor: a pass-through of Starlette and aiohttp that reads the request's JSON and does nothing else. ``python floor.py UPSTREAM PORT``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route


def application(upstream: str) -> Starlette:
    """Return the application that passes chat completions on."""
    sessions: list[aiohttp.ClientSession] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            sessions.append(session)
            yield

    async def chat(request: Request) -> Response:
        body = orjson.loads(await request.body())
        call = sessions[0].post(f"{upstream}/v1/chat/completions", data=orjson.dumps(body), headers={"content-type": "application/json"})
        if not body.get("stream"):
            async with call as answer:
                return Response(await answer.read(), answer.status, media_type="application/json")
        answer = await call

        async def events() -> AsyncIterator[bytes]:
            async with answer:
                async for data in answer.content.iter_any():
                    yield data

        return StreamingResponse(events(), media_type="text/event-stream")

    async def ready(_: Request) -> Response:
        return Response()

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"]), Route("/readyz", ready)], lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(application(sys.argv[1]), port=int(sys.argv[2]), loop="uvloop", http="httptools", log_level="warning", access_log=False)
