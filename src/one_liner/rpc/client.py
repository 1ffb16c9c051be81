"""The caller's side of calls: from arguments to a result or an error, on the caller's own thread or without waiting."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import struct
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

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
from one_liner.transport.sockets import Context, Socket, is_watchable
from one_liner.wire.codec import Codec
from one_liner.wire.faults import error_of
from one_liner.wire.messages import Kind, Reply, Request, Stamp

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from one_liner.rpc.loop_operator import LoopOperator
    from one_liner.rpc.switchboard import Operator, PendingCall, Switchboard
    from one_liner.rpc.thread_operator import ThreadOperator

Outcome = tuple[Stamp, Any] | Exception
_RESULT = int(Kind.RESULT)
_ARGUMENT_NAMES = {
    Kind.CALL: {1: "args", 2: "kwargs"},
    Kind.CALL_NAMED: {0: "args", 1: "kwargs"},
    Kind.SET: {1: "value"},
    Kind.CONTROL: {1: "arguments"},
}


class RpcClient:
    """Asks and waits. May be used from any number of threads at once; each call that is waited for has its own socket.

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
        self._on_thread: ThreadOperator | None = None
        self._in_loop: LoopOperator | None = None
        self._helped: AbstractEventLoop | None = None
        """The loop whose calls the thread attends to: it is not asked each time whether it could do that itself."""
        self._lock = Lock()
        self._pid = os.getpid()
        self._closed = False

    @property
    def stale_replies(self) -> int:
        """Replies that came after their call had given up."""
        many = sum(one.stale for one in (self._on_thread, self._in_loop) if one is not None)
        return self._stale + many + sum(channel.stale for channel in tuple(self._idle))

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
        link = self._link
        limit_s, deadline = self._limits(timeout_s)
        refuse = self._refuses(if_busy)
        body, buffers = self._encode(kind, content)
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
            raise _Question(kind, path, content, limit_s).timed_out(error) from None
        except BaseException:
            # Ctrl-C may have come in the middle of a message.
            self._discard(channel)
            raise
        if reply.kind == _RESULT:
            self._give_back(channel)
            return reply.stamp, self._codec.decode(reply.body, reply.buffers)
        try:
            failure = self._error(reply, _Question(kind, path, content, limit_s))
            if isinstance(failure, AnswerLostError | MalformedError):
                # The two ends do not agree on what was asked here: the next call has another connection.
                channel.session = None
        finally:
            self._give_back(channel)
        raise failure

    def begin(
        self,
        kind: Kind,
        path: str,
        content: list[Any],
        done: Callable[[Outcome], None],
        timeout_s: float | str | None = "default",
        if_busy: str | None = None,
        *,
        loop: AbstractEventLoop,
    ) -> PendingCall:
        """As `ask`, without waiting: any number of calls at once, over one connection, and no thread for each.

        Args:
            kind: what is asked.
            path: of whom.
            content: the parts of the body.
            done: called once, in the loop, with what `ask` would give or raise.
            timeout_s: as in `ask`.
            if_busy: likewise.
            loop: runs on this thread now.

        Returns:
            The call; withdrawn, it does not begin, if it has not, and `done` is not called any more.

        Raises:
            NotCarriableError: an argument cannot travel.
            ClosedError, ForkedError: as they say.
        """
        from one_liner.rpc.switchboard import PendingCall  # For those who do not wait on their own thread.

        limit_s, deadline = self._limits(timeout_s)
        refuse = self._refuses(if_busy)
        body, buffers = self._encode(kind, content)
        question = _Question(kind, path, content, limit_s)
        operator = self._operator(loop)
        hand_over = done if operator is self._in_loop else partial(_post, loop, done)

        def answer(reply: Reply | OneLinerError) -> None:
            hand_over(self._outcome(reply, question))

        call = PendingCall(operator, kind, path, body, buffers, deadline, answer, refuse)
        operator.ask(call)
        return call

    def here(self, stamp: Stamp) -> Stamp:
        """An instant that the server told, on our timeline."""
        return stamp.shifted(*self._link.offset)

    def close(self) -> None:
        """Close all sockets that are not in use; those in use are closed by their callers, who are being told."""
        self._closed = True
        self._close_idle()
        with self._lock:
            operators = (self._on_thread, self._in_loop)
        for operator in operators:
            if operator is not None:
                operator.close()

    def _limits(self, timeout_s: float | str | None) -> tuple[float | None, float]:
        if os.getpid() != self._pid:
            raise ForkedError("this client was made before a fork; make a new one in the child process")
        limit_s = self._timeout_s if timeout_s == "default" else check_timeout(timeout_s)
        return limit_s, math.inf if limit_s is None else SYSTEM_CLOCK.now() + limit_s

    def _refuses(self, if_busy: str | None) -> bool:
        return (self._if_busy if if_busy is None else check_if_busy(if_busy)) == "refuse"

    def _error(self, reply: Reply, question: _Question) -> OneLinerError:
        """What the server answered in place of a result."""
        error = error_of(self._codec.decode(reply.body, reply.buffers))
        if reply.kind == Kind.CANCELLED:
            return question.timed_out(error)
        if isinstance(error, BusyError):
            error.details["path"] = question.title
        return error

    def _outcome(self, reply: Reply | OneLinerError, question: _Question) -> Outcome:
        if isinstance(reply, OneLinerError):
            return question.timed_out(reply) if isinstance(reply, CallTimeoutError) else reply
        try:
            if reply.kind == _RESULT:
                return reply.stamp, self._codec.decode(reply.body, reply.buffers)
            return self._error(reply, question)
        except Exception as unreadable:
            return unreadable

    def _operator(self, loop: AbstractEventLoop) -> Operator:
        """Who attends to the calls of this loop: itself if it can, a thread otherwise."""
        in_loop = self._in_loop
        if in_loop is not None and in_loop.loop is loop:
            return in_loop
        if self._on_thread is not None and self._helped is loop:
            return self._on_thread
        with self._lock:
            if self._closed:
                raise ClosedError(f"this client of {self._link.endpoint} is closed")
            in_loop = self._in_loop  # Another thread may have been here before us.
            if (in_loop is None or not in_loop.loop.is_running()) and is_watchable(loop):
                from one_liner.rpc.loop_operator import LoopOperator  # For those who do not wait on their own thread.

                if in_loop is not None:
                    in_loop.close()
                    self._stale += in_loop.stale
                self._in_loop = LoopOperator(loop, self._board)
                return self._in_loop
            if self._on_thread is None:
                from one_liner.rpc.thread_operator import ThreadOperator

                self._on_thread = ThreadOperator(self._context, self._board())
            self._helped = loop
            return self._on_thread

    def _board(self, *hooks: Callable[[Socket], None]) -> Switchboard:
        from one_liner.rpc.switchboard import Switchboard

        return Switchboard(self._context, self._link, self._client, self._routing_id, *hooks)

    def _routing_id(self) -> bytes:
        return b"c" + struct.pack("<QI", self._client, next(self._numbers) & 0xFFFFFFFF)

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
        return Channel(self._context, self._link, self._routing_id())

    def _give_back(self, channel: Channel) -> None:
        if self._closed or channel.session is None or not self._link.ready:
            self._discard(channel)
            return
        self._idle.append(channel)
        if self._closed:  # Closed in this very moment: whoever still finds it closes it.
            self._close_idle()

    def _close_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._discard(self._idle.pop())

    def _discard(self, channel: Channel) -> None:
        self._stale += channel.stale
        channel.close()


def _post(loop: AbstractEventLoop, done: Callable[[Outcome], None], outcome: Outcome) -> None:
    """Have something done in a loop, from another thread."""
    try:
        loop.call_soon_threadsafe(done, outcome)
    except RuntimeError:
        return  # The loop was closed: nobody waits any more.


class _Question(NamedTuple):
    """What was asked, for the error that names it."""

    kind: Kind
    path: str
    content: list[Any]
    limit_s: float | None

    @property
    def title(self) -> str:
        """A call as its caller wrote it."""
        of_attribute = self.kind in (Kind.CALL, Kind.GET, Kind.SET) and self.content[0]
        return f"{self.path}.{self.content[0]}" if of_attribute else self.path

    def timed_out(self, error: OneLinerError) -> OneLinerError:
        """The error of a call that was given up, which names the call."""
        details = {**error.details, "path": self.title, "timeout_s": self.limit_s}
        return type(error)(f"{self.title}: no answer within {self.limit_s} s. {error}", **details)
