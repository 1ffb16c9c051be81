"""A slow call is no dead server, a dead server is no slow call, and a client can tell; with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from one_liner import RouterClient, RouterServer
from one_liner.errors import NoServerError, OneLinerError, ServerLostError, TransportError
from one_liner.rpc.link import State
from tests.conftest import poll_until

HEARTBEAT_S = 0.2
PATIENCE_S = 20.0
# Three intervals are promised; the rest is for two shared cores.
NOTICED_S = 3 * HEARTBEAT_S + 2.0

SERVER = """
    import ctypes, sys, threading
    from one_liner import RouterServer

    class Device:
        def __init__(self):
            self.calls = 0
        def ok(self):
            self.calls += 1
            return self.calls
        def stick(self):
            threading.Event().wait()
        def hold(self, seconds):
            # PyDLL keeps the interpreter lock while C sleeps, as a badly wrapped driver does.
            ctypes.PyDLL(None).usleep(int(seconds * 1e6))
            return "held"

    protocol, interface, rpc_port, broadcast_port = sys.argv[1:]
    instances = {"device": Device()}
    server = RouterServer(protocol, interface, rpc_port, broadcast_port, instances=instances, heartbeat_s=0.2)
    server.add_stream("ok", 50, "device", "ok")
    server.run()
    print(server.rpc_port, server.broadcast_port, flush=True)
    sys.stdin.read()
    server.close()
"""


class Remote:
    """A server in a process of its own."""

    def __init__(self, place: dict[str, Any], rpc_port: Any = 0, broadcast_port: Any = 0) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                textwrap.dedent(SERVER),
                place["protocol"],
                place["interface"],
                str(rpc_port),
                str(broadcast_port),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        assert len(words) == 2, "the server did not start"
        self.ports: dict[str, Any] = {"rpc_port": words[0], "broadcast_port": words[1]}

    def signal(self, number: int) -> None:
        self.process.send_signal(number)
        if sys.platform != "win32" and number == signal.SIGSTOP:
            # Its threads stop one after the other, and the last one might still answer.
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture(params=["tcp", "ipc"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    interface = {"tcp": "127.0.0.1", "ipc": str(tmp_path_factory.mktemp("v") / "rig")}
    return {"protocol": request.param, "interface": interface[request.param]}


@pytest.fixture
def start(place: dict[str, Any]) -> Iterator[Callable[..., Remote]]:
    """Starts servers at this place, and ends them."""
    made: list[Remote] = []

    def start_one(**ports: Any) -> Remote:
        made.append(Remote(place, **ports))
        return made[-1]

    yield start_one
    for remote in made:
        remote.close()


@pytest.fixture
def remote(start: Callable[..., Remote]) -> Remote:
    return start()


@pytest.fixture
def client(place: dict[str, Any], remote: Remote) -> Iterator[RouterClient]:
    with RouterClient(**place, **remote.ports, heartbeat_s=HEARTBEAT_S) as made:
        made.call("device", "ok")
        yield made


def calling(client: RouterClient, *call: Any) -> tuple[threading.Thread, list[Any]]:
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(client.call("device", *call))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def under_way(client: RouterClient, where: str) -> bool:
    return any(call["where"] == where for call in client.running_calls())


def test_a_killed_server_is_noticed_by_the_call_that_waits(client: RouterClient, remote: Remote) -> None:
    client.configure_stream("silent")
    thread, outcome = calling(client, "stick")
    poll_until(lambda: under_way(client, "device.stick"))
    remote.kill()
    began = time.monotonic()
    thread.join(PATIENCE_S)
    assert time.monotonic() - began < NOTICED_S
    assert isinstance(outcome[0], ServerLostError)
    assert "may or may not have run" in str(outcome[0])
    with pytest.raises(ConnectionError):
        client.get_stream("silent", block=True)
    with pytest.raises(ConnectionError):
        client.call("device", "ok")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process")
def test_a_stopped_server_is_lost_and_found_again(client: RouterClient, remote: Remote) -> None:
    states: list[str] = []
    client.on_state(lambda state: states.append(str(state)))
    remote.signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(ServerLostError):
        client.call("device", "ok")
    assert time.monotonic() - began < NOTICED_S
    assert client.state == "lost"
    remote.signal(signal.SIGCONT)
    poll_until(lambda: client.state == "connected", what="the server to be found again")
    assert client.call("device", "ok")
    poll_until(lambda: states[-1:] == ["connected"])
    assert "lost" in states


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process")
def test_a_stopped_server_that_is_killed_is_lost_and_not_refusing(client: RouterClient, remote: Remote) -> None:
    remote.signal(signal.SIGSTOP)
    poll_until(lambda: client.state == "lost")
    remote.kill()
    states: list[str] = []
    client.on_state(lambda state: states.append(str(state)))
    for _ in range(5):  # each waits one interval for it to come back
        with pytest.raises(ServerLostError):
            client.call("device", "ok")
    assert set(states) == {"lost"}


def test_a_server_that_starts_again_is_found_by_the_same_client(
    client: RouterClient, remote: Remote, start: Callable[..., Remote]
) -> None:
    client.configure_stream("ok", "cache", wait=True, timeout_s=20)
    before = client.get_stream("ok", timeout_s=PATIENCE_S)
    client.call("device", "ok")
    remote.kill()
    start(**remote.ports)
    client.wait_until_connected(PATIENCE_S)

    def answered() -> Any:
        try:
            return client.call("device", "ok")
        except TransportError:
            return None

    poll_until(answered, what="a call to be answered")

    def other() -> bool:
        try:
            return client.get_stream("ok", timeout_s=1.0).origin != before.origin
        except OneLinerError:
            return False

    poll_until(other, what="samples of the new server")


def test_a_driver_that_holds_the_interpreter_makes_nothing_fail(client: RouterClient) -> None:
    states: list[str] = []
    client.on_state(lambda state: states.append(str(state)))
    thread, outcome = calling(client, "hold", [6 * HEARTBEAT_S])
    poll_until(lambda: client.state == "unresponsive", what="the client to notice")
    second, waited = calling(client, "ok")
    thread.join(PATIENCE_S)
    second.join(PATIENCE_S)
    assert outcome == ["held"]
    assert isinstance(waited[0], int)
    poll_until(lambda: client.state == "connected")
    poll_until(lambda: states == ["connected", "unresponsive", "connected"])


@pytest.mark.parametrize("protocol", ["inproc", "tcp"])
def test_within_one_process_too(protocol: str) -> None:
    import ctypes

    def hold() -> str:
        ctypes.PyDLL(None).usleep(int(6 * HEARTBEAT_S * 1e6))
        return "held"

    place: dict[str, Any] = {"protocol": protocol, "interface": "liveness" if protocol == "inproc" else "127.0.0.1"}
    with RouterServer(**place, rpc_port=0, broadcast_port=0, instances={"hold": hold}, heartbeat_s=0.2) as server:
        server.run()
        with RouterClient(**place, rpc_port=server.rpc_port, broadcast_port=None, heartbeat_s=0.2) as client:
            states: list[str] = []
            client.on_state(lambda state: states.append(str(state)))
            for _ in range(3):
                assert client.call("hold") == "held"
            assert "lost" not in states


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process")
def test_an_answer_given_while_the_client_slept_is_not_waited_for_for_ever() -> None:
    began, go = threading.Event(), threading.Event()
    count: list[int] = []

    def work() -> int:
        count.append(1)
        began.set()
        assert go.wait(PATIENCE_S)
        return 42

    with RouterServer(rpc_port=0, broadcast_port=0, instances={"work": work}, heartbeat_s=HEARTBEAT_S) as server:
        server.run()
        code = f"""
            from one_liner import RouterClient
            with RouterClient(rpc_port={server.rpc_port}, broadcast_port=None, heartbeat_s={HEARTBEAT_S}) as client:
                try:
                    print(client.call("work"))
                except ConnectionError as error:
                    print(type(error).__name__)
        """
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
        assert began.wait(PATIENCE_S)
        os.kill(process.pid, signal.SIGSTOP)
        # Long enough for the server's side to give the connection up.
        assert not threading.Event().wait(5 * HEARTBEAT_S)
        go.set()
        poll_until(lambda: server.running_calls() == [])
        os.kill(process.pid, signal.SIGCONT)
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert out.strip() == "42"
    assert count == [1], "it was asked again for the answer, and not acted again"


@pytest.mark.parametrize("protocol", ["tcp", "ipc", "inproc"])
def test_no_server_at_all_is_an_error_after_three_intervals(
    protocol: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    interface = {"tcp": "127.0.0.1", "ipc": str(tmp_path_factory.mktemp("n") / "rig"), "inproc": "nobody"}[protocol]
    with RouterServer(protocol, interface, 0, 0) as server:
        port = server.rpc_port
    with RouterClient(protocol, interface, port, None, heartbeat_s=HEARTBEAT_S) as client:
        assert client.state == "connecting"
        began = time.monotonic()
        with pytest.raises(NoServerError) as caught:
            client.call("device", "ok")
        assert 2 * HEARTBEAT_S < time.monotonic() - began < NOTICED_S
        assert isinstance(caught.value, ConnectionError)
        assert str(port) in str(caught.value)
        began = time.monotonic()
        with pytest.raises(OneLinerError):
            client.call("device", "ok", timeout_s=0.05)
        assert time.monotonic() - began < NOTICED_S


@pytest.mark.parametrize("protocol", ["tcp", "ipc", "inproc"])
def test_every_change_of_state_is_seen_once(protocol: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    interface = {"tcp": "127.0.0.1", "ipc": str(tmp_path_factory.mktemp("s") / "rig"), "inproc": "states"}[protocol]
    place: dict[str, Any] = {"protocol": protocol, "interface": interface}
    with RouterServer(**place, rpc_port=0, broadcast_port=0) as server:
        ports: dict[str, Any] = {"rpc_port": server.rpc_port, "broadcast_port": server.broadcast_port}
    states: list[str] = []
    with RouterClient(**place, **ports, heartbeat_s=HEARTBEAT_S) as client:
        client.on_state(lambda state: states.append(str(state)))
        for _ in range(2):
            with RouterServer(**place, **ports, instances={"f": lambda: 1}, heartbeat_s=HEARTBEAT_S) as server:
                server.run()
                poll_until(lambda: client.state == "connected")
                assert client.call("f") == 1
            poll_until(lambda: client.state == "lost")
        poll_until(lambda: len(states) == 5)
    assert states[:5] == ["connecting", "connected", "lost", "connected", "lost"]


def test_whoever_begins_to_listen_while_the_state_changes_ends_with_the_true_one(client: RouterClient) -> None:
    link, heard = client._link, list[State]()
    changing = threading.Thread(target=link._enter, args=(State.UNRESPONSIVE,))

    def listener(state: State) -> None:
        if not heard and not changing.ident:
            changing.start()
            changing.join(0.2)  # It may try to overtake us, and has to wait.
        heard.append(state)

    link.listen(listener)
    changing.join()
    link._enter(State.CONNECTED)
    link.unlisten(listener)
    assert heard == [State.CONNECTED, State.UNRESPONSIVE, State.CONNECTED]


def test_the_offset_of_the_clocks_is_known(client: RouterClient) -> None:
    offset_s, error_s = client.clock_offset
    assert (offset_s, error_s) == (0.0, 0.0), "on one machine the clock is shared"
    timestamp, _ = client.call("device", "ok", get_timestamp=True)
    assert abs(time.perf_counter() - timestamp) < PATIENCE_S
