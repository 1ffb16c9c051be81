"""Who lives: by a clock that is turned by hand."""

from __future__ import annotations

import pytest

from one_liner.errors import LimitError
from one_liner.rpc.sessions import HEARTBEATS_TO_DEATH, Session, Sessions

ANN, BOB, CARL = 1, 2, 3
HEART = b"heart"


def test_a_client_lives_for_three_heartbeats() -> None:
    sessions = Sessions()
    sessions.heard(ANN, "ann", HEART, 0.5, 10.0)
    assert sessions.lives(ANN, 10.0)
    assert sessions.lives(ANN, 10.0 + HEARTBEATS_TO_DEATH * 0.5)
    assert not sessions.lives(ANN, 10.01 + HEARTBEATS_TO_DEATH * 0.5)
    assert not sessions.lives(BOB, 10.0)


def test_each_heartbeat_prolongs_its_life() -> None:
    sessions = Sessions()
    for beat in range(10):
        sessions.heard(ANN, "ann", HEART, 1.0, float(beat))
    assert sessions.lives(ANN, 12.0)
    assert not sessions.lives(ANN, 12.1)


def test_only_the_living_are_listed() -> None:
    sessions = Sessions()
    sessions.heard(ANN, "ann", HEART, 1.0, 0.0)
    sessions.heard(BOB, "bob", b"other", 10.0, 0.0)
    assert sessions.living(5.0) == {BOB: Session("bob", b"other", 0.0, 10.0)}
    assert sessions.hearts() == {HEART, b"other"}


def test_a_client_is_called_by_its_name_or_by_its_number() -> None:
    sessions = Sessions()
    assert sessions.name_of(0xBEEF) == "client beef"
    sessions.heard(0xBEEF, "ann", HEART, 1.0, 0.0)
    assert sessions.name_of(0xBEEF) == "ann"


def test_a_long_name_is_cut() -> None:
    sessions = Sessions()
    sessions.heard(ANN, "a" * 10_000, HEART, 1.0, 0.0)
    assert sessions.name_of(ANN) == "a" * 200


def test_the_one_that_was_silent_for_longest_makes_room() -> None:
    sessions = Sessions(most=2)
    sessions.heard(ANN, "ann", HEART, 1.0, 0.0)
    sessions.heard(BOB, "bob", HEART, 1.0, 1.0)
    sessions.heard(CARL, "carl", HEART, 1.0, 3.5)
    assert sessions.name_of(ANN) == "client 1"
    assert sessions.name_of(BOB) == "bob"


def test_whoever_lives_is_not_forgotten_for_a_newcomer() -> None:
    sessions = Sessions(most=2)
    sessions.heard(ANN, "ann", HEART, 100.0, 0.0)
    sessions.heard(BOB, "bob", HEART, 1.0, 1.0)
    with pytest.raises(LimitError, match="2 clients that live"):
        sessions.heard(CARL, "carl", HEART, 1.0, 2.0)
    sessions.heard(ANN, "ann", HEART, 100.0, 3.0)
    sessions.heard(CARL, "carl", HEART, 1.0, 5.0)
    assert [sessions.name_of(client) for client in (ANN, BOB, CARL)] == ["ann", "client 2", "carl"]


def test_a_dead_one_behind_a_living_one_makes_room() -> None:
    sessions = Sessions(most=2)
    sessions.heard(ANN, "ann", HEART, 100.0, 0.0)
    sessions.heard(BOB, "bob", HEART, 1.0, 0.0)
    sessions.heard(CARL, "carl", HEART, 1.0, 10.0)
    assert [sessions.name_of(client) for client in (ANN, BOB, CARL)] == ["ann", "client 2", "carl"]


def test_a_client_whose_first_heartbeat_is_on_its_way_is_given_time() -> None:
    sessions = Sessions()
    sessions.expect(ANN, "ann", 2.0, 0.0)
    assert sessions.name_of(ANN) == "ann"
    assert sessions.lives(ANN, 6.0)
    assert not sessions.lives(ANN, 6.1)


def test_expecting_a_client_changes_nothing_where_it_was_heard() -> None:
    sessions = Sessions()
    sessions.heard(ANN, "ann", HEART, 1.0, 0.0)
    sessions.expect(ANN, "somebody", 100.0, 1.0)
    assert sessions.name_of(ANN) == "ann"
    assert not sessions.lives(ANN, 3.1)


def test_whom_a_router_names_no_longer_is_dead_at_once() -> None:
    sessions = Sessions()
    router = 9

    def beat(now: float, *clients: int) -> None:
        sessions.heard(router, "router", HEART, 1.0, now)
        for client in clients:
            sessions.heard(client, "somebody", HEART, 1.0, now)
        sessions.vouches(router, clients)

    beat(0.0, ANN, BOB)
    sessions.heard(CARL, "carl", b"his own", 1.0, 0.0)
    beat(1.0, BOB)
    assert not sessions.lives(ANN, 1.0)
    assert sessions.lives(BOB, 1.0)
    assert sessions.lives(CARL, 1.0)
    assert sessions.name_of(ANN) == "somebody", "messages still name it"
    beat(2.0, ANN)
    assert sessions.lives(ANN, 2.0), "it is there again"
    assert not sessions.lives(BOB, 2.0)


def test_one_that_others_speak_for_meanwhile_is_left_alone() -> None:
    sessions = Sessions()
    sessions.heard(ANN, "router", HEART, 1.0, 0.0)
    sessions.heard(BOB, "bob", HEART, 1.0, 0.0)
    sessions.vouches(ANN, [BOB])
    sessions.heard(BOB, "bob", b"another way", 1.0, 0.5)
    sessions.vouches(ANN, [CARL])
    sessions.vouches(ANN, [])
    assert sessions.lives(BOB, 0.5)


def test_who_looks_seldom_takes_nobody_for_dead_too_soon() -> None:
    sessions = Sessions()
    sessions.heard(ANN, "ann", HEART, 0.1, 0.0)
    assert sessions.living(1.0) == {}
    assert set(sessions.living(1.0, 0.5)) == {ANN}
    assert sessions.living(1.6, 0.5) == {}


def test_a_router_that_had_to_make_room_for_its_own_clients_is_no_mistake() -> None:
    sessions = Sessions(most=1)
    sessions.heard(ANN, "router", HEART, 1e-9, 0.0)
    sessions.heard(BOB, "bob", HEART, 1.0, 0.1)
    sessions.vouches(ANN, [BOB])
    assert sessions.lives(BOB, 0.1)
