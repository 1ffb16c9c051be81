"""The streams of a server: how they are added, run, pushed to, relayed and removed.

What streams there are is in `one_liner.streams.registry`, who calls their functions in `one_liner.streams.ticker`, and
how samples leave in `one_liner.transport.fanout`; here these are brought together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from one_liner.cascade import Cascade
from one_liner.clock import Clock
from one_liner.config import check_arguments, check_instant
from one_liner.errors import ConfigurationError, ForkedError, UnknownStreamError
from one_liner.events.event import Topic
from one_liner.limits import Limits
from one_liner.rpc.exposure import Exposure
from one_liner.streams.configuration import StreamConfigurations
from one_liner.streams.names import OWN
from one_liner.streams.registry import Stream, StreamKind, StreamRegistry
from one_liner.streams.relay import StreamRelay
from one_liner.streams.schedule import check_frequency
from one_liner.streams.sources import AttributeSource, FunctionSource, Source, return_type_of, text_of
from one_liner.streams.ticker import Tickers
from one_liner.transport.endpoints import port_of
from one_liner.transport.fanout import Fanout
from one_liner.transport.security import ClientCurve
from one_liner.transport.sockets import Context, closing_on_error
from one_liner.uninterrupted import uninterrupted
from one_liner.wire.codec import Codec
from one_liner.wire.messages import ROUTE_SEPARATOR, Encoding, Kind, SampleMessage, Stamp, topic_of
from one_liner.wire.serializers import serializer_of


class Broadcast:
    """All that a server broadcasts. May be used from any thread.

    What its methods take, and raise, is said at those of `RouterServer` that have their names.

    Args:
        registry: of the server's streams.
        fanout: by which they leave.
        tickers: call their functions.
        exposure: what streams may be made of.
        cascade: the routers, whose prefixes are taken.
        context: for relays.
        origin: random number of the server.
        codec: for values.
        clock: the server's clock.
        heartbeat_s: how often relays look for their publishers, in s.
        limits: how much relays take.
        allow_pickle: whether streams may be pickled.
        lock: under which it is looked whether a name may be added, and added.
        check_open: raises when the server is closed.
        changed: is told of every change in what there is.
    """

    def __init__(
        self,
        registry: StreamRegistry,
        fanout: Fanout,
        tickers: Tickers,
        exposure: Exposure,
        cascade: Cascade,
        *,
        context: Context,
        origin: int,
        codec: Codec,
        clock: Clock,
        heartbeat_s: float,
        limits: Limits,
        allow_pickle: bool,
        lock: Lock,
        check_open: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._registry, self._fanout, self._tickers = registry, fanout, tickers
        self._exposure, self._cascade, self._context = exposure, cascade, context
        self._origin, self._codec, self._clock = origin, codec, clock
        self._heartbeat_s, self._limits, self._allow_pickle = heartbeat_s, limits, allow_pickle
        self._lock, self._check_open, self._changed = lock, check_open, changed
        self._pid = os.getpid()
        self._events = serializer_of("msgpack", codec, allow_pickle=False)
        self._push = fanout.publisher()

    # --- streams of the application ---------------------------------------------------------------------------------

    def add_stream(
        self,
        stream_name: str,
        frequency_hz: float,
        obj_name: str,
        attr_name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        enabled: bool = True,
        serializer: Any = "msgpack",
        *,
        on_demand: bool = False,
    ) -> None:
        """Call a method, or read a property, of a served object at a rate."""
        args, kwargs = check_arguments(stream_name, args, kwargs)
        source = AttributeSource(self._exposure, obj_name, attr_name, args, kwargs)
        function = getattr(type(self._exposure.get(obj_name.partition(".")[0])), attr_name, None)
        self._add_periodic(
            stream_name,
            frequency_hz,
            source,
            f"{obj_name}.{attr_name}" if attr_name else obj_name,
            getattr(function, "fget", function),
            enabled,
            serializer,
            on_demand,
        )

    def add_stream_from_callable(
        self,
        stream_name: str,
        frequency_hz: float,
        func: Callable[..., Any],
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        enabled: bool,
        serializer: Any,
        *,
        on_demand: bool,
    ) -> None:
        """Call a function at a rate."""
        args, kwargs = check_arguments(stream_name, args, kwargs)
        source = FunctionSource(self._exposure, func, args, kwargs)
        self._add_periodic(stream_name, frequency_hz, source, text_of(func), func, enabled, serializer, on_demand)

    def get_stream_fn(self, name: str, set_timestamp: bool, serializer: Any) -> Callable[..., bool]:
        """A function that broadcasts what it is given."""
        written = serializer_of(serializer, self._codec, allow_pickle=self._allow_pickle)
        stream = self._add(
            Stream(name, StreamKind.MANUAL, written, self._codec, self._origin, source_text="the application"),
            unless_alike=True,
        )
        clock, send, pid = self._clock, self._push.send, self._pid

        def push_at(timestamp: float, data: Any) -> bool:
            """Broadcast `data`, measured at `timestamp`; False when it was not."""
            check_instant(timestamp)
            return broadcast(timestamp, data)

        def push(data: Any) -> bool:
            """Broadcast `data`, measured now; False when it was not."""
            return broadcast(clock.now(), data)

        def broadcast(timestamp: float, data: Any) -> bool:
            if os.getpid() != pid:
                raise ForkedError(f"stream {name!r} was made before a fork; make its server in the child process")
            return stream.enabled and stream.push(data, timestamp, clock, send)

        return push_at if set_timestamp else push

    @uninterrupted
    def add_zmq_stream(
        self,
        name: str,
        address: str,
        enabled: bool,
        log_chatter: bool,
        topic: str | bytes | None,
        curve: ClientCurve | None,
    ) -> None:
        """Relay a PUB socket."""
        if not isinstance(address, str) or "://" not in address:
            raise ConfigurationError(
                f"an address is written tcp://host:port, ipc://path or inproc://name, not {address!r}"
            )
        port = port_of(address)
        if address.startswith("tcp:") and not (isinstance(port, int) and 0 < port <= 65535):
            raise ConfigurationError(f"{address!r} is no address of a publisher: a tcp port is from 1 to 65535")
        if topic is not None and not isinstance(topic, str | bytes):
            raise ConfigurationError(f"a topic is text or bytes, not {topic!r}")
        raw = serializer_of(None, self._codec, allow_pickle=False)
        stream = Stream(name, StreamKind.ZMQ, raw, self._codec, self._origin, source_text=address, enabled=enabled)
        self._check_open()
        publisher = self._fanout.publisher(hears_subscriptions=True)
        with closing_on_error(publisher):
            relay = stream.feeder = StreamRelay(
                stream,
                self._context,
                publisher,
                address,
                topic=topic.encode() if isinstance(topic, str) else topic,
                origin=self._origin,
                heartbeat_s=self._heartbeat_s,
                clock=self._clock,
                log_chatter=log_chatter,
                curve=curve,
                limits=self._limits,
            )
        with closing_on_error(relay):
            self._add(stream)
            relay.start()

    def enable_stream(self, name: str) -> None:
        """Have a stream run."""
        self._check_not_own(name)
        self._set_enabled(name, True)

    def disable_stream(self, name: str) -> None:
        """Have a stream pause."""
        self._check_not_own(name)
        self._set_enabled(name, False)

    @uninterrupted
    def remove_stream(self, name: str) -> None:
        """Remove a stream. When this returns, nothing of it is published any more."""
        self._check_not_own(name)
        with self._lock:
            stream = self._registry.get(name)
            self._silence(stream)
            self._registry.remove(name)
        self._dismiss(stream)

    def configurations(self, trail: tuple[int, ...]) -> StreamConfigurations:
        """What can be said of every stream, of those behind routers too.

        Args:
            trail: the servers that who asks has passed, this one included.
        """
        return StreamConfigurations({**self._registry.configurations(), **self._cascade.stream_configurations(trail)})

    def mark(self, name: str, stream: Stream | None) -> None:
        """Publish under a name that a subscriber made up behind that of a stream: its last sample, if there is one.

        Args:
            name: the made-up one.
            stream: that stream; None when there is none now.
        """
        if stream is not None and stream.repeat(topic_of(name)):
            return
        now = Stamp(self._clock.now())
        marker = SampleMessage(Kind.MARKER, 0, self._origin, Encoding.RAW, now, self._clock.wall(), b"")
        self._push.send(marker.encode(topic_of(name)))

    # --- streams that the server publishes about itself ---------------------------------------------------------------

    @uninterrupted
    def add_own(self, stream: Stream) -> None:
        """Add one."""
        with self._lock:
            self._check_open()
            replaced = self._registry.add(stream)
        self._dismiss(replaced)

    @uninterrupted
    def remove_own(self, name: str) -> None:
        """Remove one, if it is there."""
        if self._registry.find(name) is not None:
            self._dismiss(self._registry.remove(name))

    def send_event(self, topic: Topic, message: SampleMessage) -> None:
        """Send an event, on the stream of its topic, which is made with the first one."""
        stream = self._registry.find(topic.stream)
        if stream is None:
            stream = Stream(
                topic.stream, StreamKind.MANUAL, self._events, self._codec, self._origin, source_text="the server"
            )
            self._registry.add(stream)
            self._changed()
        stream.publish_frames(message, self._push.send)

    # --- the end ------------------------------------------------------------------------------------------------------

    def retire(self) -> None:
        """Publish nothing any more. May be interrupted, and done again."""
        for stream in self._registry.all():
            stream.retire()
            if stream.feeder is not None:
                stream.feeder.close()

    def close(self) -> None:
        """Give the socket of the application back. Any number of times."""
        self._push.close()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _add_periodic(
        self,
        name: str,
        frequency_hz: float,
        source: Source,
        source_text: str,
        function: Any,
        enabled: bool,
        serializer: Any,
        on_demand: bool,
    ) -> None:
        self._add(
            Stream(
                name,
                StreamKind.PERIODIC,
                serializer_of(serializer, self._codec, allow_pickle=self._allow_pickle),
                self._codec,
                self._origin,
                source=source,
                source_text=source_text,
                frequency_hz=check_frequency(frequency_hz),
                enabled=bool(enabled),
                on_demand=on_demand,
                return_type=return_type_of(function),
            )
        )

    @uninterrupted
    def _add(self, stream: Stream, *, unless_alike: bool = False) -> Stream:
        """Add a stream, in place of any other of its name. Returns it, or the one that is alike and stays."""
        with self._lock:
            self._check_addable(stream)
            present = self._registry.find(stream.name)
            if present is not None:
                if unless_alike and present.is_like(stream):
                    return present
                self._silence(present)
            self._registry.add(stream)
        self._dismiss(present)
        return stream

    def _silence(self, stream: Stream) -> None:
        """Have a stream publish nothing any more, and what it has published be ahead of all that comes."""
        stream.retire()
        if stream.way is not None:
            self._fanout.settle(stream.way)

    def _check_addable(self, stream: Stream) -> None:
        self._check_open()
        if stream.name.startswith(OWN):
            raise ConfigurationError(
                f"names of streams that begin with {OWN!r} are the server's own, not {stream.name!r}"
            )
        prefix, separator, _ = stream.name.partition(ROUTE_SEPARATOR)
        if separator and prefix in self._cascade:
            raise ConfigurationError(f"streams named {prefix}/… are those of router {prefix!r}")

    def _check_not_own(self, name: str) -> None:
        if name.startswith(OWN):
            raise UnknownStreamError(f"{name!r} cannot be changed: a server's own runs while somebody listens")

    def _dismiss(self, stream: Stream | None) -> None:
        """Tidy up behind a stream that was removed or replaced, and have everybody look again."""
        if stream is not None and stream.feeder is not None:
            stream.feeder.close()
        self._tickers.tend()
        self._changed()

    def _set_enabled(self, name: str, enabled: bool) -> None:
        stream = self._registry.get(name)
        if enabled and not stream.enabled:
            stream.timing.reset()
        stream.enabled = enabled
        if stream.feeder is not None:
            stream.feeder.wake()
        self._tickers.tend()
