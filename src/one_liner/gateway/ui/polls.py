"""What all browsers ask for, asked once: each question at its period, for as long as somebody looks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar, cast

from one_liner.aio import anew, in_background
from one_liner.errors import OneLinerError

T = TypeVar("T")


class Poll(Generic[T]):
    """One question to one server.

    Args:
        ask: asks it.
        period_s: how often, if the answer does not take long.

    Attributes:
        answer: the last one; None before the first.
        answered: whether there was one.
        error: why the last time gave none; None if it did.
        watchers: how many look.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], period_s: float) -> None:
        self._ask, self._period_s = ask, period_s
        self._task: asyncio.Task[None] | None = None
        self._now = asyncio.Event()
        self.answer: T | None = None
        self.answered = False
        self.error: OneLinerError | None = None
        self.watchers = 0

    def join(self) -> None:
        """One more looks."""
        self.watchers += 1
        if self._task is None:
            self._task = in_background(anew(self._run), "one_liner ui poll")

    def leave(self) -> None:
        """One less."""
        self.watchers -= 1
        if self.watchers <= 0 and self._task is not None:
            self._task.cancel()
            self._task = None

    def hurry(self) -> None:
        """Ask now: something has changed."""
        self._now.set()

    async def close(self) -> None:
        """Ask no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self._now.clear()
            try:
                self.answer = await self._ask()
                self.answered, self.error = True, None
            except OneLinerError as error:
                self.error = error
            # What takes long to answer is asked no more than half of the time.
            took_s = loop.time() - began if self.error is None else 0.0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(self._period_s, took_s)):
                    await self._now.wait()


class Polls:
    """The questions of one gateway's page, by what they are about."""

    def __init__(self) -> None:
        self._polls: dict[Hashable, Poll[object]] = {}

    def join(self, key: Hashable, ask: Callable[[], Awaitable[T]], period_s: float) -> Poll[T]:
        """Look at a question, which is asked from now on if it was not; `leave` with the same key afterwards."""
        poll = self._polls.get(key)
        if poll is None:
            poll = self._polls[key] = cast("Poll[object]", Poll(ask, period_s))
        poll.join()
        return cast("Poll[T]", poll)

    def leave(self, key: Hashable) -> None:
        """Look no longer; a question that nobody looks at is forgotten."""
        poll = self._polls.get(key)
        if poll is None:
            return  # The gateway ends, and everything with it.
        poll.leave()
        if poll.watchers == 0:
            del self._polls[key]

    async def close(self) -> None:
        """Ask nothing any more."""
        polls = list(self._polls.values())
        self._polls.clear()
        for poll in polls:
            await poll.close()
