"""What wakes a coroutine from another thread."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final, Self

LOOK_EVERY_S: Final = 0.25
"""How often to look for what does not ring: a server that is lost."""


class Bell:
    """Wakes a coroutine of the running loop from any thread, for as long as the `with` lasts.

    Args:
        listen: has the bell rung.
        unlisten: has it rung no longer.
    """

    def __init__(
        self, listen: Callable[[Any], None] = lambda _: None, unlisten: Callable[[Any], None] = lambda _: None
    ) -> None:
        self._listen, self._unlisten = listen, unlisten
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._rung = False

    def __enter__(self) -> Self:
        self._listen(self.ring)
        return self

    def __exit__(self, *_: object) -> None:
        self._unlisten(self.ring)

    def ring(self, *_: object) -> None:
        """Wake who waits. From any thread, also when the loop has ended; then nobody is woken."""
        # Once is enough: it is a system call, and the ringing thread, which has more to do, waits for Python's lock.
        if self._rung:
            return
        self._rung = True
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:
            return  # The loop is closed.

    async def wait(self, timeout_s: float = math.inf) -> bool:
        """Wait until it has rung since the last time, or for so long; gives which of the two."""
        if timeout_s > 0:
            try:
                async with asyncio.timeout(None if timeout_s == math.inf else timeout_s):
                    await self._event.wait()
            except TimeoutError:
                return False
        rung = self._event.is_set()
        self._rung = False
        self._event.clear()
        return rung
