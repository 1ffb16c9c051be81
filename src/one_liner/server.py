"""`RouterServer`: any Python objects, served in one line.

This file only composes: calls are answered by `one_liner.rpc.server`, streams are in `one_liner.streams.broadcast`,
jobs in `one_liner.commands.desk`, events told by `one_liner.events.emitter`, other servers reached through
`one_liner.cascade`; what a client may ask is in the `words` of each.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Event as Flag
from threading import Lock, Thread, current_thread
from typing import TYPE_CHECKING, Any

from one_liner.callbacks import Callback
from one_liner.cascade import Cascade, Hop
from one_liner.clock import SYSTEM_CLOCK, Clock
from one_liner.closing import Closing
from one_liner.commands.desk import CommandDesk
from one_liner.commands.info import JobInfo
from one_liner.commands.words import job_words
from one_liner.config import ServerConfig, check_interval
from one_liner.credentials import for_server, together
from one_liner.errors import (
    ClosedError,
    ConfigurationError,
    ForkedError,
)
from one_liner.events.beat import Beat, heartbeat_stream
from one_liner.events.emitter import Emitter
from one_liner.events.event import Event, Topic
from one_liner.events.inbox import Inbox, check_last
from one_liner.events.listening import calling
from one_liner.events.observer import Observation, Observer, observation_name
from one_liner.events.selection import Selection
from one_liner.events.words import event_words
from one_liner.limits import Limits, check_limits
from one_liner.rpc.dispatch import Dispatcher
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.hello import Hello, random_id, this_host, this_machine
from one_liner.rpc.lease import Leases
from one_liner.rpc.named import NamedCalls
from one_liner.rpc.naming import check_members, check_name
from one_liner.rpc.rules import RuleBook
from one_liner.rpc.server import RpcServer
from one_liner.rpc.sessions import Sessions
from one_liner.rpc.warden import Warden
from one_liner.rpc.words import lease_words, server_words
from one_liner.streams.bookkeeper import Bookkeeper
from one_liner.streams.broadcast import Broadcast
from one_liner.streams.configuration import StreamConfigurations
from one_liner.streams.registry import StreamRegistry
from one_liner.streams.schedule import check_frequency
from one_liner.streams.ticker import Tickers
from one_liner.streams.words import stream_words
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.fanout import Fanout, Publisher
from one_liner.transport.security import ClientCurve
from one_liner.transport.sockets import Context, closing_on_error, default_context
from one_liner.uninterrupted import uninterrupted
from one_liner.version import __version__
from one_liner.wire.codec import Codec
from one_liner.wire.messages import (
    ROUTE_SEPARATOR,
)
from one_liner.wire.serializers import serializer_of

if TYPE_CHECKING:
    from one_liner.keys import ClientsSource, KeyPair, KeySource
    from one_liner.rpc.description import ServerDescription
    from one_liner.rpc.permission import Permission
    from one_liner.transport.guard import Guard

Concurrent = Mapping[str, bool | Iterable[str]]
_CLOSE_JOBS_S = 0.3
_CLOSE_STREAMS_S = 0.5
_CLOSE_TIMEOUT_S = 2.0
_log = logging.getLogger("one_liner.server")


class RouterServer(Closing):
    """Serves objects, and streams what they measure.

    The ports are taken by the constructor; answering and streaming begin with `run`. All methods may be called from any
    thread, before and after `run`.

    Args:
        protocol: "tcp", "ipc" (not on Windows) or "inproc" (within this process and `context`).
        interface: for tcp a numeric address, the name of a network interface, or "*" for all of them; the default can
            be reached from this machine only. For ipc a path, for inproc any text.
        rpc_port: for calls; a number or text, 0 for a free one.
        broadcast_port: for streams, likewise.
        context: the ZeroMQ context to use; the process' own if None. It is not terminated by `close`.
        instances: objects, modules or functions to serve, by name. The dict is copied.
        config: `named_calls` and `periodic_streams`, each entry the arguments of `add_named_call` and `add_stream`.
        name: what this server is called in descriptions and errors; the host's name if None.
        concurrent: by object name, True or the names of those methods and properties that may run beside others.
        allow_pickle: whether streams may be pickled. Only for readers that you trust, and that trust you.
        heartbeat_s: how often dead peers are looked for, in s.
        clock: where the time is read; another one than the system's is for tests, and counts as another machine's.
        switch_interval_s: the interpreter's switch interval while the server runs, for the whole process. With a busy
            Python thread beside it, 0.0005 saves the ticks that the default of 0.005 costs.
        keys: the file with the server's keys (`one-liner keys make`); everything is encrypted then, and only clients
            whose keys are allowed come in. From `config` or `ONE_LINER_KEYS` if None.
        clients: who is allowed, for what: a file (`one-liner keys allow`), or roles by public key. From `config` or
            `ONE_LINER_CLIENTS` if None; more can be allowed at any time with `allow`.
        limits: how much of anything is taken from clients.

    Raises:
        ConfigurationError: an argument cannot be right. Nothing stays bound.
        PortInUseError: somebody has one of the ports. Nothing stays bound.
    """

    def __init__(
        self,
        protocol: str = "tcp",
        interface: str = "127.0.0.1",
        rpc_port: int | str = "5555",
        broadcast_port: int | str = "5556",
        context: Context | None = None,
        instances: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        concurrent: Concurrent | None = None,
        allow_pickle: bool = False,
        heartbeat_s: float = 1.0,
        clock: Clock = SYSTEM_CLOCK,
        switch_interval_s: float | None = None,
        keys: KeySource | None = None,
        clients: ClientsSource | None = None,
        limits: Limits | None = None,
    ) -> None:
        rpc_endpoint = Endpoint.of(protocol, interface, rpc_port)
        broadcast_endpoint = Endpoint.of(protocol, interface, broadcast_port)
        if rpc_endpoint.port != 0 and rpc_endpoint == broadcast_endpoint:
            raise ConfigurationError(f"calls and streams need two ports, not {rpc_port!r} for both")
        wanted = ServerConfig.read(config)
        security = wanted.security
        told = for_server(
            protocol,
            security.keys if keys is None else keys,
            security.clients if clients is None else clients,
        )
        self._limits = check_limits(limits)
        self.name = name or this_host()
        self._heartbeat_s = check_interval("heartbeat_s", heartbeat_s)
        self._switch_interval_s = (
            None if switch_interval_s is None else check_interval("switch_interval_s", switch_interval_s)
        )
        self._previous_switch_interval_s: float | None = None
        self._id = random_id()
        self._pid = os.getpid()
        self._codec = Codec(max_depth=self._limits.depth, max_elements=self._limits.elements)
        self._clock = clock
        self._context = context if context is not None else default_context()
        self._lock = Lock()
        self._serving = Lock()  # What is served, what was said of it, and what of it is observed, change together.
        self._cascade = Cascade()
        self._revision = 0
        self._running = False
        self._closed = False
        self._closer: Thread | None = None
        self._stopped = Flag()
        self._exposure = Exposure()
        self._named_calls = NamedCalls()
        self._registry = StreamRegistry()
        self._rules = RuleBook()
        self._leases = Leases()
        self._sessions = Sessions(self._limits.clients)
        self._state = "running"
        self._controls: dict[str, Callable[..., Any]] = {}  # Filled when all that answers them is there.
        self._msgpack = serializer_of("msgpack", self._codec, allow_pickle=False)
        self._emitter = Emitter(self._id, self._codec, self._clock, lambda *event: self._broadcast.send_event(*event))
        self._observer = Observer(self._emitter, self._exposure, self._codec)
        self._desk = CommandDesk(
            server=self._id,
            exposure=self._exposure,
            check_lease=lambda target, client, now: self._dispatcher.check_call(target, client, now),
            sessions=self._sessions,
            emitter=self._emitter,
            perform=lambda task: self._rpc.employ(task),
            codec=self._codec,
            clock=self._clock,
            limits=self._limits,
        )
        self._serve_all(instances or {}, concurrent or {})
        self._guard = None if told is None else self._make_guard(*told)
        guards = [] if self._guard is None else [self._guard]
        curve = None if self._guard is None else self._guard.curve
        with closing_on_error(*guards):
            for guard in guards:
                guard.open()
            self._fanout = Fanout(
                self._context, broadcast_endpoint, heartbeat_s=self._heartbeat_s, curve=curve, limits=self._limits
            )
        with closing_on_error(self._fanout, *guards):
            self._dispatcher = Dispatcher(
                server=self._id,
                exposure=self._exposure,
                named_calls=self._named_calls,
                rules=self._rules,
                leases=self._leases,
                sessions=self._sessions,
                controls=self._controls,
                was_set=self._observer.was_set,
                object_of_job=self._desk.object_of,
                codec=self._codec,
                clock=self._clock,
            )
            self._rpc = RpcServer(
                self._context,
                rpc_endpoint,
                server=self._id,
                name=self.name,
                dispatcher=self._dispatcher,
                exposure=self._exposure,
                sessions=self._sessions,
                hello=self._hello,
                codec=self._codec,
                heartbeat_s=self._heartbeat_s,
                clock=self._clock,
                curve=curve,
                clients=None if self._guard is None else self._guard.clients,
                limits=self._limits,
            )
        with closing_on_error(self._rpc, self._fanout, *guards):
            self._warden = Warden(
                self._exposure,
                self._rules,
                self._leases,
                self._sessions,
                self._clock,
                self._rpc.perform,
                self._drop_what_waits,
            )
            self._tickers = Tickers(self._registry, self._fanout, self._rpc, self._clock)
            self._broadcast = Broadcast(
                self._registry,
                self._fanout,
                self._tickers,
                self._exposure,
                self._cascade,
                context=self._context,
                origin=self._id,
                codec=self._codec,
                clock=self._clock,
                heartbeat_s=self._heartbeat_s,
                limits=self._limits,
                allow_pickle=allow_pickle,
                lock=self._lock,
                check_open=self._check_open,
                changed=self._changed,
            )
            self._bookkeeper = Bookkeeper(
                self._registry,
                self._sessions,
                self._fanout,
                self._context,
                codec=self._codec,
                origin=self._id,
                clock=self._clock,
            )
            self._controls.update(self._words())
        with closing_on_error(self):
            for call_name, call in wanted.named_calls.items():
                self.add_named_call(call_name, **call.arguments())
            for stream_name, stream in wanted.periodic_streams.items():
                self.add_stream(stream_name, **stream.arguments())
            for name, observed in wanted.observed_properties.items():
                obj_name, _, attr_name = name.rpartition(".")
                self.observe(obj_name, attr_name, **observed.arguments())

    # --- life --------------------------------------------------------------------------------------------------------

    def run(self, block: bool = False) -> None:
        """Start answering calls and broadcasting streams.

        Args:
            block: return only when the server was closed, by another thread or by Ctrl-C.

        Raises:
            ConfigurationError: it runs already.
            ClosedError: it was closed; make a new one.
            ForkedError: it was made in another process.
        """
        if not block:
            self._start()
            return
        try:
            self._start()
            while not self._stopped.wait(1.0):
                pass  # In slices, because Windows does not interrupt a wait without end.
        except KeyboardInterrupt:
            _log.info("%s was ended by Ctrl-C", self.name)
            self.close()

    def _start(self) -> None:
        self._check_process()
        self._start_all()
        _log.info("%s serves calls at %s and streams at %s", self.name, self.rpc_endpoint, self.broadcast_endpoint)
        if self._guard is not None and not self._guard.clients:
            _log.warning("%s lets nobody in: no client is allowed yet", self.name)
        if self._guard is None and not self._rpc.endpoint.is_local:
            _log.warning(
                "%s can be reached, and controlled, by every machine on its network; "
                "how to let in only those with a key: docs/how-to/keys.md",
                self.rpc_endpoint,
            )

    @uninterrupted
    def _start_all(self) -> None:
        with self._lock:
            self._check_open()
            if self._running:
                raise ConfigurationError("this server runs already")
            self._running = True
            if self._switch_interval_s is not None:
                self._previous_switch_interval_s = sys.getswitchinterval()
                sys.setswitchinterval(self._switch_interval_s)
            self._fanout.run()
            self._bookkeeper.run()
            self._tickers.run()
            self._rpc.run()  # Last: whoever is answered finds everything running.

    def close(self) -> None:
        """Stop everything and give the ports back.

        From any thread, any number of times, also before `run`. Returns within 2 s: a function of a served object that
        is under way is not waited for longer, its caller is told that it may or may not have run. What it returns is
        dropped.
        """
        if os.getpid() != self._pid:
            return  # The sockets belong to the parent process.
        first = False
        try:
            with self._lock:
                first, self._closed = not self._closed, True
                if first:
                    self._closer = current_thread()
            if first:
                self._stop()
            elif self._closer is not current_thread():
                self._stopped.wait(_CLOSE_TIMEOUT_S)
        except BaseException:
            if first:
                self._stop()  # Ctrl-C came in between: nothing may stay open all the same.
            raise
        finally:
            if first:
                self._stopped.set()

    def _stop(self) -> None:
        """Close everything. May be interrupted, and done again."""
        self._desk.close(_CLOSE_JOBS_S)
        self._emitter.close()
        self._tickers.close(_CLOSE_STREAMS_S)
        self._bookkeeper.close()
        self._broadcast.retire()
        self._warden.close()
        self._rpc.close()
        for hop in self._cascade.all():
            hop.close()
        self._broadcast.close()
        self._fanout.close()
        if self._guard is not None:
            self._guard.close()
        if self._previous_switch_interval_s is not None:
            sys.setswitchinterval(self._previous_switch_interval_s)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "running" if self._running else "not running yet"
        return f"<RouterServer {self.name!r} at {self.rpc_endpoint}, {state}>"

    # --- what it is --------------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        """The version of the library."""
        return __version__

    def get_version(self) -> str:
        """The version of the library."""
        return __version__

    @property
    def rpc_port(self) -> int | str:
        """The port of calls; the one that was taken when 0 was asked for. An int when it is a number."""
        return self._rpc.endpoint.port

    @property
    def broadcast_port(self) -> int | str:
        """The port of streams, likewise."""
        return self._fanout.endpoint.port

    @property
    def rpc_endpoint(self) -> str:
        """The full address of calls: `tcp://127.0.0.1:5555`."""
        return str(self._rpc.endpoint)

    @property
    def broadcast_endpoint(self) -> str:
        """The full address of streams."""
        return str(self._fanout.endpoint)

    @property
    def public_key(self) -> str | None:
        """The public key, which clients need as `server_key`; None for a server that is open to everybody."""
        return None if self._guard is None else self._guard.curve.keys.public

    @property
    def instances(self) -> dict[str, Any]:
        """What is served, by name; a copy."""
        return {name: self._exposure.get(name) for name in self._exposure.names()}

    def describe(self) -> ServerDescription:
        """Everything that is served, routers included. Data by `as_dict()`, for people by `str()`."""
        self._check_process()
        return self._description((self._id,))

    def running_calls(self) -> list[dict[str, Any]]:
        """What runs or waits now: `where` (`stage.move`), `who` (for which client), `for_s` (how long already)."""
        self._check_process()
        return [*self._rpc.running_calls(), *self._desk.running_calls()]

    def leases(self) -> list[dict[str, Any]]:
        """Who has exclusive control: `object` ("" for the whole server), `who`, `for_s` (since how many seconds)."""
        self._check_process()
        return self._warden.report()

    # --- who may come in ---------------------------------------------------------------------------------------------

    def allow(
        self,
        public_key: str | os.PathLike[str],
        role: str = "control",
        objects: Iterable[str] | None = None,
        name: str = "",
    ) -> None:
        """Let a client in, or change what it may do, at once; it may have been trying for long.

        Args:
            public_key: the client's, or the file that holds it.
            role: "read" (describe, read properties, call what is read-only, receive streams), "control" (call, set,
                enable and disable streams) or "admin" (add and remove streams, take leases by force).
            objects: names of objects, named calls, streams and routers that it is restricted to; None for all.
                Reading streams is not restricted by it.
            name: whose key it is, for messages.

        Raises:
            ConfigurationError: this server has no keys, the key is none, or there is no such role.
        """
        self._guarded().allow(public_key, role, objects, name)

    def disallow(self, public_key: str | os.PathLike[str]) -> None:
        """Let a client in no longer. Its requests are refused from now on, and it receives no streams any more.

        The broadcast connections of all clients are cut for that; the others are back within about 0.1 s, and count
        what they missed.

        Raises:
            ConfigurationError: this server has no keys, the key is none, or it was not allowed.
        """
        self._guarded().disallow(public_key)
        self._fanout.cut()

    def _guarded(self) -> Guard:
        self._check_process()
        if self._guard is None:
            raise ConfigurationError("this server has no keys, and so lets everybody in; give it keys=…")
        return self._guard

    # --- for adapters ------------------------------------------------------------------------------------------------

    @property
    def context(self) -> Context:
        """The ZeroMQ context of all its sockets."""
        return self._context

    @property
    def guard(self) -> Guard | None:
        """Keys and allow-list, for an adapter that opens a port of its own beside ours; None for an open server."""
        return self._guard

    def open_publisher(self) -> Publisher:
        """A way onto the broadcast address for an adapter whose messages are of another protocol.

        It is the adapter's to close, and to `hear` now and then. No topic of its may begin with text and a NUL.

        Raises:
            ClosedError: this server was closed.
        """
        self._check_process()
        return self._fanout.publisher(hears_subscriptions=True)

    # --- objects and calls -------------------------------------------------------------------------------------------

    def add_instance(
        self,
        name: str,
        obj: Any,
        concurrent: bool | Iterable[str] = (),
        *,
        urgent: Iterable[str] = (),
        read_only: Iterable[str] = (),
        safe_call: str = "",
        own_thread: bool = False,
    ) -> None:
        """Serve one more object, module or function.

        Args:
            name: what clients call it.
            obj: what is served.
            concurrent: True when everything of it may run beside everything else, or the names of those methods and
                properties that may.
            urgent: methods such as `stop` that run at once, beside a call that is under way, and in spite of a lease.
            read_only: methods that change nothing: they may be called while somebody else holds a lease. Properties
                can be read in any case.
            safe_call: a method that is called, without arguments, when a client that held a lease of the object dies.
            own_thread: use the object on one and the same thread, for drivers that insist on it (COM, sqlite3, locks
                that only their owner may release). That thread is not yours: such a driver has to open its connection
                in a call. Calls cost a change of thread, and streams are read there.

        Raises:
            ConfigurationError: the name cannot be, or is taken; or one of the others names what does not exist.
        """
        self._check_process()
        urgent = check_members("urgent", name, obj, urgent)
        read_only = check_members("read_only", name, obj, read_only)
        check_members("safe_call", name, obj, [safe_call] if safe_call else [])
        if urgent and concurrent is not True:
            concurrent = [*urgent, *check_members("concurrent", name, obj, concurrent or ())]
        with self._serving:
            self._exposure.add(name, obj, concurrent, own_thread)
            self._rules.add(name, urgent, read_only, safe_call)
        self._changed()

    def remove_instance(self, name: str) -> None:
        """Serve an object no longer. A call that is under way comes to its end.

        Raises:
            UnknownObjectError: there is none of this name.
        """
        self._check_process()
        with self._serving:
            self._exposure.remove(name)
            self._rules.remove(name)
        self._changed()

    def add_named_call(
        self,
        call_name: str,
        obj_name: str,
        attr_name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a call down, to be made by its name. One of the same name is replaced.

        Args:
            call_name: the name.
            obj_name: the object; it may be added later.
            attr_name: its method or property.
            args: arguments, which the caller's overwrite by index.
            kwargs: arguments by name, which the caller's overwrite by name.

        Raises:
            ConfigurationError: an argument is not of the kind that it has to be.
        """
        self._check_process()
        self._named_calls.add(call_name, obj_name, attr_name, args, kwargs)
        self._changed()

    def remove_named_call(self, call_name: str) -> None:
        """Forget a named call.

        Raises:
            UnknownObjectError: there is none of this name.
        """
        self._check_process()
        self._named_calls.remove(call_name)
        self._changed()

    # --- streams -----------------------------------------------------------------------------------------------------

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
        """Call a method, or read a property, of a served object at a rate, and broadcast what it gives.

        The tick takes the object's lane; one that finds a call there is skipped and counted. A stream of the same name
        is replaced.

        Args:
            stream_name: what readers configure.
            frequency_hz: ticks per second.
            obj_name: the served object.
            attr_name: its method or property.
            args: arguments.
            kwargs: arguments by name.
            enabled: whether it begins to run.
            serializer: "msgpack", "json", None (bytes as they are), a pair of functions (to bytes, from bytes), or
                "pickle" where that is allowed.
            on_demand: run only while somebody listens.

        Raises:
            ConfigurationError: the frequency is not positive and finite, or another argument cannot be right.
            UnknownObjectError, NotExposedError: there is no such thing to call.
        """
        self._check_process()
        self._broadcast.add_stream(
            stream_name,
            frequency_hz,
            obj_name,
            attr_name,
            args,
            kwargs,
            enabled,
            serializer,
            on_demand=on_demand,
        )

    def add_stream_from_callable(
        self,
        stream_name: str,
        frequency_hz: float,
        func: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        enabled: bool = True,
        serializer: Any = "msgpack",
        *,
        on_demand: bool = False,
    ) -> None:
        """Call a function at a rate, and broadcast what it gives.

        As `add_stream`; a method of a served object takes that object's lane here, too.

        Args:
            stream_name: what readers configure.
            frequency_hz: ticks per second.
            func: any callable.
            args: arguments.
            kwargs: arguments by name.
            enabled: whether it begins to run.
            serializer: as in `add_stream`.
            on_demand: run only while somebody listens.

        Raises:
            ConfigurationError: the frequency is not positive and finite, or another argument cannot be right.
        """
        self._check_process()
        self._broadcast.add_stream_from_callable(
            stream_name, frequency_hz, func, args, kwargs, enabled, serializer, on_demand=on_demand
        )

    def get_stream_fn(self, name: str, set_timestamp: bool = False, serializer: Any = "msgpack") -> Callable[..., bool]:
        """A function that broadcasts what it is given, for an application with a rate of its own.

        The function may be called from any thread. It never waits; it gives False when nobody can receive the sample
        any more, because the stream was disabled, removed or replaced, or the server closed. An exception as the value
        is sent as the failure of this sample.

        Args:
            name: the stream. Asked for twice with the same serializer, it is the same stream.
            set_timestamp: the function takes `(timestamp, data)` instead of `(data)`; in s on this machine's
                `time.perf_counter()`.
            serializer: as in `add_stream`.

        Raises:
            ConfigurationError: the name or the serializer cannot be. By the function: `NotCarriableError` when the
                value cannot travel; then nothing is broadcast.
        """
        self._check_process()
        return self._broadcast.get_stream_fn(name, set_timestamp, serializer)

    def add_zmq_stream(
        self,
        name: str,
        address: str,
        enabled: bool = True,
        log_chatter: bool = False,
        *,
        topic: str | bytes | None = None,
        keys: KeySource | None = None,
        server_key: str | os.PathLike[str] | None = None,
    ) -> None:
        """Relay a PUB socket: one of another `RouterServer`, or anybody's.

        Samples of a server of ours keep their value, number and origin. A stranger's message is stamped on arrival and
        arrives as bytes: its only frame, or the frame behind the topic; several frames behind it as a tuple of bytes.

        Args:
            name: what readers configure.
            address: where the publisher is: `tcp://10.0.0.5:6000`. It need not be there yet.
            enabled: whether it begins to run; while it does not, nothing crosses the wire.
            log_chatter: write every message to the log (`one_liner.streams.relay`, INFO); large ones as their size.
            topic: what to subscribe to at the publisher, everything that begins with it; exactly `name` if None.
            keys: for a secured publisher: the file with our keys; this server's own if None.
            server_key: the publisher's public key, or the file that holds it; None for an open one.

        Raises:
            ConfigurationError: the name, the address, the topic or a key cannot be.
        """
        self._check_process()
        curve = self._curve_for(keys, server_key)
        self._broadcast.add_zmq_stream(name, address, enabled, log_chatter, topic, curve)

    def enable_stream(self, name: str) -> None:
        """Have a stream run.

        Raises:
            UnknownStreamError: there is none of this name; also a `KeyError`.
        """
        self._check_process()
        self._broadcast.enable_stream(name)

    def disable_stream(self, name: str) -> None:
        """Have a stream pause; its function is not called until it is enabled again.

        Raises:
            UnknownStreamError: there is none of this name; also a `KeyError`.
        """
        self._check_process()
        self._broadcast.disable_stream(name)

    def remove_stream(self, name: str) -> None:
        """Remove a stream. When this returns, nothing of it is published any more.

        Raises:
            UnknownStreamError: there is none of this name; also a `KeyError`.
        """
        self._check_process()
        self._broadcast.remove_stream(name)

    def get_stream_configurations(self, as_dict: bool = False) -> StreamConfigurations | dict[str, Any]:
        """What can be said of every stream, of those behind routers too.

        Args:
            as_dict: plain data (`periodic_streams`, `manual_streams`, `zmq_streams`) instead of a mapping by name.
        """
        self._check_process()
        data = self._broadcast.configurations((self._id,)).as_dict()
        configurations = StreamConfigurations.from_dict(data)
        return configurations.as_dict() if as_dict else configurations

    # --- events ------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """What the application does, in a word of its own: "running" until it says otherwise.

        Heartbeats carry it, and to set another one emits an event of the kind `state`.
        """
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        if not isinstance(state, str) or not state:
            raise ConfigurationError(f"a state is a word, not {state!r}")
        before, self._state = self._state, state
        if state != before:
            self.emit("state", {"old": before, "new": state})

    def emit(self, kind: Any, context: Any = None) -> Event:
        """Tell everybody who listens that something has happened. Never waits.

        Args:
            kind: what: text, a whole number, or a member of an enum, whose name counts.
            context: the facts: anything that can travel.

        Returns:
            What is told.

        Raises:
            NotCarriableError: the context cannot travel; nothing was told.
            ConfigurationError: this is no kind.
            ClosedError: the server is closed.
        """
        self._check_process()
        return self._emitter.emit(Topic.EVENT, kind, context)

    def emergency(self, kind: Any, context: Any = None) -> Event:
        """Tell of something that cannot wait: it comes before everything else, and is never lost without an alarm.

        As `emit`; but a context that cannot travel does not stop it: it goes as its `repr`.
        """
        self._check_process()
        return self._emitter.emit(Topic.EMERGENCY, kind, context)

    def events(self, topic: Any = None, kind: Any = None, last: int = 100) -> list[Event]:
        """What happened last, the oldest first: of each topic 1000 events, 8 MiB of them, are kept for a day.

        Args:
            topic: one or several; None for all but heartbeats and updates of jobs, of which nothing is kept.
            kind: one or several; None for all.
            last: how many.
        """
        self._check_process()
        return self._emitter.recent(Selection.of(topic, kind), check_last(last))

    def on_event(
        self, callback: Callable[[Event], Any], topic: Any = None, kind: Any = None, *, last: int = 0
    ) -> Callback[Event]:
        """Call a function of this process with every event, emergencies first, on a thread of its own.

        Args:
            callback: the function.
            topic: as in `RouterClient.on_event`; heartbeats are for others.
            kind: likewise.
            last: begin with so many of the last ones.

        Returns:
            A handle; close it to stop.
        """
        self._check_process()
        self._check_open()
        selection = Selection.of(topic, kind)
        if Topic.HEARTBEAT in selection.topics:
            raise ConfigurationError("the heartbeats of this very server say nothing in its own process")
        inbox = Inbox(selection, self._clock, last=check_last(last))
        self._emitter.listen(inbox)
        return calling(callback, inbox, self._emitter.unlisten).start()

    def observe(self, obj_name: str, attr_name: str, frequency_hz: float | None = None) -> None:
        """Tell when a property changes: an event of the topic `property_change`, with the old and the new value.

        What is set by a client is told in any case, at once. A property that is observed is also read back then,
        because its object may round; and with a frequency it is read so often, in its object's lane as a stream is, and
        told when it differs from what was last seen. A read that fails is told as well, once, and so is the next good
        one.

        Args:
            obj_name: the served object.
            attr_name: its property.
            frequency_hz: reads per second; None reads nothing by itself.

        Raises:
            ConfigurationError: the frequency cannot be, or this is no property.
            UnknownObjectError, NotExposedError: there is no such thing.
        """
        self._check_process()
        target = self._exposure.resolve(obj_name, attr_name)
        if not target.is_property and target.direct:
            raise ConfigurationError(f"{target.where} is called, not read: only a property can be observed")
        stream = None
        if frequency_hz is not None:
            stream = Observation(
                self._observer,
                self._exposure,
                obj_name,
                attr_name,
                check_frequency(frequency_hz),
                serializer=self._msgpack,
                codec=self._codec,
                origin=self._id,
            )
        with self._serving:
            if stream is not None:
                self._broadcast.add_own(stream)
            self._observer.observe(obj_name, attr_name)

    def unobserve(self, obj_name: str, attr_name: str) -> None:
        """Undo `observe`.

        Raises:
            UnknownObjectError: it is not observed.
        """
        self._check_process()
        with self._serving:
            self._observer.unobserve(obj_name, attr_name)
            self._broadcast.remove_own(observation_name(obj_name, attr_name))

    # --- commands ----------------------------------------------------------------------------------------------------

    def submit(
        self,
        obj_name: str,
        attr_name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        who: str = "",
        client: int = 0,
        on_done: Callable[[JobInfo], Any] | None = None,
    ) -> JobInfo:
        """Run a method of a served object as a job, as `RouterClient.submit` does, from this process.

        Args:
            obj_name: the object.
            attr_name: its method.
            args: arguments.
            kwargs: arguments by name.
            timeout_s: how long it may take, in s, from now on.
            who: for whom, for people; the application if empty.
            client: a number for somebody else than the application, whom the leases of others hold back; 0 for itself.
            on_done: called when it has ended, on a thread of its own.

        Returns:
            The job as it was accepted; `job` tells what has become of it.

        Raises:
            UnknownObjectError, NotExposedError, BadArgumentsError, LimitError: it is not accepted, and did not run.
            LeasedError: for a `client`, likewise: somebody else has exclusive control.
        """
        self._check_process()
        return self._desk.submit(
            obj_name, attr_name, args, kwargs, timeout_s=timeout_s, client=client, who=who, on_done=on_done
        )

    def submit_function(
        self,
        name: str,
        func: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        who: str = "",
        on_done: Callable[[JobInfo], Any] | None = None,
    ) -> JobInfo:
        """Run any function as a job, under a name of your choice. It has no lane. As `submit`."""
        self._check_process()
        return self._desk.submit_function(name, func, args, kwargs, timeout_s=timeout_s, who=who, on_done=on_done)

    def job(self, job_id: str) -> JobInfo:
        """What is known of a job. Raises `UnknownJobError`, `JobLostError`."""
        self._check_process()
        return self._desk.info(job_id)

    def jobs(self) -> list[JobInfo]:
        """The jobs of this server that run, wait, or have ended: of those the last 1000, 256 MiB of results, 7 days."""
        self._check_process()
        return self._desk.all()

    def job_result(self, job_id: str) -> Any:
        """What a job gave; raises what it raised, `JobCancelledError`, or `JobStateError` where it has not ended."""
        self._check_process()
        return self._desk.result(job_id)

    def cancel_job(self, job_id: str, who: str = "the application", client: int = 0) -> bool:
        """Have a job end: at once if it waits, at its next check point if it runs. False when it had ended.

        For a `client` as in `submit`, the leases of others hold.
        """
        self._check_process()
        return self._desk.cancel(job_id, who, client)

    def pause_job(self, job_id: str) -> None:
        """Have a job wait at its next check point, or before it begins. Raises `JobStateError` where it has ended."""
        self._check_process()
        self._desk.pause(job_id)

    def resume_job(self, job_id: str) -> None:
        """Have a job go on. Raises `JobStateError` where it has ended."""
        self._check_process()
        self._desk.resume(job_id)

    # --- the cascade -------------------------------------------------------------------------------------------------

    @uninterrupted
    def add_router(
        self,
        name: str,
        protocol: str = "tcp",
        interface: str = "localhost",
        rpc_port: int | str = "5555",
        broadcast_port: int | str | None = None,
        *,
        keys: KeySource | None = None,
        server_key: str | os.PathLike[str] | None = None,
    ) -> None:
        """Show another `RouterServer` under a prefix.

        Its objects become `name/laser`, its named calls and streams likewise, and so on through its own routers.
        Nothing is decoded on the way, and a stream crosses the wire only while somebody listens. The other server need
        not be there yet, which takes half a second to find out, and is found again when it comes back.

        Args:
            name: the prefix.
            protocol: of the other server.
            interface: its host name or address.
            rpc_port: its port of calls.
            broadcast_port: its port of streams; None to learn it from the server.
            keys: for a secured server: the file with our keys; this server's own if None. What our clients may do
                there is what these keys may do, and not more than they may do here.
            server_key: the other server's public key, or the file that holds it; None for an open one.

        Raises:
            ConfigurationError: the name cannot be, or is taken, or a key cannot be.
            LoopError: the other server leads back to this one. If it is not there yet, requests that go round are
                refused later.
        """
        self._check_process()
        check_name(name)
        endpoint = Endpoint.of(protocol, interface, rpc_port)
        curve = self._curve_for(keys, server_key)
        with self._lock:
            self._check_open()
            if name in self._cascade:
                raise ConfigurationError(f"there is a router {name!r} already; remove it first")
            taken = [s.name for s in self._registry.all() if s.name.startswith(name + ROUTE_SEPARATOR)]
            if taken:
                raise ConfigurationError(f"stream {taken[0]!r} would be hidden by a router {name!r}")
        hop = Hop(
            name,
            endpoint,
            broadcast_port,
            context=self._context,
            fanout=self._fanout,
            owner=self.name,
            heartbeat_s=self._heartbeat_s,
            codec=self._codec,
            clock=self._clock,
            vouches=self._living_clients,
            curve=curve,
            limits=self._limits,
        )
        with closing_on_error(hop, hop.forwarder):
            hop.refuse_loop(self._id)
            with self._lock:
                self._check_open()
                self._cascade.add(hop)
                self._rpc.add_forwarder(hop.forwarder)  # Under the lock: whoever closes now closes it, too.
        self._changed()

    @uninterrupted
    def remove_router(self, name: str) -> None:
        """Show another server no longer. Calls that are under way there are answered with an error.

        Raises:
            UnknownObjectError: there is no router of this name.
        """
        self._check_process()
        hop = self._cascade.remove(name)
        self._rpc.remove_forwarder(hop.forwarder)
        hop.close()
        self._changed()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _make_guard(self, keys: KeyPair, clients: Mapping[str, Permission]) -> Guard:
        from one_liner.transport.guard import Guard  # Only servers with keys need it, and what reads them.

        return Guard(self._context, self._id, keys, clients)

    def _curve_for(self, keys: KeySource | None, server_key: str | os.PathLike[str] | None) -> ClientCurve | None:
        """Our keys for another server."""
        return ClientCurve.of(together(keys, server_key, None if self._guard is None else self._guard.curve.keys))

    def _serve_all(self, instances: object, concurrent: Concurrent) -> None:
        if not isinstance(instances, Mapping):
            raise ConfigurationError(f"instances is a dict of objects by name, not {instances!r}")
        strangers = sorted(set(concurrent) - set(instances))
        if strangers:
            raise ConfigurationError(f"concurrent names {strangers}, which are not among the instances")
        for name, obj in instances.items():
            self.add_instance(name, obj, concurrent.get(name, ()))

    def _have_heartbeat(self) -> None:
        """Somebody wants heartbeats. As long as nobody did, there is no thread for them."""
        if self._registry.find(Topic.HEARTBEAT.stream) is None:
            beat = Beat(self._emitter, self._says)
            self._broadcast.add_own(
                heartbeat_stream(beat, self._heartbeat_s, serializer=self._msgpack, codec=self._codec, origin=self._id)
            )

    def _says(self) -> dict[str, Any]:
        return {
            "identifier": self.name,
            "server": self._id,
            "version": __version__,
            "timestamp": self._clock.wall(),
            "state": self._state,
        }

    def _changed(self) -> None:
        with self._lock:
            self._revision += 1

    def _check_process(self) -> None:
        """Before any lock is taken: in a forked child, a thread that is not there may hold it for ever."""
        if os.getpid() != self._pid:
            raise ForkedError("this server was made before a fork; make it in the child process")

    def _check_open(self) -> None:
        self._check_process()
        if self._closed:
            raise ClosedError("this server is closed")

    def _hello(self) -> dict[str, Any]:
        return Hello(
            server=self._id,
            name=self.name,
            version=__version__,
            machine=this_machine() if self._clock is SYSTEM_CLOCK else f"the clock of server {self._id:x}",
            broadcast_port=self.broadcast_port,
            revision=self._revision,
            down=self._cascade.down(),
            reports=self._bookkeeper.followed,
        ).as_dict()

    def _living_clients(self) -> dict[int, str]:
        living = self._sessions.living(self._clock.now(), self._heartbeat_s)
        return {client: session.name for client, session in living.items()}

    def _description(self, trail: tuple[int, ...]) -> ServerDescription:
        from one_liner.rpc.describing import describe_server  # Not everybody's 5 ms.

        streams = {name: entry.as_dict() for name, entry in self._registry.configurations().items()}
        named_calls, routers = self._named_calls.all(), self._cascade.descriptions(trail)
        return describe_server(self.name, self._exposure, named_calls, streams, routers, self._rules.only_reads)

    def _drop_what_waits(self, client: int) -> None:
        self._rpc.drop_calls(client)
        self._desk.drop(client)

    def _words(self) -> dict[str, Callable[..., Any]]:
        """What a client may ask of the server itself."""
        return {
            **server_words(self._description, self.running_calls, self._exposure, self._rules, self._cascade),
            **lease_words(self._warden, self._heartbeat_s),
            **stream_words(
                self._broadcast,
                self._registry,
                self._bookkeeper,
                self._exposure,
                self._dispatcher.check_call,
                self._have_heartbeat,
                self._clock,
            ),
            **event_words(self._emitter, self.observe, self.unobserve),
            **job_words(self._desk, self._cascade, self._sessions, self._clock, self._heartbeat_s),
        }
