"""Events with `async for`."""

from __future__ import annotations

import math
from typing import Self

from one_liner.aio.bell import Bell
from one_liner.clock import SYSTEM_CLOCK
from one_liner.closing import Closing
from one_liner.errors import ClosedError, StreamTimeoutError
from one_liner.events.event import Event
from one_liner.events.listening import EventStream


class AsyncEventStream(Closing):
    """Events, one after the other: `async for event in client.iter_events(): …`. Ends when it or its client is closed.

    It takes no thread: what arrives wakes the loop. Close it, by `close`, `with` or `contextlib.aclosing`, to listen no
    longer.
    """

    def __init__(self, events: EventStream, timeout_s: float | None) -> None:
        self._events = events
        self._timeout_s = math.inf if timeout_s is None else timeout_s

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        try:
            event = self._events.take_or_none()
            return event if event is not None else await self._wait()
        except ClosedError:
            raise StopAsyncIteration from None

    @property
    def dropped(self) -> int:
        """How many events were lost here because they were not taken in time."""
        return self._events.dropped

    def close(self) -> None:
        """Listen no longer; a waiting loop ends. From any thread."""
        self._events.close()

    async def aclose(self) -> None:
        """The same, for `contextlib.aclosing`."""
        self._events.close()

    async def _wait(self) -> Event:
        deadline = SYSTEM_CLOCK.now() + self._timeout_s
        with Bell(self._events.listen, self._events.unlisten) as bell:
            while True:
                event = self._events.take_or_none()
                if event is not None:
                    return event
                remaining_s = deadline - SYSTEM_CLOCK.now()
                if remaining_s <= 0:
                    raise StreamTimeoutError(f"no event within {self._timeout_s:g} s")
                await bell.wait(remaining_s)
