"""A call that would rather be refused than wait: at once, with what is at work, for whom and since when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread
from typing import Any

import pytest

from one_liner import RouterClient, RouterServer
from one_liner.errors import BusyError, BusyTimeoutError, CallTimeoutError, ConfigurationError, LeasedError
from one_liner.rpc.lanes import Lane, TickInLine
from one_liner.wire.messages import Kind, Request
from tests.conftest import poll_until
from tests.test_lanes import Occupant
from tests.test_messages import decode_request, plain

HEARTBEAT_S = 0.3
REFUSE: Any = {"if_busy": "refuse"}


class Stage:
    """Moves until it is let go; counts what it did."""

    def __init__(self) -> None:
        self.entered, self.release = Event(), Event()
        self.ticking, self.tick_release = Event(), Event()
        self.moves: list[int] = []
        self.position = 0

    def move(self, to: int) -> int:
        self.moves.append(to)
        return to

    def stuck(self) -> str:
        self.entered.set()
        assert self.release.wait(30)
        return "released"

    def slow_read(self) -> int:
        self.ticking.set()
        assert self.tick_release.wait(30)
        return 1

    def stop(self) -> str:
        return "stopped"


@pytest.fixture
def stage() -> Iterator[Stage]:
    instrument = Stage()
    yield instrument
    instrument.release.set()
    instrument.tick_release.set()


@contextmanager
def serving(**options: Any) -> Iterator[RouterServer]:
    options = {"rpc_port": 0, "broadcast_port": 0, "heartbeat_s": HEARTBEAT_S, **options}
    with RouterServer(**options) as server:
        server.run()
        yield server


@contextmanager
def client_of(server: RouterServer, **options: Any) -> Iterator[RouterClient]:
    options = {"rpc_port": server.rpc_port, "broadcast_port": None, "heartbeat_s": HEARTBEAT_S, **options}
    with RouterClient(**options) as client:
        client.wait_until_connected(20)
        yield client


@contextmanager
def at_work(client: RouterClient, stage: Stage, path: str = "stage") -> Iterator[None]:
    """While somebody's call is at work with the stage."""
    mover = Thread(target=client.call, args=(path, "stuck"))
    mover.start()
    try:
        assert stage.entered.wait(20)
        yield
    finally:
        stage.release.set()
        mover.join()


@pytest.fixture
def lab(stage: Stage) -> Iterator[tuple[RouterServer, RouterClient, RouterClient]]:
    with (
        serving() as server,
        client_of(server, name="anna") as anna,
        client_of(server, name="ben") as ben,
    ):
        server.add_instance("stage", stage, urgent=["stop"])
        server.add_named_call("home", "stage", "move", [0])
        yield server, anna, ben


# --- the lane --------------------------------------------------------------------------------------------------------


def test_a_free_lane_is_entered() -> None:
    lane, call = Lane("stage"), Occupant("stage.move")
    assert lane.enter_unless_called(call, 1.0)
    assert lane.holder == (call, 1.0)


def test_a_call_in_the_lane_refuses() -> None:
    lane = Lane("stage")
    lane.enter(Occupant("stage.move", "anna"), 1.0)
    with pytest.raises(BusyError) as caught:
        lane.enter_unless_called(Occupant("stage.home"), 3.5)
    assert str(caught.value) == "stage.home did not run: 'stage' is at work with stage.move for anna since 2.5 s"
    assert caught.value.details == {"running": "stage.move", "who": "anna", "for_s": 2.5}
    assert lane.waiting == ()


def test_a_tick_in_the_lane_is_waited_for() -> None:
    lane, call = Lane("stage"), Occupant("stage.move")
    lane.enter(Occupant("stage.read", "stream x", is_tick=True), 1.0)
    behind = TickInLine("stage.read", "stream y", lambda: None)
    lane.enter(behind, 1.0)
    assert not lane.enter_unless_called(call, 2.0)
    assert lane.waiting == (behind, call)
    with pytest.raises(BusyError, match=r"stage\.move for somebody since 0\.0 s"):
        lane.enter_unless_called(Occupant("stage.home"), 3.0)
    assert lane.waiting == (behind, call)


# --- the wire --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.CALL, Kind.GET, Kind.SET, Kind.CALL_NAMED])
def test_the_flag_is_in_the_kind(kind: Kind) -> None:
    request = Request(kind, 7, 9, "stage", b"\xc0", refuse_if_busy=True)
    (head,) = request.encode()
    assert bytes(head)[3] == kind + 32
    assert plain(decode_request([head])) == request
    patient = request._replace(refuse_if_busy=False)
    assert bytes(patient.encode()[0])[3] == kind
    assert plain(decode_request(patient.encode())) == patient


@pytest.mark.parametrize("kind", [Kind.CONTROL, Kind.HEARTBEAT, Kind.CANCEL, Kind.ASK_AGAIN])
def test_the_flag_is_for_calls_only(kind: Kind) -> None:
    (head,) = Request(kind + 32, 7, 9, "stage", b"\xc0").encode()
    decoded = decode_request([head])
    assert (decoded.kind, decoded.refuse_if_busy) == (kind + 32, False), "a kind that nobody knows"


# --- end to end ------------------------------------------------------------------------------------------------------


def test_busy_with_what_since_when_for_whom(stage: Stage, lab: tuple[RouterServer, RouterClient, RouterClient]) -> None:
    _, anna, ben = lab
    acts = {
        "stage.move": lambda: ben.call("stage", "move", [5], **REFUSE),
        "stage.position": lambda: ben.get("stage", "position", **REFUSE),
        "home": lambda: ben.call_by_name("home", **REFUSE),
    }
    with at_work(anna, stage):
        for title, act in acts.items():
            with pytest.raises(BusyError, match=r"'stage' is at work with stage\.stuck for anna since") as caught:
                act()
            assert type(caught.value) is BusyError
            details = caught.value.details
            assert (details["running"], details["who"], details["path"]) == ("stage.stuck", "anna", title)
            assert details["for_s"] > 0
        with pytest.raises(BusyError):
            ben.set("stage", "position", 3, **REFUSE)
        assert ben.call("stage", "stop", **REFUSE) == "stopped", "what is urgent waits for nobody"
        assert len(ben.running_calls()) == 1, "what was refused does not wait"
    assert ben.call("stage", "move", [6], **REFUSE) == 6
    ben.set("stage", "position", 4, **REFUSE)
    assert stage.moves == [6], "what was refused did not run, and never will"
    assert stage.position == 4


def test_a_timeout_in_line_says_the_same(stage: Stage, lab: tuple[RouterServer, RouterClient, RouterClient]) -> None:
    _, anna, ben = lab
    with at_work(anna, stage):
        with pytest.raises(BusyTimeoutError, match=r"'stage' is at work with stage\.stuck for anna since") as waited:
            ben.call("stage", "move", [5], timeout_s=0.3)
        with pytest.raises(BusyError) as refused:
            ben.call("stage", "move", [5], if_busy="refuse", timeout_s=0.3)
        assert not isinstance(refused.value, CallTimeoutError)
        assert waited.value.details.keys() - refused.value.details.keys() == {"timeout_s"}
    assert stage.moves == []


def test_a_client_may_say_it_for_all_its_calls_and_proxies(
    stage: Stage, lab: tuple[RouterServer, RouterClient, RouterClient]
) -> None:
    server, anna, _ = lab
    with client_of(server, if_busy="refuse") as hasty, at_work(anna, stage):
        proxy = hasty.proxy("stage")
        with pytest.raises(BusyError):
            proxy.move(1)
        with pytest.raises(BusyError):
            _ = proxy.position
        with pytest.raises(BusyTimeoutError):
            hasty.call("stage", "move", [2], if_busy="wait", timeout_s=0.2)
        assert hasty.describe_object("stage").name == "stage", "questions to the server wait for no object"
    assert stage.moves == []


@pytest.mark.parametrize("own_thread", [False, True])
def test_a_tick_is_waited_for(stage: Stage, own_thread: bool) -> None:
    with serving() as server, client_of(server) as client:
        server.add_instance("stage", stage, own_thread=own_thread)
        server.add_stream("slow", 50, "stage", "slow_read")
        assert stage.ticking.wait(20)
        answers: list[int] = []
        caller = Thread(target=lambda: answers.append(client.call("stage", "move", [1], if_busy="refuse")))
        caller.start()
        poll_until(lambda: any(one["where"] == "stage.move" for one in server.running_calls()))
        assert answers == []
        stage.tick_release.set()
        caller.join()
        assert answers == [1]


def test_a_lease_comes_first(stage: Stage, lab: tuple[RouterServer, RouterClient, RouterClient]) -> None:
    _, anna, ben = lab
    with anna.lease("stage"), at_work(anna, stage), pytest.raises(LeasedError):
        ben.call("stage", "move", [1], **REFUSE)
    assert stage.moves == []


@pytest.mark.parametrize("depth", [1, 3])
def test_through_a_cascade(stage: Stage, depth: int) -> None:
    with ExitStack() as stack:
        far = near = stack.enter_context(serving(instances={"stage": stage}))
        for _ in range(depth):
            server = stack.enter_context(serving())
            server.add_router("up", rpc_port=near.rpc_port)
            near = server
        path = "up/" * depth + "stage"
        anna = stack.enter_context(client_of(far, name="anna"))
        ben = stack.enter_context(client_of(near))
        with at_work(anna, stage):
            with pytest.raises(BusyError, match=r"stage.stuck for anna since") as caught:
                ben.call(path, "move", [1], **REFUSE)
            assert type(caught.value) is BusyError
            assert caught.value.details["path"] == f"{path}.move"
        assert ben.call(path, "move", [2], **REFUSE) == 2
        assert stage.moves == [2]


def test_asked_again_it_is_still_refused(stage: Stage, lab: tuple[RouterServer, RouterClient, RouterClient]) -> None:
    """The refusal is the answer, in the journal like any other: the same request does not run once the lane is free."""
    import msgpack
    import zmq

    from one_liner.wire.messages import Reply

    server, anna, _ = lab
    body = msgpack.packb(["move", [5], {}])
    request = Request(Kind.CALL, 1, 77, "stage", body, refuse_if_busy=True)
    socket = zmq.Context.instance().socket(zmq.DEALER)
    try:
        socket.setsockopt(zmq.ROUTING_ID, b"bare")
        socket.connect(server.rpc_endpoint)
        replies = []
        with at_work(anna, stage):
            socket.send(bytes(request.encode()[0]))
            assert socket.poll(20_000)
            replies.append(Reply.decode(socket.recv(), []))
        socket.send(bytes(request.encode()[0]))
        socket.send(bytes(request._replace(kind=Kind.ASK_AGAIN, body=b"\xc0", refuse_if_busy=False).encode()[0]))
        for _ in range(2):
            assert socket.poll(20_000)
            replies.append(Reply.decode(socket.recv(), []))
    finally:
        socket.close(0)
    assert [msgpack.unpackb(bytes(reply.body))["code"] for reply in replies] == ["busy"] * 3
    assert stage.moves == []


@pytest.mark.parametrize("wrong", ["refused", "", True, 1])
def test_other_words_are_an_error_and_nothing_is_sent(
    stage: Stage, lab: tuple[RouterServer, RouterClient, RouterClient], wrong: Any
) -> None:
    _, _, ben = lab
    with pytest.raises(ConfigurationError, match='if_busy is "wait" or "refuse"'):
        ben.call("stage", "move", [1], if_busy=wrong)
    with pytest.raises(ConfigurationError, match='if_busy is "wait" or "refuse"'):
        RouterClient(rpc_port=5555, if_busy=wrong)
    assert stage.moves == []
