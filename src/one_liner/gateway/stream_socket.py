"""`/ws/stream` and `/control/…`: data to all who are connected, switched by each of them and by HTTP."""

from __future__ import annotations

import json
import math

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from one_liner.gateway.access import Role, admitted, needs
from one_liner.gateway.broadcast import Broadcast, Wish
from one_liner.gateway.gateway import gateway_of
from one_liner.gateway.json_values import JsonValueResponse, dumps
from one_liner.gateway.outbox import Outbox, wait_for_end
from one_liner.gateway.refusal import short_reason

_MOST_HZ = 1000.0


def stream_socket_router() -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["stream"])

    @router.post("/control/start", dependencies=[Depends(needs(Role.CONTROL))])
    async def start(request: Request) -> Response:
        """Have `/ws/stream` send data."""
        broadcast = gateway_of(request).broadcast
        broadcast.start()
        return _state(broadcast, "streaming started")

    @router.post("/control/stop", dependencies=[Depends(needs(Role.CONTROL))])
    async def stop(request: Request) -> Response:
        """Have `/ws/stream` send none."""
        broadcast = gateway_of(request).broadcast
        await broadcast.stop()
        return _state(broadcast, "streaming stopped")

    @router.websocket("/ws/stream")
    async def stream(websocket: WebSocket) -> None:
        """Data, once somebody says `{"action": "start"}`.

        In the query: `stream=NAME` any number of times, `rate_hz`, `format=binary`.
        """
        role = await admitted(websocket, Role.READ)
        if role is None:
            return
        gateway = gateway_of(websocket)
        broadcast = gateway.broadcast
        try:
            wish = _wish(websocket, broadcast.default)
        except ValueError as error:
            await websocket.send_text(_error(str(error)))
            await websocket.close(1008, short_reason(str(error)))
            return
        async with gateway.outbox(websocket) as outbox:

            async def act(message: str | bytes) -> None:
                await _act(message, broadcast, outbox, role)

            broadcast.join(outbox, wish)
            try:
                await wait_for_end(websocket, outbox, on_message=act)
            finally:
                await broadcast.leave(outbox, wish)

    return router


def _state(broadcast: Broadcast, message: str) -> Response:
    return JsonValueResponse({"status": "success", "message": message, "streaming": broadcast.streaming})


async def _act(message: str | bytes, broadcast: Broadcast, outbox: Outbox, role: Role) -> None:
    """Do what a connection says; what cannot be understood is answered, and nothing more."""
    try:
        content = json.loads(message)
        action = content.get("action") if isinstance(content, dict) else None
    except (ValueError, RecursionError):
        outbox.put(_error("this is no JSON"), droppable=True)
        return
    if action == "ping":
        outbox.put(dumps({"type": "pong"}).decode(), droppable=True)
    elif action not in ("start", "stop"):
        outbox.put(_error('an action is "start", "stop" or "ping"'), droppable=True)
    elif role < Role.CONTROL:
        outbox.put(_error(f"to {action} it for all needs the role control, and yours is read"), droppable=True)
    elif action == "start":
        broadcast.start()
    else:
        await broadcast.stop()


def _wish(websocket: WebSocket, default: Wish) -> Wish:
    """What a connection asks for.

    Raises:
        ValueError: it cannot be.
    """
    query = websocket.query_params
    kind = query.get("format", "json")
    if kind not in ("json", "binary"):
        raise ValueError("format is json or binary")
    try:
        rate_hz = float(query.get("rate_hz", default.rate_hz))
    except ValueError:
        rate_hz = math.nan
    if not 0 < rate_hz <= _MOST_HZ:
        raise ValueError(f"rate_hz is a number above 0 and up to {_MOST_HZ:g}")
    names = dict.fromkeys(name for name in query.getlist("stream") if name)
    return Wish(tuple(names) or default.streams, rate_hz, kind == "binary")


def _error(message: str) -> str:
    return dumps({"type": "error", "message": message}).decode()
