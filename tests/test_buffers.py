"""What waits for a reader: the bounds hold and every sample is in exactly one counter."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from one_liner.errors import ConfigurationError
from one_liner.streams.buffers import CacheBuffer, QueueBuffer, SampleBuffer, make_buffer


def drain(buffer: SampleBuffer[int]) -> list[int]:
    return [buffer.take() for _ in range(len(buffer))]


def filled(buffer: SampleBuffer[int], items: range, size_bytes: int = 1) -> SampleBuffer[int]:
    for item in items:
        buffer.put(item, size_bytes)
    return buffer


@pytest.mark.parametrize("storage_type", ["queue", "cache"])
def test_an_empty_buffer_says_so(storage_type: str) -> None:
    buffer: SampleBuffer[int] = make_buffer(storage_type)
    with pytest.raises(IndexError):
        buffer.take()
    assert (len(buffer), buffer.newest(), buffer.delivered, buffer.waiting_bytes) == (0, None, 0, 0)


def test_a_queue_hands_out_in_order_once() -> None:
    buffer = filled(QueueBuffer(), range(3), 10)
    assert (len(buffer), buffer.waiting_bytes) == (3, 30)
    assert drain(buffer) == [0, 1, 2]
    assert (len(buffer), buffer.waiting_bytes, buffer.delivered, buffer.dropped) == (0, 0, 3, 0)
    with pytest.raises(IndexError):
        buffer.take()
    assert buffer.delivered == 3


def test_the_newest_is_shown_without_being_taken_and_after() -> None:
    buffer = filled(QueueBuffer(), range(3))
    assert buffer.newest() == 2
    assert len(buffer) == 3
    drain(buffer)
    assert buffer.newest() == 2
    assert buffer.delivered == 3


def test_a_full_queue_drops_the_oldest() -> None:
    buffer = filled(QueueBuffer(max_samples=3), range(5))
    assert (buffer.dropped, buffer.waiting_bytes) == (2, 3)
    assert drain(buffer) == [2, 3, 4]


def test_a_full_queue_drops_the_newest_when_told() -> None:
    buffer = filled(QueueBuffer(max_samples=3, drop="newest"), range(5))
    assert (buffer.dropped, buffer.waiting_bytes, buffer.newest()) == (2, 3, 4)
    assert drain(buffer) == [0, 1, 2]


def test_a_queue_is_bounded_in_bytes() -> None:
    buffer = filled(QueueBuffer(max_bytes=100), range(5), 40)
    assert (buffer.dropped, buffer.waiting_bytes) == (3, 80)
    buffer.put(5, 90)
    assert (buffer.dropped, buffer.waiting_bytes) == (5, 90)
    assert drain(buffer) == [5]
    filled(buffer, range(2), 50)
    assert buffer.waiting_bytes == 100
    assert buffer.dropped == 5


def test_a_queue_that_drops_the_newest_is_bounded_in_bytes() -> None:
    buffer = filled(QueueBuffer(max_bytes=100, drop="newest"), range(5), 40)
    assert (buffer.dropped, buffer.waiting_bytes) == (3, 80)
    buffer.put(5, 20)
    assert drain(buffer) == [0, 1, 5]


def test_a_sample_larger_than_the_queue_is_kept_alone() -> None:
    buffer = filled(QueueBuffer(max_bytes=100), range(2))
    buffer.put(2, 500)
    assert (len(buffer), buffer.dropped, buffer.waiting_bytes) == (1, 2, 500)
    buffer.put(3, 1)
    assert (buffer.dropped, buffer.waiting_bytes) == (3, 1)
    assert drain(buffer) == [3]


def test_a_sample_larger_than_a_queue_that_drops_the_newest_needs_it_empty() -> None:
    buffer: QueueBuffer[int] = QueueBuffer(max_bytes=100, drop="newest")
    buffer.put(0, 500)
    buffer.put(1, 1)
    assert drain(buffer) == [0]
    buffer.put(2, 1)
    buffer.put(3, 500)
    assert drain(buffer) == [2]
    assert buffer.dropped == 2


def test_a_cache_hands_out_the_newest_once() -> None:
    buffer = filled(CacheBuffer(), range(3), 10)
    assert (len(buffer), buffer.waiting_bytes, buffer.newest()) == (1, 10, 2)
    assert buffer.take() == 2
    assert (len(buffer), buffer.waiting_bytes, buffer.newest()) == (0, 0, 2)
    assert (buffer.delivered, buffer.conflated, buffer.dropped) == (1, 2, 0)
    with pytest.raises(IndexError):
        buffer.take()
    assert buffer.delivered == 1


def test_many_are_taken_in_order_and_no_more_than_wanted() -> None:
    buffer = filled(QueueBuffer(), range(5), 10)
    assert buffer.take_many(2) == [(0, 10), (1, 10)]
    assert (len(buffer), buffer.waiting_bytes, buffer.delivered) == (3, 30, 2)
    assert buffer.take_many(9) == [(2, 10), (3, 10), (4, 10)]
    assert (buffer.take_many(9), buffer.waiting_bytes, buffer.delivered) == ([], 0, 5)
    cache = filled(CacheBuffer(), range(5), 10)
    assert cache.take_many(0) == []
    assert (cache.take_many(9), cache.take_many(9), cache.delivered, cache.waiting_bytes) == ([(4, 10)], [], 1, 0)


def test_what_is_put_back_waits_before_all_others() -> None:
    buffer = filled(QueueBuffer(), range(5), 10)
    taken = buffer.take_many(4)
    buffer.put(5, 10)
    buffer.put_back(taken[1:])
    assert (len(buffer), buffer.waiting_bytes, buffer.delivered) == (5, 50, 1)
    assert drain(buffer) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("drop", "kept"), [("oldest", [2, 3, 4]), ("newest", [0, 1, 2])])
def test_what_is_put_back_is_bounded_too(drop: str, kept: list[int]) -> None:
    buffer = filled(QueueBuffer(max_samples=3, drop=drop), range(3))
    taken = buffer.take_many(3)
    filled(buffer, range(3, 5)).put_back(taken)
    assert (buffer.dropped, drain(buffer)) == (2, kept)


def test_a_cache_takes_back_what_nothing_newer_has_replaced() -> None:
    buffer = filled(CacheBuffer(), range(2), 10)
    buffer.put_back(buffer.take_many(1))
    assert (buffer.take_many(1), buffer.delivered, buffer.conflated) == ([(1, 10)], 1, 1)
    taken = filled(buffer, range(2, 3)).take_many(1)
    buffer.put(3, 10)
    buffer.put_back(taken)
    assert (buffer.take(), buffer.delivered, buffer.conflated) == (3, 2, 2)


def test_a_sample_that_was_taken_is_not_conflated() -> None:
    buffer: CacheBuffer[int] = CacheBuffer()
    for item in range(5):
        buffer.put(item, 1)
        assert buffer.take() == item
    assert (buffer.delivered, buffer.conflated) == (5, 0)


def test_none_is_a_sample_like_any_other() -> None:
    buffer: CacheBuffer[None] = CacheBuffer()
    buffer.put(None, 1)
    assert len(buffer) == 1
    buffer.take()
    assert buffer.delivered == 1


@pytest.mark.parametrize(("storage_type", "waiting"), [("queue", 3), ("cache", 1)])
def test_what_is_cleared_is_dropped(storage_type: str, waiting: int) -> None:
    buffer = filled(make_buffer(storage_type), range(3), 10)
    assert buffer.clear() == waiting
    assert (len(buffer), buffer.waiting_bytes, buffer.newest(), buffer.dropped) == (0, 0, None, waiting)
    assert buffer.clear() == 0
    with pytest.raises(IndexError):
        buffer.take()


def test_make_buffer_knows_two_words() -> None:
    assert isinstance(make_buffer("queue"), QueueBuffer)
    assert isinstance(make_buffer("cache"), CacheBuffer)
    assert len(filled(make_buffer("queue", 2, 100, "newest"), range(9))) == 2
    assert len(filled(make_buffer("queue", 9, 3), range(9))) == 3


@pytest.mark.parametrize("word", ["Queue", "", "stack", None, 1, ["queue"]])
def test_another_word_is_refused_with_those_allowed(word: str) -> None:
    with pytest.raises(ConfigurationError, match="storage_type must be 'queue' or 'cache', not "):
        make_buffer(word)
    with pytest.raises(ConfigurationError, match="drop must be 'oldest' or 'newest', not "):
        make_buffer("queue", drop=word)


@pytest.mark.parametrize("storage_type", ["queue", "cache"])
@pytest.mark.parametrize("size", [0, -1, 0.0, -1.0, 1.5, math.inf, math.nan, True, None, "10"])
def test_a_bound_that_cannot_be_is_refused(storage_type: str, size: int) -> None:
    with pytest.raises(ConfigurationError, match="max_samples must be a positive whole number"):
        make_buffer(storage_type, max_samples=size)
    with pytest.raises(ConfigurationError, match="max_bytes must be a positive whole number"):
        make_buffer(storage_type, max_bytes=size)


@pytest.mark.parametrize("size", [2, 2.0])
def test_any_whole_number_is_a_bound(size: int) -> None:
    assert len(filled(make_buffer("queue", max_samples=size), range(9))) == 2


def test_whole_numbers_of_numpy_are_bounds() -> None:
    np = pytest.importorskip("numpy")
    for size in (np.int64(2), np.uint8(2), np.float64(2.0)):
        assert len(filled(make_buffer("queue", max_samples=size), range(9))) == 2
    with pytest.raises(ConfigurationError):
        make_buffer("queue", max_samples=np.float64(2.5))


@settings(max_examples=100, deadline=None)
@given(
    storage_type=st.sampled_from(["queue", "cache"]),
    drop=st.sampled_from(["oldest", "newest"]),
    max_samples=st.integers(1, 5),
    max_bytes=st.integers(1, 30),
    steps=st.lists(
        st.one_of(st.integers(0, 40), st.sampled_from(["take", "take three and put two back", "clear"])), max_size=60
    ),
)
def test_every_sample_put_is_accounted_for(
    storage_type: str, drop: str, max_samples: int, max_bytes: int, steps: list[int | str]
) -> None:
    buffer: SampleBuffer[int] = make_buffer(storage_type, max_samples, max_bytes, drop)
    taken: list[int] = []
    count = 0
    for step in steps:
        if isinstance(step, int):
            buffer.put(count, step)
            count += 1
            assert buffer.newest() == count - 1
        elif step == "clear":
            buffer.clear()
        elif step == "take three and put two back":
            many = buffer.take_many(3)
            taken += [item for item, _ in many[:1]]
            buffer.put_back(many[1:])
        elif len(buffer):
            taken.append(buffer.take())
        assert count == buffer.delivered + len(buffer) + buffer.dropped + buffer.conflated
        assert len(buffer) <= max_samples
        assert buffer.waiting_bytes <= max_bytes or len(buffer) == 1
        assert len(buffer) or buffer.waiting_bytes == 0
    assert taken == sorted(set(taken))
    assert buffer.delivered == len(taken)
