"""`AsyncRouterClient` itself, which only composes: what is said to the server, and its errors, are the core's."""

from __future__ import annotations

import asyncio
import math
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, cast, overload

from one_liner.aio.bell import LOOK_EVERY_S, Bell
from one_liner.aio.callback import AsyncCallback
from one_liner.aio.events import AsyncEventStream
from one_liner.aio.job import AsyncJob
from one_liner.aio.lease import AsyncLease
from one_liner.aio.proxy import AsyncProxy
from one_liner.client import IfBusy, RouterClient, default_name
from one_liner.clock import SYSTEM_CLOCK
from one_liner.commands.follower import source_of
from one_liner.commands.info import JobInfo
from one_liner.config import check_arguments, check_timeout
from one_liner.errors import (
    ClosedError,
    ConfigurationError,
    NoDataError,
    OneLinerError,
    TransportError,
    UnknownStreamError,
)
from one_liner.events.event import Event
from one_liner.events.hub import route_of
from one_liner.events.inbox import check_last
from one_liner.events.selection import Selection
from one_liner.limits import Limits
from one_liner.rpc.description import ObjectDescription, ServerDescription
from one_liner.rpc.link import State
from one_liner.streams.buffers import DEFAULT_MAX_BYTES, DEFAULT_MAX_SAMPLES, check_most
from one_liner.streams.configuration import StreamConfigurations
from one_liner.streams.ledger import ReaderStatistics
from one_liner.streams.listening import Gone, delivering
from one_liner.streams.sample import Sample
from one_liner.transport.sockets import Context
from one_liner.wire.messages import Kind
from one_liner.wire.serializers import Loads

if TYPE_CHECKING:
    from one_liner.keys import KeySource

Timeout = float | Literal["default"] | None
_CLIENTS_TIMEOUT: Final = "default"
_CALLBACK_SLICE_S: Final = 1.0
T = TypeVar("T")


class AsyncRouterClient:
    """Calls what a server serves, and receives its streams, from coroutines. See `RouterClient` for what all this does.

    Made at any place, with or without a running loop, and used from one loop at a time. A task that is cancelled
    while it awaits a call withdraws the call: it does not begin, if it has not. Hundreds of calls may be in flight,
    and none waits for another one's object.

    Args:
        protocol: "tcp", "ipc" or "inproc".
        interface: the server's host name or address.
        rpc_port: the server's port of calls.
        broadcast_port: the server's port of streams; None to learn it from the server.
        context: the ZeroMQ context to use; the process' own if None.
        name: what the server calls this client.
        timeout_s: for calls that bring none of their own; None waits as long as the server lives.
        if_busy: for calls that do not say it themselves, and for proxies: "wait" in line, or have it "refuse".
        heartbeat_s: how often the server is asked whether it lives.
        allow_pickle: whether pickled samples may be read.
        keys: for a secured server: the file with our keys.
        server_key: the server's public key, or the file that holds it.
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
        self._name = name or default_name()
        self._inner = RouterClient(
            protocol,
            interface,
            rpc_port,
            broadcast_port,
            context,
            name=self._name,
            timeout_s=timeout_s,
            if_busy=if_busy,
            heartbeat_s=heartbeat_s,
            allow_pickle=allow_pickle,
            keys=keys,
            server_key=server_key,
            limits=limits,
        )
        self._parts = self._inner.parts()
        self._callbacks: list[AsyncCallback[Any]] = []

    # --- life --------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Stop everything; every waiter gets a `ClosedError`. Any number of times.

        Coroutine functions that are under way as callbacks are cancelled.
        """
        await asyncio.to_thread(self._inner.close)
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback.close()
        for callback in callbacks:
            await callback.ended()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._inner).replace("RouterClient", "AsyncRouterClient", 1)

    # --- the server --------------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        """The version of the library here."""
        return self._inner.version

    async def server_version(self) -> str:
        """The version of the library at the server. Raises as `call`."""
        return str(await self._control("", "version"))

    @property
    def state(self) -> State:
        """How the server is seen now."""
        return self._inner.state

    @property
    def revision(self) -> tuple[int, int] | None:
        """Another one when the server was restarted or serves something else; None before it answered."""
        hello = self._parts.link.hello
        return None if hello is None else (hello.server, hello.revision)

    @property
    def clock_offset(self) -> tuple[float, float]:
        """What is added to the server's timestamps to have ours, and how far off that may be; both in s."""
        return self._inner.clock_offset

    @property
    def stale_replies(self) -> int:
        """How many replies came after their call had been given up."""
        return self._inner.stale_replies

    def on_state(self, callback: Callable[[State], Any]) -> AsyncCallback[State]:
        """Call a function with `state`, now and at every change, in the running loop; see `AsyncCallback`."""
        return self._keep(AsyncCallback("state", callback, self._states()))

    async def wait_until_connected(self, timeout_s: float | None = None) -> None:
        """Wait until the server answers; `timeout_s` as None gives it three heartbeats. Raises as `RouterClient`'s."""
        limit_s = check_timeout(timeout_s)
        link, began = self._parts.link, SYSTEM_CLOCK.now()
        deadline = math.inf if limit_s is None else began + limit_s
        with Bell(link.listen, link.unlisten) as bell:
            while not link.ready:
                now = SYSTEM_CLOCK.now()
                # As long as there is time, a server that is not there may still come.
                refused = link.state in (State.REFUSED, State.CLOSED)
                if limit_s is None or now >= deadline or refused:
                    refusal = link.refusal(began, deadline)
                    if refusal is not None:
                        raise refusal
                await bell.wait(min(LOOK_EVERY_S, deadline - now))

    async def describe(self) -> ServerDescription:
        """Everything the server serves, its routers included."""
        return ServerDescription.from_dict(await self._control("", "describe"))

    async def describe_object(self, obj_name: str) -> ObjectDescription:
        """One object: methods with their signatures, properties, nested objects."""
        return ObjectDescription.from_dict(await self._control(obj_name, "describe_object"))

    async def running_calls(self) -> list[dict[str, Any]]:
        """What the server is doing now: `where`, `who`, `for_s`."""
        return list(await self._control("", "running_calls"))

    async def leases(self) -> list[dict[str, Any]]:
        """Who has exclusive control of what: `object` ("" for the whole server), `who`, `for_s`."""
        return list(await self._control("", "leases"))

    def lease(
        self, obj_name: str = "", *, force: bool = False, on_lost: Callable[[OneLinerError], Any] | None = None
    ) -> AsyncLease:
        """Take exclusive control: `async with client.lease("stage"): …`. See `RouterClient.lease`.

        Args:
            obj_name: the object; "" for the whole server.
            force: take it from whoever has it.
            on_lost: called in the event loop, as an `AsyncCallback` is, with the reason when the lease is lost.
        """
        return AsyncLease(self._inner, obj_name, force, on_lost)

    # --- calls -------------------------------------------------------------------------------------------------------

    async def call(
        self,
        obj_name: str,
        attr_name: str | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        get_timestamp: bool = False,
        *,
        timeout_s: Timeout = _CLIENTS_TIMEOUT,
        if_busy: IfBusy | None = None,
    ) -> Any:
        """Call a method of a served object; arguments and errors as `RouterClient.call`."""
        content = [attr_name or "", *check_arguments(f"{obj_name}.{attr_name}", args, kwargs)]
        stamp, value = await self._ask(Kind.CALL, obj_name, content, timeout_s, if_busy)
        return (self._parts.rpc.here(stamp).time, value) if get_timestamp else value

    async def call_by_name(
        self,
        call_name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        get_timestamp: bool = False,
        *,
        timeout_s: Timeout = _CLIENTS_TIMEOUT,
        if_busy: IfBusy | None = None,
    ) -> Any:
        """Make a named call of the server; arguments and errors as `RouterClient.call_by_name`."""
        content = list(check_arguments(call_name, args, kwargs))
        stamp, value = await self._ask(Kind.CALL_NAMED, call_name, content, timeout_s, if_busy)
        return (self._parts.rpc.here(stamp).time, value) if get_timestamp else value

    async def get(
        self, obj_name: str, attr_name: str, *, timeout_s: Timeout = _CLIENTS_TIMEOUT, if_busy: IfBusy | None = None
    ) -> Any:
        """Read a property or an attribute. Raises as `call`."""
        return (await self._ask(Kind.GET, obj_name, [_text(attr_name)], timeout_s, if_busy))[1]

    async def set(
        self,
        obj_name: str,
        attr_name: str,
        value: Any,
        *,
        timeout_s: Timeout = _CLIENTS_TIMEOUT,
        if_busy: IfBusy | None = None,
    ) -> None:
        """Set a property or an attribute. Raises as `call`."""
        await self._ask(Kind.SET, obj_name, [_text(attr_name), value], timeout_s, if_busy)

    @overload
    def proxy(self, obj_name: str) -> AsyncProxy: ...

    @overload
    def proxy(self, obj_name: str, cls: Callable[..., T]) -> T: ...

    def proxy(self, obj_name: str, cls: Callable[..., T] | None = None) -> Any:
        """A remote object: `await laser.set_power(5)` calls a method, `await laser.power` reads a property.

        Args:
            obj_name: as in `call`. The server is not asked before something is.
            cls: what it is, for editors and type checkers: a Protocol whose methods are `async def`, and whose
                properties are `Awaitable`. Nothing is checked at run time.
        """
        return cast(Any, AsyncProxy(self, _text(obj_name)))

    # --- jobs --------------------------------------------------------------------------------------------------------

    async def submit(
        self,
        obj_name: str,
        attr_name: str | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        on_death: Literal["keep", "cancel"] = "keep",
    ) -> AsyncJob:
        """Have the server do something that takes long; arguments and errors as `RouterClient.submit`."""
        given, by_name = check_arguments(f"{obj_name}.{attr_name}", args, kwargs)
        data = await self._control(
            obj_name,
            "submit",
            attr_name=attr_name or "",
            args=given,
            kwargs=by_name,
            timeout_s=check_timeout(timeout_s),
            on_death=on_death,
            who=self._name,
        )
        return self._job(data, obj_name)

    async def job(self, job_id: str) -> AsyncJob:
        """Find a job by its id, whoever has submitted it. Raises as `RouterClient.job`."""
        data = await self._control(_text(job_id), "job")
        return self._job(data, job_id)

    async def jobs(self) -> list[JobInfo]:
        """The jobs that run, wait, or have ended, those of servers behind routers too."""
        return [JobInfo.from_dict(one) for one in await self._control("", "jobs")]

    # --- events ------------------------------------------------------------------------------------------------------

    def on_event(
        self,
        callback: Callable[[Event], Any],
        topic: Any = None,
        kind: Any = None,
        *,
        source: str = "",
        last: int = 0,
    ) -> AsyncCallback[Event]:
        """Call a function with every event, emergencies first, in the running loop; see `AsyncCallback`.

        Listening begins with this call. Arguments, losses and errors as `RouterClient.on_event`.
        """
        asyncio.get_running_loop()  # Without one nobody would ever take what is listened to.
        events = self.iter_events(topic, kind, source=source, last=last)
        return self._keep(AsyncCallback("events", callback, events, events.close))

    def iter_events(
        self,
        topic: Any = None,
        kind: Any = None,
        *,
        source: str = "",
        last: int = 0,
        timeout_s: float | None = None,
    ) -> AsyncEventStream:
        """Events, one after the other: `async for event in client.iter_events(): …`; as `RouterClient.iter_events`.

        Listening begins with this call. Close what is returned to stop; it ends with the client.
        """
        limit_s = check_timeout(timeout_s)
        return AsyncEventStream(self._inner.iter_events(topic, kind, source=source, last=last), limit_s)

    async def events(self, topic: Any = None, kind: Any = None, last: int = 100, *, source: str = "") -> list[Event]:
        """What happened last, the oldest first; arguments as `RouterClient.events`."""
        selection = Selection.of(topic, kind)
        data = await self._control(route_of(_text(source)), "events", **selection.as_arguments(), last=check_last(last))
        return [Event.from_dict(one, source) for one in data]

    async def observe(self, obj_name: str, attr_name: str, frequency_hz: float | None = None) -> None:
        """Have the server tell when a property changes; as `RouterServer.observe`, for everybody. Raises as `call`."""
        await self._control(obj_name, "observe", attr_name=_text(attr_name), frequency_hz=frequency_hz)

    async def unobserve(self, obj_name: str, attr_name: str) -> None:
        """Undo `observe`, for everybody. Raises `UnknownObjectError`, and as `call`."""
        await self._control(obj_name, "unobserve", attr_name=_text(attr_name))

    # --- streams: receiving ------------------------------------------------------------------------------------------

    async def configure_stream(
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
        """Receive a stream from now on; arguments and errors as `RouterClient.configure_stream`."""
        configure = partial(
            self._inner.configure_stream,
            name,
            storage_type,
            max_samples=max_samples,
            max_bytes=max_bytes,
            drop=drop,
            deserializer=deserializer,
            last_sample=last_sample,
            wait=wait,
            timeout_s=timeout_s,
        )
        if wait:
            await asyncio.to_thread(configure)
        else:
            configure()

    def unconfigure_stream(self, name: str) -> None:
        """Receive a stream no longer; whoever waits for it gets a `ClosedError`."""
        self._inner.unconfigure_stream(name)

    async def get_stream(self, name: str, block: bool = False, *, timeout_s: float | None = None) -> Sample:
        """Hand out the next sample; arguments and errors as `RouterClient.get_stream`."""
        limit_s = check_timeout(timeout_s)
        if not block and limit_s is None:
            return self._inner.get_stream(name)
        subscription = self._parts.subscription(name)
        began = SYSTEM_CLOCK.now()
        deadline = math.inf if limit_s is None else began + limit_s
        with Bell(subscription.listen, subscription.unlisten) as bell:
            while True:
                sample = subscription.take_or_none(began, deadline)
                if sample is not None:
                    return sample
                await bell.wait(min(LOOK_EVERY_S, deadline - SYSTEM_CLOCK.now()))

    async def get_samples(
        self, name: str, block: bool = False, *, max_samples: int | None = None, timeout_s: float | None = None
    ) -> list[Sample]:
        """Hand out all samples that wait, in one go; arguments and errors as `RouterClient.get_samples`."""
        limit_s = check_timeout(timeout_s)
        if not block and limit_s is None:
            return self._inner.get_samples(name, max_samples=max_samples)
        most = check_most(max_samples)
        subscription = self._parts.subscription(name)
        began = SYSTEM_CLOCK.now()
        deadline = math.inf if limit_s is None else began + limit_s
        if samples := subscription.take_many_if_any(most, began, deadline):
            return samples
        with Bell(subscription.listen, subscription.unlisten) as bell:
            while True:
                samples = subscription.take_many_if_any(most, began, deadline)
                if samples:
                    return samples
                await bell.wait(min(LOOK_EVERY_S, deadline - SYSTEM_CLOCK.now()))

    def last_sample(self, name: str) -> Sample:
        """Show the last sample that came, taken or not, without taking it. Does not wait."""
        return self._inner.last_sample(name)

    async def stream(self, name: str, *, timeout_s: float | None = None) -> AsyncIterator[Sample]:
        """Samples, one after the other: `async for timestamp, data in client.stream("camera")`.

        The stream is configured as a queue if it was not yet. Ends, and raises, as `RouterClient.stream`.
        """
        check_timeout(timeout_s)
        self._configure_if_new(name)
        while True:
            try:
                sample = await self.get_stream(name, block=True, timeout_s=timeout_s)
            except (ClosedError, UnknownStreamError):
                return
            yield sample

    def on_sample(
        self,
        name: str,
        callback: Callable[[Sample], Any],
        on_error: Callable[[OneLinerError], Any] | None = None,
    ) -> AsyncCallback[Any]:
        """Call a function with every sample that is handed out, in the running loop; see `AsyncCallback`.

        Arguments as `RouterClient.on_sample`; a slow function loses samples in the stream's buffer, counted.
        """
        asyncio.get_running_loop()
        self._configure_if_new(name)
        return self._keep(AsyncCallback(name, delivering(callback, on_error), self._samples(name)))

    def stream_statistics(self, name: str) -> ReaderStatistics:
        """Where the samples of a configured stream went."""
        return self._inner.stream_statistics(name)

    # --- streams: at the server --------------------------------------------------------------------------------------

    async def get_stream_configurations(self, as_dict: bool = False) -> StreamConfigurations | dict[str, Any]:
        """What the server says of every stream."""
        configurations = StreamConfigurations.from_dict(await self._control("", "stream_configurations"))
        return configurations.as_dict() if as_dict else configurations

    async def enable_stream(self, name: str) -> None:
        """Have the server run a stream, for everybody."""
        await self._control(name, "enable_stream")

    async def disable_stream(self, name: str) -> None:
        """Have the server pause a stream, for everybody."""
        await self._control(name, "disable_stream")

    async def remove_stream(self, name: str) -> None:
        """Have the server remove a stream, for everybody."""
        await self._control(name, "remove_stream")

    async def add_stream(
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
        """Have the server call a method of a served object at a rate; as `RouterClient.add_stream`."""
        args, kwargs = check_arguments(stream_name, args, kwargs)
        await self._control(
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

    def _ask(
        self,
        kind: Kind,
        path: str,
        content: list[Any],
        timeout_s: Timeout = _CLIENTS_TIMEOUT,
        if_busy: IfBusy | None = None,
    ) -> Awaitable[Any]:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Any] = loop.create_future()

        def settle(outcome: tuple[Any, Any] | Exception) -> None:
            if waiter.done() or loop.is_closed():
                return  # Nobody waits any more.
            if isinstance(outcome, Exception):
                waiter.set_exception(outcome)
            else:
                waiter.set_result(outcome)

        call = self._parts.rpc.begin(kind, _text(path), content, settle, timeout_s, if_busy, loop=loop)
        waiter.add_done_callback(lambda ended: call.withdraw() if ended.cancelled() else None)
        return waiter

    async def _control(self, path: str, word: str, **arguments: Any) -> Any:
        return (await self._ask(Kind.CONTROL, path, [word, arguments], if_busy="wait"))[1]

    def _job(self, data: Any, path: str) -> AsyncJob:
        info = JobInfo.from_dict(data, route_of(source_of(path)))
        return AsyncJob(self._control, info, self._parts.jobs, self._keep)

    def _configure_if_new(self, name: str) -> None:
        try:
            self._parts.subscription(name)
        except UnknownStreamError:
            self._inner.configure_stream(name)

    def _keep(self, callback: AsyncCallback[T]) -> AsyncCallback[T]:
        """Close it with the client."""
        self._callbacks = [*(other for other in self._callbacks if not other.closed), callback]
        return callback

    async def _states(self) -> AsyncGenerator[State, None]:
        """What the link tells its listeners, until it is closed."""
        waiting: deque[State] = deque()
        bell = Bell()

        def tell(state: State) -> None:
            waiting.append(state)
            bell.ring()

        self._parts.link.listen(tell)
        try:
            while True:
                while waiting:
                    state = waiting.popleft()
                    yield state
                    if state is State.CLOSED:
                        return
                await bell.wait()
        finally:
            self._parts.link.unlisten(tell)

    async def _samples(self, name: str) -> AsyncGenerator[Sample | OneLinerError, None]:
        """Samples, and what is raised in their place, for a callback."""
        gone = Gone()
        while True:
            item: Sample | OneLinerError
            try:
                item = await self.get_stream(name, timeout_s=_CALLBACK_SLICE_S)
                gone.is_over()
            except NoDataError:
                gone.is_over()
                continue
            except (ClosedError, UnknownStreamError):
                return
            except TransportError as error:
                if not gone.is_news(error):
                    await asyncio.sleep(LOOK_EVERY_S)
                    continue
                item = error
            except OneLinerError as error:
                item = error
            yield item


def _text(name: Any) -> str:
    if not isinstance(name, str) or not name.isprintable():
        raise ConfigurationError(f"a name is text, not {name!r}")
    return name
