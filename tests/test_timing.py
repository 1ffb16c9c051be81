"""The figures of a ticking source, fed with made-up ticks."""

from __future__ import annotations

import pytest

from one_liner.streams.timing import WINDOW_TICKS, Timing, TimingSummary

UNKNOWN = TimingSummary(None, None, None, None, None)


def test_nothing_is_known_before_the_first_tick_and_after_a_reset() -> None:
    timing = Timing()
    assert timing.summary() == UNKNOWN
    timing.ticked(1.0, 1.0, 0.1)
    timing.reset()
    assert timing.summary() == UNKNOWN


def test_one_tick_tells_no_rate_and_no_jitter() -> None:
    timing = Timing()
    timing.ticked(started=1.25, deadline=1.0, took=0.5)
    assert timing.summary() == TimingSummary(None, None, 0.25, 0.5, 0.5)


def test_two_ticks_tell_a_rate_but_no_jitter() -> None:
    timing = Timing()
    timing.ticked(1.0, 1.0, 0.0)
    timing.ticked(1.25, 1.25, 0.0)
    assert timing.summary() == TimingSummary(4.0, None, 0.0, 0.0, 0.0)


def test_ticks_at_one_instant_have_no_rate() -> None:
    timing = Timing()
    timing.ticked(1.0, 1.0, 0.0)
    timing.ticked(1.0, 1.0, 0.0)
    assert timing.summary().achieved_hz is None


def test_always_late_by_the_same_is_no_jitter() -> None:
    timing = Timing()
    for n in range(10):
        timing.ticked(n * 0.5 + 0.125, n * 0.5, 0.25)
    assert timing.summary() == TimingSummary(2.0, 0.0, 0.125, 0.25, 0.25)


def test_skipped_ticks_lower_the_rate_and_are_no_jitter() -> None:
    timing = Timing()
    for deadline in (0.0, 0.5, 2.0, 2.5, 4.0):
        timing.ticked(deadline, deadline, 0.0)
    summary = timing.summary()
    assert summary.achieved_hz == 1.0
    assert summary.jitter_s == 0.0


def test_jitter_is_the_deviation_of_the_intervals() -> None:
    timing = Timing()
    for deadline, late in ((0.0, 0.0), (1.0, 0.25), (2.0, 0.0), (3.0, 0.25), (4.0, 0.0)):
        timing.ticked(deadline + late, deadline, 0.0)
    assert timing.summary().jitter_s == 0.25
    assert timing.summary().lateness_s == pytest.approx(0.1)


def test_durations_have_a_mean_and_a_worst() -> None:
    timing = Timing()
    for n, took in enumerate((0.25, 0.25, 1.0)):
        timing.ticked(float(n), float(n), took)
    assert timing.summary().duration_mean_s == 0.5
    assert timing.summary().duration_max_s == 1.0


def test_only_the_last_ticks_count() -> None:
    timing = Timing()
    timing.ticked(50.0, 0.0, 9.0)
    for n in range(WINDOW_TICKS):
        timing.ticked(100.0 + n, 100.0 + n, 0.5)
    assert timing.summary() == TimingSummary(1.0, 0.0, 0.0, 0.5, 0.5)


def test_a_summary_is_plain_data_when_asked() -> None:
    assert UNKNOWN.as_dict() == {
        "achieved_hz": None,
        "jitter_s": None,
        "lateness_s": None,
        "duration_mean_s": None,
        "duration_max_s": None,
    }
