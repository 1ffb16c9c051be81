"""`/api/events`: what happens at the servers, as server-sent events, and what happened last."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from one_liner.aio import Sample, Topic, anew, in_background
from one_liner.gateway.access import Role, needs
from one_liner.gateway.calls import RESPONSES
from one_liner.gateway.gateway import Gateway, gateway_of
from one_liner.gateway.json_values import JsonValueResponse, dumps
from one_liner.gateway.rigs import Rig
from one_liner.gateway.watch import Watch

_KEEP_ALIVE_S = 15.0
_MOST_WAITING = 1000
_MAY_READ = [Depends(needs(Role.READ))]
_UNASKED = (Topic.HEARTBEAT, Topic.JOB_UPDATE)
Topics = Annotated[list[Topic] | None, Query(alias="topic", description="Which; all but heartbeats and job updates")]
Server = Annotated[str | None, Query(description="The name of one server; all if not given")]


def event_router() -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/events", tags=["events"], responses=RESPONSES)

    @router.get("", dependencies=_MAY_READ, response_class=StreamingResponse)
    async def events(request: Request, topics: Topics = None, server: Server = None) -> Response:
        """Events as they happen, for an `EventSource`: the topic is the type, the event as JSON its data."""
        rigs = _rigs(gateway_of(request), server)
        return StreamingResponse(
            _sse(gateway_of(request), rigs, _wanted(topics)),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    @router.get("/last", dependencies=_MAY_READ)
    async def last(
        request: Request,
        topics: Topics = None,
        server: Server = None,
        last: Annotated[int, Query(ge=0, le=10_000)] = 100,
    ) -> Response:
        """What happened last, the oldest first, as the servers have kept it."""
        gateway = gateway_of(request)
        found: list[dict[str, Any]] = []
        for rig in _rigs(gateway, server):
            if rig.connected:
                kept = await rig.client.events(topics, last=last)
                found += [{**event.as_dict(), "server": rig.name} for event in kept]
        found.sort(key=lambda event: float(event["when"]))
        return JsonValueResponse({"count": len(found), "events": found})

    return router


def _rigs(gateway: Gateway, server: str | None) -> list[Rig]:
    return gateway.rigs.all() if server is None else [gateway.rigs[server]]


def _wanted(topics: list[Topic] | None) -> list[Topic]:
    wanted = [topic for topic in Topic if topic not in _UNASKED] if topics is None else list(dict.fromkeys(topics))
    if Topic.EVENT in wanted and Topic.EMERGENCY not in wanted:
        wanted.append(Topic.EMERGENCY)  # An emergency is an event.
    return wanted


async def _sse(gateway: Gateway, rigs: list[Rig], topics: list[Topic]) -> AsyncIterator[bytes]:
    began = time.perf_counter()
    merged: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)

    async def forward(rig: Rig, watch: Watch, topic: Topic) -> None:
        async for item in watch:
            # The last one from before is no news.
            if isinstance(item, Sample) and item.timestamp >= began:
                content = dumps({**item.data, "server": rig.name}).decode()
                await merged.put(f"id: {item.data['index']}\nevent: {topic}\ndata: {content}\n\n".encode())

    async with contextlib.AsyncExitStack() as stack:
        tasks = set()
        for rig in rigs:
            for topic in topics:
                watch = await stack.enter_async_context(rig.watch(topic.stream, _MOST_WAITING))
                forwarding = anew(partial(forward, rig, watch, topic))
                tasks.add(in_background(forwarding, f"one_liner events {rig.name} {topic}"))
        try:
            yield b": connected\n\n"
            while True:
                try:
                    async with asyncio.timeout(_KEEP_ALIVE_S):
                        content = await merged.get()
                except TimeoutError:
                    content = b": still here\n\n"
                yield content
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
