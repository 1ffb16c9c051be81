"""`RouterClient`: a window on what a `RouterServer` serves.

This file only composes: calls are made by `one_liner.rpc.client`, streams received by `one_liner.streams.receiver`, and
`one_liner.rpc.link` knows whether the server lives.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast, overload

from one_liner.callbacks import Callback, Changes
from one_liner.clock import SYSTEM_CLOCK
from one_liner.closing import Closing
from one_liner.commands.follower import JobFollower, source_of
from one_liner.commands.handle import JobHandle
from one_liner.commands.info import JobInfo
from one_liner.config import check_arguments, check_if_busy, check_interval, check_timeout
from one_liner.credentials import for_client
from one_liner.errors import (
    ClosedError,
    ConfigurationError,
    ForkedError,
    NoServerError,
    OneLinerError,
)
from one_liner.events.event import Event
from one_liner.events.hub import EventHub, route_of
from one_liner.events.inbox import Inbox, check_last
from one_liner.events.listening import EventStream, calling
from one_liner.events.selection import Selection
from one_liner.frozen import Frozen
from one_liner.limits import Limits, check_limits
from one_liner.rpc.client import RpcClient
from one_liner.rpc.held import HeldLease
from one_liner.rpc.hello import random_id, this_host
from one_liner.rpc.link import HEARTBEATS_TO_LOSS, Link, State
from one_liner.streams.buffers import DEFAULT_MAX_BYTES, DEFAULT_MAX_SAMPLES, check_most, make_buffer
from one_liner.streams.configuration import StreamConfigurations
from one_liner.streams.ledger import ReaderStatistics
from one_liner.streams.listening import calling as calling_samples
from one_liner.streams.listening import samples_of
from one_liner.streams.names import check_stream_name
from one_liner.streams.reception import Reception
from one_liner.streams.sample import Sample
from one_liner.streams.subscription import Storage, Subscription
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.security import ClientCurve
from one_liner.transport.sockets import Context, closing_on_error, default_context
from one_liner.uninterrupted import uninterrupted
from one_liner.version import __version__
from one_liner.wire.codec import Codec
from one_liner.wire.messages import Kind
from one_liner.wire.serializers import Loads

if TYPE_CHECKING:
    from one_liner.keys import KeySource
    from one_liner.rpc.description import ObjectDescription, ServerDescription

T = TypeVar("T")
IfBusy = Literal["wait", "refuse"]
_CLIENTS_TIMEOUT: Final = "default"


class Parts(Frozen):
    """What a client is made of, for faces of this library that wait in another way.

    Attributes:
        link: knows whether the server lives.
        rpc: makes calls.
        subscription: the stream of this name; raises `UnknownStreamError` if it was not configured.
        jobs: tells what becomes of jobs.
    """

    link: Link
    rpc: RpcClient
    subscription: Callable[[str], Subscription]
    jobs: JobFollower


class RouterClient(Closing):
    """Calls what a server serves, and receives its streams. May be used from any number of threads at once.

    The server need not be there yet: streams can be configured before, and it is found, and found again, by itself.

    Args:
        protocol: "tcp", "ipc" or "inproc" (within this process and `context`).
        interface: the server's host name or address; for ipc its path, for inproc its text.
        rpc_port: the server's port of calls.
        broadcast_port: the server's port of streams; None to learn it from the server.
        context: the ZeroMQ context to use; the process' own if None. It is not terminated by `close`.
        name: what the server calls this client when others ask for whom it is busy; user, host and script if None.
        timeout_s: for calls that bring none of their own; None waits as long as the server lives.
        if_busy: for calls that do not say it themselves, and for proxies: "wait" in line while another call is at work
            with the object, or have it "refuse" at once, with a `BusyError`.
        heartbeat_s: how often the server is asked whether it lives. After three without an answer it is lost.
        allow_pickle: whether pickled samples may be read. Only from servers that you trust.
        keys: for a secured server: the file with our keys (`one-liner keys make`). `ONE_LINER_KEYS` if None.
        server_key: the server's public key, or the file that holds it. `ONE_LINER_SERVER_KEY` if None.
        limits: how much of anything is taken from the server.

    Raises:
        ConfigurationError: an argument cannot be right.
    """

    def __init__(
        self,
        protocol: str = "tcp",
        interface: str = "localhost",
        rpc_port: int | str = "5555",
        broadcast_port: int | str | None = "5556",
        context: Context | None = None,
        *,
        name: str | None = None,
        timeout_s: float | None = None,
        if_busy: IfBusy = "wait",
        heartbeat_s: float = 1.0,
        allow_pickle: bool = False,
        keys: KeySource | None = None,
        server_key: str | os.PathLike[str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        endpoint = Endpoint.of(protocol, interface, rpc_port)
        curve = ClientCurve.of(for_client(protocol, keys, server_key))
        limits = check_limits(limits)
        if protocol == "tcp" and "0" in (str(endpoint.port), str(broadcast_port)):
            raise ConfigurationError("port 0 means a free one, which only a server can take; ask it for its rpc_port")
        if broadcast_port is not None:
            broadcast_port = Endpoint.of(protocol, interface, broadcast_port).port
        heartbeat_s = check_interval("heartbeat_s", heartbeat_s)
        self._timeout_s = check_timeout(timeout_s)
        check_if_busy(if_busy)
        self._context = context if context is not None else default_context()
        self._codec = Codec(max_depth=limits.depth, max_elements=limits.elements)
        self._clock = SYSTEM_CLOCK
        self._pid = os.getpid()
        self._lock = Lock()
        self._callbacks: list[Callback[Any]] = []
        self._hub: EventHub | None = None
        self._closed = False
        self._name = name or default_name()
        client = random_id()
        self._link = Link(
            self._context,
            endpoint,
            name=self._name,
            client=client,
            heartbeat_s=heartbeat_s,
            codec=self._codec,
            clock=self._clock,
            curve=curve,
            limits=limits,
        )
        self._reception = Reception(
            self._context,
            self._link,
            broadcast_port,
            codec=self._codec,
            clock=self._clock,
            allow_pickle=allow_pickle,
        )
        self._link.on_hello(self._reception.report)
        self._rpc = RpcClient(
            self._context, self._link, client=client, codec=self._codec, timeout_s=timeout_s, if_busy=if_busy
        )
        self._jobs = JobFollower(self._control, self._event_hub, heartbeat_s)
        with closing_on_error(self):
            self._link.start()

    # --- life --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop everything; every waiter, in any thread, gets a `ClosedError`. Any number of times, from any thread."""
        if os.getpid() != self._pid:
            return  # The sockets belong to the parent process.
        first = False
        try:
            with self._lock:
                first, self._closed = not self._closed, True
            if first:
                self._stop()
        except BaseException:
            if first:
                self._stop()  # Ctrl-C came in between: nothing may stay open all the same.
            raise

    def _stop(self) -> None:
        """Close everything. May be interrupted, and done again."""
        self._reception.end()
        self._link.close()
        if self._hub is not None:
            self._hub.close()
        for callback in self._callbacks:
            callback.close()
        self._reception.close()
        self._rpc.close()

    def __repr__(self) -> str:
        return f"<RouterClient of {self._link.endpoint}, {self.state}>"

    # --- the server --------------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        """The version of the library here."""
        return __version__

    @property
    def server_version(self) -> str:
        """The version of the library at the server. Asks it; raises as `call`."""
        return str(self._control("", "version"))

    @property
    def state(self) -> State:
        """How the server is seen now: connecting, connected, unresponsive, lost, refused or closed (also a str)."""
        return self._link.state

    @property
    def clock_offset(self) -> tuple[float, float]:
        """What is added to the server's timestamps to have ours, and how far off that may be; both in s."""
        return self._link.offset

    @property
    def stale_replies(self) -> int:
        """How many replies came after their call had timed out."""
        return self._rpc.stale_replies

    def on_state(self, callback: Callable[[State], Any]) -> Callback[State]:
        """Call a function with `state`, now and at every change, on a thread of its own.

        Close what it returns to stop that.
        """
        self._check_usable()
        changes: Changes[State] = Changes()

        def stop() -> None:
            self._link.unlisten(changes.put)
            changes.close()

        self._link.listen(changes.put)
        return self._keep(Callback("state", callback, changes.get, stop))

    def wait_until_connected(self, timeout_s: float | None = None) -> None:
        """Wait until the server answers.

        Args:
            timeout_s: how long; None gives it three heartbeats.

        Raises:
            NoServerError, ServerLostError, RefusedError, VersionMismatchError, ClosedError: as they say.
        """
        limit_s = check_timeout(timeout_s)
        self._check_usable()
        deadline = math.inf if limit_s is None else self._clock.now() + limit_s
        while True:
            try:
                self._link.wait_ready(deadline)
                return
            except (NoServerError, ConnectionError):
                if limit_s is None or self._clock.now() >= deadline or self._link.state is State.REFUSED:
                    raise

    def describe(self) -> ServerDescription:
        """Everything the server serves, its routers included. Data by `as_dict()`, for people by `str()`."""
        from one_liner.rpc.description import ServerDescription  # Not everybody's 5 ms.

        return ServerDescription.from_dict(self._control("", "describe"))

    def describe_object(self, obj_name: str) -> ObjectDescription:
        """One object: methods with their signatures, properties, nested objects. Raises as `call`."""
        from one_liner.rpc.description import ObjectDescription

        return ObjectDescription.from_dict(self._control(obj_name, "describe_object"))

    def running_calls(self) -> list[dict[str, Any]]:
        """What the server is doing now: `where` (`stage.move`), `who` (for which client), `for_s` (since how long)."""
        return list(self._control("", "running_calls"))

    def lease(
        self,
        obj_name: str = "",
        *,
        force: bool = False,
        on_lost: Callable[[OneLinerError], Any] | None = None,
    ) -> HeldLease:
        """Take exclusive control: `with client.lease("stage"): …`.

        Until it is given back, or this client dies, all others may read and not write; they are told who we are. One
        that comes when this call has ended already, because of the time or Ctrl-C, is given back at once.

        Args:
            obj_name: the object; "" for the whole server.
            force: take it from whoever has it.
            on_lost: called, on a thread of its own, with the reason when the lease is lost.

        Raises:
            LeasedError: somebody else has it; `details` name them.
            UnknownObjectError: there is no such object. And as `call`.
        """
        self._check_process()
        self._link.wait_ready(self._clock.now() + HEARTBEATS_TO_LOSS * self._link.heartbeat_s)
        take = partial(
            self._rpc.ask, Kind.CONTROL, _text(obj_name), ["take_lease", {"force": force, "who": self._name}], None
        )
        held = HeldLease(obj_name, self._control, self._link.heartbeat_s)
        try:
            held.take(take, self._timeout_s)
            self._keep(Callback("lease", on_lost or _ignore, held.wait_lost, held.stop))
            return held
        except BaseException:  # Out of time, or Ctrl-C: others are not to be kept out by what nobody has.
            held.give_up()
            raise

    def leases(self) -> list[dict[str, Any]]:
        """Who has exclusive control of what: `object` ("" for the whole server), `who`, `for_s` (since how long)."""
        return list(self._control("", "leases"))

    # --- calls -------------------------------------------------------------------------------------------------------

    def call(
        self,
        obj_name: str,
        attr_name: str | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        get_timestamp: bool = False,
        *,
        timeout_s: float | Literal["default"] | None = _CLIENTS_TIMEOUT,
        if_busy: IfBusy | None = None,
    ) -> Any:
        """Call a method of a served object and wait for its result.

        Args:
            obj_name: the object; `rig.stage` for a nested one, `north/laser` for one behind the router `north`.
            attr_name: the method; a property is read if there are no arguments. None calls the object itself.
            args: arguments.
            kwargs: arguments by name.
            get_timestamp: give `(timestamp, result)`; when the function returned, on this process' `perf_counter`.
            timeout_s: how long to wait, in s; None as long as the server lives; "default" as the client was told.
            if_busy: "wait" in line while another call is at work with the object, or have it "refuse" at once; None as
                the client was told. The tick of a stream is waited for in any case.

        Raises:
            RemoteError: the function raised. Also an exception of the builtin type that it raised.
            NoServerError, ServerLostError: nobody answers; after `ServerLostError` the call may or may not have run.
            CallTimeoutError: the answer did not come in time. Also a `TimeoutError`.
            BusyError: another call is at work with the object, and `if_busy` is "refuse"; this one did not run, and
                will not. `details` say with what (`running`), for whom (`who`) and since when (`for_s`).
            UnknownObjectError, UnknownAttributeError, NotExposedError, BadArgumentsError: the call did not run.
            NotCarriableError: an argument, or the result, cannot travel.
            ClosedError, RefusedError, VersionMismatchError, RouterDownError: as they say.
        """
        content = [attr_name or "", *check_arguments(f"{obj_name}.{attr_name}", args, kwargs)]
        stamp, value = self._rpc.ask(Kind.CALL, _text(obj_name), content, timeout_s, if_busy=if_busy)
        return (self._rpc.here(stamp).time, value) if get_timestamp else value

    def call_by_name(
        self,
        call_name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        get_timestamp: bool = False,
        *,
        timeout_s: float | Literal["default"] | None = _CLIENTS_TIMEOUT,
        if_busy: IfBusy | None = None,
    ) -> Any:
        """Make a named call of the server.

        Args:
            call_name: its name.
            args: overwrite the arguments that were written down, by index.
            kwargs: overwrite those that were written down by name.
            get_timestamp: as in `call`.
            timeout_s: as in `call`.
            if_busy: as in `call`.

        Raises:
            UnknownObjectError: there is no such named call. And as `call`.
        """
        content = list(check_arguments(call_name, args, kwargs))
        stamp, value = self._rpc.ask(Kind.CALL_NAMED, _text(call_name), content, timeout_s, if_busy=if_busy)
        return (self._rpc.here(stamp).time, value) if get_timestamp else value

    def get(
        self,
        obj_name: str,
        attr_name: str,
        *,
        timeout_s: float | Literal["default"] | None = _CLIENTS_TIMEOUT,
        if_busy: IfBusy | None = None,
    ) -> Any:
        """Read a property or an attribute. Raises as `call`."""
        return self._rpc.ask(Kind.GET, _text(obj_name), [_text(attr_name)], timeout_s, if_busy=if_busy)[1]

    def set(
        self,
        obj_name: str,
        attr_name: str,
        value: Any,
        *,
        timeout_s: float | Literal["default"] | None = _CLIENTS_TIMEOUT,
        if_busy: IfBusy | None = None,
    ) -> None:
        """Set a property or an attribute. Raises as `call`."""
        self._rpc.ask(Kind.SET, _text(obj_name), [_text(attr_name), value], timeout_s, if_busy=if_busy)

    @overload
    def proxy(self, obj_name: str) -> Any: ...

    @overload
    def proxy(self, obj_name: str, cls: Callable[..., T]) -> T: ...

    def proxy(self, obj_name: str, cls: Callable[..., T] | None = None) -> Any:
        """A remote object as if it were here: methods, properties, docs, signatures, tab completion.

        Args:
            obj_name: as in `call`. The server is not asked before something is.
            cls: what it is, for editors and type checkers: its class, or a Protocol. Nothing is checked at run time.
        """
        self._check_usable()
        from one_liner.rpc.proxy import Proxy

        return cast(Any, Proxy(self, _text(obj_name)))

    # --- commands ----------------------------------------------------------------------------------------------------

    def submit(
        self,
        obj_name: str,
        attr_name: str | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        on_death: Literal["keep", "cancel"] = "keep",
    ) -> JobHandle:
        """Have the server do something that takes long, and return as soon as it has accepted that.

        Args:
            obj_name: the object, as in `call`.
            attr_name: its method; None for the object itself.
            args: arguments.
            kwargs: arguments by name.
            timeout_s: how long it may take, in s, from now on; then it is ended as if it was cancelled, and has failed.
            on_death: what becomes of it when this client dies, or is closed: "keep" lets it run, "cancel" ends it.

        Returns:
            The job: to be watched, waited for, paused and cancelled.

        Raises:
            UnknownObjectError, UnknownAttributeError, NotExposedError, BadArgumentsError: there is no such thing to do.
            LeasedError, RefusedError, LimitError: not by us, or not now. In all these cases it did not run.
            ServerLostError: it may or may not have been accepted. And as `call`.
        """
        self._check_process()
        given, by_name = check_arguments(f"{obj_name}.{attr_name}", args, kwargs)
        data = self._control(
            obj_name,
            "submit",
            attr_name=attr_name or "",
            args=given,
            kwargs=by_name,
            timeout_s=check_timeout(timeout_s),
            on_death=on_death,
            who=self._name,
        )
        return JobHandle(JobInfo.from_dict(data, route_of(source_of(obj_name))), self._jobs, self._keep)

    def job(self, job_id: str) -> JobHandle:
        """Find a job by its id, whoever has submitted it; also after this client was started anew.

        Args:
            job_id: as `JobHandle.id` gave it; `north/5f3a9c01-12` for one behind the router `north`.

        Raises:
            UnknownJobError: there is none, or it has ended long ago. Also a `KeyError`.
            JobLostError: its server was restarted; it may or may not have run to its end. And as `call`.
        """
        self._check_process()
        return JobHandle(self._jobs.ask(_text(job_id)), self._jobs, self._keep)

    def jobs(self) -> list[JobInfo]:
        """The jobs that run, wait, or have ended, those of servers behind routers too. Raises as `call`."""
        return [JobInfo.from_dict(one) for one in self._control("", "jobs")]

    # --- events ------------------------------------------------------------------------------------------------------

    def on_event(
        self,
        callback: Callable[[Event], Any],
        topic: Any = None,
        kind: Any = None,
        *,
        source: str = "",
        last: int = 0,
    ) -> Callback[Event]:
        """Call a function with every event, emergencies first, on a thread of its own.

        May be called before the server is there. A slow function loses the oldest of 10 000 events that wait, but no
        emergency. An emergency that was lost in spite of everything is itself an emergency, of the kind
        `emergencies_lost`.

        Args:
            callback: the function.
            topic: "event" (emergencies are events, too), "emergency", "property_change", "command_result",
                "job_update" or "heartbeat", one or several; None for all but the last two.
            kind: one or several; None for all.
            source: the server behind a router: `north`, `north/table`; "" for our own.
            last: begin with so many of the last events.

        Returns:
            A handle; close it to stop.

        Raises:
            ConfigurationError: there is no such topic, or another argument cannot be.
        """
        self._check_process()
        inbox = self._listen(topic, kind, source, last)
        return self._keep(calling(callback, inbox, self._event_hub().unlisten))

    def iter_events(
        self,
        topic: Any = None,
        kind: Any = None,
        *,
        source: str = "",
        last: int = 0,
        timeout_s: float | None = None,
    ) -> EventStream:
        """The same as a loop: `for event in client.iter_events(): …`.

        Listening begins with this call. Close what is returned to stop; it ends with the client.

        Args:
            topic: as in `on_event`.
            kind: likewise.
            source: likewise.
            last: likewise.
            timeout_s: how long to wait for the next one, in s; then a `StreamTimeoutError`, also a `TimeoutError`, is
                raised, and the loop can be entered again. None waits without end.
        """
        self._check_process()
        limit_s = check_timeout(timeout_s)
        return EventStream(self._listen(topic, kind, source, last), self._event_hub().unlisten, limit_s)

    def events(self, topic: Any = None, kind: Any = None, last: int = 100, *, source: str = "") -> list[Event]:
        """What happened last, the oldest first, as the server has kept it. Raises as `call`.

        Args:
            topic: as in `on_event`; of heartbeats and updates of jobs nothing is kept.
            kind: likewise.
            last: how many.
            source: as in `on_event`.
        """
        selection = Selection.of(topic, kind)
        data = self._control(route_of(_text(source)), "events", **selection.as_arguments(), last=check_last(last))
        return [Event.from_dict(one, source) for one in data]

    def observe(self, obj_name: str, attr_name: str, frequency_hz: float | None = None) -> None:
        """Have the server tell when a property changes; as `RouterServer.observe`, for everybody. Raises as `call`."""
        self._control(obj_name, "observe", attr_name=_text(attr_name), frequency_hz=frequency_hz)

    def unobserve(self, obj_name: str, attr_name: str) -> None:
        """Undo `observe`, for everybody. Raises `UnknownObjectError`, and as `call`."""
        self._control(obj_name, "unobserve", attr_name=_text(attr_name))

    # --- streams: receiving ------------------------------------------------------------------------------------------

    def configure_stream(
        self,
        name: str,
        storage_type: Literal["queue", "cache"] = "queue",
        *,
        max_samples: int = DEFAULT_MAX_SAMPLES,
        max_bytes: int = DEFAULT_MAX_BYTES,
        drop: Literal["oldest", "newest"] = "oldest",
        deserializer: Loads | tuple[Any, Loads] | None = None,
        last_sample: bool | None = None,
        wait: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        """Receive a stream from now on. May be called before the server or the stream exists, and any number of times.

        Configured again in another way, what waits is forgotten and the count begins anew.

        Args:
            name: the stream; `north/camera` for one behind the router `north`.
            storage_type: "queue" hands out every sample, the oldest first; "cache" the newest, once.
            max_samples: how many may wait in a queue.
            max_bytes: how large they may be together.
            drop: what a full queue drops. Either way the drops are counted.
            deserializer: for a stream with functions of its own: the one from bytes, or the same pair as there.
            last_sample: begin with the last sample made before now, if there is one. A cache does, a queue does not.
            wait: return when the server is known to send every sample from now on.
            timeout_s: for `wait`; None gives the server three heartbeats.

        Raises:
            ConfigurationError: an argument cannot be right.
            StreamTimeoutError, NoServerError, ClosedError: while waiting.
        """
        self._check_process()
        check_stream_name(name)
        make_buffer(storage_type, max_samples, max_bytes, drop)
        loads = deserializer[1] if isinstance(deserializer, tuple) else deserializer
        if loads is not None and not callable(loads):
            raise ConfigurationError(f"a deserializer is a function from bytes, or a pair of functions, not {loads!r}")
        late = storage_type == "cache" if last_sample is None else last_sample
        storage = Storage(storage_type, max_samples, max_bytes, drop, loads, late)
        limit_s = check_timeout(timeout_s)
        self._check_usable()
        subscription = self._reception.subscribe(name, storage)
        if wait:
            self._reception.wait_synchronised(subscription, limit_s)

    def unconfigure_stream(self, name: str) -> None:
        """Receive a stream no longer; whoever waits for it gets a `ClosedError`.

        Raises:
            UnknownStreamError: it was not configured.
        """
        self._check_usable()
        self._reception.unsubscribe(name)

    def get_stream(self, name: str, block: bool = False, *, timeout_s: float | None = None) -> Sample:
        """Hand out the next sample: `timestamp, data = client.get_stream("camera", block=True)`.

        Each sample is handed out once, to one caller: from a queue the oldest, from a cache the newest.

        Args:
            name: a configured stream.
            block: wait for one, as long as the server lives.
            timeout_s: wait no longer than this, in s; waits also without `block`.

        Raises:
            NoDataError: nothing new; also a `zmq.Again`. After waiting `StreamTimeoutError`, also a `TimeoutError`.
            SourceFailedError: the stream's function raised, and this sample is that. Also of the type it raised.
            UnknownStreamError: it was not configured; also a `KeyError`.
            NoServerError, ServerLostError, RouterDownError, ClosedError: while waiting.
        """
        return self._subscription(name).take(_patience_s(block, timeout_s))

    def get_samples(
        self, name: str, block: bool = False, *, max_samples: int | None = None, timeout_s: float | None = None
    ) -> list[Sample]:
        """Hand out all samples that wait, in one go: several times as fast as one by one, where there are many.

        From a queue in order, from a cache the newest. Each sample is handed out once, to one caller. One that is an
        error ends the list, and is raised by the next call.

        Args:
            name: a configured stream.
            block: wait until there is at least one, as long as the server lives.
            max_samples: take no more than so many at once; None takes all.
            timeout_s: wait no longer than this, in s; waits also without `block`.

        Returns:
            At least one.

        Raises:
            ConfigurationError: `max_samples` is no positive whole number.
            NoDataError, SourceFailedError, UnknownStreamError: as `get_stream`.
            NoServerError, ServerLostError, RouterDownError, ClosedError: while waiting.
        """
        patience_s = _patience_s(block, timeout_s)
        return self._subscription(name).take_many(check_most(max_samples), patience_s)

    def last_sample(self, name: str) -> Sample:
        """Show the last sample that came, taken or not, without taking it.

        Raises:
            NoDataError: there has been none.
            SourceFailedError: it is an error.
            UnknownStreamError: the stream was not configured.
        """
        self._check_process()
        return self._reception.subscription(name).newest()

    def stream(self, name: str, *, timeout_s: float | None = None) -> Iterator[Sample]:
        """Samples, one after the other, for as long as there are any: `for timestamp, data in client.stream("camera")`.

        Ends when the client is closed or the stream is not configured any more.

        Args:
            name: the stream; configured as a queue if it was not yet.
            timeout_s: how long to wait for the next one, in s; None as long as the server lives.

        Raises:
            StreamTimeoutError, SourceFailedError, NoServerError, ServerLostError: as `get_stream`. After a
                `SourceFailedError` a new iterator goes on with the next sample.
        """
        self._check_process()
        check_timeout(timeout_s)
        if name not in self._reception.subscriptions:
            self.configure_stream(name)
        return samples_of(partial(self.get_stream, name, block=True, timeout_s=timeout_s))

    def on_sample(
        self,
        name: str,
        callback: Callable[[Sample], Any],
        on_error: Callable[[OneLinerError], Any] | None = None,
    ) -> Callback[Any]:
        """Call a function with every sample that is handed out, on a thread of its own.

        A slow function loses samples as a slow reader does: in the stream's buffer, counted.

        Args:
            name: the stream; configured as a queue if it was not yet.
            callback: called with each sample.
            on_error: called with what is raised in place of a sample: each `SourceFailedError`, and, once, that the
                server or a router is gone (`ServerLostError`, …); the stream goes on. Without it they are dropped.

        Returns:
            A handle; close it to stop.
        """
        self._check_process()
        if name not in self._reception.subscriptions:
            self.configure_stream(name)
        return self._keep(calling_samples(name, partial(self.get_stream, name), callback, on_error))

    def stream_statistics(self, name: str) -> ReaderStatistics:
        """Where the samples of a configured stream went: every one made is in exactly one of the counters.

        Raises:
            UnknownStreamError: it was not configured.
        """
        self._check_process()
        return self._reception.statistics(name)

    # --- streams: at the server --------------------------------------------------------------------------------------

    def get_stream_configurations(self, as_dict: bool = False) -> StreamConfigurations | dict[str, Any]:
        """What the server says of every stream, of those behind its routers too. Raises as `call`.

        Args:
            as_dict: plain data (`periodic_streams`, `manual_streams`, `zmq_streams`) instead of a mapping by name.
        """
        data = self._control("", "stream_configurations")
        configurations = StreamConfigurations.from_dict(data)
        return configurations.as_dict() if as_dict else configurations

    def enable_stream(self, name: str) -> None:
        """Have the server run a stream, for everybody. Raises `UnknownStreamError`, and as `call`."""
        self._control(name, "enable_stream")

    def disable_stream(self, name: str) -> None:
        """Have the server pause a stream, for everybody. Raises `UnknownStreamError`, and as `call`."""
        self._control(name, "disable_stream")

    def remove_stream(self, name: str) -> None:
        """Have the server remove a stream, for everybody. Raises `UnknownStreamError`, and as `call`."""
        self._control(name, "remove_stream")

    def add_stream(
        self,
        stream_name: str,
        frequency_hz: float,
        obj_name: str,
        attr_name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        enabled: bool = True,
        *,
        on_demand: bool = False,
    ) -> None:
        """Have the server call a method of a served object at a rate; as `RouterServer.add_stream`.

        Args:
            stream_name: the stream; `north/temperature` is added at the server behind the router `north`.
            frequency_hz: ticks per second.
            obj_name: the object, as that server names it.
            attr_name: its method or property.
            args: arguments.
            kwargs: arguments by name.
            enabled: whether it begins to run.
            on_demand: run only while somebody listens.
        """
        args, kwargs = check_arguments(stream_name, args, kwargs)
        self._control(
            stream_name,
            "add_stream",
            frequency_hz=frequency_hz,
            obj_name=obj_name,
            attr_name=attr_name,
            args=args,
            kwargs=kwargs,
            enabled=enabled,
            on_demand=on_demand,
        )

    # --- inside ------------------------------------------------------------------------------------------------------

    def parts(self) -> Parts:
        """What this client is made of; for other faces of the library, which only wait in another way."""
        return Parts(self._link, self._rpc, self._subscription, self._jobs)

    def _control(self, path: str, word: str, **arguments: Any) -> Any:
        return self._rpc.ask(Kind.CONTROL, _text(path), [word, arguments])[1]

    def _listen(self, topic: Any, kind: Any, source: str, last: int) -> Inbox:
        self._check_usable()
        inbox = Inbox(Selection.of(topic, kind), self._clock, last=check_last(last))
        self._event_hub().listen(inbox, _text(source))
        return inbox

    @uninterrupted
    def _event_hub(self) -> EventHub:
        with self._lock:
            self._check_usable()
            if self._hub is None:
                self._hub = EventHub(
                    self._link, self._reception.add_feed, self._reception.remove_feed, self._codec, self._clock
                )
            return self._hub

    def _subscription(self, name: str) -> Subscription:
        self._check_process()
        return self._reception.subscription(name)

    def _keep(self, callback: Callback[T]) -> Callback[T]:
        """Begin to call it, and close it with the client."""
        with self._lock:
            self._callbacks = [*(other for other in self._callbacks if not other.closed), callback]
            closed = self._closed
        if closed:  # In this very moment: nobody else will.
            callback.close()
        return callback.start()

    def _check_process(self) -> None:
        """Before any lock is taken: in a forked child, a thread that is not there may hold it for ever."""
        if os.getpid() != self._pid:
            raise ForkedError("this client was made before a fork; make a new one in the child process")

    def _check_usable(self) -> None:
        self._check_process()
        if self._closed:
            raise ClosedError("this client is closed")


def _patience_s(block: bool, timeout_s: float | None) -> float:
    """How long a reader of samples waits."""
    if timeout_s is None:
        return math.inf if block else 0.0
    return check_timeout(timeout_s) or 0.0


def _ignore(_: OneLinerError) -> None:
    """A lease was lost, and nobody asked to be told at once; `check` and the next call will tell."""


def default_name() -> str:
    """Who we are, for people at the other end: user, host and script."""
    user = next((os.environ[name] for name in ("LOGNAME", "USER", "USERNAME") if os.environ.get(name)), "somebody")
    return f"{user}@{this_host()}:{os.path.basename(sys.argv[0].rstrip(os.sep)) or 'python'}"


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise ConfigurationError(f"a name is text, not {name!r}")
    return name
