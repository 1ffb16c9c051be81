"""Watches over those who have exclusive control: when one dies, its leases end and its objects are made safe.

One thread, which runs only while there are leases.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from threading import Event, Lock, Thread, current_thread
from typing import Any

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.clock import Clock
from one_liner.errors import OneLinerError
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.lease import WHOLE_SERVER, Lease, Leases
from one_liner.rpc.rules import RuleBook
from one_liner.rpc.sessions import Sessions
from one_liner.rpc.vigil import ROUND_S, Vigil

_log = logging.getLogger("one_liner.rpc.warden")


class Warden:
    """Gives leases, ends them, and watches over those who hold them. May be used from any thread.

    Args:
        exposure: which names are one object.
        rules: which method makes an object safe.
        leases: who controls what.
        sessions: who lives.
        clock: the server's clock.
        perform: calls a method of a served object on nobody's behalf: its name, the method, and for whom, for people.
        drop: withdraws the calls of a client that wait for their object.
    """

    def __init__(
        self,
        exposure: Exposure,
        rules: RuleBook,
        leases: Leases,
        sessions: Sessions,
        clock: Clock,
        perform: Callable[[str, str, str], None],
        drop: Callable[[int], None],
    ) -> None:
        self._exposure, self._rules = exposure, rules
        self._leases, self._sessions = leases, sessions
        self._clock = clock
        self._perform, self._drop = perform, drop
        self._lock = Lock()
        self._stopping = Event()
        self._thread: Thread | None = None

    def take(self, path: str, client: int, who: str, patience_s: float, *, force: bool) -> None:
        """Give a client exclusive control of an object; of the whole server where the path is empty.

        Args:
            path: the object.
            client: random number of the client.
            who: what it calls itself.
            patience_s: how long its first heartbeat may take, where it comes through routers.
            force: take it from whoever has it.

        Raises:
            LeasedError: somebody else has it.
            UnknownObjectError: there is no such object.
        """
        key, now = self._key(path), self._clock.now()
        self._sessions.expect(client, who, patience_s, now)
        lease = Lease(path, client, self._sessions.name_of(client), now)
        for taken in self._leases.take(key, lease, force=force):
            _log.warning("%s took exclusive control of %s from %s by force", lease.who, taken.title, taken.who)
        self._wake()

    def give_back(self, path: str, client: int) -> bool:
        """End a lease. False when this client does not hold it (any more)."""
        key = self._leases.key_of(path, client)
        return self._leases.give_back(self._key(path) if key is None else key, client)

    def holds(self, path: str, client: int) -> bool:
        """Whether a client has exclusive control of an object."""
        key = self._leases.key_of(path, client)
        return key is not None or self._leases.holds(self._key(path), client)

    def report(self) -> list[dict[str, Any]]:
        """Who has exclusive control: `object` ("" for the whole server), `who`, `for_s`."""
        now = self._clock.now()
        return [{"object": held.name, "who": held.who, "for_s": now - held.since} for held in self._leases.all()]

    def close(self) -> None:
        """Stop watching."""
        with self._lock:
            self._stopping.set()
            thread = self._thread
        if thread is not None and thread is not current_thread():
            thread.join()

    def _key(self, path: str) -> Hashable:
        return self._exposure.object_key(path) if path else WHOLE_SERVER

    def _wake(self) -> None:
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                self._thread = BackgroundThread(self._run, "warden", pause_s=PAUSE_S)
                self._thread.start()

    def _make_safe(self, lease: Lease) -> None:
        """Whoever controlled an object is gone: make it safe. One that cannot be does not keep the others from it."""
        for name, method in self._rules.safe_calls().items():
            try:
                if lease.name and self._key(lease.name) != self._key(name):
                    continue
                _log.warning("%s is gone while it had control of %s: calling %s.%s", lease.who, name, name, method)
                self._perform(name, method, "the server, because its controller is gone")
            except OneLinerError as error:
                _log.error("%s could not be made safe: %s", name, error)
            except Exception:
                _log.exception("%s could not be made safe", name)  # The others can be all the same.

    def _lives(self, client: int) -> bool:
        return self._sessions.lives(client, self._clock.now())

    def _run(self) -> None:
        vigil = Vigil(self._clock.now())
        while not self._stopping.wait(ROUND_S):
            if not vigil.sees(self._clock.now()):
                continue
            dead = self._leases.those_of_the_dead(self._lives)
            for client in {lease.client for lease in dead.values()}:
                # Nobody is there any more to see what they would do; and making safe has to be the last that is done.
                self._drop(client)
            for lease in dead.values():
                self._make_safe(lease)
            # Only now: whoever takes control next does so of what was made safe, or finds that first in line.
            self._leases.end(dead)
            with self._lock:
                if not self._leases:
                    self._thread = None
                    return
