"""What wakes a coroutine from another thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Self

LOOK_EVERY_S: Final = 0.25
"""How often to look for what does not ring: a server that is lost."""


class Bell:
    """Wakes a coroutine from another thread, for as long as the `async with` lasts."""

    def __init__(self, listen: Callable[[Any], None], unlisten: Callable[[Any], None]) -> None:
        self._listen, self._unlisten = listen, unlisten
        self._event = asyncio.Event()
        self._rung = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._listen(self._ring)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._unlisten(self._ring)

    def _ring(self, *_: object) -> None:
        # Once is enough: it is a system call, and the ringing thread, which has more to do, waits for Python's lock.
        if self._rung:
            return
        self._rung = True
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:
            return  # The loop was closed in this very moment.

    async def wait(self, timeout_s: float) -> None:
        """Wait until it has rung since the last time, or for so long."""
        if timeout_s > 0:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._event.wait()
            except TimeoutError:
                return
        self._rung = False
        self._event.clear()
