"""Exclusive control of an object, or of a whole server, for as long as a client lives.

Whoever holds a lease may do everything; all others may read. The lease ends when it is given back, when its holder's
heartbeats stop, or when an operator takes it by force.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from threading import Lock
from typing import Final, NamedTuple

from one_liner.errors import LeasedError

WHOLE_SERVER: Final = ""


class Lease(NamedTuple):
    """Who controls what.

    Attributes:
        name: of the object, as it was asked for; "" for the whole server.
        client: random number of the holder.
        who: what the holder calls itself.
        since: when it was taken, on the server's timeline.
        times: how often its holder took it; so often it has to be given back.
    """

    name: str
    client: int
    who: str
    since: float
    times: int = 1

    @property
    def title(self) -> str:
        """What is held, for people."""
        return repr(self.name) if self.name else "the whole server"


class Leases:
    """All leases of a server. May be used from any thread.

    Objects are told apart by a key that all names of one object share.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: dict[Hashable, Lease] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def take(self, key: Hashable, lease: Lease, *, force: bool = False) -> list[Lease]:
        """Take a lease; the holder may take it again.

        Args:
            key: of the object; `WHOLE_SERVER` for everything, which needs everything to be free.
            lease: what is to be held.
            force: take it from whoever has it.

        Returns:
            The leases that were taken from others.

        Raises:
            LeasedError: somebody else holds it, and `force` was not said.
        """
        with self._lock:
            in_the_way = {
                other: held
                for other, held in self._held.items()
                if held.client != lease.client and (WHOLE_SERVER in (other, key) or other == key)
            }
            if in_the_way and not force:
                raise refusal(next(iter(in_the_way.values())), f"a lease of {lease.title}", lease.since)
            for other in in_the_way:
                del self._held[other]
            mine = self._held.get(key)
            self._held[key] = lease if mine is None else mine._replace(times=mine.times + 1)
            return list(in_the_way.values())

    def give_back(self, key: Hashable, client: int) -> bool:
        """End a lease. False when this client does not hold it (any more)."""
        with self._lock:
            held = self._held.get(key)
            if held is None or held.client != client:
                return False
            if held.times > 1:
                self._held[key] = held._replace(times=held.times - 1)
            else:
                del self._held[key]
            return True

    def key_of(self, name: str, client: int) -> Hashable | None:
        """What a client holds under a name, even if nothing is served under it any more."""
        with self._lock:
            return next((key for key, held in self._held.items() if (held.name, held.client) == (name, client)), None)

    def holds(self, key: Hashable, client: int) -> bool:
        """Whether a client holds a lease."""
        held = self._held.get(key)
        return held is not None and held.client == client

    def check(self, key: Hashable, client: int, where: str, now: float) -> None:
        """Refuse what somebody else's lease forbids.

        Raises:
            LeasedError: naming the holder.
        """
        for held in (self._held.get(key), self._held.get(WHOLE_SERVER)):
            if held is not None and held.client != client:
                raise refusal(held, where, now)

    def all(self) -> list[Lease]:
        """Every lease."""
        with self._lock:
            return list(self._held.values())

    def those_of_the_dead(self, lives: Callable[[int], bool]) -> dict[Hashable, Lease]:
        """The leases of clients that do not live any more, by object."""
        with self._lock:
            return {key: held for key, held in self._held.items() if not lives(held.client)}

    def end(self, leases: Mapping[Hashable, Lease]) -> None:
        """End leases, however often they were taken; one that somebody else has by now is theirs."""
        with self._lock:
            for key, lease in leases.items():
                held = self._held.get(key)
                if held is not None and held.client == lease.client:
                    del self._held[key]


def refusal(held: Lease, what: str, now: float) -> LeasedError:
    """The error of whoever finds a lease in the way."""
    return LeasedError(
        f"{what} is refused: {held.who} has had exclusive control of {held.title} for {now - held.since:.1f} s",
        holder=held.who,
        object=held.name,
        for_s=now - held.since,
    )
