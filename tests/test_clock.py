"""The clock, and the offset to another machine's: all by arithmetic, with two timelines that are made up."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from one_liner.clock import SYSTEM_CLOCK, Clock, OffsetEstimator
from one_liner.errors import ConfigurationError

DRIFT = 50e-6


def test_the_system_clock_reads_the_two_timelines_of_python() -> None:
    clock: Clock = SYSTEM_CLOCK
    before, wall_before = time.perf_counter(), time.time()
    assert before <= clock.now() <= time.perf_counter()
    assert wall_before <= clock.wall() <= time.time()


def test_nothing_is_known_before_the_first_exchange() -> None:
    estimator = OffsetEstimator()
    assert estimator.offset() == 0.0
    assert estimator.error(100.0) == math.inf


def test_a_symmetric_exchange_gives_the_offset_exactly() -> None:
    estimator = OffsetEstimator(drift_ppm=0.0)
    estimator.update(sent=10.0, server=1010.5, received=11.0)
    assert estimator.offset() == -1000.0
    assert estimator.error(500.0) == 0.5


def test_the_bound_grows_with_the_age_on_both_sides() -> None:
    estimator = OffsetEstimator(drift_ppm=50.0)
    estimator.update(10.0, 1010.5, 11.0)
    assert estimator.error(11.0) == pytest.approx(0.5 + DRIFT * 1.0)
    assert estimator.error(110.0) == pytest.approx(0.5 + DRIFT * 100.0)
    assert estimator.error(1.0) == pytest.approx(0.5 + DRIFT * 10.0)


def test_the_fastest_exchange_counts() -> None:
    estimator = OffsetEstimator()
    estimator.update(10.0, 1010.001, 10.002)
    estimator.update(11.0, 1011.9, 12.0)
    assert estimator.offset() == pytest.approx(-1000.0)
    assert estimator.error(12.0) == pytest.approx(0.001 + DRIFT * 2.0)
    estimator.update(13.0, 1013.0001, 13.0001)
    assert estimator.offset() == pytest.approx(-1000.00005)


def test_an_aged_fast_exchange_gives_way_to_a_slower_new_one() -> None:
    estimator = OffsetEstimator(drift_ppm=50.0)
    estimator.update(0.0, 1000.0005, 0.001)
    estimator.update(1000.0, 2000.01, 1000.01)
    assert estimator.error(1000.01) == pytest.approx(0.005, rel=1e-3)


def test_an_exchange_leaves_with_the_window() -> None:
    estimator = OffsetEstimator(window=2, drift_ppm=0.0)
    estimator.update(10.0, 1010.001, 10.002)
    estimator.update(11.0, 1011.5, 12.0)
    assert estimator.error(12.0) == pytest.approx(0.001)
    estimator.update(13.0, 1013.4, 14.0)
    assert estimator.error(14.0) == pytest.approx(0.5)


def test_a_clock_that_jumped_is_believed_at_once() -> None:
    estimator = OffsetEstimator()
    for second in range(8):
        estimator.update(second, second + 1000.0005, second + 0.001)
    estimator.update(8.0, 5.01, 8.02)
    assert estimator.offset() == pytest.approx(3.0)
    assert estimator.error(8.02) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("sent", "server", "received"),
    [
        (11.0, 5.0, 10.0),
        (math.nan, 5.0, 10.0),
        (10.0, 5.0, math.inf),
        (10.0, math.nan, 11.0),
        (10.0, math.inf, 11.0),
        (10.0, -math.inf, 11.0),
    ],
)
def test_an_exchange_that_cannot_be_is_ignored(sent: float, server: float, received: float) -> None:
    estimator = OffsetEstimator()
    estimator.update(sent, server, received)
    assert estimator.offset() == 0.0
    assert estimator.error(11.0) == math.inf


def test_a_pinned_offset_is_exactly_zero_until_reset() -> None:
    estimator = OffsetEstimator()
    estimator.update(10.0, 1010.5, 11.0)
    estimator.pin()
    assert (estimator.offset(), estimator.error(1e9)) == (0.0, 0.0)
    estimator.update(12.0, 1012.5, 13.0)
    assert (estimator.offset(), estimator.error(1e9)) == (0.0, 0.0)
    estimator.reset()
    assert (estimator.offset(), estimator.error(1e9)) == (0.0, math.inf)
    estimator.update(14.0, 1014.5, 15.0)
    assert estimator.offset() == -1000.0


@pytest.mark.parametrize(("window", "drift_ppm"), [(0, 50.0), (-1, 50.0), (16, -1.0), (16, math.nan)])
def test_an_estimator_that_cannot_work_is_refused(window: int, drift_ppm: float) -> None:
    with pytest.raises(ConfigurationError, match="window"):
        OffsetEstimator(window, drift_ppm)


@settings(max_examples=60, deadline=None)
@given(
    truth=st.floats(-1e5, 1e5),
    skew=st.floats(-DRIFT, DRIFT),
    exchanges=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 0.5), st.floats(0, 0.5)), min_size=1, max_size=40),
    later=st.floats(0, 1000),
)
def test_the_truth_is_always_within_the_bound(
    truth: float, skew: float, exchanges: list[tuple[float, float, float]], later: float
) -> None:
    """Any delays, any asymmetry, any drift that was allowed for."""

    def server_at(local: float) -> float:
        return truth + local * (1.0 + skew)

    estimator = OffsetEstimator(drift_ppm=51.0)
    now = 0.0
    for pause, there, back in exchanges:
        sent = now + pause
        now = sent + there + back
        estimator.update(sent, server_at(sent + there), now)
        for instant in (now, now + later):
            error = abs(estimator.offset() - (instant - server_at(instant)))
            assert error <= estimator.error(instant) + 1e-9
