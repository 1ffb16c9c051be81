"""Who gets to the page: the tokens of the HTTP routes, kept by the browser in a cookie that only the page sees.

A browser shows its token once, in a form or as `?token=…`, which does not stay in the address. Everything below `/ui`,
its WebSocket too, then needs the role `read`; what acts asks for more, in `visit`.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from one_liner.gateway.access import Role
from one_liner.gateway.gateway import Gateway
from one_liner.gateway.ui.polls import Polls

PLACE = "one_liner.ui"
"""Where a request's scope has the gateway, what it is asked for, and the role of who asks."""

_COOKIE = "one_liner_token"
_ENTER = "/enter"
_LONGEST_BODY = 4096
_FORM = """<!doctype html><html lang="en"><title>one_liner</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px system-ui;display:grid;place-items:center;min-height:90vh;background:#f4f6f8;color:#1f2933}}
form{{background:#fff;padding:2rem;border-radius:.75rem;box-shadow:0 1px 4px #0002;max-width:20rem}}
input,button{{font:inherit;padding:.5rem;width:100%;box-sizing:border-box;margin-top:.75rem}}</style>
<form method="post" action="{action}"><b>one_liner</b><br>{reason}
<input name="token" type="password" autocomplete="current-password" autofocus required aria-label="token">
<button>Enter</button></form></html>"""


class Gate:
    """ASGI, in front of the page.

    Args:
        app: the page.
        gateway: whose tokens count.
        polls: what is asked for all browsers together.
    """

    def __init__(self, app: ASGIApp, gateway: Gateway, polls: Polls) -> None:
        self._app, self._gateway, self._polls = app, gateway, polls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, ask for a token, or refuse."""
        connection = HTTPConnection(_with_cookie(scope))
        root = scope.get("root_path", "")
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == root + _ENTER:
            await (await self._enter(Request(scope, receive)))(scope, receive, send)
            return
        role = self._gateway.access.role_of(connection)
        if role is None:
            if scope["type"] == "websocket":
                raise HTTPException(401, "a token is needed")
            await _ask(root, "A token is needed.")(scope, receive, send)
            return
        token = connection.query_params.get("token")
        if scope["type"] == "http" and token and not self._gateway.access.open:
            await _welcome(scope, token)(scope, receive, send)
            return
        scope = {**scope, PLACE: (self._gateway, self._polls, role)}
        await self._app(scope, receive, self._framed(send) if scope["type"] == "http" else send)

    async def _enter(self, request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _LONGEST_BODY:
                return _ask(request.scope.get("root_path", ""), "This is no token.")
        token = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
        if self._role_of(token) is None:
            return _ask(request.scope.get("root_path", ""), "Nobody has this token.")
        return _welcome(request.scope, token)

    def _role_of(self, token: str) -> Role | None:
        headers = [(b"x-token", token.encode("utf-8", "replace"))]
        return self._gateway.access.role_of(HTTPConnection({"type": "http", "headers": headers, "query_string": b""}))

    def _framed(self, send: Send) -> Send:
        """Pages of others may not lay theirs over ours, unless they may call us anyway."""
        ancestors = " ".join(("'self'", *self._gateway.settings.cors_origins))

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = f"frame-ancestors {ancestors}"
            await send(message)

        return framed


def _with_cookie(scope: Scope) -> Scope:
    """The token of the cookie where none is shown in another way."""
    connection = HTTPConnection(scope)
    token = connection.cookies.get(_COOKIE)
    shown = "authorization" in connection.headers or "x-token" in connection.headers
    if not token or shown or "token" in connection.query_params:
        return scope
    return {**scope, "headers": [*scope["headers"], (b"x-token", token.encode("latin-1", "replace"))]}


def _ask(root: str, reason: str) -> Response:
    return HTMLResponse(_FORM.format(action=f"{root}{_ENTER}", reason=reason), 401, {"Cache-Control": "no-store"})


def _welcome(scope: Scope, token: str) -> Response:
    root = scope.get("root_path", "")
    response = RedirectResponse(f"{root}/", 303, {"Cache-Control": "no-store"})
    secure = scope["scheme"] == "https"
    response.set_cookie(_COOKIE, token, path=root or "/", httponly=True, samesite="strict", secure=secure)
    return response
