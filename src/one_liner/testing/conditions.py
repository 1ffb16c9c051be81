"""Waiting in tests: for a condition, never for a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Event
from typing import Final, TypeVar

from one_liner.clock import SYSTEM_CLOCK
from one_liner.config import check_timeout

T = TypeVar("T")
_PAUSE_S: Final = 0.005


def poll_until(predicate: Callable[[], T], timeout_s: float | None = 10.0, what: str = "") -> T:
    """Wait until `predicate()` is true, and return what it returned.

    Args:
        predicate: asked every 5 ms; it should be quick and must not act. An error that it raises ends the wait.
        timeout_s: how long to wait, in s; None without end. It is asked at least once.
        what: what is waited for, in words, for the message.

    Raises:
        AssertionError: it did not become true in time; the test has failed.
        ConfigurationError: the timeout is no number of seconds.
    """
    limit_s = check_timeout(timeout_s)
    deadline = math.inf if limit_s is None else SYSTEM_CLOCK.now() + limit_s
    pause = Event()
    while not (result := predicate()):
        if SYSTEM_CLOCK.now() >= deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what or predicate}; the last answer was {result!r}")
        pause.wait(_PAUSE_S)
    return result
