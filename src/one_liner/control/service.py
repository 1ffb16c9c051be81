"""`ControlService`: commands and events for peers that speak JSON over plain ZeroMQ.

This file only composes: commands come in at `port`, are carried out at the `desk`, and everything that is published
leaves through `broadcast`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from enum import Enum
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from one_liner.callbacks import Callback
from one_liner.clock import SYSTEM_CLOCK, Clock
from one_liner.config import check_interval
from one_liner.control.broadcast import Broadcast
from one_liner.control.core import Core, InProcess, ThroughClient
from one_liner.control.desk import Desk
from one_liner.control.events import Events
from one_liner.control.handlers import OWN, Function, Handlers
from one_liner.control.jobs import Jobs
from one_liner.control.numbers import EMERGENCY_KINDS, Catalogue, Command, EventKind, Topic, number_of
from one_liner.control.plain import to_bytes
from one_liner.control.port import CommandPort
from one_liner.control.response import CommandResponse
from one_liner.control.workers import Workers
from one_liner.errors import AlreadyStartedError, ConfigurationError
from one_liner.events.event import Event
from one_liner.limits import Limits, check_limits
from one_liner.rpc.permission import Role
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.fanout import Fanout
from one_liner.transport.sockets import Context, closing_on_error, default_context
from one_liner.uninterrupted import uninterrupted
from one_liner.version import __version__

if TYPE_CHECKING:
    from one_liner.client import RouterClient
    from one_liner.server import RouterServer

F = TypeVar("F", bound=Function)
_TRANSPORT_HEARTBEAT_S = 1.0
_STOP_TIMEOUT_S = 0.5
_ACCEPTED_WITHIN_S = 5.0  # A job is accepted in milliseconds, and the answer has its id; a server may be slow, or away.
_ALL_TOPICS = frozenset(topic for topic in Topic)
_log = logging.getLogger("one_liner.control.service")


class _Parts(NamedTuple):
    """What a service consists of from `start` on."""

    broadcast: Broadcast
    port: CommandPort
    desk: Desk
    workers: Workers
    forwarding: Callback[Event] | None


class ControlService:
    """Answers commands and publishes events, for consoles and programs in any language.

    The ports are taken by `start` and free again after `stop`; a service is started once. Without a server it stands
    alone. All methods may be called from any thread.

    Args:
        identifier: who this is, in every heartbeat.
        server: the `RouterServer` to stand beside. Its broadcast address is shared, `broadcast_port` does not count,
            and its keys and allow-list hold for commands, too. Its events are told here, and commands may be its jobs
            (`add_job`). Stop the service before the server.
        client: a `RouterClient` in place of the server, for events and jobs of one that is elsewhere, or behind routers
            (`add_job(…, "north/stage", "scan")`). It stays yours to close.
        version: of the application, likewise; that of this library if None.
        protocol: "tcp", "ipc" or "inproc".
        interface: as for `RouterServer`; the default can be reached from this machine only.
        broadcast_port: where events are published; 0 takes a free one.
        command_port: where commands are answered; 0 takes a free one.
        heartbeat_s: how often a heartbeat is published, in s.
        commands: an enum whose values are the numbers of the commands.
        event_kinds: an enum whose values are the numbers of the kinds of events.
        emergency_kinds: those kinds that are published as emergencies, too.
        events_as_text: True when subscribers expect a JSON string that holds JSON (auto-trainer-api 0.9.7 and
            before), or the topics for which they do. Answers to commands are never written so.
        patience_s: how long the answer of a handler is waited for before the peer is told that the command goes on.
        context: the ZeroMQ context to use; that of the server, or the process' own, if None.
        limits: how many commands may be under way, together (`calls`) and for one peer (`calls_per_client`).
        clock: where the time is read; another one than the system's is for tests.

    Raises:
        ConfigurationError: an argument cannot be right.
    """

    def __init__(
        self,
        identifier: str = "one_liner",
        *,
        server: RouterServer | None = None,
        client: RouterClient | None = None,
        version: str | None = None,
        protocol: str = "tcp",
        interface: str = "127.0.0.1",
        broadcast_port: int | str = 5556,
        command_port: int | str = 5557,
        heartbeat_s: float = 5.0,
        commands: type[Enum] = Command,
        event_kinds: type[Enum] = EventKind,
        emergency_kinds: Iterable[int | Enum] = EMERGENCY_KINDS,
        events_as_text: bool | Iterable[Topic] = False,
        patience_s: float = 0.05,
        context: Context | None = None,
        limits: Limits | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._identifier, self._version = str(identifier), __version__ if version is None else str(version)
        self._server = server
        self._broadcast_endpoint = Endpoint.of(protocol, interface, broadcast_port)
        self._command_endpoint = Endpoint.of(protocol, interface, command_port)
        same = self._command_endpoint == self._broadcast_endpoint
        if server is None and same and self._command_endpoint.port != 0:
            raise ConfigurationError(f"commands and events need two ports, not {command_port!r} for both")
        self._heartbeat_s = check_interval("heartbeat_s", heartbeat_s)
        self._patience_s = check_interval("patience_s", patience_s)
        self._commands = Catalogue(commands)
        emergencies = frozenset(number_of(kind) for kind in emergency_kinds)
        self._events = Events(Catalogue(event_kinds), emergencies, clock)
        self._core = _core_of(server, client)
        self._jobs = None if self._core is None else Jobs(self._core)
        self._as_text = _topics(events_as_text)
        if context is None:
            context = default_context() if server is None else server.context
        self._context = context
        self._limits = check_limits(limits)
        self._clock = clock
        self._handlers = Handlers(self._commands)
        self._lock = Lock()
        self._started = self._stopped = False
        self._parts: _Parts | None = None
        self.state = ""
        """What heartbeats say of the application, as text; that of the server where it is empty. Set it at any time."""

    # --- life --------------------------------------------------------------------------------------------------------

    @uninterrupted
    def start(self) -> None:
        """Take the ports, answer commands and publish heartbeats.

        Raises:
            AlreadyStartedError: it was started before; also a `RuntimeError`.
            PortInUseError: somebody has one of the ports. Nothing stays bound; it may be started again.
        """
        with self._lock:
            if self._started:
                raise AlreadyStartedError("this control service was started before; make a new one")
            guard = None if self._server is None else self._server.guard
            with ExitStack() as opened:  # What was opened so far, when the rest fails.
                broadcast = self._open_broadcast()
                opened.callback(broadcast.close)
                port = CommandPort(
                    self._context,
                    self._command_endpoint,
                    beat=self._beat,
                    beat_s=self._heartbeat_s,
                    clock=self._clock,
                    curve=None if guard is None else guard.curve,
                )
                opened.callback(port.close)
                forwarding = None if self._core is None else self._core.listen(self._events.forward)
                opened.pop_all()
            workers = Workers(f"control handler {port.endpoint}")
            desk = Desk(
                commands=self._commands,
                handlers=self._handlers,
                workers=workers,
                send=port.send,
                publish=lambda body: self._events.publish((Topic.COMMAND_RESULT, body)),
                post=port.post,
                clock=self._clock,
                limits=self._limits,
                patience_s=self._patience_s,
                clients=None if guard is None else guard.clients,
            )
            self._parts = _Parts(broadcast, port, desk, workers, forwarding)
            self._command_endpoint, self._started = port.endpoint, True
            if broadcast.endpoint is not None:
                self._broadcast_endpoint = broadcast.endpoint
            self._events.open(broadcast)
            port.run(desk)
        _log.info("%s answers commands at %s", self._identifier, self.command_endpoint)
        if guard is None and not self._command_endpoint.is_local:
            _log.warning("%s can be reached by every machine on its network", self.command_endpoint)

    def stop(self) -> None:
        """Stop, and give the ports back; any number of times, also before `start`.

        Whoever waits for an answer is told that the service stops. Handlers that run are waited for half a second.
        """
        with self._lock:
            first, self._started, self._stopped = not self._stopped, True, True
            parts = self._parts
        if not first or parts is None:
            return
        try:
            self._end(parts)
        except BaseException:
            self._end(parts)  # Ctrl-C came in between: nothing may stay open all the same.
            raise

    def _end(self, parts: _Parts) -> None:
        """Close everything. May be interrupted, and done again."""
        if parts.forwarding is not None:
            parts.forwarding.close()
        if self._core is not None:
            self._core.close()
        parts.port.close()
        if not parts.workers.stop(_STOP_TIMEOUT_S):
            _log.warning("%s: a command still runs while the service stops", self._identifier)
        parts.broadcast.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else "running" if self._started else "not started yet"
        return f"<ControlService {self._identifier!r} at {self._command_endpoint}, {state}>"

    # --- what it is --------------------------------------------------------------------------------------------------

    @property
    def identifier(self) -> str:
        """Who this is, in every heartbeat."""
        return self._identifier

    @property
    def command_port(self) -> int | str:
        """Where commands are answered; the one that was taken when 0 was asked for."""
        return self._command_endpoint.port

    @property
    def broadcast_port(self) -> int | str:
        """Where events are published, likewise."""
        return self._broadcast_endpoint.port if self._server is None else self._server.broadcast_port

    @property
    def command_endpoint(self) -> str:
        """The full address of commands: `tcp://127.0.0.1:5557`."""
        return str(self._command_endpoint)

    @property
    def broadcast_endpoint(self) -> str:
        """The full address of events."""
        return str(self._broadcast_endpoint) if self._server is None else self._server.broadcast_endpoint

    @property
    def commands(self) -> dict[str, int]:
        """The numbers of the commands, by name."""
        return self._commands.names()

    @property
    def event_kinds(self) -> dict[str, int]:
        """The numbers of the kinds of events, by name."""
        return self._events.kinds.names()

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._started and not self._stopped

    # --- commands ----------------------------------------------------------------------------------------------------

    def add_handler(
        self,
        command: int | Enum | None,
        handler: Function,
        *,
        lane: Any = OWN,
        urgent: bool | None = None,
        role: str = "control",
    ) -> None:
        """Say who carries out a command; a handler that it has is replaced.

        The handler is called with a `CommandRequest`, on a thread of the service. What it returns is the data of a
        success, or a `CommandResponse`, or a `Later` when the work goes on. What it raises is an EXCEPTION. When it is
        not back in time the peer is told that the command goes on, and everybody how it ended: a handler may take as
        long as it likes, and delays those alone that need the same lane.

        Args:
            command: a member of the enum, a number (those that are in no enum are custom commands), or None for every
                command that has no handler.
            handler: the function.
            lane: commands of one lane run one after another. By default that of the object whose method it is; a name
                puts several together; None lets it run beside everything, itself included.
            urgent: whether it waits for nobody. By default EMERGENCY_STOP and EMERGENCY_RESUME are.
            role: what the key of a peer has to have where there are keys: "read", "control" or "admin".

        Raises:
            ConfigurationError: the command is no number, the handler no function, or there is no such role.
        """
        self._handlers.add(command, handler, lane, urgent, Role.of(role))

    def handles(self, command: int | Enum | None, **options: Any) -> Callable[[F], F]:
        """The same as a decorator: `@service.handles(Command.GET_STATUS)`."""

        def add(function: F) -> F:
            self.add_handler(command, function, **options)
            return function

        return add

    def add_job(
        self, command: int | Enum, obj_name: str, attr_name: str = "", args: Sequence[Any] | None = None
    ) -> None:
        """Have a command begin a job of the server: a method of a served object, in that object's lane.

        The data of the request are its arguments by name. The peer is answered PENDING_WITH_NOTIFICATION, with the id
        of the job under `job`; its end is published as a COMMAND_RESULT. A job that is not accepted is FAILED with the
        reason, and did not run.

        Args:
            command: as in `add_handler`.
            obj_name: the object; with a `client` also one behind routers, `north/stage`.
            attr_name: its method; "" for the object itself.
            args: arguments that come first.

        Raises:
            ConfigurationError: there is no server, and no client.
        """
        handler = self._own_jobs().beginning(number_of(command), obj_name, attr_name, list(args or ()))
        self._handlers.add(command, handler, None, None, Role.CONTROL, obj_name, _ACCEPTED_WITHIN_S)

    def add_cancel(self, command: int | Enum, of: int | Enum, obj_name: str | None = None) -> None:
        """Have a command cancel what another one has begun: the job that its data name under `job`, or all of them.

        What had ended before, or never began, is FAILED, and says so.

        Args:
            command: the one that cancels.
            of: the one that begins them.
            obj_name: the object that a restricted key has to reach; None leaves it to those that are not restricted.

        Raises:
            ConfigurationError: there is no server, and no client.
        """
        handler = self._own_jobs().cancelling(number_of(of))
        self._handlers.add(command, handler, None, None, Role.CONTROL, obj_name, _ACCEPTED_WITHIN_S)

    def remove_handler(self, command: int | Enum | None) -> bool:
        """Have nobody carry out a command any more; False when nobody did."""
        return self._handlers.remove(command)

    def send_command_result(self, command: int | Enum, nonce: int, value: Any = None) -> bool:
        """Publish how a command ended that a handler of yours had answered with PENDING_WITH_NOTIFICATION.

        Handlers that are merely slow, that return a `Later`, and jobs have that done for them.

        Args:
            command: of the request.
            nonce: of the request.
            value: a `CommandResponse`, an exception, or the data of a success.

        Returns:
            False when the service does not run.
        """
        response = CommandResponse.of_error(value) if isinstance(value, BaseException) else CommandResponse.of(value)
        answer = response.answering(number_of(command), nonce).written()
        parts = self._parts
        if parts is not None:
            parts.port.post(lambda: parts.desk.tell(answer))
        return self._events.publish((Topic.COMMAND_RESULT, answer.body))

    # --- events ------------------------------------------------------------------------------------------------------

    def send_event(
        self,
        kind: int | str | Enum,
        context: Any = None,
        *,
        when: float | datetime | None = None,
        index: int | None = None,
    ) -> bool:
        """Publish that something happened. An emergency is published as such, too, and first.

        Args:
            kind: a member of the enum, its name, or a number. A name that is not in the enum has no number: it goes as
                USER_DEFINED, with the name beside it.
            context: any value that has a form in JSON, for most kinds a dict.
            when: the instant, in seconds since 1970; now if None.
            index: the same in ns on a clock that never goes back; now if None.

        Returns:
            False when the service does not run.

        Raises:
            NotCarriableError: the context has no form in JSON; nothing was published. An emergency is published
                nevertheless, with its context as text.
        """
        return self._events.event(kind, context, when=when, index=index)

    def send_emergency(self, kind: int | str | Enum, context: Any = None) -> bool:
        """Publish an event as an emergency, whatever its kind; see `send_event`."""
        return self._events.event(kind, context, emergency=True)

    def send_property_change(self, name: str, old: Any, new: Any, who: str = "") -> bool:
        """Publish that a property has changed.

        Args:
            name: which: "laser.power".
            old: what it was; None if nobody knows.
            new: what it is.
            who: changed it, for people.

        Returns:
            False when the service does not run.

        Raises:
            NotCarriableError: a value has no form in JSON; nothing was published.
        """
        return self._events.property_change(name, old, new, who)

    def send_heartbeat(self) -> bool:
        """Publish a heartbeat beside those that come by themselves; False when the service does not run."""
        state = self.state or ("" if self._core is None else self._core.state)
        beat = {"identifier": self._identifier, "version": self._version, "timestamp": self._clock.wall()}
        return self._events.publish((Topic.HEARTBEAT, to_bytes({**beat, "state": str(state)})))

    def send(self, topic: int | Topic, message: Mapping[str, Any]) -> bool:
        """Publish an object of your own under a topic, its keys in camelCase.

        Returns:
            False when the service does not run.

        Raises:
            ConfigurationError: there is no such topic.
            NotCarriableError: something in it has no form in JSON; nothing was published.
        """
        return self._events.message(Topic.of(topic), message)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _own_jobs(self) -> Jobs:
        if self._jobs is None:
            raise ConfigurationError("jobs are those of a server: ControlService(server=…), or client=…")
        return self._jobs

    def _beat(self) -> None:
        if self._parts is not None:
            self._parts.broadcast.hear()
        self.send_heartbeat()

    def _open_broadcast(self) -> Broadcast:
        if self._server is not None:
            return Broadcast(self._server.open_publisher(), None, self._as_text)
        fanout = Fanout(
            self._context, self._broadcast_endpoint, heartbeat_s=_TRANSPORT_HEARTBEAT_S, limits=self._limits
        )
        with closing_on_error(fanout):
            fanout.run()
            return Broadcast(fanout.publisher(hears_subscriptions=True), fanout, self._as_text)


def _core_of(server: RouterServer | None, client: RouterClient | None) -> Core | None:
    if server is not None and client is not None:
        raise ConfigurationError("a control service stands beside a server or beside a client, not both")
    if server is not None:
        return InProcess(server)
    return None if client is None else ThroughClient(client)


def _topics(events_as_text: bool | Iterable[Topic]) -> frozenset[int]:
    if isinstance(events_as_text, bool):
        return frozenset(_ALL_TOPICS) if events_as_text else frozenset()
    return frozenset(int(Topic.of(topic)) for topic in events_as_text)
