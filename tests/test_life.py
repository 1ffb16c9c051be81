"""Opening and closing: at any time, from anywhere, and nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import zmq

from one_liner import RouterClient, RouterServer
from one_liner.aio import AsyncRouterClient
from one_liner.errors import (
    ClosedError,
    ConfigurationError,
    ForkedError,
    OneLinerError,
    PortInUseError,
    ServerClosedError,
    UnknownStreamError,
)
from tests.conftest import poll_until

HEARTBEAT_S = 0.2
PATIENCE_S = 20.0
CLOSE_S = 2.0


class Device:
    """Can be stuck, until it is let go."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go = threading.Event()
        self.server: RouterServer | None = None

    def ok(self) -> str:
        return "ok"

    def stick(self) -> str:
        self.began.set()
        assert self.go.wait(PATIENCE_S)
        return "done"

    def shut_down(self) -> str:
        """A served method that closes its own server."""
        assert self.server is not None
        self.server.close()
        return "closed"


@pytest.fixture(params=["tcp", "ipc", "inproc"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    interface = {"tcp": "127.0.0.1", "ipc": str(tmp_path_factory.mktemp("c") / "rig"), "inproc": "life"}
    return {"protocol": request.param, "interface": interface[request.param]}


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device()
    yield made
    made.go.set()


@pytest.fixture
def server(place: dict[str, Any], device: Device) -> Iterator[RouterServer]:
    with RouterServer(
        **place, rpc_port=0, broadcast_port=0, instances={"device": device}, heartbeat_s=HEARTBEAT_S
    ) as made:
        device.server = made
        made.run()
        yield made


@pytest.fixture
def client(place: dict[str, Any], server: RouterServer) -> Iterator[RouterClient]:
    with RouterClient(
        **place, rpc_port=server.rpc_port, broadcast_port=server.broadcast_port, heartbeat_s=HEARTBEAT_S
    ) as made:
        assert made.call("device", "ok") == "ok"
        yield made


def started(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[threading.Thread, list[Any]]:
    """Run in a thread; the list has what it gave or raised."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(function(*args, **kwargs))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def timed(function: Callable[[], Any]) -> float:
    began = time.monotonic()
    function()
    return time.monotonic() - began


# --- closing ---------------------------------------------------------------------------------------------------------


def test_close_before_run(place: dict[str, Any]) -> None:
    server = RouterServer(**place, rpc_port=0, broadcast_port=0)
    server.add_stream_from_callable("x", 10, lambda: 1)
    server.close()
    with pytest.raises(ClosedError):
        server.run()
    with pytest.raises(ClosedError):
        server.add_stream_from_callable("y", 10, lambda: 1)


def test_close_twice_and_on_leaving_the_block(server: RouterServer, client: RouterClient) -> None:
    for _ in range(3):
        client.close()
        server.close()
    with pytest.raises(ClosedError):
        client.call("device", "ok")
    with pytest.raises(ClosedError):
        client.configure_stream("x")
    with pytest.raises(ClosedError):
        client.describe()
    assert client.state == "closed"
    assert "closed" in repr(client)
    assert "closed" in repr(server)


def test_close_from_another_thread(server: RouterServer, client: RouterClient) -> None:
    for closable in (server, client):
        thread, outcome = started(closable.close)
        thread.join(PATIENCE_S)
        assert outcome == [None]


def test_whoever_closes_second_finds_the_ports_free_too(
    place: dict[str, Any], server: RouterServer, client: RouterClient, device: Device
) -> None:
    # A stuck stream function makes the first close take its time.
    server.add_stream_from_callable("stuck", 100, device.stick)
    assert device.began.wait(PATIENCE_S)
    ports: dict[str, Any] = {"rpc_port": server.rpc_port, "broadcast_port": server.broadcast_port}
    thread, outcome = started(server.close)
    poll_until(lambda: server._closed)
    server.close()
    with RouterServer(**place, **ports):
        pass
    thread.join(PATIENCE_S)
    assert outcome == [None]


def test_run_twice(server: RouterServer) -> None:
    with pytest.raises(ConfigurationError, match="runs already"):
        server.run()


def test_close_during_a_stuck_call_tells_its_caller(server: RouterServer, client: RouterClient, device: Device) -> None:
    calling, outcome = started(client.call, "device", "stick")
    assert device.began.wait(PATIENCE_S)
    waiting, waited = started(client.call, "device", "ok")
    poll_until(lambda: len(server.running_calls()) == 2)
    assert timed(server.close) < CLOSE_S
    calling.join(PATIENCE_S)
    waiting.join(PATIENCE_S)
    assert isinstance(outcome[0], ServerClosedError)
    assert "may or may not have run" in str(outcome[0])
    assert isinstance(waited[0], ServerClosedError)
    assert "did not run" in str(waited[0])
    device.go.set()


def test_close_with_everything_stuck_at_once(server: RouterServer, client: RouterClient) -> None:
    devices = [Device() for _ in range(10)]
    outcomes = []
    for index, device in enumerate(devices):
        server.add_instance(f"device{index}", device)
        outcomes.append(started(client.call, f"device{index}", "stick"))
    ticking = Device()
    server.add_stream_from_callable("stuck", 100, ticking.stick)
    for device in (*devices, ticking):
        assert device.began.wait(PATIENCE_S)
    try:
        assert timed(server.close) < CLOSE_S
        for thread, outcome in outcomes:
            thread.join(PATIENCE_S)
            assert isinstance(outcome[0], ServerClosedError)
    finally:
        for device in (*devices, ticking):
            device.go.set()


def test_close_tells_every_one_of_many_calls_of_one_connection(place: dict[str, Any], server: RouterServer) -> None:
    devices = [Device() for _ in range(20)]
    for index, device in enumerate(devices):
        server.add_instance(f"device{index}", device)

    async def call_all() -> list[Any]:
        ports: dict[str, Any] = {"rpc_port": server.rpc_port, "broadcast_port": None}
        async with AsyncRouterClient(**place, **ports, heartbeat_s=HEARTBEAT_S) as client:
            calls = [client.call(f"device{index}", method) for method in ("stick", "ok") for index in range(20)]
            return await asyncio.gather(*calls, return_exceptions=True)

    thread, outcome = started(lambda: asyncio.run(call_all()))
    try:
        poll_until(lambda: len(server.running_calls()) == 40)
        assert timed(server.close) < CLOSE_S
        thread.join(PATIENCE_S)
    finally:
        for device in devices:
            device.go.set()
    assert all(isinstance(error, ServerClosedError) for error in outcome[0]), outcome
    assert all("may or may not have run" in str(error) for error in outcome[0][:20])
    assert all("did not run" in str(error) for error in outcome[0][20:])


def test_a_client_that_closes_wakes_its_own_callers(client: RouterClient, device: Device) -> None:
    calls = [started(client.call, "device", "stick") for _ in range(3)]
    assert device.began.wait(PATIENCE_S)
    assert timed(client.close) < CLOSE_S
    for thread, outcome in calls:
        thread.join(PATIENCE_S)
        assert isinstance(outcome[0], ClosedError)
    device.go.set()


def test_a_served_method_may_close_its_server(
    place: dict[str, Any], server: RouterServer, client: RouterClient
) -> None:
    began = time.monotonic()
    with pytest.raises(OneLinerError) as caught:
        client.call("device", "shut_down")
    assert isinstance(caught.value, ConnectionError)
    assert time.monotonic() - began < CLOSE_S
    thread, _ = started(server.close)
    thread.join(CLOSE_S)
    assert not thread.is_alive()
    with RouterServer(**place, rpc_port=server.rpc_port, broadcast_port=server.broadcast_port):
        pass


def test_a_stream_function_may_close_its_server(server: RouterServer, client: RouterClient) -> None:
    server.add_stream_from_callable("last", 100, server.close)
    poll_until(server._stopped.is_set, what="the server to be closed")


def test_readers_that_wait_are_woken(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("silent", "queue", wait=True, timeout_s=20)
    client.configure_stream("quiet", "cache")
    readers = [started(client.get_stream, name, block=True) for name in ("silent", "silent", "quiet")]
    readers.append(started(lambda: list(client.stream("silent"))))
    handle = client.on_sample("silent", lambda sample: None)
    poll_until(lambda: client._reception.subscriptions["silent"]._waiters >= 3)
    assert timed(client.close) < CLOSE_S
    for thread, _ in readers:
        thread.join(PATIENCE_S)
    assert [type(outcome[0]) for _, outcome in readers] == [ClosedError, ClosedError, ClosedError, list]
    poll_until(lambda: handle.closed)


def test_readers_are_told_that_the_server_closed(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("silent", wait=True, timeout_s=20)
    thread, outcome = started(client.get_stream, "silent", block=True)
    poll_until(lambda: client._reception.subscriptions["silent"]._waiters == 1)
    server.close()
    thread.join(PATIENCE_S)
    assert isinstance(outcome[0], ConnectionError)


def test_pushing_into_a_closed_server_says_so(server: RouterServer) -> None:
    push = server.get_stream_fn("manual")
    assert push(1) is True
    server.close()
    assert push(2) is False


def test_unconfigured_streams_are_unknown(client: RouterClient) -> None:
    with pytest.raises(UnknownStreamError):
        client.get_stream("never")
    with pytest.raises(KeyError):
        client.unconfigure_stream("never")


# --- ports -----------------------------------------------------------------------------------------------------------


def test_a_hundred_cycles_on_the_same_ports(place: dict[str, Any], device: Device) -> None:
    ports: dict[str, Any] = {"rpc_port": 0, "broadcast_port": 0}
    for _ in range(100):
        with RouterServer(**place, **ports, instances={"device": device}, heartbeat_s=HEARTBEAT_S) as server:
            ports = {"rpc_port": server.rpc_port, "broadcast_port": server.broadcast_port}
            server.run()
            with RouterClient(**place, **ports, heartbeat_s=HEARTBEAT_S) as client:
                assert client.call("device", "ok") == "ok"


@pytest.mark.parametrize("busy", ["rpc_port", "broadcast_port"])
def test_a_busy_port_leaves_nothing_bound(place: dict[str, Any], server: RouterServer, busy: str) -> None:
    free = "broadcast_port" if busy == "rpc_port" else "rpc_port"
    with RouterServer(**place, rpc_port=0, broadcast_port=0) as other:
        port = getattr(other, free)
    taken = {busy: getattr(server, busy), free: port}
    with pytest.raises(PortInUseError) as caught:
        RouterServer(**place, **taken)
    assert str(getattr(server, busy)) in str(caught.value)
    with RouterServer(**place, **{busy: 0, free: port}) as retry:
        assert getattr(retry, free) == port


def test_one_port_cannot_serve_for_both(place: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RouterServer(**place, rpc_port=17171, broadcast_port="17171")


@pytest.mark.parametrize(
    "wrong",
    [
        {"protocol": "udp"},
        {"rpc_port": -1},
        {"rpc_port": 70_000},
        {"rpc_port": "http"},
        {"rpc_port": None},
        {"interface": "no.such.interface.invalid"},
        {"interface": 5},
        {"interface": "203.0.113.7"},
        {"heartbeat_s": 0},
        {"heartbeat_s": float("nan")},
        {"config": {"named_cals": {}}},
        {"config": {"periodic_streams": {"x": {"frequency_hz": 0, "obj_name": "d", "attr_name": "ok"}}}},
        {"config": {"periodic_streams": {"x": {"frequency_hz": 1, "obj_name": "nobody", "attr_name": "ok"}}}},
    ],
    ids=str,
)
def test_arguments_that_cannot_be_leave_nothing_behind(device: Device, wrong: dict[str, Any]) -> None:
    with pytest.raises(OneLinerError):
        RouterServer(**{"rpc_port": 0, "broadcast_port": 0, "instances": {"d": device}, **wrong})


def test_port_zero_takes_free_ones_and_tells(place: dict[str, Any], server: RouterServer) -> None:
    with RouterServer(**place, rpc_port="0", broadcast_port=0) as other:
        assert other.rpc_port not in (0, "0", server.rpc_port)
        assert other.broadcast_port not in (0, "0", other.rpc_port, server.broadcast_port)
        if place["protocol"] == "tcp":
            assert isinstance(other.rpc_port, int)
            assert isinstance(other.broadcast_port, int)
        assert other.rpc_endpoint.startswith(f"{place['protocol']}://")
        assert str(other.rpc_port) in other.rpc_endpoint
        assert str(other.broadcast_port) in other.broadcast_endpoint


def test_a_client_that_never_found_its_server_leaves_nothing(place: dict[str, Any]) -> None:
    with RouterClient(**place, rpc_port=17172, broadcast_port=17173, heartbeat_s=0.05) as client:
        client.configure_stream("x")
        with pytest.raises(ConnectionError):
            client.call("device", "ok")


def test_a_client_that_lost_its_server_opens_no_sockets_without_end(
    place: dict[str, Any], server: RouterServer, client: RouterClient
) -> None:
    server.close()
    poll_until(lambda: client.state == "lost")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        with pytest.raises(ConnectionError):
            client.call("device", "ok")  # waits for one heartbeat, in which ten attempts are made
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after - before < 5


# --- contexts --------------------------------------------------------------------------------------------------------


def test_a_context_of_the_users_can_be_terminated_afterwards(place: dict[str, Any], device: Device) -> None:
    context: zmq.Context[Any] = zmq.Context()
    server = RouterServer(**place, rpc_port=0, broadcast_port=0, context=context, instances={"device": device})
    server.add_stream("ok", 100, "device", "ok")
    server.run()
    client = RouterClient(**place, rpc_port=server.rpc_port, broadcast_port=None, context=context)
    client.configure_stream("ok", wait=True, timeout_s=20)
    assert client.get_stream("ok", timeout_s=PATIENCE_S)[1] == client.call("device", "ok")
    client.close()
    server.close()
    thread, _ = started(context.term)
    thread.join(CLOSE_S)
    assert not thread.is_alive()
    assert context.closed


def test_a_context_terminated_too_early_hangs_nobody(place: dict[str, Any], device: Device) -> None:
    context: zmq.Context[Any] = zmq.Context()
    server = RouterServer(**place, rpc_port=0, broadcast_port=0, context=context, instances={"device": device})
    server.add_stream("ok", 100, "device", "ok")
    server.run()
    client = RouterClient(**place, rpc_port=server.rpc_port, broadcast_port=None, context=context)
    client.configure_stream("ok", wait=True, timeout_s=20)
    client.call("device", "ok")
    thread, _ = started(context.term)
    poll_until(lambda: client.state == "closed", what="the client to notice")
    for closable in (server, client):
        assert timed(closable.close) < CLOSE_S
    thread.join(CLOSE_S)
    assert not thread.is_alive()
    assert context.closed


SCRIPT_HEAD = """
    import sys, threading, zmq
    from one_liner.server import RouterServer
    from one_liner.client import RouterClient

    class Device:
        def ok(self):
            return "ok"

    server = RouterServer(rpc_port=0, broadcast_port=0, instances={"device": Device()})
    server.add_stream("ok", 100, "device", "ok")
"""


def script(text: str, **options: Any) -> subprocess.Popen[str]:
    """A process of its own, with pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT_HEAD) + textwrap.dedent(text)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_process_wide_context_can_be_terminated_after_closing() -> None:
    process = script("""
        server.run()
        client = RouterClient(rpc_port=server.rpc_port, broadcast_port=server.broadcast_port)
        client.configure_stream("ok")
        print(client.get_stream("ok", block=True)[1])
        client.close()
        server.close()
        zmq.Context.instance().term()
        print(threading.active_count())
    """)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (out.split(), err, process.returncode) == (["ok", "1"], "", 0)


def test_a_script_that_closes_nothing_ends_all_the_same() -> None:
    process = script("""
        server.run()
        client = RouterClient(rpc_port=server.rpc_port, broadcast_port=server.broadcast_port)
        client.configure_stream("ok")
        client.on_sample("ok", lambda sample: None)
        print(client.call("device", "ok"))
    """)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (out.split(), err, process.returncode) == (["ok"], "", 0)


# --- running in the foreground ---------------------------------------------------------------------------------------


def test_a_server_that_blocks_is_ended_by_close(place: dict[str, Any], device: Device) -> None:
    with RouterServer(**place, rpc_port=0, broadcast_port=0, instances={"device": device}) as server:
        thread, outcome = started(server.run, block=True)
        with RouterClient(**place, rpc_port=server.rpc_port, broadcast_port=None) as client:
            assert client.call("device", "ok") == "ok"
        assert thread.is_alive()
        server.close()
        thread.join(CLOSE_S)
        assert outcome == [None]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for other processes")
@pytest.mark.parametrize("clients", [False, True])
def test_a_server_that_blocks_is_ended_by_ctrl_c(clients: bool) -> None:
    process = script("""
        print(server.rpc_port, flush=True)
        server.run(block=True)
        print("closed", threading.active_count(), flush=True)
    """)
    assert process.stdout is not None
    port = process.stdout.readline()
    with RouterClient(rpc_port=port.strip(), broadcast_port=None, heartbeat_s=HEARTBEAT_S) as client:
        assert client.call("device", "ok") == "ok"
        if not clients:
            client.close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (out.split(), err, process.returncode) == (["closed", "1"], "", 0)


# --- forks -----------------------------------------------------------------------------------------------------------


CLIENTS_FACE: dict[str, Callable[[RouterClient], Any]] = {
    "add_stream": lambda client: client.add_stream("more", 10, "device", "ok"),
    "call": lambda client: client.call("device", "ok"),
    "call_by_name": lambda client: client.call_by_name("home"),
    "configure_stream": lambda client: client.configure_stream("other"),
    "describe": lambda client: client.describe(),
    "describe_object": lambda client: client.describe_object("device"),
    "disable_stream": lambda client: client.disable_stream("ok"),
    "enable_stream": lambda client: client.enable_stream("ok"),
    "get": lambda client: client.get("device", "ok"),
    "get_samples": lambda client: client.get_samples("manual", block=True),
    "get_stream": lambda client: client.get_stream("manual", block=True),
    "get_stream_configurations": lambda client: client.get_stream_configurations(),
    "events": lambda client: client.events(),
    "iter_events": lambda client: client.iter_events(),
    "job": lambda client: client.job("1"),
    "jobs": lambda client: client.jobs(),
    "last_sample": lambda client: client.last_sample("manual"),
    "lease": lambda client: client.lease("device"),
    "leases": lambda client: client.leases(),
    "observe": lambda client: client.observe("device", "ok"),
    "on_event": lambda client: client.on_event(print),
    "on_sample": lambda client: client.on_sample("manual", print),
    "on_state": lambda client: client.on_state(print),
    "proxy": lambda client: client.proxy("device"),
    "remove_stream": lambda client: client.remove_stream("ok"),
    "running_calls": lambda client: client.running_calls(),
    "server_version": lambda client: client.server_version,
    "set": lambda client: client.set("device", "ok", 1),
    "stream": lambda client: client.stream("manual"),
    "stream_statistics": lambda client: client.stream_statistics("manual"),
    "submit": lambda client: client.submit("device", "ok"),
    "unobserve": lambda client: client.unobserve("device", "ok"),
    "unconfigure_stream": lambda client: client.unconfigure_stream("manual"),
    "wait_until_connected": lambda client: client.wait_until_connected(),
}
SERVERS_FACE: dict[str, Callable[[RouterServer], Any]] = {
    "add_instance": lambda server: server.add_instance("other", object()),
    "add_named_call": lambda server: server.add_named_call("home", "device", "ok"),
    "add_router": lambda server: server.add_router("north"),
    "add_stream": lambda server: server.add_stream("more", 10, "device", "ok"),
    "add_stream_from_callable": lambda server: server.add_stream_from_callable("more", 10, print),
    "add_zmq_stream": lambda server: server.add_zmq_stream("relayed", "tcp://127.0.0.1:9"),
    "allow": lambda server: server.allow("a" * 40),
    "describe": lambda server: server.describe(),
    "disable_stream": lambda server: server.disable_stream("ok"),
    "disallow": lambda server: server.disallow("a" * 40),
    "cancel_job": lambda server: server.cancel_job("1"),
    "emergency": lambda server: server.emergency("stop"),
    "emit": lambda server: server.emit("done"),
    "events": lambda server: server.events(),
    "job": lambda server: server.job("1"),
    "job_result": lambda server: server.job_result("1"),
    "jobs": lambda server: server.jobs(),
    "observe": lambda server: server.observe("device", "ok"),
    "on_event": lambda server: server.on_event(print),
    "pause_job": lambda server: server.pause_job("1"),
    "resume_job": lambda server: server.resume_job("1"),
    "submit_function": lambda server: server.submit_function("count", print),
    "submit": lambda server: server.submit("device", "ok"),
    "unobserve": lambda server: server.unobserve("device", "ok"),
    "enable_stream": lambda server: server.enable_stream("ok"),
    "get_stream_configurations": lambda server: server.get_stream_configurations(),
    "get_stream_fn": lambda server: server.get_stream_fn("other"),
    "leases": lambda server: server.leases(),
    "open_publisher": lambda server: server.open_publisher(),
    "remove_instance": lambda server: server.remove_instance("device"),
    "remove_named_call": lambda server: server.remove_named_call("home"),
    "remove_router": lambda server: server.remove_router("north"),
    "remove_stream": lambda server: server.remove_stream("ok"),
    "run": lambda server: server.run(),
    "running_calls": lambda server: server.running_calls(),
}
# What only tells what is known here already, and `close`, which leaves what is the parent's alone.
HARMLESS = {
    RouterClient: {"clock_offset", "close", "parts", "stale_replies", "state", "version"},
    RouterServer: {
        *("broadcast_endpoint", "broadcast_port", "close", "get_version", "instances"),
        *("context", "guard", "public_key", "rpc_endpoint", "rpc_port", "state", "version"),
    },
}


@pytest.mark.parametrize(("cls", "face"), [(RouterClient, CLIENTS_FACE), (RouterServer, SERVERS_FACE)])
def test_every_public_name_is_tried_in_a_forked_child(cls: Any, face: dict[str, Any]) -> None:
    assert set(face) == {name for name in vars(cls) if not name.startswith("_")} - HARMLESS[cls]


def what_a_child_says(tell: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Do something in a forked child, which has to end by itself."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = tell()
        except BaseException as error:
            said = {"the child": repr(error)}
        os.write(write_end, json.dumps(said).encode())
        os._exit(0)
    os.close(write_end)
    ended = False

    def has_ended() -> bool:
        nonlocal ended
        ended = ended or os.waitpid(child, os.WNOHANG)[0] == child
        return ended

    try:
        poll_until(has_ended, PATIENCE_S, "the child to end")
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        written = os.read(read_end, 65536)
        os.close(read_end)
    return dict(json.loads(written))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_to_make_its_own(server: RouterServer, client: RouterClient) -> None:
    push = server.get_stream_fn("manual")
    server.add_stream("ok", 10, "device", "ok")
    client.configure_stream("manual", wait=True, timeout_s=20)
    device, samples = client.proxy("device"), client.stream("manual")

    def attempt(use: Callable[[], Any]) -> str:
        try:
            return f"gave {use()!r}"
        except ForkedError as error:
            return "forked" if "child" in str(error) else str(error)
        except BaseException as error:
            return repr(error)

    def tell() -> dict[str, str]:
        uses: dict[str, Callable[[], Any]] = {
            **{f"client.{name}": partial(use, client) for name, use in CLIENTS_FACE.items()},
            **{f"server.{name}": partial(use, server) for name, use in SERVERS_FACE.items()},
            "push": lambda: push(1),
            "a proxy's method": lambda: device.ok(),
            "the next sample": lambda: next(samples),
        }
        # As if other threads of the parent had been in the middle of something.
        for lock in (client._lock, server._lock, client._link._changed):
            holder = threading.Thread(target=lock.acquire)
            holder.start()
            holder.join()
        said = {name: attempt(use) for name, use in uses.items()}
        client.close()
        server.close()
        return said

    said = what_a_child_says(tell)
    assert {name: word for name, word in said.items() if word != "forked"} == {}
    assert len(said) == len(CLIENTS_FACE) + len(SERVERS_FACE) + 3
    assert client.call("device", "ok") == "ok", "the parent's are as they were"
    push("still here")
    assert client.get_stream("manual", timeout_s=PATIENCE_S)[1] == "still here"
