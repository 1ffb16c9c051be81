"""Cascades: a server behind a server, to any depth; the way that is down, that is lost in mid-call, that is a loop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread
from typing import Any

import pytest

from one_liner import RouterClient, RouterServer
from one_liner.errors import (
    BadArgumentsError,
    CallTimeoutError,
    ConfigurationError,
    LoopError,
    MalformedError,
    NoDataError,
    OneLinerError,
    RouterDownError,
    ServerClosedError,
    ServerLostError,
    UnknownObjectError,
)
from one_liner.rpc.hello import Hello
from one_liner.wire.messages import MAX_HOPS
from tests.conftest import poll_until

HEARTBEAT_S = 0.3


class Stage:
    """A served object with a method of every kind that a cascade has to carry."""

    def __init__(self) -> None:
        self.entered, self.release = Event(), Event()
        self.moves: list[int] = []
        self.speed = 1.0

    @property
    def position(self) -> int:
        """Where it stands."""
        return 7

    def move(self, to: int) -> int:
        """Go somewhere."""
        self.moves.append(to)
        return to

    def stuck(self) -> str:
        self.entered.set()
        assert self.release.wait(20)
        return "released"

    def fail(self) -> None:
        raise ValueError("end switch", 3)

    def echo(self, value: Any) -> Any:
        return value

    def now(self) -> float:
        return time.perf_counter()


@contextmanager
def serving(**options: Any) -> Iterator[RouterServer]:
    options = {"rpc_port": 0, "broadcast_port": 0, "heartbeat_s": HEARTBEAT_S, **options}
    with RouterServer(**options) as server:
        server.run()
        yield server


@contextmanager
def watching(server: RouterServer, **options: Any) -> Iterator[RouterClient]:
    ports = {"rpc_port": server.rpc_port, "broadcast_port": server.broadcast_port}
    with RouterClient(heartbeat_s=HEARTBEAT_S, **ports, **options) as client:
        yield client


@contextmanager
def cascade(depth: int, stage: Stage) -> Iterator[tuple[list[RouterServer], str]]:
    """`depth` hops in a row; the stage is at the far end. Gives the servers, nearest first, and the prefix."""
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(name=f"s{depth}", instances={"stage": stage}))]
        for number in reversed(range(depth)):
            near = stack.enter_context(serving(name=f"s{number}"))
            near.add_router(f"n{number + 1}", rpc_port=servers[0].rpc_port)
            servers.insert(0, near)
        yield servers, "".join(f"n{number}/" for number in range(1, depth + 1))


@pytest.fixture
def stage() -> Iterator[Stage]:
    instrument = Stage()
    yield instrument
    instrument.release.set()


def free_port() -> int:
    with RouterServer(rpc_port=0, broadcast_port=0) as probe:
        return int(probe.rpc_port)


# --- what crosses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_everything_crosses(depth: int, stage: Stage) -> None:
    with cascade(depth, stage) as (servers, prefix), watching(servers[0]) as client:
        far = servers[-1]
        path = f"{prefix}stage"
        far.add_named_call("home", "stage", "move", [0])
        far.add_stream("p", 100, "stage", "position", enabled=False)
        assert client.call(path, "move", [5]) == 5
        assert client.get(path, "position") == client.call(path, "position") == 7
        client.set(path, "speed", 2.5)
        assert stage.speed == 2.5
        assert client.call_by_name(f"{prefix}home") == 0
        assert client.call_by_name(f"{prefix}home", [9]) == 9
        proxy = client.proxy(path)
        assert proxy.move(6) == 6
        assert proxy.position == 7
        assert "Go somewhere" in (proxy.move.__doc__ or "")
        before = time.perf_counter()
        timestamp, there = client.call(path, "now", get_timestamp=True)
        assert before <= there <= timestamp <= time.perf_counter()
        with pytest.raises(ValueError, match="end switch") as caught:
            client.call(path, "fail")
        assert caught.value.args == ("end switch", 3)
        assert "def fail" in caught.value.remote_traceback or "in fail" in caught.value.remote_traceback
        assert caught.value.where == "stage.fail"
        with pytest.raises(BadArgumentsError):
            client.call(path, "move")
        with pytest.raises(UnknownObjectError):
            client.call(f"{prefix}laser", "move")
        client.configure_stream(f"{prefix}p", wait=True, timeout_s=10)
        assert not client.get_stream_configurations()[f"{prefix}p"].enabled
        client.enable_stream(f"{prefix}p")
        sample = client.get_stream(f"{prefix}p", timeout_s=5)
        assert (sample.data, sample.sequence, sample.stream) == (7, 0, f"{prefix}p")
        assert 0 <= time.perf_counter() - sample.timestamp < 5
        assert sample.timestamp_error_s == 0.0
        client.disable_stream(f"{prefix}p")
        client.add_stream(f"{prefix}q", 100, "stage", "position")
        client.configure_stream(f"{prefix}q", wait=True, timeout_s=10)
        assert client.get_stream(f"{prefix}q", timeout_s=5).data == 7
        client.remove_stream(f"{prefix}q")
        described: Any = client.describe().as_dict()
        for number in range(1, depth + 1):
            described = described["routers"][f"n{number}"]
        assert [entry["name"] for entry in described["objects"]] == ["stage"]
        assert set(far.get_stream_configurations()) == {"p"}
        assert set(client.get_stream_configurations()) == {f"{prefix}p"}


@pytest.mark.parametrize("depth", [1, 4])
def test_large_values_cross_both_ways(depth: int, stage: Stage) -> None:
    np = pytest.importorskip("numpy")
    with cascade(depth, stage) as (servers, prefix), watching(servers[0]) as client:
        frame = np.arange(1_000_000, dtype=np.float64)
        back = client.call(f"{prefix}stage", "echo", [{"frame": frame, "text": "t" * 100_000}])
        assert (back["frame"] == frame).all()
        assert len(back["text"]) == 100_000
        client.configure_stream(f"{prefix}cam", wait=True, timeout_s=10)
        servers[-1].get_stream_fn("cam")(frame)
        assert (client.get_stream(f"{prefix}cam", timeout_s=5).data == frame).all()


@pytest.mark.parametrize("protocol", ["inproc", "ipc"])
def test_hops_of_other_kinds(protocol: str, stage: Stage, tmp_path: Any) -> None:
    where = str(tmp_path / "s") if protocol == "ipc" else "one_liner-test-hop"
    far_options: dict[str, Any] = {"protocol": protocol, "interface": where, "rpc_port": 1, "broadcast_port": 2}
    with serving(instances={"stage": stage}, **far_options) as far, serving() as near:
        near.add_router("far", protocol, where, 1)
        with watching(near) as client:
            assert client.call("far/stage", "move", [3]) == 3
            client.configure_stream("far/x", wait=True)
            far.get_stream_fn("x")(4)
            assert client.get_stream("far/x", timeout_s=5).data == 4
            far.close()
            with pytest.raises(OneLinerError):
                client.call("far/stage", "move", [3])
            with serving(instances={"stage": stage}, **far_options) as again:
                assert poll_until(lambda: _quietly(lambda: client.call("far/stage", "move", [8], timeout_s=1))) == 8
                push = again.get_stream_fn("x")
                poll_until(lambda: push(5) and _quietly(lambda: client.get_stream("far/x").data == 5))


def _quietly(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except OneLinerError:
        return None


def test_nothing_crosses_until_somebody_listens(stage: Stage) -> None:
    calls = {"lazy": 0, "lazy_2": 0, "beat": 0}

    def counting(name: str) -> Callable[[], int]:
        def source() -> int:
            calls[name] += 1
            return calls[name]

        return source

    def rests(name: str) -> None:
        def quiet() -> bool:
            before, beat = calls[name], calls["beat"]
            poll_until(lambda: calls["beat"] > beat + 12)
            return calls[name] == before

        poll_until(quiet, what=f"nobody to listen to {name}")

    with cascade(3, stage) as (servers, prefix), watching(servers[0]) as client, watching(servers[0]) as second:
        far = servers[-1]
        far.add_stream_from_callable("lazy", 200, counting("lazy"), on_demand=True)
        far.add_stream_from_callable("lazy_2", 200, counting("lazy_2"), on_demand=True)
        far.add_stream_from_callable("beat", 200, counting("beat"))
        client.get_stream_configurations()
        client.describe()
        rests("lazy")
        assert calls["lazy"] == 0
        client.configure_stream(f"{prefix}lazy", wait=True, timeout_s=10)
        second.configure_stream(f"{prefix}lazy", wait=True, timeout_s=10)
        assert client.get_stream(f"{prefix}lazy", timeout_s=5).data >= 1
        client.unconfigure_stream(f"{prefix}lazy")
        assert second.get_stream(f"{prefix}lazy", timeout_s=5).data >= 1
        assert calls["lazy_2"] == 0
        second.close()
        rests("lazy")
        client.configure_stream(f"{prefix}lazy_2", wait=True, timeout_s=10)
        assert client.get_stream(f"{prefix}lazy_2", timeout_s=5).data >= 1


# --- loops -----------------------------------------------------------------------------------------------------------


def test_a_loop_is_refused_where_it_would_close() -> None:
    with serving(name="a") as a, serving(name="b") as b, serving(name="c") as c:
        with pytest.raises(LoopError, match="'me'"):
            a.add_router("me", rpc_port=a.rpc_port)
        a.add_router("b", rpc_port=b.rpc_port)
        b.add_router("c", rpc_port=c.rpc_port)
        with pytest.raises(LoopError, match="'a'") as caught:
            c.add_router("a", rpc_port=a.rpc_port)
        assert "'a'" in str(caught.value)
        assert c.describe().as_dict()["routers"] == {}
        c.add_router("other", rpc_port=free_port())  # and nothing of the refused one is left in the way


def test_a_loop_that_closes_later_is_refused_by_every_request(stage: Stage) -> None:
    port = free_port()
    with serving(name="b") as b:
        b.add_router("a", rpc_port=port)
        with serving(name="a", rpc_port=port, instances={"stage": stage}) as a, ExitStack() as stack:
            try:
                a.add_router("b", rpc_port=b.rpc_port)
            except LoopError:
                return  # It was noticed here already.
            client = stack.enter_context(watching(a))
            with pytest.raises(LoopError, match=r"'a'|'b'"):
                client.call("b/a/b/a/b/a/stage", "move", [1])
            assert stage.moves == []
            for server in (a, b):
                server.describe()
                server.get_stream_configurations()
            client.describe()
            client.get_stream_configurations()
            assert client.call("stage", "move", [1], timeout_s=5) == 1


# --- what is not there -----------------------------------------------------------------------------------------------


def test_a_hop_that_never_was_is_named(stage: Stage) -> None:
    with serving(name="near", instances={"stage": stage}) as near, watching(near) as client:
        near.add_router("north", rpc_port=free_port())
        with pytest.raises(RouterDownError, match="north"):
            client.call("north/stage", "move", [1])
        with pytest.raises(RouterDownError, match="north"):
            client.call_by_name("north/home")
        assert client.call("stage", "move", [1]) == 1
        with pytest.raises(OneLinerError, match="south"):
            client.call("south/stage", "move", [1])


def test_a_busy_server_does_not_forget_who_waits_for_a_hop(stage: Stage) -> None:
    """A request that waits for a hop is failed by the clock, not when the server happens to be idle."""
    stop = Event()
    with serving(instances={"stage": stage}) as near, watching(near) as client, watching(near) as other:
        near.add_router("north", rpc_port=free_port())

        def work() -> None:
            while not stop.wait(0.01):
                other.call("stage", "move", [1])

        worker = Thread(target=work)
        worker.start()
        try:
            with pytest.raises(RouterDownError, match="north"):
                client.call("north/stage", "move", [1], timeout_s=10)
        finally:
            stop.set()
            worker.join()


def test_a_hop_that_is_down_does_not_hide_the_others(stage: Stage) -> None:
    """With the default heartbeat, the question to the one that is missing takes longer than anybody asks."""
    with serving(name="b", heartbeat_s=1.0, instances={"stage": stage}) as b, serving(name="a") as a:
        b.add_stream("p", 10, "stage", "position")
        a.add_router("b", rpc_port=b.rpc_port)
        b.add_router("gone", rpc_port=free_port())
        poll_until(lambda: "b/p" in a.get_stream_configurations())
        routers: Any = poll_until(
            lambda: (found := a.describe().as_dict()["routers"]["b"]).get("routers") and found, what="b to be described"
        )
        assert [entry["name"] for entry in routers["objects"]] == ["stage"]
        assert "gone" in routers["routers"]


def test_what_is_down_is_known_through_every_hop_and_loops_do_not_make_it_grow(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    with cascade(2, stage) as (servers, prefix), watching(servers[0]) as client:
        servers[2].add_router("gone", rpc_port=port)
        monkeypatch.setattr("one_liner.cascade.Hop.refuse_loop", lambda *_: None)  # as when it comes later
        servers[2].add_router("first", rpc_port=servers[0].rpc_port)
        client.configure_stream(f"{prefix}gone/x")
        with pytest.raises(RouterDownError, match=f"router 'gone' of 's2'.*{port}"):
            client.get_stream(f"{prefix}gone/x", timeout_s=20)
        client.configure_stream(f"{prefix}x", wait=True, timeout_s=20)
        with pytest.raises(NoDataError):
            client.get_stream(f"{prefix}x", timeout_s=0.3)
        poll_until(lambda: len(servers[0]._cascade.down()) > 1, what="it to have gone round")
        assert all(path.count("/") < MAX_HOPS for server in servers for path in server._cascade.down())


@pytest.mark.parametrize("down", [None, [], {1: "why"}, {"north": 1}, "north"])
def test_a_hello_that_cannot_be_is_refused_and_one_of_an_earlier_server_is_not(down: Any) -> None:
    said = Hello(1, "far", "0.1", "here", 5556, 3, {}).as_dict()
    with pytest.raises(MalformedError):
        Hello.from_dict({**said, "down": down})
    del said["down"]
    assert Hello.from_dict(said).down == {}


def test_the_upstream_may_come_later(stage: Stage) -> None:
    port = free_port()
    with serving() as near, watching(near) as client:
        near.add_router("far", rpc_port=port)
        client.configure_stream("far/x")
        result: list[Any] = []
        caller = Thread(target=lambda: result.append(_quietly(lambda: client.call("far/stage", "move", [1]))))
        caller.start()
        with serving(rpc_port=port, instances={"stage": stage}) as far:
            caller.join(20)
            assert poll_until(lambda: _quietly(lambda: client.call("far/stage", "move", [2], timeout_s=2))) == 2
            push = far.get_stream_fn("x")
            poll_until(lambda: push(5) and _quietly(lambda: client.get_stream("far/x").data == 5))
        assert len(result) == 1


def test_removing_a_router_answers_who_waits_there(stage: Stage) -> None:
    with cascade(1, stage) as (servers, _), watching(servers[0]) as client:
        caught: list[BaseException] = []

        def call() -> None:
            try:
                client.call("n1/stage", "stuck")
            except OneLinerError as error:
                caught.append(error)

        callers = [Thread(target=call) for _ in range(5)]
        for caller in callers:
            caller.start()
        assert stage.entered.wait(5)
        servers[0].remove_router("n1")
        for caller in callers:
            caller.join(10)
        assert len(caught) == 5
        assert all(isinstance(error, ServerClosedError | UnknownObjectError) for error in caught)
        with pytest.raises(OneLinerError, match="n1"):
            client.call("n1/stage", "move", [1])
        with pytest.raises(UnknownObjectError):
            servers[0].remove_router("n1")
        servers[0].add_router("n1", rpc_port=servers[1].rpc_port)
        stage.release.set()
        assert client.call("n1/stage", "move", [1], timeout_s=10) == 1


def test_names_are_checked(stage: Stage) -> None:
    with cascade(1, stage) as (servers, _):
        near = servers[0]
        with pytest.raises(ConfigurationError):
            near.add_router("n1", rpc_port=1)
        for wrong in ("", "a/b", "_a", 5):
            with pytest.raises(ConfigurationError):
                near.add_router(wrong, rpc_port=1)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="n1"):
            near.get_stream_fn("n1/x")
        near.get_stream_fn("west/x")
        with pytest.raises(ConfigurationError, match="west"):
            near.add_router("west", rpc_port=1)


# --- giving up -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 3])
def test_a_call_that_was_given_up_never_runs_later(depth: int, stage: Stage) -> None:
    with cascade(depth, stage) as (servers, prefix), watching(servers[0]) as client:
        path = f"{prefix}stage"
        caller = Thread(target=client.call, args=(path, "stuck"))
        caller.start()
        assert stage.entered.wait(5)
        for number in range(5):
            with pytest.raises(CallTimeoutError):
                client.call(path, "move", [number], timeout_s=0.05)
        poll_until(lambda: len(servers[-1].running_calls()) == 1, what="the calls to be withdrawn")
        stage.release.set()
        caller.join(10)
        assert client.call(path, "move", [99]) == 99
        assert stage.moves == [99]
        # No hop keeps anything of a call that will never be answered.
        poll_until(lambda: all(not hop.forwarder._asked for server in servers for hop in server._cascade.all()))


# --- real processes --------------------------------------------------------------------------------------------------

FAR = """
import sys, time
from one_liner import RouterServer
class Stage:
    def __init__(self): self.n = 0
    def move(self, to): return to
    def sleep(self): time.sleep(30)
    def fail(self): raise ValueError("end switch")
    def tick(self): self.n += 1; return self.n
with RouterServer(rpc_port=int(sys.argv[1]), broadcast_port=0, name=sys.argv[2], heartbeat_s=0.3,
                  instances={"stage": Stage()}) as server:
    if len(sys.argv) > 3:
        server.add_router("far", rpc_port=int(sys.argv[3]))
    server.add_stream("tick", 100, "stage", "tick")
    server.run()
    print(server.rpc_port, flush=True)
    sys.stdin.read()
"""


class Process:
    """A server in a process of its own."""

    def __init__(self, name: str, rpc_port: int = 0, upstream: int | None = None) -> None:
        words = [sys.executable, "-c", FAR, str(rpc_port), name, *([] if upstream is None else [str(upstream)])]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ))
        assert self.process.stdout is not None
        self.rpc_port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=10)

    def close(self) -> None:
        if self.process.returncode is None:
            self.process.communicate(b"", timeout=10)


def test_three_processes_and_one_of_them_dies_in_mid_call() -> None:
    with ExitStack() as stack:
        far = Process("far")
        stack.callback(lambda: far.close())
        middle = Process("middle", upstream=far.rpc_port)
        stack.callback(middle.close)
        near = stack.enter_context(serving(name="near"))
        near.add_router("middle", rpc_port=middle.rpc_port)
        client = stack.enter_context(watching(near))
        path, ticks = "middle/far/stage", "middle/far/tick"
        assert client.call(path, "move", [3]) == 3
        with pytest.raises(ValueError, match="end switch") as failed:
            client.call(path, "fail")
        assert "end switch" in failed.value.remote_traceback
        client.configure_stream(ticks, wait=True, timeout_s=10)
        first = client.get_stream(ticks, timeout_s=5)
        assert abs(time.perf_counter() - first.timestamp) < 5

        caught: list[BaseException] = []

        def call() -> None:
            try:
                client.call(path, "sleep")
            except OneLinerError as error:
                caught.append(error)

        caller = Thread(target=call)
        caller.start()
        poll_until(lambda: any("sleep" in entry["where"] for entry in _running(far.rpc_port)))
        died = time.perf_counter()
        far.kill()
        caller.join(10)
        assert time.perf_counter() - died < 10 * HEARTBEAT_S
        assert isinstance(caught[0], ServerLostError | RouterDownError)
        assert "far" in str(caught[0])
        with pytest.raises(OneLinerError, match="far"):
            client.call(path, "move", [1])
        assert client.call("middle/stage", "move", [4]) == 4  # nobody else is harmed

        far = Process("far", far.rpc_port)
        assert poll_until(lambda: _quietly(lambda: client.call(path, "move", [5], timeout_s=2))) == 5

        def of_the_new_one() -> bool:
            try:
                return client.get_stream(ticks).origin != first.origin
            except NoDataError:
                return False

        poll_until(of_the_new_one)
        statistics = client.stream_statistics(ticks)
        assert (statistics.restarts, statistics.accounted) == (1, True)


def _running(rpc_port: int) -> list[dict[str, Any]]:
    with RouterClient(rpc_port=rpc_port, broadcast_port=None, heartbeat_s=HEARTBEAT_S) as client:
        return client.running_calls()
