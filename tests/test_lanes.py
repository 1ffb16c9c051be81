"""One object does one thing at a time, in the order asked; what is stuck delays nobody but itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest

from one_liner import RouterClient, RouterServer
from one_liner.errors import CallTimeoutError, ConfigurationError, NoDataError
from one_liner.rpc.lanes import Lane
from tests.conftest import busy_for, poll_until

HEARTBEAT_S = 0.2
PATIENCE_S = 20.0


class Occupant(NamedTuple):
    where: str
    who: str = "somebody"
    is_tick: bool = False


# --- the lane itself -------------------------------------------------------------------------------------------------


def test_a_lane_is_handed_on_in_the_order_they_came() -> None:
    lane = Lane("stage")
    first, *others = [Occupant(f"stage.move{index}") for index in range(4)]
    assert lane.enter(first, 1.0)
    assert [lane.enter(other, 2.0) for other in others] == [False] * 3
    assert lane.waiting == tuple(others)
    for time_s, other in enumerate(others, 3):
        assert lane.leave(time_s) is other
        assert lane.holder is not None
        assert lane.holder == (other, time_s)
    assert lane.leave(9.0) is None
    assert lane.holder is None
    assert lane.waiting == ()


def test_a_lane_that_is_handed_on_is_never_free_in_between() -> None:
    lane = Lane("stage")
    assert lane.enter(Occupant("a"), 0.0)
    assert not lane.enter(Occupant("b"), 0.0)
    lane.leave(1.0)
    assert not lane.try_enter(Occupant("tick"), 1.0)


def test_whoever_only_tries_does_not_wait() -> None:
    lane = Lane("stage")
    assert lane.try_enter(Occupant("tick"), 0.0)
    assert not lane.try_enter(Occupant("other tick"), 0.0)
    assert lane.waiting == ()
    assert lane.leave(1.0) is None
    assert lane.try_enter(Occupant("other tick"), 2.0)


def test_only_those_who_wait_can_withdraw() -> None:
    lane = Lane("stage")
    holder, waiter, third = Occupant("a"), Occupant("b"), Occupant("c")
    lane.enter(holder, 0.0)
    lane.enter(waiter, 0.0)
    lane.enter(third, 0.0)
    assert not lane.withdraw(holder), "it has begun"
    assert lane.withdraw(waiter)
    assert not lane.withdraw(waiter)
    assert lane.leave(1.0) is third
    assert not lane.withdraw(Occupant("stranger"))


def test_a_holder_reads_as_a_sentence() -> None:
    lane = Lane("stage")
    lane.enter(Occupant("stage.move", "ann"), 3.0)
    assert str(lane.holder) == "stage.move for ann"
    assert lane.holder is not None
    assert lane.holder.since == 3.0


# --- served objects --------------------------------------------------------------------------------------------------


class Exclusive:
    """Notices when two are at it at once, and keeps the order."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.order: list[Any] = []
        self.label = "a"
        self.began = threading.Event()
        self.go = threading.Event()
        self._lock = threading.Lock()

    def _enter(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def _leave(self) -> None:
        with self._lock:
            self.inside -= 1

    def work(self, mark: Any = None, seconds: float = 0.0) -> Any:
        self._enter()
        if seconds:
            busy_for(seconds)
        self.order.append(mark)
        self._leave()
        return mark

    def stick(self, mark: Any = "stuck") -> Any:
        """Until somebody lets it go."""
        self._enter()
        self.began.set()
        assert self.go.wait(PATIENCE_S)
        self.order.append(mark)
        self._leave()
        return mark

    @property
    def position(self) -> int:
        return len(self.order)

    def peek(self) -> int:
        return self.inside


class Rig:
    """A server, and clients of it; lets everything that is stuck go at the end."""

    def __init__(self, server: RouterServer, place: dict[str, Any]) -> None:
        self.server = server
        self.place = place
        self.clients: list[RouterClient] = []
        self.stuck: list[Exclusive] = []
        self.threads: list[threading.Thread] = []

    def client(self, **options: Any) -> RouterClient:
        options = {"heartbeat_s": HEARTBEAT_S, "timeout_s": PATIENCE_S, **options}
        client = RouterClient(**self.place, rpc_port=self.server.rpc_port, broadcast_port=None, **options)
        self.clients.append(client)
        return client

    def serve(self, name: str, concurrent: Any = ()) -> Exclusive:
        obj = Exclusive()
        self.server.add_instance(name, obj, concurrent)
        self.stuck.append(obj)
        return obj

    def start(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Run in a thread; the list has what it gave, or raised, once it is done."""
        outcome: list[Any] = []

        def run() -> None:
            try:
                outcome.append(function(*args))
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=run)
        self.threads.append(thread)
        thread.start()
        return outcome

    def waiting(self, where: str) -> int:
        """How many calls of this are at the server: the running one, and those in line."""
        return sum(call["where"] == where for call in self.server.running_calls())

    def waits(self, where: str, count: int) -> bool:
        """Whether so many are there."""
        return self.waiting(where) == count

    def close(self) -> None:
        for obj in self.stuck:
            obj.go.set()
        for thread in self.threads:
            thread.join(PATIENCE_S)
        for client in self.clients:
            client.close()


@pytest.fixture(params=["tcp", "ipc", "inproc"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    interface = {"tcp": "127.0.0.1", "ipc": str(tmp_path_factory.mktemp("l") / "rig"), "inproc": "lanes"}
    place = {"protocol": request.param, "interface": interface[request.param]}
    with RouterServer(**place, rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S) as server:
        server.run()
        made = Rig(server, place)
        yield made
        made.close()


def test_calls_of_one_object_run_one_after_another_in_the_order_they_came(rig: Rig) -> None:
    stage = rig.serve("stage")
    outcomes = [rig.start(rig.client().call, "stage", "stick")]
    assert stage.began.wait(PATIENCE_S)
    for index in range(8):  # each from a client of its own, and each is at the server before the next is sent
        outcomes.append(rig.start(rig.client().call, "stage", "work", [index]))
        poll_until(partial(rig.waits, "stage.work", index + 1), what=f"call {index} to arrive")
    assert stage.order == []
    stage.go.set()
    poll_until(lambda: all(outcomes), what="all answers")
    assert stage.order == ["stuck", *range(8)]
    assert stage.most == 1
    assert [outcome[0] for outcome in outcomes] == ["stuck", *range(8)]


def test_calls_under_load_never_overlap(rig: Rig) -> None:
    stage = rig.serve("stage")
    clients = [rig.client() for _ in range(4)]

    def many(client: RouterClient, who: int) -> bool:
        return all(client.call("stage", "work", [(who, n), 0.007 if n == 3 else 0.0]) == (who, n) for n in range(15))

    outcomes = [rig.start(many, client, who) for who, client in enumerate(clients)]
    poll_until(lambda: all(outcomes), what="all answers")
    assert outcomes == [[True]] * 4
    assert stage.most == 1
    assert len(stage.order) == 60
    for who in range(4):
        assert [mark for mark in stage.order if mark[0] == who] == [(who, n) for n in range(15)]


def test_different_objects_run_side_by_side(rig: Rig) -> None:
    one, two = rig.serve("one"), rig.serve("two")
    first = rig.start(rig.client().call, "one", "stick")
    second = rig.start(rig.client().call, "two", "stick")
    assert one.began.wait(PATIENCE_S)
    assert two.began.wait(PATIENCE_S)
    two.go.set()
    poll_until(lambda: second)
    assert not first
    one.go.set()
    poll_until(lambda: first)


def test_two_names_of_one_object_are_one_lane(rig: Rig) -> None:
    stage = rig.serve("stage")
    rig.server.add_instance("alias", stage)
    rig.server.add_instance("method", stage.work)
    stuck = rig.start(rig.client().call, "stage", "stick")
    assert stage.began.wait(PATIENCE_S)
    waiting = [rig.start(rig.client().call, "alias", "work", [1]), rig.start(rig.client().call, "method", None, [2])]
    poll_until(lambda: len(rig.server.running_calls()) == 3)
    assert stage.inside == 1
    assert not any(waiting)
    stage.go.set()
    poll_until(lambda: stuck and all(waiting))
    assert stage.most == 1
    assert set(stage.order) == {"stuck", 1, 2}


def test_a_nested_object_is_in_the_lane_of_its_owner(rig: Rig) -> None:
    outer = rig.serve("outer")
    outer.inner = inner = Exclusive()  # type: ignore[attr-defined]
    stuck = rig.start(rig.client().call, "outer", "stick")
    assert outer.began.wait(PATIENCE_S)
    nested = rig.start(rig.client().call, "outer.inner", "work", [1])
    poll_until(lambda: rig.waiting("outer.inner.work") == 1)
    assert inner.order == []
    outer.go.set()
    poll_until(lambda: stuck and nested)
    assert inner.order == [1]


def test_reading_and_writing_take_the_lane_too(rig: Rig) -> None:
    stage = rig.serve("stage")
    stuck = rig.start(rig.client().call, "stage", "stick")
    assert stage.began.wait(PATIENCE_S)
    read = rig.start(rig.client().get, "stage", "position")
    poll_until(lambda: rig.waiting("stage.position") == 1)
    write = rig.start(rig.client().set, "stage", "label", "b")
    poll_until(lambda: rig.waiting("stage.label") == 1)
    assert stage.label == "a"
    stage.go.set()
    poll_until(lambda: stuck and read and write)
    assert read == [1]
    assert stage.label == "b"


def test_a_stuck_call_delays_no_other_object_no_heartbeat_and_no_description(rig: Rig) -> None:
    stage = rig.serve("stage")
    rig.serve("laser")
    rig.server.add_stream("laser", 50, "laser", "position")
    states: list[str] = []
    client = rig.client()
    client.call("laser", "work")
    client.configure_stream("laser", "queue", wait=True, timeout_s=20)
    client.on_state(lambda state: states.append(str(state)))
    stuck = rig.start(rig.client().call, "stage", "stick")
    assert stage.began.wait(PATIENCE_S)
    beats = client._link._last_seen
    until = poll_until(lambda: client._link._last_seen > beats and client._link._last_seen, what="a heartbeat")
    poll_until(lambda: client._link._last_seen > until, what="two heartbeats")
    for index in range(20):
        began = time.perf_counter()
        assert client.call("laser", "work", [index]) == index
        assert client.describe().as_dict()["objects"]
        assert time.perf_counter() - began < 2.0
    first = client.get_stream("laser", timeout_s=PATIENCE_S).sequence
    poll_until(lambda: client.get_stream("laser", timeout_s=PATIENCE_S).sequence > first + 10)
    assert rig.waiting("stage.stick") == 1
    assert not stuck
    assert set(states) == {"connected"}, "it has been that all the time"
    stage.go.set()
    poll_until(lambda: stuck)


def test_twenty_objects_may_be_stuck_at_once(rig: Rig) -> None:
    objects = [rig.serve(f"stage{index}") for index in range(20)]
    client = rig.client()
    rig.serve("laser")
    outcomes = [rig.start(client.call, f"stage{index}", "stick", [index]) for index in range(20)]
    for obj in objects:
        assert obj.began.wait(PATIENCE_S)
    began = time.perf_counter()
    assert client.call("laser", "work", [1]) == 1
    assert time.perf_counter() - began < 2.0
    assert client.state == "connected"
    waiting = [rig.start(client.call, f"stage{index}", "work", ["behind"]) for index in range(20)]
    poll_until(lambda: len(client.running_calls()) >= 40)
    for obj in objects:
        obj.go.set()
    poll_until(lambda: all(outcomes) and all(waiting), what="all answers")
    assert [outcome[0] for outcome in outcomes] == list(range(20))
    assert all(obj.order == [index, "behind"] for index, obj in enumerate(objects))
    assert all(obj.most == 1 for obj in objects)


def test_a_call_that_was_given_up_before_it_began_never_runs(rig: Rig) -> None:
    stage = rig.serve("stage")
    client = rig.client()
    stuck = rig.start(rig.client().call, "stage", "stick")
    assert stage.began.wait(PATIENCE_S)
    with pytest.raises(CallTimeoutError) as caught:
        client.call("stage", "work", ["given up"], timeout_s=0.1)
    assert isinstance(caught.value, TimeoutError)
    poll_until(lambda: rig.waiting("stage.work") == 0, what="the server to forget it")
    behind = rig.start(rig.client().call, "stage", "work", ["behind"])
    poll_until(lambda: rig.waiting("stage.work") == 1)
    stage.go.set()
    poll_until(lambda: stuck and behind)
    assert client.call("stage", "work", ["after"]) == "after"
    assert stage.order == ["stuck", "behind", "after"]


def test_a_call_that_was_given_up_after_it_began_runs_once_and_its_answer_is_stale(rig: Rig) -> None:
    stage = rig.serve("stage")
    client = rig.client()
    with pytest.raises(CallTimeoutError):
        client.call("stage", "stick", timeout_s=0.1)
    assert stage.began.wait(PATIENCE_S)
    stage.go.set()
    poll_until(lambda: rig.server.running_calls() == [])
    assert client.call("stage", "work", ["next"]) == "next"
    poll_until(lambda: client.call("stage", "peek") == 0 and client.stale_replies == 1, what="the stale reply")
    assert stage.order == ["stuck", "next"]


def test_the_waiting_calls_of_a_client_that_closes_never_run(rig: Rig) -> None:
    stage = rig.serve("stage")
    stuck = rig.start(rig.client().call, "stage", "stick")
    assert stage.began.wait(PATIENCE_S)
    client = rig.client()
    given_up = rig.start(client.call, "stage", "work", ["closed"])
    poll_until(lambda: rig.waiting("stage.work") == 1)
    client.close()
    poll_until(lambda: given_up)
    assert "closed" in str(given_up[0])
    poll_until(lambda: rig.waiting("stage.work") == 0, what="the server to forget it")
    stage.go.set()
    poll_until(lambda: stuck)
    assert stage.order == ["stuck"]


# --- declared to run beside others -----------------------------------------------------------------------------------


def test_what_is_declared_runs_beside_others(rig: Rig) -> None:
    stage = rig.serve("stage", concurrent=["position", "peek"])
    client = rig.client()
    stuck = rig.start(rig.client().call, "stage", "stick")
    assert stage.began.wait(PATIENCE_S)
    assert client.get("stage", "position") == 0
    assert client.call("stage", "peek") == 1
    blocked = rig.start(rig.client().call, "stage", "work")
    poll_until(lambda: rig.waiting("stage.work") == 1)
    assert not blocked
    stage.go.set()
    poll_until(lambda: stuck and blocked)


def test_a_whole_object_may_run_beside_itself(rig: Rig) -> None:
    stage = rig.serve("stage", concurrent=True)
    stuck = [rig.start(rig.client().call, "stage", "stick", [index]) for index in range(3)]
    poll_until(lambda: stage.inside == 3)
    assert rig.client().call("stage", "work", ["beside"]) == "beside"
    stage.go.set()
    poll_until(lambda: all(stuck))


def test_concurrent_names_what_there_is(rig: Rig) -> None:
    with pytest.raises(ConfigurationError, match="positon"):
        rig.server.add_instance("stage", Exclusive(), concurrent=["positon"])
    with pytest.raises(ConfigurationError, match="not among"):
        RouterServer(**rig.place, rpc_port=0, broadcast_port=0, concurrent={"nobody": True})
    with RouterServer(
        **rig.place, rpc_port=0, broadcast_port=0, instances={"a": Exclusive()}, concurrent={"a": ["peek"]}
    ):
        pass


# --- streams in the same lane ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["by name", "from a bound method"])
def test_ticks_and_calls_of_one_object_never_overlap(rig: Rig, how: str) -> None:
    stage = rig.serve("stage")
    client = rig.client()
    client.configure_stream("stage", wait=True, timeout_s=20)
    if how == "by name":
        rig.server.add_stream("stage", 200, "stage", "work", ["tick", 0.001])
    else:
        rig.server.add_stream_from_callable("stage", 200, stage.work, ["tick", 0.001])
    client.get_stream("stage", timeout_s=PATIENCE_S)
    others = [rig.client() for _ in range(3)]

    def many(other: RouterClient) -> bool:
        return all(other.call("stage", "work", [index, 0.001]) == index for index in range(40))

    outcomes = [rig.start(many, other) for other in others]
    poll_until(lambda: all(outcomes), what="all answers")
    assert outcomes == [[True]] * 3
    assert stage.most == 1
    assert stage.order.count("tick") > 0


@pytest.mark.parametrize("how", ["by name", "from a bound method"])
def test_a_tick_that_finds_the_lane_taken_is_skipped_and_counted(rig: Rig, how: str) -> None:
    stage, other = rig.serve("stage"), rig.serve("other")
    if how == "by name":
        rig.server.add_stream("stage", 100, "stage", "position")
    else:
        rig.server.add_stream_from_callable("stage", 100, stage.peek)
    rig.server.add_stream("other", 100, "other", "position")
    client = rig.client(name="ann's window")
    client.configure_stream("other", wait=True, timeout_s=20)
    client.configure_stream("stage", wait=True, timeout_s=20)
    client.get_stream("stage", timeout_s=PATIENCE_S)
    stuck = rig.start(client.call, "stage", "stick")
    assert stage.began.wait(PATIENCE_S)

    def figures() -> Any:
        return rig.server.get_stream_configurations()["stage"]

    before = figures()
    poll_until(lambda: figures().skipped_busy >= before.skipped_busy + 10, what="skipped ticks")
    assert figures().produced == before.produced, "nothing was read meanwhile"
    assert figures().last_holder == "stage.stick for ann's window"
    first = client.get_stream("other", timeout_s=PATIENCE_S).sequence
    poll_until(lambda: client.get_stream("other", timeout_s=PATIENCE_S).sequence > first + 20, what="the neighbour")
    while True:
        try:
            client.get_stream("stage")
        except NoDataError:
            break
    stage.go.set()
    assert client.get_stream("stage", timeout_s=PATIENCE_S)
    poll_until(lambda: stuck)
    assert other.most <= 1


def test_a_call_waits_for_the_tick_that_has_the_lane(rig: Rig) -> None:
    stage = rig.serve("stage")
    rig.server.add_stream("stage", 100, "stage", "stick", ["tick"])
    assert stage.began.wait(PATIENCE_S)
    call = rig.start(rig.client().call, "stage", "work", ["call"])
    poll_until(lambda: rig.waiting("stage.work") == 1)
    assert stage.order == []
    assert not call
    stage.go.set()
    poll_until(lambda: call)
    assert stage.order[0] == "tick"
    assert "call" in stage.order
    assert stage.most == 1


def test_a_stream_of_what_may_run_beside_others_is_never_busy(rig: Rig) -> None:
    stage = rig.serve("stage", concurrent=["position"])
    rig.server.add_stream("stage", 100, "stage", "position")
    client = rig.client()
    client.configure_stream("stage", wait=True, timeout_s=20)
    stuck = rig.start(client.call, "stage", "stick")
    assert stage.began.wait(PATIENCE_S)
    first = client.get_stream("stage", timeout_s=PATIENCE_S).sequence
    poll_until(lambda: client.get_stream("stage", timeout_s=PATIENCE_S).sequence > first + 5)
    assert rig.server.get_stream_configurations()["stage"].skipped_busy == 0
    stage.go.set()
    poll_until(lambda: stuck)


# --- who is at it ----------------------------------------------------------------------------------------------------


def test_anyone_can_ask_who_is_at_it_and_since_when(rig: Rig) -> None:
    stage = rig.serve("stage")
    stuck = rig.start(rig.client(name="ann's window").call, "stage", "stick")
    assert stage.began.wait(PATIENCE_S)
    (call,) = [call for call in rig.client().running_calls() if call["where"] == "stage.stick"]
    assert call["who"] == "ann's window"
    assert 0.0 <= call["for_s"] < PATIENCE_S
    stage.go.set()
    poll_until(lambda: stuck)
