"""Who controls what: every rule, without a network."""

from __future__ import annotations

import threading

import pytest

from one_liner.errors import LeasedError
from one_liner.rpc.lease import WHOLE_SERVER, Lease, Leases, refusal

ANN, BOB, CARL = 1, 2, 3
STAGE, LASER = "the stage", "the laser"


def lease(client: int, name: str = "stage", since: float = 10.0) -> Lease:
    return Lease(name, client, {ANN: "ann", BOB: "bob", CARL: "carl"}[client], since)


def test_nobody_controls_anything_at_first() -> None:
    leases = Leases()
    assert not leases
    assert leases.all() == []
    leases.check(STAGE, BOB, "stage.move", 12.0)


def test_the_holder_acts_and_nobody_else() -> None:
    leases = Leases()
    assert leases.take(STAGE, lease(ANN)) == []
    assert leases
    leases.check(STAGE, ANN, "stage.move", 12.0)
    leases.check(LASER, BOB, "laser.on", 12.0)
    with pytest.raises(LeasedError, match=r"ann has had exclusive control of 'stage' for 2\.0 s") as caught:
        leases.check(STAGE, BOB, "stage.move", 12.0)
    assert caught.value.details == {"holder": "ann", "object": "stage", "for_s": 2.0}


def test_a_second_client_is_refused_by_name() -> None:
    leases = Leases()
    leases.take(STAGE, lease(ANN))
    with pytest.raises(LeasedError, match=r"a lease of 'stage' is refused: ann has had .* for 5\.0 s"):
        leases.take(STAGE, lease(BOB, since=15.0))
    assert leases.all() == [lease(ANN)]


def test_the_whole_server_stands_in_the_way_of_every_object_and_the_other_way_round() -> None:
    leases = Leases()
    leases.take(WHOLE_SERVER, lease(ANN, ""))
    with pytest.raises(LeasedError, match="exclusive control of the whole server"):
        leases.take(STAGE, lease(BOB))
    with pytest.raises(LeasedError):
        leases.check(STAGE, BOB, "stage.move", 11.0)
    leases.check(STAGE, ANN, "stage.move", 11.0)
    leases.take(STAGE, lease(ANN))

    others = Leases()
    others.take(STAGE, lease(ANN))
    with pytest.raises(LeasedError, match="a lease of the whole server is refused"):
        others.take(WHOLE_SERVER, lease(BOB, ""))


def test_force_takes_what_is_in_the_way_and_nothing_else() -> None:
    leases = Leases()
    leases.take(STAGE, lease(ANN))
    leases.take(LASER, lease(BOB, "laser"))
    assert leases.take(STAGE, lease(CARL), force=True) == [lease(ANN)]
    assert not leases.holds(STAGE, ANN)
    assert leases.holds(STAGE, CARL)
    assert leases.take(WHOLE_SERVER, lease(BOB, ""), force=True) == [lease(CARL)]
    assert leases.holds(LASER, BOB)
    assert leases.take(STAGE, lease(ANN), force=True) == [lease(BOB, "")]


def test_giving_back_ends_it_once() -> None:
    leases = Leases()
    leases.take(STAGE, lease(ANN))
    assert not leases.give_back(STAGE, BOB)
    assert not leases.give_back(LASER, ANN)
    assert leases.give_back(STAGE, ANN)
    assert not leases.give_back(STAGE, ANN)
    assert not leases


def test_taken_twice_it_has_to_be_given_back_twice() -> None:
    leases = Leases()
    leases.take(STAGE, lease(ANN))
    leases.take(STAGE, lease(ANN, since=20.0))
    assert leases.all() == [lease(ANN)._replace(times=2)]
    assert leases.give_back(STAGE, ANN)
    assert leases.holds(STAGE, ANN)
    assert leases.give_back(STAGE, ANN)
    assert not leases.holds(STAGE, ANN)


def test_a_lease_is_found_by_its_name_and_holder() -> None:
    leases = Leases()
    leases.take(STAGE, lease(ANN))
    assert leases.key_of("stage", ANN) == STAGE
    assert leases.key_of("stage", BOB) is None
    assert leases.key_of("laser", ANN) is None


def test_those_of_the_dead_end() -> None:
    leases = Leases()
    leases.take(STAGE, lease(ANN))
    leases.take(LASER, lease(BOB, "laser"))
    dead = leases.those_of_the_dead(lambda client: client == BOB)
    assert dead == {STAGE: lease(ANN)}
    leases.take(STAGE, lease(ANN))  # Also when it comes back to life, and takes it once more.
    leases.end(dead)
    leases.end(dead)
    assert leases.all() == [lease(BOB, "laser")]


def test_what_somebody_else_has_taken_from_the_dead_is_theirs() -> None:
    leases = Leases()
    leases.take(STAGE, lease(ANN))
    dead = leases.those_of_the_dead(lambda client: client == BOB)
    leases.take(STAGE, lease(BOB), force=True)
    leases.end(dead)
    assert leases.all() == [lease(BOB)]


def test_one_of_many_who_try_at_once_gets_it() -> None:
    leases = Leases()
    start = threading.Barrier(8)
    winners: list[int] = []

    def attempt(client: int) -> None:
        start.wait()
        try:
            leases.take(STAGE, Lease("stage", client, f"client {client}", 0.0))
        except LeasedError:
            return
        winners.append(client)

    threads = [threading.Thread(target=attempt, args=(client,)) for client in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1
    assert leases.holds(STAGE, winners[0])


def test_the_title_and_the_refusal_are_for_people() -> None:
    assert lease(ANN).title == "'stage'"
    assert lease(ANN, "").title == "the whole server"
    assert str(refusal(lease(ANN, ""), "laser.on", 11.5)) == (
        "laser.on is refused: ann has had exclusive control of the whole server for 1.5 s"
    )
