"""An event loop that attends to a switchboard itself: no thread, and no hand-over.

libzmq's descriptor tells that something changed, and not what is there. So after anything was done with the socket it
is asked what is there: nothing else would tell.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable
from threading import Event, Lock, get_ident
from typing import TYPE_CHECKING

import zmq

from one_liner.clock import SYSTEM_CLOCK
from one_liner.rpc.link import State
from one_liner.rpc.switchboard import PendingCall, Switchboard
from one_liner.transport.sockets import Socket

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle

_LOOK_EVERY_S = 0.05
_log = logging.getLogger("one_liner.rpc.loop_operator")
MakeBoard = Callable[[Callable[[Socket], None], Callable[[Socket], None]], Switchboard]


class LoopOperator:
    """Attends to a switchboard in an event loop that can watch descriptors. All but `close` is for the loop's thread.

    Answers are given there, too.

    Args:
        loop: runs on this thread now.
        make_board: makes the switchboard; told what to do with a new connection, and with one before it is closed.

    Attributes:
        loop: as given.
    """

    def __init__(self, loop: AbstractEventLoop, make_board: MakeBoard) -> None:
        self.loop = loop
        self._board = make_board(self._watch, self._unwatch)
        self._timer: TimerHandle | None = None
        self._timer_at = math.inf
        self._descriptor = -1
        self._turn_is_due = self._closed = False
        self._thread_id = get_ident()
        self._lock = Lock()
        self._ended = Event()
        self._board.link.listen(self._on_state)

    @property
    def stale(self) -> int:
        """How many replies came after their call had given up."""
        return self._board.stale

    # --- in the loop -------------------------------------------------------------------------------------------------

    def ask(self, call: PendingCall) -> None:
        """Take a call, and send it: at once, or while others are under way with all that are made in this round.

        Requests that are sent one after the other wake libzmq's thread once, and leave as one packet.

        Raises:
            ClosedError: the client is closed.
        """
        if self._closed:
            raise self._board.closed_error()
        self._thread_id = get_ident()
        alone = not self._board.busy
        self._board.take(call)
        if alone:
            self._do(self._board.send)
        else:
            self._soon()

    def withdraw(self, call: PendingCall) -> None:
        """Take a call back; where the client is closed, that was its answer."""
        self._do(lambda: self._board.withdraw(call))

    def _turn(self) -> None:
        self._turn_is_due = False
        self._do(self._board.take_turn)

    def _do(self, action: Callable[[], None]) -> None:
        if self._closed:
            return
        try:
            action()
            self._go_on()
        except zmq.ContextTerminated:
            self._end()
        except Exception:
            _log.exception("the calls of %s in an event loop met an error", self._board.link.endpoint)
            self._board.fail()

    def _go_on(self) -> None:
        """See to it that there is a next turn, as soon as there is something to do."""
        board = self._board
        socket = board.socket
        if socket is not None and int(socket.getsockopt(zmq.EVENTS)) & board.awaited:
            self._soon()
        if not board.busy or self._timer_at <= board.look_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = board.look_at
        self._timer = self.loop.call_later(max(0.0, board.look_at - SYSTEM_CLOCK.now()), self._on_time)

    def _on_time(self) -> None:
        self._timer, self._timer_at = None, math.inf
        self._turn()

    def _soon(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            self.loop.call_soon(self._turn)

    def _watch(self, socket: Socket) -> None:
        # Kept, because a socket whose context was terminated does not tell it any more.
        self._descriptor = int(socket.getsockopt(zmq.FD))
        self.loop.add_reader(self._descriptor, self._turn)

    def _unwatch(self, _: Socket) -> None:
        with contextlib.suppress(RuntimeError):  # The loop was closed, and watches nothing.
            self.loop.remove_reader(self._descriptor)

    # --- from other threads ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connection, from any thread; every caller gets a `ClosedError`."""
        if get_ident() != self._thread_id and self._have_the_loop_end():
            return
        self._end()

    def _have_the_loop_end(self) -> bool:
        """Leave it to the loop. False if it does not run, and so does not use what is to be closed."""
        try:
            self.loop.call_soon_threadsafe(self._end)
        except RuntimeError:  # It was closed.
            return False
        while not self._ended.wait(_LOOK_EVERY_S):
            if not self.loop.is_running():
                return False
        return True

    def _end(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._board.link.unlisten(self._on_state)
        if self._timer is not None:
            self._timer.cancel()
        self._board.close()
        self._ended.set()

    def _on_state(self, _: State) -> None:
        # Once the loop is closed nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._look_now)

    def _look_now(self) -> None:
        self._board.look_at = 0.0
        self._turn()
