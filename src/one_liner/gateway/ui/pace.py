"""Draws for one browser as fast as it can look: the next time when it has drawn what it was sent last.

So at most one round of changes is under way to a browser. One that stalls, or whose tab is hidden, is sent nothing, and
what changes meanwhile replaces what was to be shown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from nicegui import Client

_DRAWN = "return await new Promise(done => requestAnimationFrame(() => done(true)))"
_PERIOD_S = 0.15
_PATIENCE_S = 10.0
_log = logging.getLogger("one_liner.gateway.ui")

Draw = Callable[[], Awaitable[None]]


async def keep_drawing(client: Client, draw: Draw) -> None:
    """Draw until the browser has left.

    Args:
        client: the browser.
        draw: shows what has changed since the last time.
    """
    loop = asyncio.get_running_loop()
    while not client.is_deleted:
        began = loop.time()
        if not await _has_drawn(client):
            continue
        try:
            await draw()
        except Exception:
            if client.is_deleted:
                return  # It left meanwhile, and took the elements with it.
            # One thing that cannot be shown ends neither the page nor the others on it.
            _log.exception("the page cannot show something")
        await asyncio.sleep(max(0.0, began + _PERIOD_S - loop.time()))


async def _has_drawn(client: Client) -> bool:
    try:
        return bool(await client.run_javascript(_DRAWN, timeout=_PATIENCE_S))
    except TimeoutError:
        return False
