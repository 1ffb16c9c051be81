"""The grid, by arithmetic: no clock is read here."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from one_liner.errors import ConfigurationError
from one_liner.streams.schedule import Schedule, Tick, check_frequency


@pytest.mark.parametrize(
    ("given_hz", "hz"),
    [
        (10, 10.0),
        (0.1, 0.1),
        (Fraction(1, 4), 0.25),
        (Decimal("2.5"), 2.5),
        (1e-9, 1e-9),
        (1e9, 1e9),
    ],
)
def test_any_real_number_is_a_frequency(given_hz: object, hz: float) -> None:
    checked = check_frequency(given_hz)
    assert checked == hz
    assert type(checked) is float


@pytest.mark.parametrize(
    "nonsense",
    [0, 0.0, -1, -0.5, math.inf, -math.inf, math.nan, 1e-10, 1e10, 10**400, Fraction(10**400), Decimal("sNaN")],
)
def test_a_frequency_that_cannot_be_is_refused(nonsense: object) -> None:
    with pytest.raises(ConfigurationError, match="frequency_hz must be positive"):
        check_frequency(nonsense)


@pytest.mark.parametrize("nonsense", [True, False, "10", b"10", None, 1j, [10]])
def test_what_is_no_number_is_refused(nonsense: object) -> None:
    with pytest.raises(ConfigurationError, match="frequency_hz must be a number"):
        check_frequency(nonsense)


def test_scalars_of_numpy_are_frequencies_and_its_arrays_and_bools_are_not() -> None:
    np = pytest.importorskip("numpy")
    assert [check_frequency(hz) for hz in (np.float32(2.0), np.float64(3.0), np.int16(7))] == [2.0, 3.0, 7.0]
    for nonsense in (np.True_, np.array([10.0]), np.complex64(1.0)):
        with pytest.raises(ConfigurationError, match="frequency_hz must be a number"):
            check_frequency(nonsense)


def test_a_schedule_checks_its_frequency() -> None:
    with pytest.raises(ConfigurationError):
        Schedule(0, 0.0)


def test_ticks_are_handed_out_one_after_the_other() -> None:
    schedule = Schedule(4, 100.0)
    assert schedule.next(100.0) == Tick(0, 100.0, 0)
    assert schedule.next(100.1) == Tick(1, 100.25, 0)
    assert schedule.next(100.26) == Tick(2, 100.5, 0)


def test_asking_early_gives_the_first_tick_and_then_the_second() -> None:
    schedule = Schedule(4, 100.0)
    assert schedule.next(-5.0) == Tick(0, 100.0, 0)
    assert schedule.next(-5.0) == Tick(1, 100.25, 0)


def test_a_late_tick_runs_on_its_own_slot() -> None:
    schedule = Schedule(4, 100.0)
    schedule.next(100.0)
    assert schedule.next(100.3) == Tick(1, 100.25, 0)
    assert schedule.next(100.3) == Tick(2, 100.5, 0)


def test_missed_ticks_are_skipped_and_counted_and_the_grid_stays() -> None:
    schedule = Schedule(4, 100.0)
    schedule.next(100.0)
    assert schedule.next(101.1) == Tick(4, 101.0, 3)
    assert schedule.next(101.1) == Tick(5, 101.25, 0)
    assert schedule.next(101.5) == Tick(6, 101.5, 0)


def test_a_deadline_that_is_right_now_is_due() -> None:
    schedule = Schedule(4, 100.0)
    assert schedule.next(100.75) == Tick(3, 100.75, 3)


def test_the_first_call_may_be_late() -> None:
    assert Schedule(10, 0.0).next(1.05) == Tick(10, 1.0, 10)


def test_no_drift_after_a_thousand_million_ticks() -> None:
    schedule = Schedule(3, 5.0)
    tick = schedule.next(5.0 + 1e9 / 3)
    assert tick.index == 10**9
    assert tick.deadline == 5.0 + 10**9 / 3
    assert schedule.next(5.0 + 1e9 / 3) == Tick(10**9 + 1, 5.0 + (10**9 + 1) / 3, 0)


@pytest.mark.parametrize("frequency_hz", [49.0, 4.35])
def test_rounding_never_misses_the_tick_that_is_due_now(frequency_hz: float) -> None:
    """Elapsed time times frequency falls short of a whole number for some ticks; these deadlines count all the same."""
    rounded_down = [n for n in range(1000) if int(n / frequency_hz * frequency_hz) < n]
    assert rounded_down
    for n in rounded_down:
        assert Schedule(frequency_hz, 0.0).next(n / frequency_hz).index == n


def test_rounding_never_runs_a_tick_ahead_of_its_deadline() -> None:
    """Just before a deadline the product rounds up to it for some ticks."""
    frequency_hz = 3.0
    just_before = {n: math.nextafter(n / frequency_hz, 0.0) for n in range(2, 1000)}
    rounded_up = [n for n, now in just_before.items() if int(now * frequency_hz) == n]
    assert rounded_up
    for n in rounded_up:
        assert Schedule(frequency_hz, 0.0).next(just_before[n]).index == n - 1


@settings(max_examples=200, deadline=None)
@given(
    frequency_hz=st.floats(1e-6, 1e6),
    start=st.floats(-1e6, 1e6),
    steps=st.lists(st.floats(0, 50), min_size=1, max_size=30),
)
def test_every_tick_is_handed_out_or_skipped_exactly_once(
    frequency_hz: float, start: float, steps: list[float]
) -> None:
    schedule = Schedule(frequency_hz, start)
    now = start - 1.0
    passed = 0
    for step in steps:
        now += step / frequency_hz
        tick = schedule.next(now)
        assert tick.index == passed + tick.skipped
        assert tick.deadline == start + tick.index / frequency_hz
        if tick.deadline > now:
            assert tick.skipped == 0
        else:
            assert schedule.deadline(tick.index + 1) > now
        passed = tick.index + 1
