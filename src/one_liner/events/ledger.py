"""Whether an emergency is missing: the numbers of those that came, and of those that did not."""

from __future__ import annotations

from typing import Final

MAX_MISSING: Final = 10_000


class EmergencyLedger:
    """What one reader has of the emergencies of one server. Used by one thread.

    Each emergency has a number, so one that is missing shows at the next one, or when the server is asked. The missing
    ones are then asked for; those that the server has no more are lost.

    Attributes:
        origin: which life of the server; None before the first word from it.
        lost: how many nobody can give any more.
        begun: whether the server has said where we begin.
    """

    def __init__(self) -> None:
        self.origin: int | None = None
        self.lost = 0
        self.begun = False
        self._next = 0
        self._first = 0  # the first number that is ours for certain
        self._early: set[int] = set()
        self._missing: set[int] = set()

    @property
    def missing(self) -> int:
        """How many are known to be missing."""
        return len(self._missing)

    @property
    def wanted(self) -> int:
        """From which number on to ask."""
        return min(self._missing, default=self._next)

    def began(self, origin: int, next_number: int) -> None:
        """The server says what comes next, when we begin to listen: from there on all is ours."""
        if self.begun:
            return
        self.begun = True
        if self.origin is None:
            self.origin, self._next, self._first = origin, next_number, next_number
        elif origin == self.origin and next_number < self._first:
            # One that came live has overtaken this answer; those in between are not here.
            first = max(next_number, self._first - MAX_MISSING)
            self.lost += first - next_number  # So many are in no history.
            self._missing.update(range(first, self._first))
            self._first = next_number

    def arrived(self, origin: int, number: int) -> bool:
        """Note one that came. False for one that was here before."""
        if self.origin is None:
            self.origin, self._next, self._first = origin, number, number
        elif origin != self.origin:
            # A new life of the server. What the last one said last is not known to anybody; all of this one is ours.
            self.origin, self._next, self._first, self.begun = origin, 0, 0, True
            self._missing.clear()
            self._early.clear()
        if number < self._next:
            return self._came_late(number)
        self._skip_to(number)
        self._next = number + 1
        return True

    def answered(self, origin: int, next_number: int) -> int:
        """The server has given all that it has from `wanted` on, up to `next_number`; they were noted as `arrived`.

        Returns:
            How many are lost for good.
        """
        if origin != self.origin:
            return 0
        if next_number > self._next:
            self._skip_to(next_number)
            self._next = next_number
        gone = {number for number in self._missing if number < next_number}
        self._missing -= gone
        self.lost += len(gone)
        return len(gone)

    def _came_late(self, number: int) -> bool:
        if number in self._missing:
            self._missing.discard(number)
            return True
        if number < self._first and number not in self._early:
            # Told before the server said where we begin, and heard by us all the same.
            self._early.add(number)
            return True
        return False

    def _skip_to(self, number: int) -> None:
        first = max(self._next, number - MAX_MISSING)
        self.lost += first - self._next  # So many are in no history.
        self._missing.update(range(first, number))
