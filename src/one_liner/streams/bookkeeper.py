"""The ledger of a server, as a stream of its own.

It is made once per second, and only while somebody is subscribed to it; otherwise its thread sleeps. Its name begins
with a colon, which no other stream may have, so that it stands beside whatever is served, and behind routers under
their prefix like any stream: `north/:ledger`.
"""

from __future__ import annotations

import logging
from contextlib import closing
from threading import Thread, current_thread
from typing import Any, Final

import zmq

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.clock import Clock
from one_liner.errors import ClosedError
from one_liner.rpc.sessions import Sessions
from one_liner.streams.names import OWN
from one_liner.streams.readers import ReaderReports
from one_liner.streams.registry import Stream, StreamKind, StreamRegistry
from one_liner.transport.fanout import Fanout, Publisher
from one_liner.transport.sockets import Context, Doorbell
from one_liner.wire.codec import Codec
from one_liner.wire.serializers import serializer_of

LEDGER: Final = f"{OWN}ledger"
INTERVAL_S: Final = 1.0
_log = logging.getLogger("one_liner.streams.bookkeeper")


class Bookkeeper:
    """Publishes the ledger. `run` and `close` may be called from any thread, each once.

    Args:
        registry: whose streams are accounted for.
        sessions: whose readers report.
        fanout: where samples go.
        context: the context its sockets belong to.
        codec: writes the samples.
        origin: random number of the server.
        clock: the server's clock.

    Attributes:
        stream: the ledger, as a stream.
        readers: what the readers report.
        followed: whether somebody listens.
    """

    def __init__(
        self,
        registry: StreamRegistry,
        sessions: Sessions,
        fanout: Fanout,
        context: Context,
        *,
        codec: Codec,
        origin: int,
        clock: Clock,
    ) -> None:
        written = serializer_of("msgpack", codec, allow_pickle=False)
        self.stream = Stream(
            LEDGER, StreamKind.PERIODIC, written, codec, origin, frequency_hz=1 / INTERVAL_S, on_demand=True
        )
        self.readers = ReaderReports(sessions)
        self.followed = False
        self._registry = registry
        self._fanout, self._context = fanout, context
        self._clock = clock
        self._stopping = False
        self._thread: Thread | None = None

    def run(self) -> None:
        """Begin to listen for subscribers."""
        self._doorbell = Doorbell(self._context, "bookkeeper")
        self._thread = BackgroundThread(self._run, "bookkeeper", pause_s=PAUSE_S)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and close its sockets. Harmless before `run`."""
        self.stream.retire()
        self._stopping = True
        if self._thread is None or self._thread.ident is None:
            return
        self._doorbell.ring()
        if self._thread is not current_thread():
            self._thread.join()

    def _run(self) -> None:
        try:
            publisher = self._fanout.publisher(hears_subscriptions=True)
            with closing(publisher):
                self._serve(publisher)
        except (ClosedError, zmq.ContextTerminated) as error:
            _log.debug("the ledger ends: %s", error)
        self._doorbell.close()

    def _serve(self, publisher: Publisher) -> None:
        poller = zmq.Poller()
        poller.register(publisher.descriptor, zmq.POLLIN)
        poller.register(self._doorbell.socket, zmq.POLLIN)
        due: float | None = None  # None while nobody listens
        while not self._stopping:
            now = self._clock.now()
            self.followed = publisher.listens(self.stream.topic)
            if not self.followed:
                if due is not None:
                    # Whoever comes next is not to begin with how things were when the last one went.
                    self.stream.forget()
                    self.readers.forget()
                    due = None
                    continue  # Whoever repeated the last one meanwhile may have taken notice of a subscriber.
            elif due is None or now >= due:
                self.stream.publish(self._balance(publisher, now), now, self._clock, publisher.send)
                due = now + INTERVAL_S if due is None else max(due + INTERVAL_S, now)
            poller.poll(None if due is None else max(1, int((due - now) * 1000)))
            self._doorbell.answer()

    def _balance(self, publisher: Publisher, now: float) -> dict[str, Any]:
        """What became of the samples of every stream until now, here and at those readers that have reported."""
        return {
            "streams": {
                stream.name: {**stream.account(), "listened": publisher.listens(stream.topic)}
                for stream in self._registry.all()
            },
            "readers": self.readers.by_stream(now),
        }
