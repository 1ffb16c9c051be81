"""Tasks that nobody awaits, and what becomes of it when one of them ends by an error that nobody thought of.

The rule of the house: a background task is begun here and nowhere else. Its end by an error is in the log, with the
traceback, and whoever depends on it is told. What feeds others, and may, begins anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")
PAUSE_S: Final = 1.0
_PATIENCE_S: Final = 5.0
_log = logging.getLogger("one_liner.aio.background")
_running: set[asyncio.Task[Any]] = set()
"""A loop holds its tasks weakly: what nobody else holds may vanish in the middle."""


def in_background(
    work: Coroutine[Any, Any, T], name: str, *, failed: Callable[[Exception], object] | None = None
) -> asyncio.Task[T]:
    """Begin a task of the running loop that nobody awaits. Cancelling it is no failure.

    Args:
        work: what it does.
        name: of the task: for people, with `one_liner` in front.
        failed: called in the loop with the error that ended it, so that nobody waits for it any more.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(partial(_ended, failed))
    return task


async def anew(work: Callable[[], Coroutine[Any, Any, object]], *, pause_s: float = PAUSE_S) -> None:
    """Do something that feeds others, and when it ends by an error, log that and begin it anew after a pause.

    Args:
        work: begins it; when it returns, that is the end.
        pause_s: how long the pause is, in s.
    """
    while True:
        try:
            await work()
            return
        except Exception:
            task = asyncio.current_task()
            name = task.get_name() if task is not None else "a background task"
            _log.exception("%s ended by an error, and begins anew in %g s", name, pause_s)
        await asyncio.sleep(pause_s)


async def stopped(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and wait until they have ended.

    Again after a while: before Python 3.12 `asyncio.wait_for`, which libraries use, loses a cancelling that comes
    together with what it waits for.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_PATIENCE_S)


def _ended(failed: Callable[[Exception], object] | None, task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    error = None if task.cancelled() else task.exception()
    if not isinstance(error, Exception):
        return  # Ctrl-C, which the loop raises by itself.
    _log.error("%s ended by an error", task.get_name(), exc_info=error)
    if failed is not None:
        failed(error)
