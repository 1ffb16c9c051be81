"""The caller's side of calls: from arguments to a result or an error, on the caller's own thread."""

from __future__ import annotations

import itertools
import math
import os
import struct
from collections import deque
from typing import Any

from one_liner.clock import SYSTEM_CLOCK
from one_liner.config import check_if_busy, check_timeout
from one_liner.errors import (
    AnswerLostError,
    BusyError,
    CallTimeoutError,
    ClosedError,
    ForkedError,
    MalformedError,
    NotCarriableError,
    OneLinerError,
)
from one_liner.rpc.channel import Channel
from one_liner.rpc.link import Link
from one_liner.transport.sockets import Context
from one_liner.wire.codec import Codec
from one_liner.wire.faults import error_of
from one_liner.wire.messages import Kind, Reply, Request, Stamp

_RESULT = int(Kind.RESULT)
_ARGUMENT_NAMES = {
    Kind.CALL: {1: "args", 2: "kwargs"},
    Kind.CALL_NAMED: {0: "args", 1: "kwargs"},
    Kind.SET: {1: "value"},
    Kind.CONTROL: {1: "arguments"},
}


class RpcClient:
    """Asks and waits. May be used from any number of threads at once; each call has a socket of its own.

    Args:
        context: the context its sockets belong to.
        link: tells whether the server lives.
        client: random number of this client.
        codec: turns arguments and results into bytes and back.
        timeout_s: for calls that bring none of their own; None waits as long as the server lives.
        if_busy: likewise; "wait" or "refuse".
    """

    def __init__(
        self,
        context: Context,
        link: Link,
        *,
        client: int,
        codec: Codec,
        timeout_s: float | None,
        if_busy: str = "wait",
    ) -> None:
        self._context = context
        self._link = link
        self._client = client
        self._codec = codec
        self._timeout_s = check_timeout(timeout_s)
        self._if_busy = check_if_busy(if_busy)
        self._idle: deque[Channel] = deque()
        self._numbers = itertools.count()
        self._stale = 0
        self._pid = os.getpid()
        self._closed = False

    @property
    def stale_replies(self) -> int:
        """Replies that came after their call had given up."""
        return self._stale + sum(channel.stale for channel in tuple(self._idle))

    def ask(
        self,
        kind: Kind,
        path: str,
        content: list[Any],
        timeout_s: float | str | None = "default",
        trail: tuple[int, ...] = (),
        if_busy: str | None = "wait",
    ) -> tuple[Stamp, Any]:
        """Ask the server and wait for its answer.

        Args:
            kind: what is asked.
            path: of whom.
            content: the parts of the body.
            timeout_s: seconds; None waits as long as the server lives; "default" takes the client's.
            trail: the servers that this question has passed, where a server asks.
            if_busy: "refuse" where it would have to wait for another call; "wait"; None takes the client's.

        Returns:
            When the function returned, on the server's timeline (see `here`), and what it returned.

        Raises:
            OneLinerError: one of five causes: nobody answers, refused, versions differ, busy or timed out, or the
                function raised (then also of the builtin type it raised).
        """
        if os.getpid() != self._pid:
            raise ForkedError("this client was made before a fork; make a new one in the child process")
        link = self._link
        limit_s = self._timeout_s if timeout_s == "default" else check_timeout(timeout_s)
        refuse = (self._if_busy if if_busy is None else check_if_busy(if_busy)) == "refuse"
        body, buffers = self._encode(kind, content)
        deadline = math.inf if limit_s is None else SYSTEM_CLOCK.now() + limit_s
        if not link.ready:
            link.wait_ready(deadline)
        channel = self._take()
        try:
            request = Request(kind, channel.next_id(), self._client, path, body, buffers, trail, refuse)
            reply = channel.ask(request, deadline)
        except OneLinerError as error:
            # Its connection may be damaged for good (libzmq mends none): the next call has another.
            channel.session = None
            self._give_back(channel)
            if not isinstance(error, CallTimeoutError):
                raise
            raise _timed_out(error, kind, path, content, limit_s) from None
        except BaseException:
            # Ctrl-C may have come in the middle of a message.
            self._discard(channel)
            raise
        if reply.kind == _RESULT:
            self._give_back(channel)
            return reply.stamp, self._codec.decode(reply.body, reply.buffers)
        if reply.kind != Kind.CANCELLED:
            raise self._error(reply, channel, kind, path, content)
        self._give_back(channel)
        raise _timed_out(error_of(self._codec.decode(reply.body, reply.buffers)), kind, path, content, limit_s)

    def here(self, stamp: Stamp) -> Stamp:
        """An instant that the server told, on our timeline."""
        return stamp.shifted(*self._link.offset)

    def close(self) -> None:
        """Close all sockets that are not in use; those in use are closed by their callers, who are being told."""
        self._closed = True
        while self._idle:
            self._discard(self._idle.pop())

    def _error(self, reply: Reply, channel: Channel, kind: Kind, path: str, content: list[Any]) -> OneLinerError:
        """What the server answered in place of a result."""
        try:
            error = error_of(self._codec.decode(reply.body, reply.buffers))
            if isinstance(error, AnswerLostError | MalformedError):
                # The two ends do not agree on what was asked here: the next call has another connection.
                channel.session = None
        finally:
            self._give_back(channel)
        if isinstance(error, BusyError):
            error.details["path"] = _title(kind, path, content)
        return error

    def _encode(self, kind: Kind, content: list[Any]) -> tuple[Any, Any]:
        try:
            return self._codec.encode(content, "request")
        except NotCarriableError as error:
            message, path = str(error), error.path
            for index, name in _ARGUMENT_NAMES.get(kind, {}).items():
                message = message.replace(f"request[{index}]", name)
                path = path.replace(f"request[{index}]", name)
            raise NotCarriableError(message, path=path, type_name=error.type_name) from None

    def _take(self) -> Channel:
        while True:
            try:
                channel = self._idle.pop()
            except IndexError:
                break
            if channel.usable:
                return channel
            self._discard(channel)
        if self._closed:
            raise ClosedError(f"this client of {self._link.endpoint} is closed")
        routing_id = b"c" + struct.pack("<QI", self._client, next(self._numbers) & 0xFFFFFFFF)
        return Channel(self._context, self._link, routing_id)

    def _give_back(self, channel: Channel) -> None:
        if self._closed or channel.session is None or not self._link.ready:
            self._discard(channel)
            return
        self._idle.append(channel)
        if self._closed:  # Closed in this very moment: whoever still finds it closes it.
            self.close()

    def _discard(self, channel: Channel) -> None:
        self._stale += channel.stale
        channel.close()


def _timed_out(error: OneLinerError, kind: Kind, path: str, content: list[Any], limit_s: float | None) -> OneLinerError:
    """The error of a call that was given up, which names the call."""
    title = _title(kind, path, content)
    details = {**error.details, "path": title, "timeout_s": limit_s}
    return type(error)(f"{title}: no answer within {limit_s} s. {error}", **details)


def _title(kind: Kind, path: str, content: list[Any]) -> str:
    """A call as its caller wrote it."""
    return f"{path}.{content[0]}" if kind in (Kind.CALL, Kind.GET, Kind.SET) and content[0] else path
