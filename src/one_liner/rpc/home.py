"""The thread that an object stays on.

Some drivers belong to the thread that used them first: they hold a lock that only it may release, or wrap COM. As long
as an object is quick it is called on the thread that leads. The thread that was overtaken while it called a slow one
becomes that object's home: its next calls are made there too, one after the other, until it has been quick for a while.
An object that was served with `own_thread=True` has a home from its first call on, for good, and its streams are read
there as well.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from queue import SimpleQueue
from threading import current_thread
from typing import Final

from one_liner.background import done

QUICK_CALLS_TO_LEAVE: Final = 64


class Home:
    """A queue of duties, carried out by the one thread that lives in it.

    Args:
        permanent: whether it outlasts any number of quick calls.
    """

    def __init__(self, permanent: bool) -> None:
        self.permanent = permanent
        self._duties: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._quick = 0

    def live(self) -> None:
        """Carry out what is posted until the home is left. By the thread that it is for."""
        while (duty := self._duties.get()) is not None:
            done(duty, current_thread().name)
            # It knows the lane, which ends this home when nobody serves its object any more.
            del duty

    def post(self, duty: Callable[[], None]) -> None:
        """Have something carried out. From any thread."""
        self._duties.put(duty)

    def leave(self) -> None:
        """Carry out what was posted, then no more. From any thread."""
        self._duties.put(None)

    def end_with(self, lane: object) -> None:
        """Leave it when nobody has that lane any more: an object that is not served needs no thread."""
        self._lane = weakref.ref(lane, lambda _: self.leave())  # Goes with this home; `finalize` stays with the lane.

    def outlived(self, quick: bool) -> bool:
        """Take note of a call that was made here. True when so many in a row were quick that no home is needed."""
        self._quick = self._quick + 1 if quick else 0
        return not self.permanent and self._quick >= QUICK_CALLS_TO_LEAVE
