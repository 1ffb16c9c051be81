"""What `/ws/stream` shows to all at once, and the switch that HTTP and the sockets share.

Connections that want the same (streams, rate, form) are a *group*: a sample is written once for all of it, however many
they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np

from one_liner.aio import Sample, anew, in_background
from one_liner.errors import OneLinerError, SourceFailedError
from one_liner.gateway.faults import fault_message
from one_liner.gateway.frames import binary_frame
from one_liner.gateway.json_values import dumps
from one_liner.gateway.outbox import Content, Outbox
from one_liner.gateway.pieces import is_large, json_text
from one_liner.gateway.rigs import Rigs
from one_liner.gateway.settings import Settings
from one_liner.gateway.watch import Watch

_SINE_POINTS = 100
_NOISE = 0.1
_EARLY = 0.98  # No two clocks run alike, and of a stream that is as fast as was wished no sample is to wait for ours.


class Wish(NamedTuple):
    """What a connection wants to see.

    Attributes:
        streams: their names; none for a noisy sine.
        rate_hz: how often.
        binary: whether data come as binary frames.
    """

    streams: tuple[str, ...]
    rate_hz: float
    binary: bool = False


class Broadcast:
    """The switch, and the groups.

    Args:
        rigs: where streams are.
        settings: which one, and how often.

    Attributes:
        streaming: whether data are sent.
    """

    def __init__(self, rigs: Rigs, settings: Settings) -> None:
        self._rigs = rigs
        self.default = Wish(() if settings.stream is None else (settings.stream,), settings.stream_hz)
        self.streaming = False
        self._groups: dict[Wish, Group] = {}

    @property
    def connections(self) -> int:
        """How many are connected."""
        return sum(len(group.members) for group in self._groups.values())

    def join(self, outbox: Outbox, wish: Wish) -> None:
        """One more is connected, and told first whether data are sent."""
        outbox.put(self.status())
        group = self._groups.get(wish)
        if group is None:
            group = self._groups[wish] = Group(self._rigs, wish)
        group.members.add(outbox)
        if self.streaming:
            group.start()

    async def leave(self, outbox: Outbox, wish: Wish) -> None:
        """One less; with the last one the data stop."""
        group = self._groups[wish]
        group.members.discard(outbox)
        if not group.members:
            del self._groups[wish]
            await group.stop()
        if not self._groups:
            self.streaming = False

    def start(self) -> None:
        """Send data; all are told before the first comes."""
        self.streaming = True
        self._tell()
        for group in self._groups.values():
            group.start()

    async def stop(self) -> None:
        """Send none, and tell all."""
        self.streaming = False
        for group in tuple(self._groups.values()):
            await group.stop()
        self._tell()

    async def close(self) -> None:
        """Send none any more."""
        self.streaming = False
        for group in tuple(self._groups.values()):
            await group.stop()

    def status(self) -> str:
        """The message that says whether data are sent."""
        return dumps({"type": "status", "streaming": self.streaming}).decode()

    def _tell(self) -> None:
        status = self.status()
        for group in self._groups.values():
            for outbox in tuple(group.members):
                outbox.put(status)


class Group:
    """Connections that want the same.

    Args:
        rigs: where streams are.
        wish: what they want.

    Attributes:
        members: their outboxes.
    """

    def __init__(self, rigs: Rigs, wish: Wish) -> None:
        self._rigs, self._wish = rigs, wish
        self.members: set[Outbox] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Send, from now on."""
        if self._task is None:
            self._task = in_background(anew(self._run), "one_liner broadcast")

    async def stop(self) -> None:
        """Send no more. Nothing is sent once this has returned."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        if not self._wish.streams:
            await self._show_sine()
            return
        filled, watches = asyncio.Event(), dict[str, Watch]()
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as together:
            for name in self._wish.streams:
                finding = self._find(name, watches, stack, filled)
                together.create_task(finding, name=f"one_liner look for {name}")
            await self._follow(watches, filled)

    async def _find(
        self, name: str, watches: dict[str, Watch], stack: contextlib.AsyncExitStack, filled: asyncio.Event
    ) -> None:
        """Watch a stream as soon as there is one of this name; until then, tell those who wait why there is none."""
        while True:
            try:
                rig, own_name = await self._rigs.locate(name)
                await rig.check_stream(own_name)
            except OneLinerError as error:
                self._send(dumps(fault_message(error, stream=name)).decode(), None)
                await asyncio.sleep(1.0)
            else:
                watches[name] = await stack.enter_async_context(rig.watch(own_name, filled=filled))
                return

    async def _show_sine(self) -> None:
        """Send it at a fixed rate; where sending takes longer, ticks are left out."""
        loop = asyncio.get_running_loop()
        period_s = 1.0 / self._wish.rate_hz
        due = loop.time()
        while True:
            self._send(_sine(self._wish.binary), None)
            due = max(due + period_s, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _follow(self, watches: Mapping[str, Watch], filled: asyncio.Event) -> None:
        """Send what is new as soon as it is there, but not more often than was wished."""
        loop = asyncio.get_running_loop()
        pause_s = _EARLY / self._wish.rate_hz
        due = loop.time()
        while True:
            await filled.wait()
            filled.clear()
            for name, watch in tuple(watches.items()):
                item = watch.newest()
                if item is not None:
                    await self._send_item(name, item)
            # One that came late does not delay those after it.
            now = loop.time()
            due = max(due + pause_s, now + pause_s / 2)
            await asyncio.sleep(due - now)

    async def _send_item(self, name: str, item: Sample | SourceFailedError) -> None:
        if isinstance(item, SourceFailedError):
            self._send(dumps(fault_message(item, stream=name)).decode(), None)
            return
        large = is_large(item.data)
        if self._wish.binary:
            head = {"type": "data", "stream": name, "timestamp": item.wall_time, "sequence": item.sequence}
            content: Content = (
                await asyncio.to_thread(binary_frame, head, item.data) if large else binary_frame(head, item.data)
            )
        else:
            content = await asyncio.to_thread(_as_json, name, item) if large else _as_json(name, item)
        self._send(content, name if large else None)

    def _send(self, content: Content, key: Hashable) -> None:
        for outbox in tuple(self.members):
            outbox.put(content, key=key, droppable=True)


def _as_json(name: str, sample: Sample) -> str:
    return json_text(_data(name, sample))


def _data(name: str, sample: Sample) -> dict[str, Any]:
    """A sample as a message: `y` the values, `x` their places along the last axis.

    A single value is a row of one, at its instant.
    """
    value = sample.data
    array = _as_array(value)
    message: dict[str, Any] = {
        "type": "data",
        "timestamp": sample.wall_time,
        "stream": name,
        "sequence": sample.sequence,
    }
    if array is None or array.dtype.hasobject:
        return {**message, "shape": [], "dtype": type(value).__name__, "x": [], "y": value}
    if array.ndim == 0:
        array = array.reshape(1)
        x, y = [sample.wall_time], array
    else:
        x, y = list(range(array.shape[-1])), value
    return {**message, "shape": list(array.shape), "dtype": str(array.dtype), "x": x, "y": y}


def _as_array(value: Any) -> np.ndarray[Any, Any] | None:
    """What has a shape; None for what has none."""
    if not isinstance(value, int | float | list | tuple | np.ndarray | np.generic):
        return None
    try:
        return np.asarray(value)
    except ValueError:
        return None  # Lists of different lengths in a list.


def _sine(binary: bool) -> Content:
    """A noisy sine, which moves: something to see where no stream was chosen."""
    now = time.time()
    x = np.linspace(0.0, 4 * np.pi, _SINE_POINTS)
    y = np.sin(x + now % (2 * np.pi)) + np.random.default_rng().normal(0.0, _NOISE, _SINE_POINTS)
    head = {"type": "data", "timestamp": now}
    if binary:
        return binary_frame(head, y)
    return dumps({**head, "shape": list(y.shape), "dtype": str(y.dtype), "x": x.tolist(), "y": y.tolist()}).decode()
