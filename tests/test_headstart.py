from __future__ import annotations

import time

import pytest

from one_liner.streams.headstart import WINDOW_TICKS, HeadStart


def _after(*late_s: float, period_s: float = 0.01) -> float:
    head_start = HeadStart(period_s)
    for each in late_s:
        head_start.woke(each)
    return head_start.seconds


def test_is_what_all_of_the_last_sleeps_were_late_by() -> None:
    assert _after(*[0.7e-3] * (WINDOW_TICKS - 1), 0.5e-3) == 0.5e-3


def test_one_sleep_that_ended_in_time_ends_it() -> None:
    assert _after(*[0.5e-3] * WINDOW_TICKS, 0.05e-3) == 0.0


def test_comes_back_when_that_sleep_is_forgotten() -> None:
    assert _after(0.05e-3, *[0.5e-3] * (WINDOW_TICKS - 1)) == 0.0
    assert _after(0.05e-3, *[0.5e-3] * WINDOW_TICKS) == 0.5e-3


@pytest.mark.parametrize("count", range(WINDOW_TICKS))
def test_is_none_before_there_is_a_window(count: int) -> None:
    assert _after(*[0.5e-3] * count) == 0.0


def test_what_the_system_takes_to_wake_a_thread_is_no_reason() -> None:
    assert _after(*[0.1e-3] * WINDOW_TICKS) == 0.0


def test_is_half_of_a_period_at_most() -> None:
    assert _after(*[5e-3] * WINDOW_TICKS, period_s=1e-3) == 0.5e-3


@pytest.mark.parametrize("late_s", [0.0, 0.3e-3, 5e-3])
def test_no_sleep_ends_too_early(late_s: float) -> None:
    head_start = HeadStart(4e-3)
    for _ in range(2 * WINDOW_TICKS):
        for _ in range(WINDOW_TICKS):
            head_start.woke(late_s)
        end = time.perf_counter() + 2e-3
        head_start.sleep(end - time.perf_counter())
        assert time.perf_counter() >= end
