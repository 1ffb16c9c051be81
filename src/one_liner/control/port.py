"""The thread of a control service: it owns the ROUTER of commands, and keeps the heartbeat.

The ROUTER serves REQ peers and DEALERs, any number at once. It never waits for a handler: those are the desk's, on
workers, and what they give comes back as an errand through the doorbell.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from threading import Event, current_thread
from typing import Final

import zmq

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.clock import Clock
from one_liner.control.desk import Desk, Envelope
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.sockets import (
    BoundSocket,
    Context,
    Curve,
    Doorbell,
    closing_on_error,
    open_socket,
    receive_with_key,
)

_MAX_FRAME_BYTES: Final = 1 << 24  # Beyond this libzmq drops the connection; what is too long for us is answered.
_HEARTBEAT_S: Final = 1.0  # libzmq's own, to notice peers that died
_IN_A_ROW: Final = 100
_log = logging.getLogger("one_liner.control.port")
Errand = Callable[[], None]


class CommandPort:
    """Where commands come in. The address is bound by the constructor; answering begins with `run`.

    Args:
        context: of its sockets.
        endpoint: where peers connect.
        beat: called every `beat_s`, on the thread of the port.
        beat_s: how often, in s.
        clock: the time.
        curve: keys, if not everybody who can reach the address may come in.

    Raises:
        PortInUseError: somebody has this address; nothing stays bound.
    """

    def __init__(
        self,
        context: Context,
        endpoint: Endpoint,
        *,
        beat: Callable[[], object],
        beat_s: float,
        clock: Clock,
        curve: Curve | None = None,
    ) -> None:
        router = open_socket(
            context,
            zmq.ROUTER,
            heartbeat_s=None if endpoint.protocol == "inproc" else _HEARTBEAT_S,
            max_message_bytes=_MAX_FRAME_BYTES,
            ipv6=endpoint.is_ipv6,
            curve=curve,
        )
        router.setsockopt(zmq.ROUTER_HANDOVER, 1)  # A peer that connects again takes its identity with it.
        self._bound = BoundSocket(router, endpoint)
        with closing_on_error(router):
            self._doorbell = Doorbell(context, "control")
        self._router, self._secured = router, curve is not None
        self._beat, self._beat_s, self._clock = beat, beat_s, clock
        self._next_beat = clock.now()
        self._errands: deque[Errand] = deque()
        self._desk: Desk | None = None
        self._stopping = False
        self._stopped = Event()
        self._thread = BackgroundThread(self._serve, f"control {self.endpoint}", pause_s=PAUSE_S)

    @property
    def endpoint(self) -> Endpoint:
        """Where peers connect, with the port that was taken."""
        return self._bound.endpoint

    def run(self, desk: Desk) -> None:
        """Start answering."""
        self._desk = desk
        self._thread.start()

    def post(self, errand: Errand) -> None:
        """Have something done on the thread of the port; from any thread. Not after `close`."""
        self._errands.append(errand)
        self._doorbell.ring()

    def send(self, envelope: Envelope, body: bytes) -> None:
        """Answer a peer; one that is gone gets nothing. Only on the thread of the port."""
        self._router.send_multipart([*envelope, body], zmq.NOBLOCK)

    def close(self) -> None:
        """Tell everybody who waits, give the address back and close the sockets."""
        self._stopping = True
        if self._thread.ident is None:  # Never run.
            self._release()
            return
        self._doorbell.ring()
        if self._thread is not current_thread():
            self._thread.join()

    def _serve(self) -> None:
        assert self._desk is not None
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._doorbell.socket, zmq.POLLIN)
        try:
            while not self._stopping:
                ready = dict(poller.poll(self._timeout_ms(self._desk)))
                if self._doorbell.socket in ready:
                    self._doorbell.answer()
                if self._router in ready:
                    self._receive(self._desk)
                self._run_errands()
                self._desk.remind()
                self._keep_beat()
            self._run_errands()
            self._desk.close()
        except zmq.ContextTerminated:
            _log.debug("context terminated under the control service at %s", self.endpoint)
        self._release()

    def _receive(self, desk: Desk) -> None:
        for _ in range(_IN_A_ROW):
            try:
                frames, key = self._next_message()
            except zmq.Again:
                return
            # REQ puts an empty frame between the address and what is said; a DEALER may.
            end = frames.index(b"", 1) + 1 if b"" in frames[1:] else 1
            desk.receive(frames[:end], frames[end:], key)

    def _next_message(self) -> tuple[list[bytes], str | None]:
        if not self._secured:
            return self._router.recv_multipart(zmq.NOBLOCK), None
        connection, key = receive_with_key(self._router, zmq.NOBLOCK)
        more = self._router.recv_multipart() if self._router.getsockopt(zmq.RCVMORE) else []
        return [connection, *more], key

    def _run_errands(self) -> None:
        while self._errands:
            self._errands.popleft()()

    def _keep_beat(self) -> None:
        now = self._clock.now()
        if now >= self._next_beat:
            self._next_beat = max(self._next_beat + self._beat_s, now)
            self._beat()

    def _timeout_ms(self, desk: Desk) -> int:
        until_beat_s = max(0.0, self._next_beat - self._clock.now())
        patience_s = desk.timeout_s()
        wait_s = until_beat_s if patience_s is None else min(until_beat_s, patience_s)
        return int(wait_s * 1000) + 1

    def _release(self) -> None:
        self._bound.release()
        self._doorbell.close()
