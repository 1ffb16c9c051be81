"""Watches over those who have exclusive control: when one dies, its leases end and its objects are made safe.

One thread, which runs only while there are leases.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Lock, Thread, current_thread

from one_liner.clock import Clock
from one_liner.errors import OneLinerError
from one_liner.rpc.lease import Lease, Leases
from one_liner.rpc.sessions import Sessions

_ROUND_S = 0.1
_STALL_S = 5 * _ROUND_S
_GRACE_S = 1.0
_log = logging.getLogger("one_liner.rpc.warden")


class Warden:
    """May be used from any thread.

    Args:
        leases: who controls what.
        sessions: who lives.
        clock: the server's clock.
        make_safe: called, on the warden's thread, with each lease whose holder died.
    """

    def __init__(self, leases: Leases, sessions: Sessions, clock: Clock, make_safe: Callable[[Lease], None]) -> None:
        self._leases = leases
        self._sessions = sessions
        self._clock = clock
        self._make_safe = make_safe
        self._lock = Lock()
        self._stopping = Event()
        self._thread: Thread | None = None

    def wake(self) -> None:
        """A lease was taken."""
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                self._thread = Thread(target=self._run, name="one_liner warden", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        with self._lock:
            self._stopping.set()
            thread = self._thread
        if thread is not None and thread is not current_thread():
            thread.join()

    def _lives(self, client: int) -> bool:
        return self._sessions.lives(client, self._clock.now())

    def _run(self) -> None:
        last = self._clock.now()
        blind_until = last
        while not self._stopping.wait(_ROUND_S):
            now = self._clock.now()
            if now - last > _STALL_S:
                # This process stood still, and so did whoever takes the heartbeats: they are waiting to be read.
                blind_until = now + _GRACE_S
            last = now
            if now < blind_until:
                continue
            for lease in self._leases.end_those_of_the_dead(self._lives):
                try:
                    self._make_safe(lease)
                except OneLinerError as error:
                    _log.error("%s could not be made safe: %s", lease.title, error)
            with self._lock:
                if not self._leases:
                    self._thread = None
                    return
