"""The thread an object stays on."""

from __future__ import annotations

import gc
import threading
import weakref

from one_liner.rpc.home import QUICK_CALLS_TO_LEAVE, Home


def test_duties_are_carried_out_in_order_on_the_thread_that_lives_there() -> None:
    home = Home(permanent=True)
    done: list[tuple[int, int]] = []
    for number in range(3):
        home.post(lambda number=number: done.append((number, threading.get_ident())))  # type: ignore[misc]
    home.leave()
    home.post(lambda: done.append((99, 0)))
    thread = threading.Thread(target=home.live)
    thread.start()
    thread.join(5.0)
    assert not thread.is_alive()
    assert done == [(number, thread.ident) for number in range(3)]


def test_quick_calls_in_a_row_make_a_home_needless() -> None:
    home = Home(permanent=False)
    assert not any(home.outlived(quick=True) for _ in range(QUICK_CALLS_TO_LEAVE - 1))
    assert home.outlived(quick=True)


def test_a_slow_call_begins_the_count_anew() -> None:
    home = Home(permanent=False)
    for _ in range(QUICK_CALLS_TO_LEAVE - 1):
        home.outlived(quick=True)
    assert not home.outlived(quick=False)
    assert not any(home.outlived(quick=True) for _ in range(QUICK_CALLS_TO_LEAVE - 1))
    assert home.outlived(quick=True)


def test_a_permanent_home_is_never_outlived() -> None:
    home = Home(permanent=True)
    assert not any(home.outlived(quick=True) for _ in range(3 * QUICK_CALLS_TO_LEAVE))


def test_a_home_keeps_nothing_of_what_was_done_in_it() -> None:
    class Lane:
        def duty(self) -> None:
            done.set()

    done = threading.Event()
    home = Home(permanent=True)
    lane = Lane()
    known = weakref.ref(lane)
    thread = threading.Thread(target=home.live)
    thread.start()
    try:
        home.post(lane.duty)
        del lane
        assert done.wait(5.0)
        after = threading.Event()
        home.post(after.set)  # the next duty has begun: the first is over
        assert after.wait(5.0)
        gc.collect()
        assert known() is None
    finally:
        home.leave()
        thread.join(5.0)


def test_a_home_ends_with_its_lane() -> None:
    class Lane:
        """Of an object that is not served any more."""

    home, lane = Home(permanent=True), Lane()
    home.end_with(lane)
    thread = threading.Thread(target=home.live)
    thread.start()
    del lane
    gc.collect()
    thread.join(5.0)
    assert not thread.is_alive()
