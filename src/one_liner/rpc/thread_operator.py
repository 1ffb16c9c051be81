"""A thread that attends to a switchboard: calls come from any thread, and are answered on this one."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Lock, current_thread

import zmq

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.clock import SYSTEM_CLOCK
from one_liner.rpc.link import State
from one_liner.rpc.switchboard import PendingCall, Switchboard
from one_liner.transport.sockets import Context, Doorbell


class ThreadOperator:
    """Attends to a switchboard on a thread of its own. Calls are handed in and withdrawn from any thread.

    Answers are given on that thread, which waits for the function that takes them.

    Args:
        context: the context its sockets belong to.
        board: nobody else's.
    """

    def __init__(self, context: Context, board: Switchboard) -> None:
        self._board = board
        self._orders: deque[Callable[[], None]] = deque()
        self._lock = Lock()
        self._rung = self._closed = False
        self._doorbell = Doorbell(context, "switchboard")
        self._thread = BackgroundThread(
            self._run, f"calls {board.link.endpoint}", failed=lambda _: board.fail(), pause_s=PAUSE_S
        )
        board.link.listen(self._on_state)
        self._thread.start()

    @property
    def stale(self) -> int:
        """How many replies came after their call had given up."""
        return self._board.stale

    # --- from any thread ---------------------------------------------------------------------------------------------

    def ask(self, call: PendingCall) -> None:
        """Take a call.

        Raises:
            ClosedError: the client is closed.
        """
        if not self._order(partial(self._board.take, call)):
            raise self._board.closed_error()

    def withdraw(self, call: PendingCall) -> None:
        """Take a call back; where the client is closed, that was its answer."""
        self._order(partial(self._board.withdraw, call))

    def close(self) -> None:
        """Stop the thread and close its socket; every caller gets a `ClosedError`."""
        with self._lock:
            self._closed = True
        self._doorbell.ring()
        if self._thread is not current_thread():
            self._thread.join()

    def _order(self, order: Callable[[], None]) -> bool:
        with self._lock:
            if self._closed:
                return False
            self._orders.append(order)
            if self._rung:
                return True
            self._rung = True
        self._doorbell.ring()
        return True

    def _on_state(self, _: State) -> None:
        self._board.look_at = 0.0
        self._doorbell.ring()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        board = self._board
        try:
            while not self._closed:
                self._wait()
                self._take_orders()
                board.take_turn()
        except zmq.ContextTerminated:
            with self._lock:
                self._closed = True
        board.link.unlisten(self._on_state)
        self._take_orders()
        board.close()
        self._doorbell.close()

    def _wait(self) -> None:
        board = self._board
        poller = zmq.Poller()
        poller.register(self._doorbell.socket, zmq.POLLIN)
        if board.socket is not None:
            poller.register(board.socket, board.awaited)
        wait_ms: int | None = None
        if board.busy:
            wait_ms = max(0, math.ceil((board.look_at - SYSTEM_CLOCK.now()) * 1000))
        if dict(poller.poll(wait_ms)).get(self._doorbell.socket):
            self._doorbell.answer()

    def _take_orders(self) -> None:
        with self._lock:
            self._rung = False
        while self._orders:
            self._orders.popleft()()
