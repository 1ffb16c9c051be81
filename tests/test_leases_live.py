"""Exclusive control between real clients, some of which die."""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import zmq

from one_liner.client import RouterClient
from one_liner.errors import (
    CallTimeoutError,
    LeasedError,
    LeaseLostError,
    LimitError,
    MalformedError,
    NotExposedError,
    OneLinerError,
    ServerLostError,
    UnknownObjectError,
)
from one_liner.rpc.warden import Warden
from one_liner.server import RouterServer
from one_liner.wire.codec import Codec
from one_liner.wire.faults import error_of
from one_liner.wire.messages import Kind, Reply, Request
from tests.conftest import poll_until

CODEC = Codec()
HEARTBEAT_S = 0.2
PATIENCE_S = 10.0
START_S = 30.0


class Axis:
    def __init__(self) -> None:
        self.steps = 0

    def step(self) -> int:
        self.steps += 1
        return self.steps


class Stage:
    def __init__(self) -> None:
        self.axis = Axis()
        self.moves: list[float] = []
        self.parked: list[int] = []
        self.speed = 1.0
        self.begun, self.go = threading.Event(), threading.Event()

    def move(self, to: float = 0.0) -> float:
        self.moves.append(to)
        return to

    def slow(self) -> str:
        self.begun.set()
        self.go.wait(2 * START_S)
        return "done"

    def where(self) -> float:
        return self.moves[-1] if self.moves else 0.0

    def stop(self) -> str:
        return "stopped"

    def park(self) -> None:
        self.parked.append(threading.get_ident())

    def park_badly(self) -> None:
        self.parked.append(0)
        raise OSError("the brake is gone")

    @property
    def limit(self) -> float:
        return 100.0


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.go.set()


@pytest.fixture
def server(stage: Stage) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, name="rig", heartbeat_s=HEARTBEAT_S) as server:
        server.add_instance("stage", stage, urgent=["stop"], read_only=["where"], safe_call="park")
        server.add_instance("laser", Stage(), safe_call="park")
        server.run()
        yield server


def client_of(server: RouterServer, name: str, **options: Any) -> RouterClient:
    return RouterClient(
        rpc_port=server.rpc_port,
        broadcast_port=None,
        interface="127.0.0.1",
        name=name,
        **{"heartbeat_s": HEARTBEAT_S, **options},
    )


@pytest.fixture
def ann(server: RouterServer) -> Iterator[RouterClient]:
    with client_of(server, "ann") as ann:
        yield ann


@pytest.fixture
def bob(server: RouterServer) -> Iterator[RouterClient]:
    with client_of(server, "bob") as bob:
        yield bob


class Raw:
    """A hostile client, or one whose heart beats by hand."""

    def __init__(self, server: RouterServer, client: int = 99) -> None:
        self._client, self._number = client, 0
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.ROUTING_ID, b"raw" + client.to_bytes(4, "little"))
        self._socket.connect(f"tcp://127.0.0.1:{server.rpc_port}")

    def ask(self, kind: Kind, content: Any, path: str = "") -> Any:
        self._number += 1
        body, buffers = CODEC.encode(content)
        self._socket.send_multipart(Request(kind, self._number, self._client, path, body, buffers).encode())
        assert self._socket.poll(int(PATIENCE_S * 1000)), "no reply"
        head, *rest = self._socket.recv_multipart()
        reply = Reply.decode(head, rest)
        value = CODEC.decode(reply.body, reply.buffers)
        return error_of(value) if reply.kind == Kind.ERROR else value

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


# --- who may do what -------------------------------------------------------------------------------------------------


def test_the_holder_acts_and_others_read(
    ann: RouterClient, bob: RouterClient, stage: Stage, server: RouterServer
) -> None:
    server.add_named_call("home", "stage", "move", [0.0])
    with ann.lease("stage") as lease:
        assert lease.held
        lease.check()
        assert ann.call("stage", "move", [3.0]) == 3.0
        ann.set("stage", "speed", 2.0)
        assert bob.get("stage", "speed") == bob.call("stage", "speed") == bob.proxy("stage").speed == 2.0
        assert bob.get("stage", "limit") == 100.0
        assert bob.call("stage", "where") == 3.0
        assert bob.call("stage", "stop") == "stopped"
        assert bob.call("laser", "move", [1.0]) == 1.0
        refusals = [
            lambda: bob.call("stage", "move", [4.0]),
            lambda: bob.proxy("stage").move(4.0),
            lambda: bob.call("stage.axis", "step"),
            lambda: bob.set("stage", "speed", 9.0),
            lambda: bob.call_by_name("home"),
            lambda: bob.lease("stage"),
            lambda: bob.lease(""),
            lambda: bob.add_stream("creep", 100, "stage", "move", [9.0]),
        ]
        for refused in refusals:
            with pytest.raises(LeasedError, match="ann has had exclusive control of 'stage' for") as caught:
                refused()
            assert caught.value.details["holder"] == "ann"
        held = bob.leases()
        assert [(entry["object"], entry["who"]) for entry in held] == [("stage", "ann")]
        assert 0 <= held[0]["for_s"] < PATIENCE_S
    assert not lease.held
    assert (stage.moves, stage.speed, stage.axis.steps) == ([3.0], 2.0, 0)
    assert bob.call("stage", "move", [4.0]) == 4.0
    assert stage.parked == []


def test_a_stream_that_only_reads_may_be_added_by_others(ann: RouterClient, bob: RouterClient) -> None:
    with ann.lease("stage"):
        bob.add_stream("where", 50, "stage", "where")
        bob.add_stream("limit", 50, "stage", "limit")
        ann.add_stream("move", 1, "stage", "move", enabled=False)


def test_the_whole_server(ann: RouterClient, bob: RouterClient) -> None:
    with ann.lease():
        for name in ("stage", "laser"):
            with pytest.raises(LeasedError, match="ann has had exclusive control of the whole server"):
                bob.call(name, "move")
            with pytest.raises(LeasedError):
                bob.lease(name)
            ann.call(name, "move")
        with ann.lease("stage"):
            ann.call("stage", "move")
        with pytest.raises(LeasedError):
            bob.call("stage", "move")
    bob.call("stage", "move")


def test_every_name_of_an_object_and_what_is_nested_in_it(
    ann: RouterClient, bob: RouterClient, stage: Stage, server: RouterServer
) -> None:
    class Rig:
        def __init__(self) -> None:
            self.table = stage

    server.add_instance("same", stage)
    server.add_instance("rig", Rig())
    server.add_instance("mover", stage.move)
    with ann.lease("same"):
        for path, method in (("stage", "move"), ("same", "move"), ("rig.table", "move"), ("rig", "table.move")):
            with pytest.raises(LeasedError):
                bob.call(path, method)
        with pytest.raises(LeasedError):
            bob.call("mover")
        with pytest.raises(LeasedError):
            bob.set("rig.table", "speed", 5.0)
        assert bob.call("rig.table", "stop") == "stopped"
    with ann.lease("rig"), pytest.raises(LeasedError):
        bob.call("rig.table", "move")
    assert stage.moves == []


def test_a_lease_of_what_is_not_there(ann: RouterClient) -> None:
    with pytest.raises(UnknownObjectError, match="no object 'stag'; did you mean 'stage'"):
        ann.lease("stag")
    with pytest.raises(NotExposedError):
        ann.lease("stage.axis")
    assert ann.leases() == []


def test_a_call_that_waited_is_refused_when_somebody_else_took_control_meanwhile(
    ann: RouterClient, bob: RouterClient, stage: Stage, server: RouterServer
) -> None:
    errors: list[Exception] = []

    def move() -> None:
        try:
            bob.call("stage", "move")
        except Exception as error:
            errors.append(error)

    slow = threading.Thread(target=lambda: bob.call("stage", "slow"))
    slow.start()
    assert stage.begun.wait(PATIENCE_S)
    waiting = threading.Thread(target=move)
    waiting.start()
    poll_until(lambda: len(server.running_calls()) == 2)
    with ann.lease("stage"):
        stage.go.set()
        waiting.join(PATIENCE_S)
        slow.join(PATIENCE_S)
    assert [type(error) for error in errors] == [LeasedError]
    assert stage.moves == []


# --- how it ends -----------------------------------------------------------------------------------------------------


def test_an_operator_takes_it_and_the_loser_is_told(
    ann: RouterClient, bob: RouterClient, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[OneLinerError] = []
    lease = ann.lease("stage", on_lost=told.append)
    with caplog.at_level(logging.WARNING, "one_liner.server"), bob.lease("stage", force=True):
        assert "bob took exclusive control of 'stage' from ann by force" in caplog.text
        (reason,) = poll_until(lambda: told)
        assert isinstance(reason, LeaseLostError)
        assert not lease.held
        with pytest.raises(LeaseLostError, match="'stage' was lost"):
            lease.check()
        with pytest.raises(LeasedError, match="bob"):
            ann.call("stage", "move")
        lease.release()
        assert [entry["who"] for entry in ann.leases()] == ["bob"]
    assert len(told) == 1


def test_giving_it_back_twice_is_harmless(ann: RouterClient, bob: RouterClient) -> None:
    told: list[OneLinerError] = []
    lease = ann.lease("stage", on_lost=told.append)
    lease.release()
    with bob.lease("stage"):
        lease.release()
        assert [entry["who"] for entry in ann.leases()] == ["bob"]
    with pytest.raises(LeaseLostError, match="given back"):
        lease.check()
    assert told == []


def test_taken_twice_by_one_client_it_ends_with_the_outer(ann: RouterClient, bob: RouterClient) -> None:
    with ann.lease("stage") as outer:
        with ann.lease("stage"):
            pass
        with pytest.raises(LeasedError):
            bob.call("stage", "move")
        outer.check()
    bob.call("stage", "move")


def test_it_can_be_given_back_when_its_object_is_gone(
    ann: RouterClient, bob: RouterClient, server: RouterServer, stage: Stage
) -> None:
    with ann.lease("stage"):
        server.remove_instance("stage")
    assert server.leases() == []
    server.add_instance("stage", stage)
    bob.call("stage", "move")


def test_a_client_with_little_patience_keeps_its_lease_while_the_server_is_busy(server: RouterServer) -> None:
    told: list[OneLinerError] = []
    with client_of(server, "ann", timeout_s=0.0) as hasty, client_of(server, "bob") as bob:
        hasty.wait_until_connected(PATIENCE_S)
        lease = poll_until(lambda: try_lease(hasty, told))
        began = time.monotonic()
        poll_until(lambda: time.monotonic() - began > 3 * HEARTBEAT_S and lease.held)
        assert told == []
        assert [entry["who"] for entry in bob.leases()] == ["ann"]


def try_lease(client: RouterClient, told: list[OneLinerError]) -> Any:
    try:
        return client.lease("stage", on_lost=told.append)
    except TimeoutError:
        return None


def test_it_outlives_a_server_that_stood_still() -> None:
    """A driver that holds the interpreter for long makes the server unresponsive, and fails nothing."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDING_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        with RouterClient("tcp", "127.0.0.1", port, None, name="ann", heartbeat_s=HEARTBEAT_S) as ann:
            told: list[OneLinerError] = []
            with ann.lease("stage", on_lost=told.append) as lease:
                ann.call("other", "hold", [5 * HEARTBEAT_S])
                seen = ann.call("other", "beats")
                poll_until(lambda: ann.call("other", "beats") > seen + 20 and ann.call("stage", "parked") == 0)
                assert told == []
                lease.check()
                assert [entry["who"] for entry in ann.leases()] == ["ann"]
    finally:
        child.kill()
        child.communicate(timeout=5)


HOLDING_SERVER = """
import ctypes, sys
from one_liner import RouterServer
class Stage:
    def __init__(self): self.count, self.asked = 0, 0
    def park(self): self.count += 1
    def parked(self): return self.count
    def beats(self): self.asked += 1; return self.asked
    def hold(self, seconds): ctypes.PyDLL(None).usleep(int(seconds * 1e6))
with RouterServer(rpc_port=0, broadcast_port=0) as server:
    server.add_instance("stage", Stage(), safe_call="park")
    server.add_instance("other", Stage())
    server.run()
    print(server.rpc_port, flush=True)
    sys.stdin.read()
"""


def test_a_server_that_restarts_ends_it_and_the_holder_is_told(stage: Stage) -> None:
    first = RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S, instances={"stage": stage})
    first.run()
    told: list[OneLinerError] = []
    with client_of(first, "ann") as ann:
        lease = ann.lease("stage", on_lost=told.append)
        port = first.rpc_port
        first.close()
        with RouterServer(
            rpc_port=port, broadcast_port=0, heartbeat_s=HEARTBEAT_S, instances={"stage": stage}
        ) as second:
            second.run()
            poll_until(lambda: told)
            assert not lease.held
            with pytest.raises(OneLinerError):
                lease.check()
            poll_until(lambda: ann.state == "connected")
            lease.release()
            assert second.leases() == []


def test_giving_it_back_to_a_server_that_is_gone_is_harmless(stage: Stage) -> None:
    server = RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S, instances={"stage": stage})
    server.run()
    with client_of(server, "ann") as ann:
        with ann.lease("stage"):
            server.close()
        with pytest.raises((ServerLostError, ConnectionError)):
            ann.call("stage", "move")


# --- holders that die ------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from one_liner import RouterClient
client = RouterClient("tcp", "127.0.0.1", int(sys.argv[1]), None, name="holder", heartbeat_s=float(sys.argv[2]))
leases = [client.lease(name) for name in sys.argv[3:]]
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holders() -> Iterator[Any]:
    children: list[subprocess.Popen[str]] = []

    def start(server: RouterServer, *names: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(server.rpc_port), str(HEARTBEAT_S), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate(timeout=5)


posix = pytest.mark.skipif(sys.platform == "win32", reason="kills and freezes as POSIX does")


@posix
@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGSTOP"])
def test_the_lease_of_a_holder_that_dies_or_freezes_ends_and_its_object_is_made_safe_once(
    server: RouterServer, bob: RouterClient, stage: Stage, holders: Any, signal_name: str
) -> None:
    child = holders(server, "stage")
    with pytest.raises(LeasedError, match="holder"):
        bob.call("stage", "move")
    began = time.monotonic()
    os.kill(child.pid, getattr(signal, signal_name))
    poll_until(lambda: not server.leases(), 5.0)
    assert time.monotonic() - began < 3 * HEARTBEAT_S + 1.0
    poll_until(lambda: stage.parked)
    bob.call("stage", "move", [1.0])
    assert len(stage.parked) == 1
    assert stage.moves == [1.0]


@posix
def test_a_holder_that_thaws_is_told_and_cannot_act(server: RouterServer, bob: RouterClient, holders: Any) -> None:
    child = holders(server, "stage")
    os.kill(child.pid, signal.SIGSTOP)
    poll_until(lambda: not server.leases(), 5.0)
    with bob.lease("stage"):
        os.kill(child.pid, signal.SIGCONT)
        assert [entry["who"] for entry in server.leases()] == ["bob"]


@posix
def test_making_safe_waits_for_the_call_that_runs(
    server: RouterServer, bob: RouterClient, stage: Stage, holders: Any
) -> None:
    child = holders(server, "laser")
    slow = threading.Thread(target=lambda: bob.call("stage", "slow"))
    slow.start()
    assert stage.begun.wait(PATIENCE_S)
    child.kill()
    poll_until(lambda: not server.leases(), 5.0)
    with Raw(server) as raw:
        raw.ask(Kind.HEARTBEAT, ["raw", 0.1, {}])
        raw.ask(Kind.CONTROL, ["take_lease", {}], "stage")
    poll_until(lambda: not server.leases(), 5.0)
    assert stage.parked == []
    stage.go.set()
    slow.join(PATIENCE_S)
    poll_until(lambda: len(stage.parked) == 1)


BUSY_HOLDER = """
import sys, threading
from one_liner import RouterClient
from one_liner.errors import OneLinerError
client = RouterClient("tcp", "127.0.0.1", int(sys.argv[1]), None, name="holder", heartbeat_s=float(sys.argv[2]))
client.lease("stage")
def call(*what):
    try:
        client.call(*what)
    except OneLinerError as error:
        print(type(error).__name__, error, flush=True)
for name in ("stage", "laser"):
    threading.Thread(target=call, args=(name, "slow")).start()
sys.stdin.readline()  # Both have begun.
for name in ("stage", "laser"):
    threading.Thread(target=call, args=(name, "move", [1.0])).start()
sys.stdin.read()
"""


@posix
@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGSTOP"])
def test_what_a_dead_holder_had_in_line_is_dropped_and_making_safe_is_the_last(
    server: RouterServer, bob: RouterClient, stage: Stage, signal_name: str
) -> None:
    laser = server.instances["laser"]
    child = subprocess.Popen(
        [sys.executable, "-c", BUSY_HOLDER, str(server.rpc_port), str(3 * HEARTBEAT_S)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    waiting = threading.Thread(target=lambda: bob.call("laser", "move", [2.0]))
    try:
        assert stage.begun.wait(START_S)
        assert laser.begun.wait(START_S)
        assert child.stdin is not None
        child.stdin.write("ask for more\n")
        child.stdin.flush()
        poll_until(lambda: len(server.running_calls()) == 4, START_S, "the calls of the holder")
        waiting.start()
        poll_until(lambda: len(server.running_calls()) == 5)
        os.kill(child.pid, getattr(signal, signal_name))
        poll_until(lambda: not server.leases())
        running = poll_until(lambda: len(found := server.running_calls()) <= 3 and found)
        assert sorted(call["who"] for call in running) == ["bob", "holder", "holder"], "what runs, runs on"
        if signal_name == "SIGSTOP":
            os.kill(child.pid, signal.SIGCONT)
            assert child.stdout is not None
            told = "".join(child.stdout.readline() for _ in range(2))
            assert told.count("LeaseLostError") == told.count("move did not run: holder, who had control") == 2
    finally:
        stage.go.set()
        laser.go.set()
        child.kill()
        child.communicate(timeout=5)
    waiting.join(PATIENCE_S)
    poll_until(lambda: stage.parked)
    assert (stage.moves, laser.moves) == ([], [2.0]), "others are served in their turn"
    assert (len(stage.parked), len(laser.parked)) == (1, 0), "only what was held is made safe"


def test_making_safe_does_not_wait_when_it_is_urgent(server: RouterServer, bob: RouterClient, stage: Stage) -> None:
    server.remove_instance("stage")
    server.add_instance("stage", stage, urgent=["park"], safe_call="park")
    slow = threading.Thread(target=lambda: bob.call("stage", "slow"))
    slow.start()
    assert stage.begun.wait(PATIENCE_S)
    with Raw(server) as raw:
        raw.ask(Kind.HEARTBEAT, ["raw", 0.1, {}])
        raw.ask(Kind.CONTROL, ["take_lease", {}], "stage")
    poll_until(lambda: len(stage.parked) == 1)
    assert slow.is_alive()
    stage.go.set()
    slow.join(PATIENCE_S)


def test_when_the_holder_of_the_whole_server_dies_everything_is_made_safe_whatever_fails(
    server: RouterServer, caplog: pytest.LogCaptureFixture
) -> None:
    rigs = {f"rig {number}": Stage() for number in range(4)}
    for number, (name, rig) in enumerate(rigs.items()):
        server.add_instance(name, rig, safe_call="park_badly" if number == 1 else "park")
    with caplog.at_level(logging.WARNING), Raw(server) as raw:
        raw.ask(Kind.HEARTBEAT, ["hans", 0.1, {}])
        raw.ask(Kind.CONTROL, ["take_lease", {}])
        poll_until(lambda: all(rig.parked for rig in rigs.values()))
        poll_until(lambda: "the brake is gone" in caplog.text, what="the error in the log")
    assert caplog.text.count("hans is gone while it had control of") == 6
    assert all(len(rig.parked) == 1 for rig in rigs.values())


def test_a_safe_call_that_cannot_be_found_any_more_keeps_no_other_from_being_made(server: RouterServer) -> None:
    class Changing(Stage):
        pass

    changing, other = Changing(), Stage()
    changing.park_now = changing.park  # type: ignore[attr-defined]
    server.add_instance("changing", changing, safe_call="park_now")
    server.add_instance("other", other, safe_call="park")
    del changing.park_now  # type: ignore[attr-defined]
    with Raw(server) as raw:
        raw.ask(Kind.HEARTBEAT, ["hans", 0.1, {}])
        raw.ask(Kind.CONTROL, ["take_lease", {}])
        poll_until(lambda: other.parked)


def test_a_client_that_closes_loses_its_leases_soon(server: RouterServer, stage: Stage) -> None:
    told: list[OneLinerError] = []
    with client_of(server, "ann") as ann:
        ann.lease("stage", on_lost=told.append)
    poll_until(lambda: not server.leases(), 5.0)


# --- through routers -------------------------------------------------------------------------------------------------


@pytest.fixture
def top(server: RouterServer) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, name="top", heartbeat_s=HEARTBEAT_S) as top:
        top.run()
        top.add_router("low", interface="127.0.0.1", rpc_port=server.rpc_port)
        yield top


def test_a_lease_through_routers_holds_from_the_first_moment_and_ends_with_its_client(
    server: RouterServer, top: RouterServer, bob: RouterClient, stage: Stage
) -> None:
    with RouterServer(rpc_port=0, broadcast_port=0, name="far", heartbeat_s=HEARTBEAT_S) as far:
        far.run()
        far.add_router("top", interface="127.0.0.1", rpc_port=top.rpc_port)
        told: list[OneLinerError] = []
        with client_of(far, "ann") as ann, client_of(top, "carl") as carl:
            lease = ann.lease("top/low/stage", on_lost=told.append)
            for client, path in ((bob, "stage"), (carl, "low/stage")):
                with pytest.raises(LeasedError, match="ann has had"):
                    client.call(path, "move")
            with pytest.raises(LeasedError, match="ann has had"):
                carl.lease("low/stage")
            ann.call("top/low/stage", "move", [1.0])
            began = time.monotonic()
            poll_until(lambda: time.monotonic() - began > 5 * HEARTBEAT_S and lease.held)
            lease.check()
            assert [entry["who"] for entry in server.leases()] == ["ann"]
            assert stage.parked == []
        poll_until(lambda: not server.leases(), 12 * HEARTBEAT_S + 2.0)
        poll_until(lambda: len(stage.parked) == 1)
        assert told == []


@posix
def test_each_router_passes_a_death_on_at_once(server: RouterServer, holders: Any) -> None:
    """Three heartbeats where the holder was, and then one, not three, for each router on the way."""
    with ExitStack() as stack:
        near, path = server, "stage"
        for number in range(4):
            hop = stack.enter_context(RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=0.6))
            hop.run()
            hop.add_router(f"n{number}", interface="127.0.0.1", rpc_port=near.rpc_port)
            near, path = hop, f"n{number}/{path}"
        child = holders(near, path)
        held_by = server._leases.all()[0].client
        poll_until(lambda: server._sessions._sessions[held_by].heart, what="the routers to vouch for it")
        child.kill()
        began = time.monotonic()
        poll_until(lambda: not server.leases(), 30.0)
        # With three for each it would be 0.6 + 4 * 1.8 s.
        assert time.monotonic() - began < (3 + 4) * 0.6 + 2.0


def test_many_leases_taken_at_any_moment_through_a_router_all_hold(server: RouterServer, top: RouterServer) -> None:
    for _ in range(6):
        with client_of(top, "ann") as ann, ann.lease("low/stage") as lease:
            began = time.monotonic()
            poll_until(lambda began=began: time.monotonic() - began > 0.75 * HEARTBEAT_S)  # type: ignore[misc]
            lease.check()
            assert [entry["who"] for entry in server.leases()] == ["ann"]


def test_a_lease_through_a_router_ends_with_the_router(server: RouterServer, top: RouterServer, stage: Stage) -> None:
    told: list[OneLinerError] = []
    with client_of(top, "ann") as ann:
        lease = ann.lease("low/stage", on_lost=told.append)
        top.close()
        poll_until(lambda: not server.leases(), 5.0)
        poll_until(lambda: len(stage.parked) == 1)
        poll_until(lambda: told)
        assert not lease.held


def test_a_lease_through_a_router_can_be_taken_by_force_and_given_back(
    server: RouterServer, top: RouterServer, bob: RouterClient
) -> None:
    told: list[OneLinerError] = []
    with client_of(top, "ann") as ann:
        ann.lease("low/stage", on_lost=told.append)
        with bob.lease("stage", force=True):
            poll_until(lambda: told)
        with ann.lease("low/stage"), pytest.raises(LeasedError, match="ann"):
            bob.call("stage", "move")
        bob.call("stage", "move")


# --- hostile heartbeats ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "heartbeat",
    [
        None,
        [],
        ["x"],
        ["x", 1.0],
        ["x", 1.0, {}, 4],
        [5, 1.0, {}],
        ["x", "1.0", {}],
        ["x", None, {}],
        ["x", -1.0, {}],
        ["x", 0, {}],
        ["x", math.nan, {}],
        ["x", True, {}],
        ["x", 1.0, []],
        ["x", 1.0, None],
        ["x", 1.0, {math.inf: "a"}],
        ["x", 1.0, {math.nan: "a"}],
        ["x", 1.0, {"5": "a"}],
        ["x", 1.0, {5: None}],
        ["x", 1.0, {None: "a"}],
        ["x", 1.0, dict.fromkeys(range(100_000), "")],
        {"name": 1, "heartbeat": 2, "vouched": 3},
        "abc",
        b"abc",
        5,
    ],
    ids=lambda heartbeat: repr(heartbeat)[:30],
)
def test_a_heartbeat_that_cannot_be_is_refused_and_others_are_served(
    server: RouterServer, bob: RouterClient, heartbeat: Any
) -> None:
    with Raw(server) as raw:
        assert isinstance(raw.ask(Kind.HEARTBEAT, heartbeat), MalformedError)
        assert bob.call("stage", "move", [1.0], timeout_s=5) == 1.0
        assert isinstance(raw.ask(Kind.HEARTBEAT, ["x", 1.0, {}]), dict)


@pytest.mark.parametrize("for_ever", [math.inf, 1e300, 10**25])
def test_nobody_lives_for_ever_after_one_heartbeat(server: RouterServer, for_ever: float) -> None:
    with Raw(server) as raw:
        assert isinstance(raw.ask(Kind.HEARTBEAT, ["x", for_ever, {}]), dict)
    lived = server._sessions.living(time.perf_counter() + 1000.0)
    assert 99 not in lived


def test_those_who_vouch_for_many_push_nobody_out(server: RouterServer, ann: RouterClient) -> None:
    with ann.lease("stage") as lease, Raw(server, 1) as raw:
        answers = [
            raw.ask(Kind.HEARTBEAT, ["evil", 10.0, {1000 * batch + number + 10: "x" * 1000 for number in range(999)}])
            for batch in range(12)
        ]
        assert all(isinstance(answer, dict | LimitError) for answer in answers)
        lease.check()
        poll_until(lambda: server._sessions.lives(ann._rpc._client, time.perf_counter()))
        assert [entry["who"] for entry in server.leases()] == ["ann"]
        assert ann.call("stage", "move") == 0.0
        assert len(server._sessions.living(time.perf_counter())) <= 10_000


def test_requests_about_leases_with_wrong_words_are_errors(server: RouterServer) -> None:
    with Raw(server) as raw:
        for content in (
            ["take_lease", {"force": True, "fast": True}],
            ["take_lease", {"client": 5}],
            ["take_lease", []],
        ):
            assert isinstance(raw.ask(Kind.CONTROL, content, "stage"), OneLinerError)
        assert raw.ask(Kind.CONTROL, ["give_lease_back", {}], "stage") is False
        assert raw.ask(Kind.CONTROL, ["holds_lease", {}], "stage") is False
        assert isinstance(raw.ask(Kind.CONTROL, ["holds_lease", {}], "nobody"), UnknownObjectError)
        assert server.leases() == []


def test_one_that_comes_too_late_is_given_back(
    server: RouterServer, bob: RouterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes its time, and whoever asked has given up: nobody is kept out by what nobody has."""
    go, taken, take = threading.Event(), threading.Event(), Warden.take

    def slow(*args: Any, **kwargs: Any) -> None:
        go.wait(PATIENCE_S)
        take(*args, **kwargs)
        taken.set()

    monkeypatch.setattr(Warden, "take", slow)
    with RouterClient(rpc_port=server.rpc_port, broadcast_port=None, timeout_s=0.2) as hasty:
        with pytest.raises(CallTimeoutError, match="given back"):
            hasty.lease("stage")
        go.set()
        assert taken.wait(PATIENCE_S)
        poll_until(lambda: not server.leases(), what="it to be given back")
        with bob.lease("stage") as lease:
            assert lease.held


def test_a_lease_without_anybody_to_keep_it_is_given_back(
    server: RouterServer, bob: RouterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C has come just when it was taken."""
    with RouterClient(rpc_port=server.rpc_port, broadcast_port=None) as interrupted:

        def keep(_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(interrupted, "_keep", keep)
        with pytest.raises(KeyboardInterrupt):
            interrupted.lease("stage")
        poll_until(lambda: not server.leases(), what="it to be given back")


def test_nobody_takes_control_of_what_is_about_to_be_made_safe(
    server: RouterServer, ann: RouterClient, bob: RouterClient, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be made safe in the hands of the next one, after what they have begun."""
    refused: list[LeasedError] = []
    perform = server._warden._perform

    def performing(*args: Any) -> None:
        try:
            bob.lease("stage")
        except LeasedError as error:
            refused.append(error)
        perform(*args)

    monkeypatch.setattr(server._warden, "_perform", performing)
    ann.lease("stage")
    ann.close()
    poll_until(lambda: stage.parked and not server.leases())
    assert len(refused) == 1
    with bob.lease("stage") as lease:
        assert lease.held
