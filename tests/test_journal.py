"""What is admitted once, and which answers are still there: by arithmetic."""

from __future__ import annotations

import tracemalloc
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_liner.errors import MalformedError
from one_liner.rpc.journal import MAX_BYTES, MAX_COPY_BYTES, Journal, Verdict

ANN, BOB = b"ann", b"bob"


def test_a_request_is_new_once() -> None:
    journal = Journal()
    assert journal.admit(ANN, 1) is Verdict.NEW
    assert journal.admit(ANN, 1) is Verdict.KNOWN
    assert journal.admit(ANN, 1) is Verdict.KNOWN


def test_peers_count_apart() -> None:
    journal = Journal()
    assert journal.admit(ANN, 1) is Verdict.NEW
    assert journal.admit(BOB, 1) is Verdict.NEW


def test_an_id_below_the_highest_is_an_old_one() -> None:
    journal = Journal()
    journal.admit(ANN, 10)
    assert journal.admit(ANN, 9) is Verdict.KNOWN
    assert journal.admit(ANN, 1) is Verdict.KNOWN
    assert journal.admit(ANN, 11) is Verdict.NEW


@pytest.mark.parametrize("wild", [0, (1 << 48) + 1, (1 << 64) - 1])
def test_a_first_id_that_cannot_be_one_is_an_error_and_not_remembered(wild: int) -> None:
    journal = Journal()
    for ask in (journal.admit, journal.asked):
        with pytest.raises(MalformedError):
            ask(ANN, wild)
    assert journal.admit(ANN, 1) is Verdict.NEW
    with pytest.raises(MalformedError):
        journal.admit(ANN, wild)
    assert journal.admit(ANN, 2) is Verdict.NEW


def test_a_connection_may_have_counted_for_long_elsewhere() -> None:
    assert Journal().admit(ANN, 1 << 48) is Verdict.NEW


def test_what_is_asked_after_is_known_from_then_on() -> None:
    journal = Journal()
    assert journal.asked(ANN, 3) is Verdict.NEW
    assert journal.admit(ANN, 3) is Verdict.KNOWN, "should it still come, it is not carried out"
    assert journal.asked(ANN, 3) is Verdict.NEW, "and so it stays one that did not run"


def test_what_a_forgotten_connection_asked_is_not_called_new() -> None:
    journal = Journal(max_peers=1)
    assert journal.asked(b"carl", 1) is Verdict.NEW, "nobody was forgotten yet"
    journal.admit(ANN, 7)
    journal.admit(BOB, 1)
    assert journal.asked(ANN, 7) is Verdict.KNOWN, "it may have run"
    assert journal.asked(ANN, 8) is Verdict.NEW


def test_an_answer_is_given_again() -> None:
    journal = Journal()
    journal.admit(ANN, 1)
    assert journal.answer(ANN, 1) is None
    journal.record(ANN, 1, [b"answer", memoryview(b"large")], 0.0)
    assert journal.admit(ANN, 1) is Verdict.ANSWERED
    assert journal.answer(ANN, 1) == (b"answer", b"large")
    assert journal.answer(BOB, 1) is None


def test_the_oldest_answers_fall_out_when_there_are_too_many() -> None:
    journal = Journal(max_entries=2)
    for number in (1, 2, 3):
        journal.admit(ANN, number)
        journal.record(ANN, number, [b"x"], 0.0)
    assert [journal.admit(ANN, number) for number in (1, 2, 3)] == [Verdict.KNOWN, Verdict.ANSWERED, Verdict.ANSWERED]


def test_the_oldest_answers_fall_out_when_they_are_too_large_together() -> None:
    journal = Journal(max_bytes=10)
    journal.record(ANN, 1, [b"1234"], 0.0)
    journal.record(ANN, 2, [b"1", memoryview(array("h", [1, 2]))], 0.0)
    assert journal.answer(ANN, 1) is not None
    journal.record(ANN, 3, [b"1"], 0.0)
    assert journal.answer(ANN, 1) is not None, "ten bytes are allowed"
    journal.record(ANN, 4, [b"1"], 0.0)
    assert journal.answer(ANN, 1) is None
    assert journal.answer(ANN, 2) is not None


def test_an_answer_that_is_too_large_alone_is_not_kept_and_costs_no_other_its_place() -> None:
    journal = Journal(max_bytes=10)
    journal.record(ANN, 1, [b"12345"], 0.0)
    journal.admit(ANN, 2)
    journal.record(ANN, 2, [b"1", b"1234567890"], 0.0)
    assert journal.answer(ANN, 2) is None
    assert journal.admit(ANN, 2) is Verdict.KNOWN
    assert journal.answer(ANN, 1) is not None


def test_a_journal_may_have_no_room_at_all() -> None:
    journal = Journal(max_entries=0)
    journal.admit(ANN, 1)
    journal.record(ANN, 1, [b"x"], 0.0)
    assert journal.admit(ANN, 1) is Verdict.KNOWN


def test_answers_fall_out_with_age() -> None:
    journal = Journal(max_age_s=5.0)
    journal.record(ANN, 1, [b"x"], 0.0)
    journal.record(ANN, 2, [b"x"], 5.0)
    assert journal.answer(ANN, 1) is not None
    journal.record(ANN, 3, [b"x"], 5.1)
    assert journal.answer(ANN, 1) is None
    assert journal.answer(ANN, 2) is not None


def test_an_answer_recorded_twice_counts_once() -> None:
    journal = Journal(max_bytes=10)
    for _ in range(5):
        journal.record(ANN, 1, [b"12345"], 0.0)
    journal.record(ANN, 2, [b"12345"], 0.0)
    assert journal.answer(ANN, 1) is not None
    assert journal.answer(ANN, 2) is not None


def test_the_peer_that_was_silent_for_longest_is_forgotten_first() -> None:
    journal = Journal(max_peers=2)
    journal.admit(ANN, 1)
    journal.admit(BOB, 1)
    journal.admit(ANN, 2)
    journal.admit(b"carl", 1)
    assert journal.admit(ANN, 2) is Verdict.KNOWN, "it spoke after bob did"
    assert journal.admit(b"carl", 1) is Verdict.KNOWN


def test_what_others_can_change_is_copied() -> None:
    journal = Journal()
    picture = bytearray(b"first")
    journal.record(ANN, 1, [b"head", memoryview(picture)], 0.0, shared=True)
    picture[:] = b"later"
    assert journal.answer(ANN, 1) == (b"head", b"first")


def test_what_would_cost_much_to_copy_is_not_kept() -> None:
    journal = Journal()
    journal.record(ANN, 1, [b"head", memoryview(bytearray(MAX_COPY_BYTES))], 0.0, shared=True)
    assert journal.answer(ANN, 1) is None
    journal.record(ANN, 2, [b"head", bytes(MAX_COPY_BYTES)], 0.0, shared=True)
    assert journal.answer(ANN, 2) is not None, "bytes belong to nobody else"
    journal.record(ANN, 3, [b"head", memoryview(bytearray(MAX_COPY_BYTES))], 0.0)
    assert journal.answer(ANN, 3) is not None, "nor do frames that came from the network"


def test_a_line_of_a_picture_does_not_keep_the_picture() -> None:
    journal = Journal()
    tracemalloc.start()
    try:
        for number in range(50):
            picture = memoryview(bytearray(1_000_000))
            journal.record(ANN, number, [b"head", picture[:1000]], 0.0, shared=True)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 3_000_000


def test_memory_stays_bounded_with_twenty_thousand_answers_and_as_many_peers() -> None:
    journal = Journal(max_entries=100, max_peers=100)
    tracemalloc.start()
    try:
        for number in range(20_000):
            peer = b"peer" + number.to_bytes(4, "little")
            assert journal.admit(peer, 1) is Verdict.NEW
            journal.record(peer, 1, [b"x" * 1000], float(number) / 1000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000


def test_memory_stays_bounded_with_large_answers() -> None:
    journal = Journal()
    size = 8 * 1024 * 1024
    answer = [b"head", bytes(size)]
    for number in range(100):
        journal.record(ANN, number, answer, 0.0)
    kept = sum(journal.answer(ANN, number) is not None for number in range(100))
    assert kept == MAX_BYTES // (size + 4)


@given(st.lists(st.tuples(st.sampled_from([ANN, BOB]), st.integers(1, 20), st.booleans()), max_size=60))
def test_nothing_is_new_twice(script: list[tuple[bytes, int, bool]]) -> None:
    journal = Journal(max_entries=3, max_bytes=30)
    new: list[tuple[bytes, int]] = []
    for now, (peer, number, answered) in enumerate(script):
        if journal.admit(peer, number) is Verdict.NEW:
            new.append((peer, number))
            if answered:
                journal.record(peer, number, [b"0123456789"], float(now))
        elif journal.admit(peer, number) is Verdict.ANSWERED:
            assert (peer, number) in new
            assert journal.answer(peer, number) == (b"0123456789",)
    assert len(new) == len(set(new))


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_a_word(verdict: Verdict) -> None:
    assert verdict.value == verdict.name.lower()


def test_what_was_never_here_is_told_from_what_was_forgotten() -> None:
    journal = Journal(max_entries=2)
    for request_id in (1, 2, 5, 6):
        journal.admit(ANN, request_id)
        journal.record(ANN, request_id, [b"answer"], 0.0)
    assert journal.asked(ANN, 2) is Verdict.KNOWN
    assert journal.asked(ANN, 3) is Verdict.NEW, "a gap: the connection broke there"
    assert journal.asked(ANN, 5) is Verdict.ANSWERED
    journal.admit(ANN, 7)
    journal.record(ANN, 7, [b"x" * (MAX_BYTES + 1)], 0.0)
    assert journal.asked(ANN, 7) is Verdict.KNOWN
