"""HEAD: what GET says, without its content. Health checkers and `curl -I` ask so.

Who asks so wants nothing to be done: where GET acts, it is refused.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ASKED_BY_HEAD = "one_liner.head"


class Head:
    """An ASGI middleware: has HEAD answered by what answers GET, and ends that once the headers are known.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it; anything but HEAD passes."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        told = asyncio.Event()

        async def headers_alone(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
            elif not told.is_set():
                await send({"type": "http.response.body", "body": b""})
                told.set()

        asked = asyncio.ensure_future(
            self._app({**scope, "method": "GET", _ASKED_BY_HEAD: True}, receive, headers_alone)
        )
        enough = asyncio.ensure_future(told.wait())
        try:
            await asyncio.wait([asked, enough], return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                asked.result()
        finally:  # A stream would go on and on.
            await _ended(asked, enough)


async def _ended(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def only_looks(request: Request) -> bool:
    """Whether a request was asked by HEAD."""
    return _ASKED_BY_HEAD in request.scope


def check_may_act(request: Request) -> None:
    """Refuse a request that was asked by HEAD.

    Raises:
        HTTPException: 405.
    """
    if only_looks(request):
        raise HTTPException(405, "HEAD only looks, and this would be done", {"Allow": "GET, POST"})
