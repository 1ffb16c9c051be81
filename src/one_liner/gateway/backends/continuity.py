"""Which events of other gateways are new, which came before, and how many are missing. Arithmetic only."""

from __future__ import annotations

from collections import OrderedDict

MOST_ORIGINS = 1000


class Continuity:
    """Follows the numbers of each origin.

    A carrier delivers an origin's events in order, so a number that was not reached yet means that those in between are
    lost; one that was passed already is a duplicate.
    """

    def __init__(self) -> None:
        self._reached: OrderedDict[str, int] = OrderedDict()
        self.received = 0
        self.lost = 0
        self.duplicates = 0

    def take(self, origin: str, sequence: int) -> bool:
        """An event came; gives whether it is new.

        The first one heard of an origin is where its account begins: what was before was not for us.
        """
        reached = self._reached.get(origin, sequence - 1)
        if sequence <= reached:
            self.duplicates += 1
            return False
        self.received += 1
        self.lost += sequence - reached - 1
        self._set(origin, sequence)
        return True

    def hear(self, origin: str, sequence: int) -> int:
        """A beat came: the origin has published up to this number; gives how many turn out to be lost."""
        reached = self._reached.get(origin, sequence)
        missing = max(0, sequence - reached)
        self.lost += missing
        self._set(origin, max(sequence, reached))
        return missing

    def _set(self, origin: str, sequence: int) -> None:
        self._reached[origin] = sequence
        self._reached.move_to_end(origin)
        if len(self._reached) > MOST_ORIGINS:
            self._reached.popitem(last=False)
