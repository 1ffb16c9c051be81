"""The backend that joins gateways over a carrier: it numbers, buffers and counts, and connects again by itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from one_liner.aio import anew, in_background, stopped
from one_liner.errors import BrokerLostError, MalformedError
from one_liner.gateway.backends.backend import BackendStatistics
from one_liner.gateway.backends.carrier import Carrier, Connection
from one_liner.gateway.backends.continuity import MOST_ORIGINS, Continuity
from one_liner.gateway.backends.envelope import Envelope
from one_liner.gateway.event import Event
from one_liner.gateway.rpc.frames import new_id

BEAT_S: Final = 2.0
"""How often a gateway tells how far it has come, so that the others notice what they lost."""

_MOST_WAITING = 10_000
_MOST_WAITING_BYTES = 64 << 20
_MOST_AT_ONCE = 500
_SOONEST_S, _LATEST_S = 0.1, 2.0
_OTHERS_RETURN_S = 3.0

_log = logging.getLogger("one_liner.gateway.backends")


class Exchange:
    """Joins this gateway with all others on the same carrier.

    An event arrives once at each of them. While the carrier cannot be reached, events wait, bounded; what does not fit
    is counted as `unsent` here and as `lost` at the others. What the carrier itself lost is counted there, too.

    Args:
        carrier: takes the bytes.
    """

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._origin = new_id()
        self._sequence = 0
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._beat_asked = False
        self._leaving = False
        self._heard_at: dict[str, float] = {}
        self._heard_more = asyncio.Event()
        self._continuity = Continuity()
        self._connected = False
        self._connections = 0
        self._sent = self._unsent = 0
        self._task: asyncio.Task[None] | None = None
        self._deliver: Callable[[Event], None] = _to_nobody

    @property
    def statistics(self) -> BackendStatistics:
        """Where the events went, until now."""
        return BackendStatistics(
            self._connected,
            self._sequence,
            self._sent,
            self._unsent,
            len(self._waiting),
            self._continuity.received,
            self._continuity.lost,
            self._continuity.duplicates,
            max(0, self._connections - 1),
        )

    async def start(self, deliver: Callable[[Event], None]) -> None:
        """Join the others, now or as soon as the carrier can be reached."""
        self._deliver = deliver
        self._leaving = False
        self._task = in_background(anew(self._stay_connected), f"one_liner gateways on {self._carrier.name}")

    async def close(self) -> None:
        """Leave. What still waits is given up."""
        self._leaving = True
        if self._task is not None:
            await stopped(self._task)
            self._task = None
        self._unsent += len(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0

    def publish(self, event: Event) -> None:
        """Have the others told, in order. Never waits."""
        self._sequence += 1
        message = Envelope(self._origin, self._sequence, event).to_bytes()
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        while len(self._waiting) > _MOST_WAITING or self._waiting_bytes > _MOST_WAITING_BYTES:
            self._take_first()
            self._unsent += 1
        self._wake.set()

    # --- the connection ----------------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        pause_s = _SOONEST_S
        while True:
            before = self._connections
            try:
                async with self._carrier.connect() as connection:
                    await self._serve(connection)
            except* BrokerLostError as errors:
                if self._connected or pause_s == _SOONEST_S:
                    _log.warning("cut off from %s: %s; trying again", self._carrier.name, _first(errors))
            except* Exception:
                _log.exception("something is wrong with %s; trying again", self._carrier.name)
            self._connected = False
            if self._leaving:
                return  # A group of tasks that was cancelled says only what else went wrong in it.
            pause_s = _SOONEST_S if self._connections > before else min(_LATEST_S, 2 * pause_s)
            await asyncio.sleep(pause_s)

    async def _serve(self, connection: Connection) -> None:
        if self._leaving:
            return  # A carrier's library may lose a cancelling, while it connects and while it sends.
        present = self._present()
        self._heard_at.clear()
        self._connections += 1
        self._connected = True
        _log.info("joined the gateways on %s", self._carrier.name)
        async with asyncio.TaskGroup() as together:
            together.create_task(self._receive_all(connection))
            together.create_task(self._send_all(connection, present))

    def _present(self) -> set[str]:
        """Which other gateways were there a moment ago."""
        since = time.monotonic() - 3 * BEAT_S - _LATEST_S
        return {origin for origin, at in self._heard_at.items() if at > since}

    async def _send_all(self, connection: Connection, present: set[str]) -> None:
        await connection.send([self._beat(is_question=True)])
        if self._waiting:
            await self._await_return(present)
        next_beat = time.monotonic() + BEAT_S
        while not self._leaving:
            while self._waiting and not self._leaving:
                await self._send_some(connection)
            # Events and beats in one task: a beat that overtook its events would make them seem lost.
            if self._beat_asked or time.monotonic() >= next_beat:
                self._beat_asked = False
                next_beat = time.monotonic() + BEAT_S
                await connection.send([self._beat()])
            await self._woken_or(next_beat)

    async def _woken_or(self, instant: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, instant - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _send_some(self, connection: Connection) -> None:
        some = [self._take_first() for _ in range(min(_MOST_AT_ONCE, len(self._waiting)))]
        try:
            await connection.send(some)
        except BaseException:
            # Perhaps they left, perhaps not. They are sent again: the others know what they had by its number.
            self._put_back(some)
            raise
        self._sent += len(some)

    async def _await_return(self, present: set[str]) -> None:
        """Those who were there before the connection broke should be back before they are told what they missed."""
        try:
            async with asyncio.timeout(_OTHERS_RETURN_S):
                while not present <= self._heard_at.keys():
                    self._heard_more.clear()
                    await self._heard_more.wait()
        except TimeoutError:
            _log.info(
                "%d gateway(s) have not come back to %s", len(present - self._heard_at.keys()), self._carrier.name
            )

    def _beat(self, *, is_question: bool = False) -> bytes:
        # How far we have come on the wire: what waits here is not missing there.
        return Envelope(self._origin, self._sequence - len(self._waiting), is_question=is_question).to_bytes()

    async def _receive_all(self, connection: Connection) -> None:
        async for message in connection.messages():
            try:
                envelope = Envelope.from_bytes(message)
            except MalformedError as error:
                _log.warning("on %s: %s", self._carrier.name, error)
                continue
            if envelope.origin != self._origin:
                self._receive(envelope)
        raise BrokerLostError(f"{self._carrier.name} ended")

    def _receive(self, envelope: Envelope) -> None:
        # The newest are behind: of gateways that come and go, the first ones are forgotten.
        self._heard_at.pop(envelope.origin, None)
        self._heard_at[envelope.origin] = time.monotonic()
        if len(self._heard_at) > MOST_ORIGINS:
            del self._heard_at[next(iter(self._heard_at))]
        self._heard_more.set()
        lost_before = self._continuity.lost
        if envelope.event is None:
            self._continuity.hear(envelope.origin, envelope.sequence)
            if envelope.is_question:
                self._beat_asked = True
                self._wake.set()
        elif self._continuity.take(envelope.origin, envelope.sequence):
            self._deliver(envelope.event)
        lost = self._continuity.lost - lost_before
        if lost:
            _log.warning("%d event(s) of another gateway were lost on %s", lost, self._carrier.name)

    # --- what waits --------------------------------------------------------------------------------------------------

    def _take_first(self) -> bytes:
        message = self._waiting.popleft()
        self._waiting_bytes -= len(message)
        return message

    def _put_back(self, messages: list[bytes]) -> None:
        self._waiting.extendleft(reversed(messages))
        self._waiting_bytes += sum(map(len, messages))


def _to_nobody(event: Event) -> None:
    """Nobody has started it yet."""


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
