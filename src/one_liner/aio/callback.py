"""User functions that are called in the event loop when something happens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from inspect import isawaitable
from typing import Any, Final, Generic, Protocol, TypeVar

from one_liner.aio.background import in_background
from one_liner.closing import Closing

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_CLOSE_TIMEOUT_S: Final = 0.5
_log = logging.getLogger("one_liner.aio.callback")


class Items(Protocol[T_co]):
    """What a callback is called with, one after the other: an asynchronous generator, or what is closed as one is."""

    def __aiter__(self) -> AsyncIterator[T_co]:
        """Itself."""

    async def __anext__(self) -> T_co:
        """Wait for the next."""

    async def aclose(self) -> None:
        """Wait no longer."""


class AsyncCallback(Closing, Generic[T]):
    """A function that is called in the event loop with one item after the other, until it is closed.

    What a coroutine function gives is awaited before the next item comes; a plain function holds up the loop for as
    long as it takes. An exception is logged with its traceback, and the next item comes nevertheless. It ends with its
    client, and with its loop.

    Args:
        name: for people.
        function: the user's.
        items: what to call it with.
        stop: has the items come no longer; from any thread.
    """

    def __init__(
        self, name: str, function: Callable[[T], Any], items: Items[T], stop: Callable[[], None] = lambda: None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._function, self._items, self._stop = function, items, stop
        self._closed = False
        self._task = in_background(self._run(), f"one_liner callback {name}", failed=lambda _: self.close())

    @property
    def closed(self) -> bool:
        """Whether it is called no longer."""
        return self._closed or self._task.done() or self._loop.is_closed()

    def close(self) -> None:
        """Call it no longer. From any thread; a coroutine function under way is cancelled, unless it closes itself."""
        self._closed = True
        self._stop()
        if _current_task() is self._task:
            return  # It ends when the function has.
        try:
            self._loop.call_soon_threadsafe(self._task.cancel)
        except RuntimeError:
            return  # The loop is closed, and nothing runs there any more.

    async def ended(self) -> None:
        """Wait for a function that is being cancelled, half a second at the longest; not within itself."""
        if asyncio.get_running_loop() is self._loop and asyncio.current_task() is not self._task:
            await asyncio.wait([self._task], timeout=_CLOSE_TIMEOUT_S)

    async def _run(self) -> None:
        async with contextlib.aclosing(self._items) as items:
            async for item in items:
                if not self._closed:
                    await called(self._function, item)
                if self._closed:
                    break
                await asyncio.sleep(0)  # Where more waits already, the loop has its turn all the same.
        self._closed = True


async def called(function: Callable[[T], Any], item: T) -> None:
    """Call a user's function in the loop, and await what a coroutine function gives. What it raises is logged."""
    try:
        answer = function(item)
        if isawaitable(answer):
            await answer
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        _log.warning("a callback was cancelled by what it awaited", exc_info=True)
    except Exception:
        _log.exception("a callback raised; it will be called again")


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # No loop runs on this thread.
        return None
