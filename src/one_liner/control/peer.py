"""The other end: sends commands and listens to what is published, for consoles and scripts."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from threading import Lock
from typing import Any, Final

import zmq

from one_liner.closing import Closing
from one_liner.config import check_interval
from one_liner.control.listener import Listener, Published
from one_liner.control.numbers import Command, Topic, number_of
from one_liner.control.plain import plain, to_bytes
from one_liner.control.response import CommandResponse
from one_liner.errors import CallTimeoutError, ClosedError, MalformedError
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.sockets import Context, Socket, default_context, open_socket
from one_liner.uninterrupted import uninterrupted

_HEARTBEAT_S: Final = 1.0
_FIRST_NONCES: Final = 1 << 30


class ControlPeer(Closing):
    """Speaks to a control service, ours or another one of the same protocol. Usable from any thread.

    It may be there before the service is.

    Args:
        interface: the host of the service.
        broadcast_port: where it publishes.
        command_port: where it answers commands.
        protocol: "tcp", "ipc" or "inproc".
        context: the ZeroMQ context to use; the process' own if None.
    """

    def __init__(
        self,
        interface: str = "127.0.0.1",
        broadcast_port: int | str = 5556,
        command_port: int | str = 5557,
        *,
        protocol: str = "tcp",
        context: Context | None = None,
    ) -> None:
        self._broadcast = Endpoint.of(protocol, interface, broadcast_port)
        self._command = Endpoint.of(protocol, interface, command_port)
        self._context = context if context is not None else default_context()
        self._lock = Lock()
        self._idle: list[Socket] = []
        self._listeners: list[Listener] = []
        self._closed = False
        self._nonce = random.randrange(1, _FIRST_NONCES)  # A service may remember those of the one before us.

    def command(
        self,
        command: int | Enum,
        data: Mapping[str, Any] | None = None,
        *,
        custom_command: int | None = None,
        nonce: int | None = None,
        timeout_s: float = 5.0,
    ) -> CommandResponse:
        """Send a command and wait for its answer.

        Args:
            command: its number, or a member of an enum.
            data: what goes with it; its keys travel in camelCase.
            custom_command: which one, with `Command.USER_DEFINED`.
            nonce: a number of your own; one more than the last if None.
            timeout_s: how long to wait, in s.

        Raises:
            CallTimeoutError: no answer came; whether the command was carried out is not known.
            NotCarriableError: the data has no form in JSON; nothing was sent.
            MalformedError: the answer cannot be read.
            ClosedError: this peer was closed.
        """
        check_interval("timeout_s", timeout_s)
        nonce = self._next_nonce() if nonce is None else nonce
        request = {"command": number_of(command), "nonce": nonce, "data": plain(data, "data")}
        if custom_command is not None:
            request["customCommand"] = custom_command
        socket = self._take_socket()
        try:
            socket.send_multipart([b"", to_bytes(request)])
            response = _answer_to(nonce, socket, timeout_s)
        except BaseException:
            socket.close()  # The answer may still come, and is nobody else's.
            raise
        self._give_back(socket)
        return response

    def custom(self, number: int, data: Mapping[str, Any] | None = None, *, timeout_s: float = 5.0) -> CommandResponse:
        """Send one of the user-defined commands; see `command`."""
        return self.command(Command.USER_DEFINED, data, custom_command=number, timeout_s=timeout_s)

    @uninterrupted
    def listen(self, function: Callable[[Published], Any], topics: Iterable[int] = (Topic.ANY,)) -> Listener:
        """Have a function called for everything that is published under these topics, on a thread of its own.

        Raises:
            ClosedError: this peer was closed.
        """
        with self._lock:
            self._check_open()
            listener = Listener(self._context, str(self._broadcast), function, topics)
            self._listeners.append(listener)
        return listener

    def close(self) -> None:
        """Close everything; any number of times."""
        try:
            self._end()
        except BaseException:
            self._end()  # Ctrl-C came in between: nothing may stay open all the same.
            raise

    def _end(self) -> None:
        """Close everything. May be interrupted, and done again."""
        with self._lock:
            self._closed = True
            sockets, self._idle = self._idle, []
            listeners = tuple(self._listeners)
        for socket in sockets:
            socket.close()
        for listener in listeners:
            listener.close()

    def _next_nonce(self) -> int:
        with self._lock:
            self._nonce += 1
            return self._nonce

    def _take_socket(self) -> Socket:
        with self._lock:
            self._check_open()
            if self._idle:
                return self._idle.pop()
            socket = open_socket(self._context, zmq.DEALER, heartbeat_s=_HEARTBEAT_S, ipv6=self._command.is_ipv6)
            socket.connect(str(self._command))
            return socket

    def _give_back(self, socket: Socket) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(socket)
                return
        socket.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("this control peer is closed")


def _answer_to(nonce: int, socket: Socket, timeout_s: float) -> CommandResponse:
    deadline = time.monotonic() + timeout_s
    while (left_s := deadline - time.monotonic()) > 0:
        if not socket.poll(int(left_s * 1000) + 1):
            continue
        frames = socket.recv_multipart()
        try:
            response = CommandResponse.from_dict(json.loads(frames[-1]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MalformedError(f"the answer cannot be read: {error!r}") from None
        if response.nonce in (nonce, 0):  # 0: the service could not read what we sent.
            return response
    raise CallTimeoutError(
        f"no answer came within {timeout_s:g} s; it is not known whether the command was carried out"
    )
