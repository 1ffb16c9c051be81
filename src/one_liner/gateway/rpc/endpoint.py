"""JSON RPC as a WebSocket route of FastAPI."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, FastAPI, params
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from one_liner.aio import in_background
from one_liner.gateway.outbox import Outbox
from one_liner.gateway.refusal import POLICY_VIOLATION, add_websocket
from one_liner.gateway.rpc.channel import MAX_CALLS, RpcChannel
from one_liner.gateway.rpc.methods import as_methods
from one_liner.gateway.settings import MIB

Hook = Callable[[RpcChannel], Awaitable[Any]]

OpenOutbox = Callable[[WebSocket], AbstractAsyncContextManager[Outbox]]

OUTBOX_MESSAGES: Final = 1000
"""How many messages may wait for one client, answers not counted."""

OUTBOX_BYTES: Final = 16 * MIB

_log = logging.getLogger("one_liner.gateway.rpc")


class WebSocketRpcEndpoint:
    """Lets WebSocket clients call methods by JSON RPC, and lets the methods call them.

    Args:
        methods: an object whose public methods may be called, best an `RpcMethods`; None for the built-in ones alone.
        on_connect: awaited with the channel before its first call runs; may call the client. If one raises, the
            connection is closed with 1008.
        on_disconnect: awaited with the channel when it has ended.
        timeout_s: how long calls to the client wait for an answer; None as long as it is connected.
        max_calls: how many calls of one client may run at once.
        max_messages: how many messages may wait for one client, answers not counted.
        max_bytes: how large they may be together.
        open_outbox: makes the outbox of a WebSocket, in place of one with these bounds.
    """

    def __init__(
        self,
        methods: object = None,
        *,
        on_connect: Iterable[Hook] = (),
        on_disconnect: Iterable[Hook] = (),
        timeout_s: float | None = None,
        max_calls: int = MAX_CALLS,
        max_messages: int = OUTBOX_MESSAGES,
        max_bytes: int = OUTBOX_BYTES,
        open_outbox: OpenOutbox | None = None,
    ) -> None:
        self._methods = as_methods(methods)
        self._on_connect = list(on_connect)
        self._on_disconnect = list(on_disconnect)
        self._timeout_s = timeout_s
        self._max_calls = max_calls
        self._open_outbox: OpenOutbox = open_outbox or partial(Outbox, most=max_messages, most_bytes=max_bytes)
        self._outboxes: dict[RpcChannel, Outbox] = {}

    @property
    def channels(self) -> list[RpcChannel]:
        """Those who are connected now."""
        return list(self._outboxes)

    def outbox(self, channel: RpcChannel) -> Outbox | None:
        """What waits for one of them; None when it has gone."""
        return self._outboxes.get(channel)

    def register_route(
        self, router: APIRouter | FastAPI, path: str = "/ws", dependencies: Sequence[params.Depends] = ()
    ) -> None:
        """Add the WebSocket route.

        Args:
            router: where to.
            path: its path.
            dependencies: of FastAPI; one that raises an `HTTPException` refuses: accepted, then closed with 1008.
        """
        add_websocket(router, path, self._serve, dependencies)

    async def _serve(self, websocket: WebSocket) -> None:
        await self.main_loop(websocket)

    async def main_loop(self, websocket: WebSocket, **context: Any) -> None:
        """Serve one WebSocket until it ends; for a route of one's own.

        Args:
            websocket: accepted already or not.
            context: becomes `channel.context`.
        """
        if websocket.application_state is WebSocketState.CONNECTING:
            await websocket.accept()
        async with self._open_outbox(websocket) as outbox:
            channel = RpcChannel(
                self._methods,
                outbox.put,
                context={"websocket": websocket, **context},
                timeout_s=self._timeout_s,
                max_calls=self._max_calls,
            )
            self._outboxes[channel] = outbox
            receiving = in_background(_receive_all(websocket, channel), "one_liner rpc receiver")
            tasks: list[asyncio.Task[Any]] = [
                in_background(
                    self._greet(channel, websocket), "one_liner rpc greeting", failed=lambda _: receiving.cancel()
                ),
                receiving,
                asyncio.create_task(outbox.closed.wait(), name="one_liner rpc outbox"),
            ]
            try:
                await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                channel.close()
                del self._outboxes[channel]
                await asyncio.wait(tasks)
                await _all_told(self._on_disconnect, channel)

    async def _greet(self, channel: RpcChannel, websocket: WebSocket) -> None:
        # Beside the receiving, because a hook may call the client, and its answer has to be received.
        try:
            for hook in self._on_connect:
                await hook(channel)
        except Exception as error:
            _log.warning("a hook on connect raised, and channel %s is closed", channel.id, exc_info=True)
            await websocket.close(POLICY_VIOLATION, type(error).__name__)
        else:
            channel.begin()


async def _receive_all(websocket: WebSocket, channel: RpcChannel) -> None:
    while True:
        try:
            message = await websocket.receive()
        except (WebSocketDisconnect, RuntimeError):
            return  # Closed by us, in another task.
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        channel.receive(text if text is not None else message["bytes"])


async def _all_told(hooks: Iterable[Hook], channel: RpcChannel) -> None:
    for hook in hooks:
        try:
            await hook(channel)
        except Exception:
            _log.exception("a hook on disconnect raised; the others are told all the same")
