"""One stream of a server, for any number of watchers: it is received once, and each has what it can take.

A watcher that is slow loses the oldest of its own samples, counted, and nothing of others'. The stream is received
while somebody watches, and a little longer when somebody asked for its last sample.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Self

from one_liner.aio import AsyncRouterClient, Sample, anew, in_background
from one_liner.errors import (
    ClosedError,
    NoDataError,
    OneLinerError,
    SourceFailedError,
    StreamTimeoutError,
    TransportError,
    UnknownStreamError,
)
from one_liner.gateway.outbox import Content

_LINGER_S = 10.0
_AGAIN_S = 0.25
_MOST_AT_ONCE = 50
_log = logging.getLogger("one_liner.gateway.watch")


class Watch:
    """One watcher of one stream: `async with rig.watch("camera") as watch: async for sample in watch: …`.

    A sample that is an error comes as the error, a `SourceFailedError`; while the server is away nothing comes.

    Args:
        channel: the stream.
        most: how many samples may wait for this watcher; with 1 it has the newest.
        filled: is set when something new comes; one event may be that of several watches.

    Attributes:
        missed: how many samples were thrown away because they were not taken in time.
    """

    def __init__(self, channel: Channel, most: int = 1, filled: asyncio.Event | None = None) -> None:
        self._channel = channel
        self._waiting: deque[Sample | SourceFailedError] = deque(maxlen=most)
        self._filled = asyncio.Event() if filled is None else filled
        self.missed = 0

    def offer(self, item: Sample | SourceFailedError) -> None:
        """Something new; never waits."""
        if len(self._waiting) == self._waiting.maxlen:
            self.missed += 1
        self._waiting.append(item)
        self._filled.set()

    async def next(self, timeout_s: float | None = None) -> Sample | SourceFailedError:
        """Wait for the next.

        Raises:
            TimeoutError: none came in time.
        """
        async with asyncio.timeout(timeout_s):
            while not self._waiting:
                self._filled.clear()
                await self._filled.wait()
        return self._waiting.popleft()

    def newest(self) -> Sample | SourceFailedError | None:
        """The newest, if it was not yet taken; those before it are passed over and count as missed."""
        if not self._waiting:
            return None
        self.missed += len(self._waiting) - 1
        newest = self._waiting[-1]
        self._waiting.clear()
        return newest

    def take(self) -> list[Sample | SourceFailedError]:
        """Everything that waits, the oldest first; does not wait itself."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    @property
    def waiting(self) -> int:
        """How many samples wait."""
        return len(self._waiting)

    async def written(self, item: Sample, form: Hashable, write: Callable[[], Content], aside: bool) -> Content:
        """What is sent of a sample, in a form: written once for all who want it so, while it is new.

        Args:
            item: the sample.
            form: the same word from all who want the same.
            write: writes it.
            aside: write it on a thread, because it takes its time.
        """
        return await self._channel.written(item, form, write, aside)

    async def __aenter__(self) -> Self:
        self._channel.add(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._channel.remove(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sample | SourceFailedError:
        return await self.next()


class Channel:
    """One stream of one server, received once for all that watch it.

    Args:
        client: of the server.
        name: the stream.
    """

    def __init__(self, client: AsyncRouterClient, name: str) -> None:
        self._client, self.name = client, name
        self._watches: set[Watch] = set()
        self._task: asyncio.Task[None] | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._last: Sample | SourceFailedError | None = None
        self._new: dict[int, tuple[Sample | SourceFailedError, dict[Hashable, Content | asyncio.Future[Content]]]] = {}
        self.received = 0

    @property
    def watchers(self) -> int:
        """How many watch it."""
        return len(self._watches)

    def add(self, watch: Watch) -> None:
        """One more watches; the last sample, if it is known, comes at once."""
        self._watches.add(watch)
        if self._task is None:
            self._task = in_background(anew(self._receive), f"one_liner watch {self.name}")
        elif self._last is not None:
            watch.offer(self._last)

    def remove(self, watch: Watch) -> None:
        """One less."""
        self._watches.discard(watch)
        self._stop_if_alone()

    async def written(self, item: Sample, form: Hashable, write: Callable[[], Content], aside: bool) -> Content:
        """As `Watch.written`."""
        known = self._new.get(id(item))
        written = {} if known is None else known[1]
        if form not in written:
            written[form] = asyncio.ensure_future(asyncio.to_thread(write)) if aside else write()
        content = written[form]
        # Whoever leaves while it is being written leaves it to the others.
        return await asyncio.shield(content) if isinstance(content, asyncio.Future) else content

    async def last(self, timeout_s: float) -> Sample:
        """The last sample, or the first that comes.

        Raises:
            StreamTimeoutError: there was none, and none came in time.
            SourceFailedError: it is an error.
        """
        async with Watch(self) as watch:
            if self._lingering is not None:
                self._lingering.cancel()
            self._lingering = asyncio.get_running_loop().call_later(_LINGER_S, self._end_lingering)
            try:
                item = self._last if self._last is not None else await watch.next(timeout_s)
            except TimeoutError:
                raise StreamTimeoutError(f"no sample of stream {self.name!r} came within {timeout_s:g} s") from None
        if isinstance(item, SourceFailedError):
            raise item
        return item

    async def close(self) -> None:
        """Receive no longer."""
        self._watches.clear()
        if self._lingering is not None:
            self._lingering.cancel()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _end_lingering(self) -> None:
        self._lingering = None
        self._stop_if_alone()

    def _stop_if_alone(self) -> None:
        if not self._watches and self._lingering is None and self._task is not None:
            self._task.cancel()
            self._task = None
            self._last = None
            self._new.clear()

    def _take_in(self, items: Sequence[Sample | SourceFailedError]) -> None:
        self.received += len(items)
        self._last = items[-1]
        # An id is that of an item for as long as the item is kept.
        self._new = {id(item): (item, {}) for item in items}
        for watch in tuple(self._watches):
            for item in items:
                watch.offer(item)

    async def _receive(self) -> None:
        try:
            await self._client.configure_stream(self.name, "queue", last_sample=True)
            while True:
                try:
                    self._take_in(await self._client.get_samples(self.name, block=True, max_samples=_MOST_AT_ONCE))
                except SourceFailedError as error:
                    self._take_in([error])
                except (ClosedError, UnknownStreamError):
                    return
                except (TransportError, NoDataError):
                    # The server is away; the stream goes on when it is back.
                    await asyncio.sleep(_AGAIN_S)
                except OneLinerError as error:
                    _log.warning("stream %s: %s", self.name, error)
                    await asyncio.sleep(_AGAIN_S)
                await asyncio.sleep(0)  # A queue that is full of samples leaves everybody else their turn.
        finally:
            # Unless the next watcher has begun anew meanwhile.
            if self._task is None or self._task is asyncio.current_task():
                with contextlib.suppress(OneLinerError):
                    self._client.unconfigure_stream(self.name)
