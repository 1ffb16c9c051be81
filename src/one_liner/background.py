"""Threads of the library, and what becomes of it when one of them ends by an error that nobody thought of.

The rule of the house: a thread is begun here and nowhere else. Its end by an error is in the log, with the traceback,
and whoever depends on it is told. What feeds others, and may, begins anew. `aio/background.py` is the same for tasks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Final

PAUSE_S: Final = 1.0
"""Before what feeds others begins anew: an error that comes each time shall not fill the log, nor take a core."""

_log = logging.getLogger("one_liner.background")


class BackgroundThread(Thread):
    """A daemon thread whose end by an error is in the log, and told to whoever depends on it.

    Args:
        work: what it does. Also `SystemExit` of a driver is an error here.
        name: for people; `one_liner` goes in front.
        failed: called on this thread with the error, so that nobody waits for what will not come.
        pause_s: after an error begin `work` anew, after a pause of so many seconds; None to end.
    """

    def __init__(
        self,
        work: Callable[[], object],
        name: str,
        *,
        failed: Callable[[BaseException], object] | None = None,
        pause_s: float | None = None,
    ) -> None:
        super().__init__(name=f"one_liner {name}", daemon=True)
        self._work, self._failed, self._pause_s = work, failed, pause_s

    def run(self) -> None:
        """Do the work."""
        try:
            while not done(self._work, self.name, self._failed, again=self._pause_s is not None):
                if self._pause_s is None:
                    return
                time.sleep(self._pause_s)
        finally:
            del self._work, self._failed  # They know whose thread this is.


def done(
    work: Callable[[], object],
    name: str,
    failed: Callable[[BaseException], object] | None = None,
    *,
    again: bool = False,
) -> bool:
    """Do something on a thread that has more to do afterwards. False when it raised, which is logged and told.

    Args:
        work: what is done.
        name: of who does it, for people.
        failed: called with the error.
        again: whether it will be begun anew.
    """
    try:
        work()
    except BaseException as error:  # Also a driver's `sys.exit`: without a word it would take the whole thread with it.
        _log.exception("%s ended by an error%s", name, ", and begins anew" if again else "")
        if failed is not None:
            done(partial(failed, error), name)
        return False
    return True
