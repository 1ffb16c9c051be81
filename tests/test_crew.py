"""The threads of a server and of a control service, sent home in the moment in which another one is on its way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread, current_thread

import pytest

from one_liner.control.workers import Workers
from one_liner.rpc.crew import Crew

PATIENCE_S = 20.0


@pytest.mark.parametrize("made", [lambda: Crew("test", lambda term: None), lambda: Workers("test")])
def test_who_is_just_starting_is_waited_for(
    made: Callable[[], Crew | Workers], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`employ` stands still right before its thread begins, and others close meanwhile: as if it had no processor."""
    threads, start, held, go_on = made(), Thread.start, Event(), Event()

    def start_late(thread: Thread) -> None:
        if current_thread() is employer:
            held.set()
            go_on.wait(PATIENCE_S)
        start(thread)

    employer = Thread(target=lambda: threads.employ(lambda: None))
    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patched:
        patched.setattr(Thread, "start", start_late)
        employer.start()
        assert held.wait(PATIENCE_S)
        stopping = pool.submit(threads.stop, PATIENCE_S)
        try:
            with pytest.raises(TimeoutError):
                stopping.result(0.2)
        finally:
            go_on.set()
        assert stopping.result(PATIENCE_S)
        employer.join(PATIENCE_S)
