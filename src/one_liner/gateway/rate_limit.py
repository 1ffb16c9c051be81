"""How often each client may come. Files that never change do not count: a browser asks for dozens of them at once."""

from __future__ import annotations

import time
from collections import OrderedDict

from starlette.types import Message, Scope, Send

_MOST_CLIENTS = 10_000


class RateLimit:
    """Counts the requests of each address.

    What is static counts where it is refused: else somebody could try tokens there, as often as he likes.

    Args:
        rate_hz: how often one may come.
        static: what the paths of static files begin with; "" if there are none.
    """

    def __init__(self, rate_hz: float, static: str = "") -> None:
        self._static = static
        self._requests, self._misses = Rates(rate_hz), Rates(rate_hz)

    def admits(self, scope: Scope) -> bool:
        """Whether a request, or a WebSocket, may come in."""
        client, now = _client_of(scope), time.monotonic()
        return self._misses.has_room(client, now) if self._is_static(scope) else self._requests.admit(client, now)

    def watched(self, scope: Scope, send: Send) -> Send:
        """What a request is to be answered with, so that it is seen whether it is refused."""
        if not self._is_static(scope):
            return send

        async def watched(message: Message) -> None:
            if message.get("status", 0) >= 400:
                self._misses.admit(_client_of(scope), time.monotonic())
            await send(message)

        return watched

    def _is_static(self, scope: Scope) -> bool:
        path: str = scope["path"]
        own = path.removeprefix(scope.get("root_path", ""))
        return bool(self._static) and scope["type"] == "http" and own.startswith(self._static)


class Rates:
    """How often each client comes: on average so many times per second, and for one second as many again at once.

    Args:
        rate_hz: how often one may come.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._most = max(1.0, rate_hz)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def has_room(self, client: str, now: float) -> bool:
        """Whether one more request may come in, which is not counted."""
        return self._left_at(client, now) >= 1.0

    def admit(self, client: str, now: float) -> bool:
        """Count one request, and say whether it may come in."""
        left = self._left_at(client, now)
        self._left.pop(client, None)
        admitted = left >= 1.0
        self._left[client] = (left - 1.0 if admitted else left, now)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        return admitted

    def _left_at(self, client: str, now: float) -> float:
        left, since = self._left.get(client, (self._most, now))
        return min(self._most, left + (now - since) * self._rate_hz)


def _client_of(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""
