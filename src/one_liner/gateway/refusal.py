"""How a WebSocket is refused: by accepting it and closing it, never by an answer of HTTP.

A refusal before the handshake is a 403 on the wire. Stock clients take that for bad luck and come back at once,
thousands of times; a WebSocket that is closed after the handshake makes them wait longer each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from fastapi import APIRouter, FastAPI, params
from fastapi.routing import APIWebSocketRoute
from starlette.exceptions import HTTPException, WebSocketException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

POLICY_VIOLATION: Final = 1008
_MOST_REASON_BYTES = 120


class AcceptThenClose:
    """ASGI middleware: a WebSocket that the application does not accept is accepted, and closed with 1008.

    `app.add_middleware(AcceptThenClose)` covers what is refused anywhere in the application: by a dependency, by a
    path that does not exist.

    Args:
        app: what may refuse.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it; anything but a WebSocket passes."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        handshake = _Handshake(send)
        try:
            await self._app(scope, receive, handshake.send)
        except WebSocketException as error:
            await handshake.refuse(error, error.code, error.reason)
        except HTTPException as error:
            await handshake.refuse(error, POLICY_VIOLATION, error.detail)
        else:
            await handshake.refuse(None, POLICY_VIOLATION, "refused")


class _Handshake:
    """Lets everything pass from the acceptance on; before it, every refusal becomes one."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._done = False

    async def send(self, message: Message) -> None:
        if self._done:
            # What is left of a refusal's HTTP answer has no place on a WebSocket.
            if not message["type"].startswith("websocket.http."):
                await self._send(message)
        elif message["type"] == "websocket.accept":
            self._done = True
            await self._send(message)
        elif message["type"] == "websocket.close":
            await self._accept_and_close(message.get("code", POLICY_VIOLATION), message.get("reason") or "refused")
        else:
            await self._accept_and_close(POLICY_VIOLATION, "refused")

    async def refuse(self, error: Exception | None, code: int, reason: str) -> None:
        """Refuse, if nothing was decided yet; an error that came later is its raiser's."""
        if not self._done:
            await self._accept_and_close(code, reason)
        elif error is not None:
            raise error

    async def _accept_and_close(self, code: int, reason: str) -> None:
        self._done = True
        code = POLICY_VIOLATION if code == 1000 else code
        await self._send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        await self._send({"type": "websocket.close", "code": code, "reason": short_reason(reason)})


def add_websocket(
    router: APIRouter | FastAPI,
    path: str,
    endpoint: Callable[..., Any],
    dependencies: Sequence[params.Depends] = (),
) -> None:
    """Add a WebSocket route whose dependencies refuse politely, wherever the router is included.

    Args:
        router: where to add it.
        path: its path.
        endpoint: an `async def` with what FastAPI injects, a `WebSocket` among it.
        dependencies: FastAPI's `Depends(…)`; an `HTTPException` of theirs closes with 1008 and its `detail`.
    """

    async def guarded(websocket: WebSocket) -> None:
        route = APIWebSocketRoute(
            path, endpoint, dependencies=dependencies, dependency_overrides_provider=websocket.scope.get("app")
        )
        # Without handlers the errors come here, with their reasons.
        scope = {**websocket.scope, "starlette.exception_handlers": ({}, {})}
        await AcceptThenClose(route.app)(scope, websocket.receive, websocket.send)

    router.add_api_websocket_route(path, guarded, name=getattr(endpoint, "__name__", None))


def short_reason(reason: str) -> str:
    """A close frame has room for 123 bytes."""
    return str(reason).encode()[:_MOST_REASON_BYTES].decode(errors="ignore")
