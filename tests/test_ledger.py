"""Who lost what: every gap is found, counted once, and under its cause."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from one_liner.streams.buffers import SampleBuffer, make_buffer
from one_liner.streams.ledger import ReaderLedger, ReaderStatistics, SourceLedger

A, B = b"first life", b"second life"


def feed(ledger: ReaderLedger, origin: bytes, *sequences: int) -> list[bool]:
    return [ledger.arrived(origin, sequence, False) for sequence in sequences]


def losses(ledger: ReaderLedger) -> tuple[int, int, int, int, int]:
    assert ledger.expected == ledger.received + ledger.dropped_upstream + ledger.lost_on_the_way
    return ledger.received, ledger.dropped_upstream, ledger.lost_on_the_way, ledger.stale, ledger.restarts


def test_a_new_source_has_made_nothing() -> None:
    assert SourceLedger().summary() == {
        "produced": 0,
        "failed": 0,
        "published": 0,
        "skipped_late": 0,
        "skipped_busy": 0,
        "last_holder": None,
    }


def test_a_source_counts_what_it_made_and_what_it_skipped() -> None:
    ledger = SourceLedger()
    ledger.produced()
    ledger.produced(failed=True)
    ledger.produced(False)
    ledger.published()
    ledger.published()
    ledger.skipped_late(3)
    ledger.skipped_late(4)
    ledger.skipped_busy("laser.sweep")
    ledger.skipped_busy("laser.home")
    assert ledger.summary() == {
        "produced": 3,
        "failed": 1,
        "published": 2,
        "skipped_late": 7,
        "skipped_busy": 2,
        "last_holder": "laser.home",
    }


def test_the_first_sample_is_the_baseline() -> None:
    ledger = ReaderLedger()
    assert feed(ledger, A, 1000, 1001, 1002) == [True, True, True]
    assert losses(ledger) == (3, 0, 0, 0, 0)
    assert not ledger.unknown_tail


def test_the_largest_sequence_number_is_one_like_any_other() -> None:
    ledger = ReaderLedger()
    assert feed(ledger, A, 2**64 - 2, 2**64 - 1) == [True, True]
    assert losses(ledger) == (2, 0, 0, 0, 0)


def test_a_gap_while_the_connection_stood_was_dropped_upstream() -> None:
    ledger = ReaderLedger()
    feed(ledger, A, 0, 1, 5, 6, 8)
    assert losses(ledger) == (5, 4, 0, 0, 0)
    assert ledger.expected == 9


def test_a_gap_across_a_reconnect_was_lost_on_the_way() -> None:
    ledger = ReaderLedger()
    feed(ledger, A, 0, 1)
    assert ledger.arrived(A, 10, True)
    assert feed(ledger, A, 11, 13) == [True, True]
    assert losses(ledger) == (5, 1, 8, 0, 0)


def test_a_reconnect_without_a_gap_loses_nothing() -> None:
    ledger = ReaderLedger()
    feed(ledger, A, 0, 1)
    assert ledger.arrived(A, 2, True)
    feed(ledger, A, 4)
    assert losses(ledger) == (4, 1, 0, 0, 0)


def test_the_first_sample_may_come_after_a_reconnect() -> None:
    ledger = ReaderLedger()
    assert ledger.arrived(A, 7, True)
    assert losses(ledger) == (1, 0, 0, 0, 0)


def test_duplicates_and_older_ones_are_stale() -> None:
    ledger = ReaderLedger()
    assert feed(ledger, A, 5, 6, 6, 4, 7) == [True, True, False, False, True]
    assert losses(ledger) == (3, 0, 0, 2, 0)


@pytest.mark.parametrize("repeated", [(A, 1), (A, 0), (B, 3)])
def test_a_stale_sample_does_not_hide_the_reconnect(repeated: tuple[bytes, int]) -> None:
    """The last sample is shown again after a reconnect; the gap behind it is still that of the reconnect."""
    ledger = ReaderLedger()
    feed(ledger, B, 3)
    feed(ledger, A, 0, 1)
    assert not ledger.arrived(*repeated, True)
    feed(ledger, A, 10, 12)
    assert losses(ledger) == (5, 1, 8, 1, 1)


def test_a_gap_is_no_longer_of_the_reconnect_once_a_new_sample_came() -> None:
    ledger = ReaderLedger()
    feed(ledger, A, 0, 1)
    ledger.arrived(A, 1, True)
    feed(ledger, A, 2, 4)
    assert losses(ledger) == (4, 1, 0, 1, 0)


def test_a_restarted_producer_is_counted_from_its_first_sample() -> None:
    ledger = ReaderLedger()
    feed(ledger, A, 10, 11)
    assert feed(ledger, B, 4, 5) == [True, True]
    assert losses(ledger) == (4, 0, 4, 0, 1)
    assert ledger.unknown_tail


def test_a_restarted_producer_may_come_with_the_number_that_was_expected() -> None:
    ledger = ReaderLedger()
    feed(ledger, A, 0, 1)
    feed(ledger, B, 2)
    assert losses(ledger) == (3, 0, 2, 0, 1)


def test_numbers_are_origins_too() -> None:
    ledger = ReaderLedger()
    assert ledger.arrived(0, 0, False)
    assert ledger.arrived(1, 0, True)
    assert losses(ledger) == (2, 0, 0, 0, 1)


def test_a_straggler_of_the_last_life_is_stale_if_it_was_here_and_counted_if_not() -> None:
    ledger = ReaderLedger()
    feed(ledger, A, 0, 1)
    feed(ledger, B, 0)
    assert feed(ledger, A, 1, 2) == [False, True]
    assert feed(ledger, B, 1, 2) == [True, True]
    assert losses(ledger) == (6, 0, 0, 1, 1)


def test_a_cascade_that_is_led_back_goes_on_where_it_was() -> None:
    ledger = ReaderLedger()
    feed(ledger, A, 1000, 1001)
    feed(ledger, B, 0, 1)
    assert feed(ledger, A, 1005, 1006) == [True, True]
    assert losses(ledger) == (6, 0, 3, 0, 1)


def test_what_is_remembered_of_earlier_lives_is_bounded() -> None:
    ledger = ReaderLedger()
    for life in range(100):
        assert ledger.arrived(life, 0, False)
    assert ledger.restarts == 99
    assert not ledger.arrived(90, 0, False)
    assert ledger.arrived(10, 0, False)
    assert ledger.restarts == 100


def test_statistics_join_ledger_and_buffer() -> None:
    ledger = ReaderLedger()
    buffer: SampleBuffer[int] = make_buffer("queue", max_samples=3)
    for sequence in (0, 1, 2, 3, 3, 6):
        if ledger.arrived(A, sequence, False):
            buffer.put(sequence, 1)
    buffer.take()
    statistics = ledger.summary(buffer)
    assert statistics == ReaderStatistics(
        received=5,
        delivered=1,
        waiting=2,
        dropped=2,
        conflated=0,
        dropped_upstream=2,
        lost_on_the_way=0,
        stale=1,
        restarts=0,
    )
    assert statistics.accounted
    assert statistics.as_dict() == {
        "expected": 7,
        "received": 5,
        "delivered": 1,
        "waiting": 2,
        "dropped": 2,
        "conflated": 0,
        "dropped_upstream": 2,
        "lost_on_the_way": 0,
        "stale": 1,
        "restarts": 0,
        "accounted": True,
        "unknown_tail": False,
    }
    assert str(statistics) == "7 expected = 1 delivered + 2 waiting + 2 dropped here + 2 dropped upstream"


def test_a_sample_that_nobody_counted_shows() -> None:
    ledger = ReaderLedger()
    feed(ledger, A, 0)
    feed(ledger, B, 0)
    statistics = ledger.summary(make_buffer("cache"))
    assert not statistics.accounted
    assert statistics.unknown_tail


@settings(max_examples=150, deadline=None)
@given(
    storage_type=st.sampled_from(["queue", "cache"]),
    first=st.integers(0, 50),
    events=st.lists(st.sampled_from(["arrive", "arrive", "full", "break", "repeat", "restart", "take"]), max_size=120),
)
def test_the_ledger_agrees_with_a_world_that_knows(storage_type: str, first: int, events: list[str]) -> None:
    """Every sample of a made-up producer meets a known fate; the ledger has to find the same."""
    ledger = ReaderLedger()
    buffer: SampleBuffer[int] = make_buffer(storage_type, max_samples=4)
    assert ledger.arrived(0, first, False)
    buffer.put(first, 1)
    life, sequence = 0, first + 1
    gap, broken = 0, False
    arrived, upstream, way, stale = 1, 0, 0, 0
    for event in events:
        if event == "arrive":
            assert ledger.arrived(life, sequence, broken)
            buffer.put(sequence, 1)
            arrived += 1
            # A gap has one cause: whatever else happened in it, a broken connection explains it.
            way, upstream = (way + gap, upstream) if broken or (gap == sequence and life) else (way, upstream + gap)
            sequence += 1
            gap, broken = 0, False
        elif event == "full":
            sequence += 1
            gap += 1
        elif event == "break":
            broken = True
        elif event == "repeat" and gap < sequence:
            stale += 1
            assert not ledger.arrived(life, sequence - gap - 1, broken)
        elif event == "restart":
            life += 1
            sequence, gap = 0, 0
        elif event == "take" and len(buffer):
            buffer.take()
    statistics = ledger.summary(buffer)
    assert (statistics.received, statistics.stale) == (arrived, stale)
    assert (statistics.dropped_upstream, statistics.lost_on_the_way) == (upstream, way)
    assert statistics.accounted
