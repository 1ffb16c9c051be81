"""What stands in front of all routes: limits on bodies, on connections and their rate, and on whose pages may call.

A WebSocket is refused by accepting and closing it: one that is refused by a status knocks again at once, for ever.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from one_liner.gateway.faults import refusal
from one_liner.gateway.rate_limit import RateLimit
from one_liner.gateway.settings import Settings

_TOO_MANY, _FORBIDDEN = 1013, 1008
_HARMLESS_MODES = (b"navigate", b"")
_HEADERS = frozenset((b"content-length", b"host", b"origin", b"sec-fetch-mode", b"sec-fetch-site"))


class Guard:
    """An ASGI middleware.

    Args:
        app: what is behind it.
        settings: the limits.
        static: what the paths of files that never change begin with, which the rate is not for; "" if there are none.

    Attributes:
        open: how many requests and WebSockets are under way.
        refused: how many were refused.
    """

    def __init__(self, app: ASGIApp, settings: Settings, static: str = "") -> None:
        self._app, self._settings = app, settings
        self._limit = None if settings.rate_hz is None else RateLimit(settings.rate_hz, static)
        self.open = self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        found = self._objection(scope, _told(scope))
        if found is not None:
            self.refused += 1
            await self._refuse(scope, receive, send, *found)
            return
        self.open += 1
        try:
            if self._limit is not None:
                send = self._limit.watched(scope, send)
            if scope["type"] == "http":
                receive = Measured(receive, self._settings.body_bytes)
            await self._app(scope, receive, send)
        finally:
            self.open -= 1

    def _objection(self, scope: Scope, told: Mapping[bytes, bytes]) -> tuple[int, str] | None:
        """The status and the reason of a refusal; None for none."""
        settings = self._settings
        if not _is_from_here(told, settings.cors_origins):
            return 403, "this page is not allowed to call from a browser; see the setting cors_origins"
        if not settings.tokens and _is_lured_here(scope, told, settings.cors_origins):
            return 403, "this name is not one of this machine's; see the setting cors_origins"
        if self.open >= settings.connections:
            return 503, f"there are {self.open} connections, and no more are taken"
        if self._limit is not None and not self._limit.admits(scope):
            return 429, f"more than {settings.rate_hz:g} requests per second"
        length = told.get(b"content-length", b"")
        if length.isdigit() and int(length) > settings.body_bytes:
            return 413, f"a body of {int(length)} bytes; at most {settings.body_bytes} are taken"
        return None

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
        if scope["type"] == "http":
            headers = {"Retry-After": "1"} if status in (429, 503) else {}
            await refusal(status, reason, headers | {"Connection": "close"})(scope, receive, send)
            return
        if (await receive())["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
            code = _FORBIDDEN if status == 403 else _TOO_MANY
            await send({"type": "websocket.close", "code": code, "reason": reason})


class Measured:
    """A request whose body is counted while it comes in.

    Args:
        receive: that of the server.
        most: how many bytes it may have.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._left = receive, most

    async def __call__(self) -> Message:
        """The next part.

        Raises:
            HTTPException: 413, there were too many.
        """
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413, "the body is larger than what is taken")
        return message


def _is_lured_here(scope: Scope, told: Mapping[bytes, bytes], allowed: Collection[str]) -> bool:
    """Whether somebody else's name leads to this machine's loopback.

    A page of a stranger, whose name is made to mean 127.0.0.1 once it is loaded, would be one of ours to the browser.
    """
    host, server = told.get(b"host"), scope.get("server")
    if not host or not server or not _is_loopback(server[0]) or _is_ours(host):
        return False
    return "*" not in allowed and host.decode("latin-1").lower() not in (urlsplit(one).netloc for one in allowed)


@lru_cache(64)
def _is_loopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False  # The path of a socket.
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


@lru_cache(256)
def _is_ours(host: bytes) -> bool:
    """Whether this is a name of this machine. A number is: no stranger can have it mean something else."""
    own, name = socket.gethostname().lower(), ""
    try:
        name = urlsplit(f"//{host.decode('latin-1')}").hostname or ""
        ip_address(name)
    except ValueError:
        return name in ("localhost", own, own.partition(".")[0]) or name.endswith(".localhost")
    return True


def _told(scope: Scope) -> dict[bytes, bytes]:
    """The headers that count here, found in one go."""
    return {name: value for name, value in scope["headers"] if name in _HEADERS}


def _is_from_here(told: Mapping[bytes, bytes], allowed: Collection[str]) -> bool:
    """Whether a request comes from no browser, from a page of ours, or from one that may."""
    origin = told.get(b"origin", b"").decode("latin-1")
    if "*" in allowed or (origin and origin in allowed):
        return True
    if not origin:
        # What a page of another site embeds says so, and nothing else.
        return told.get(b"sec-fetch-site") != b"cross-site" or told.get(b"sec-fetch-mode", b"") in _HARMLESS_MODES
    try:
        place = urlsplit(origin).netloc
    except ValueError:
        return False  # `http://[`: no browser sends that.
    return place.lower() == told.get(b"host", b"").decode("latin-1").lower()
