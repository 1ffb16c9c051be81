"""Ctrl-C, as a real SIGINT to a real process: it ends any wait, and what was interrupted works on or is closed."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread, current_thread, main_thread
from threading import enumerate as enumerate_threads

import pytest

from one_liner import RouterClient, RouterServer
from one_liner.control import ControlPeer, ControlService
from one_liner.errors import ConfigurationError
from one_liner.keys import KeyPair
from one_liner.streams.broadcast import Broadcast
from one_liner.testing import SubprocessServer
from tests.instrument import Traces

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for other processes")

HEAD = """
    import os, sys, threading, time
    from one_liner import RouterClient, RouterServer

    def when_inside(wanted, looks, act):
        # From another thread, once the main thread has been seen in that function, or those, so many times.
        def look():
            main, still = threading.main_thread().ident, 0
            while still < looks:
                time.sleep(0.03)
                frame, names = sys._current_frames()[main], []
                while frame is not None:
                    names.append(frame.f_code.co_name)
                    frame = frame.f_back
                still = still + 1 if set(wanted.split()) <= set(names) else 0
            act()
        threading.Thread(target=look, daemon=True).start()

    def interrupted(wait, looks=4, act=lambda: print("waiting", flush=True)):
        when_inside(inside, looks, act)
        try:
            wait()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        else:
            print("not interrupted", flush=True)

    def interrupted_by_itself(wait):
        # Closing takes half a second, in which nobody else has to find the time to interrupt it.
        interrupted(wait, looks=1, act=lambda: os.kill(os.getpid(), 2))

    inside, port, heartbeat_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
"""


def end_by_ctrl_c(process: subprocess.Popen[str]) -> list[str]:
    """Send it once the process waits; what it printed from then on."""
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return end_of(process)


def end_of(process: subprocess.Popen[str]) -> list[str]:
    """What it still prints until it ends, in good order."""
    try:
        out, _ = process.communicate(timeout=40)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    return out.splitlines()


def script(text: str, *arguments: object) -> subprocess.Popen[str]:
    code = textwrap.dedent(HEAD) + textwrap.dedent(text)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ctrl-c")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[SubprocessServer]:
    with SubprocessServer("tests.instrument:serve", {"folder": str(folder)}) as made:
        yield made
        Traces(folder).let_go()


WAITS = {
    "call": ("ask", "client.call('second', 'slow')"),
    "proxy": ("ask", "client.proxy('second').slow()"),
    "get_stream": ("take", "client.get_stream('silent', block=True)"),
    "iteration": ("take", "next(client.stream('silent'))"),
    "wait_until_connected": ("wait_ready", "nobody.wait_until_connected(60)"),
    "a call of nobody": ("wait_ready", "nobody.call('instrument', 'act')"),
    "configure_stream": ("wait_synchronised", "astray.configure_stream('x', wait=True, timeout_s=60)"),
}


@pytest.mark.parametrize("wait", WAITS)
def test_any_wait_of_a_client_ends_and_the_client_works_on(wait: str, server: SubprocessServer) -> None:
    inside, code = WAITS[wait]
    process = script(
        f"""
        with RouterServer(rpc_port=0, broadcast_port=0) as gone:
            free, other = gone.rpc_port, gone.broadcast_port
        client = RouterClient(rpc_port=port, broadcast_port=None)
        nobody = RouterClient(rpc_port=free, broadcast_port=None, heartbeat_s=heartbeat_s)
        astray = RouterClient(rpc_port=port, broadcast_port=other)
        client.configure_stream("silent")
        client.configure_stream("ticks")
        for each in (client, astray):
            each.wait_until_connected(10)
        interrupted(lambda: {code})
        print(client.call("instrument", "act") > 0, client.get_stream("ticks", timeout_s=10).data > 0)
        print(astray.call("instrument", "act") > 0, nobody.state)
        for each in (client, nobody, astray):
            each.close()
        print(threading.active_count())
        """,
        inside,
        server.rpc_port,
        20.0,
    )
    assert end_by_ctrl_c(process) == ["interrupted", "True True", "True connecting", "1"]


def test_a_lease_that_is_waited_for(server: SubprocessServer) -> None:
    """The server stands still, and for so patient a client it lives."""
    process = script(
        """
        client = RouterClient(rpc_port=port, broadcast_port=None, heartbeat_s=heartbeat_s)
        client.wait_until_connected(10)
        client.call("instrument", "act")  # A connection is there, and what is asked next goes out at once.
        print("ready", flush=True)
        sys.stdin.readline()
        interrupted(lambda: client.lease("instrument"))
        while client.call("instrument", "act") == 0:
            pass
        with client.lease("instrument") as lease:
            print(lease.held)
        deadline = time.monotonic() + 10
        while client.leases() and time.monotonic() < deadline:  # Nobody has the one that was interrupted.
            time.sleep(0.01)
        print(client.leases())
        client.close()
        while threading.active_count() > 1:
            time.sleep(0.01)
        """,
        "take",
        server.rpc_port,
        20.0,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    server.stop()
    try:
        process.stdin.write("ask for it\n")
        process.stdin.flush()
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
    finally:
        server.resume()
    out, _ = process.communicate(timeout=40)
    assert out.splitlines() == ["True", "[]"]


@pytest.mark.parametrize("block", [False, True], ids=["close", "run(block=True)"])
def test_a_server_that_is_interrupted_while_it_closes_is_closed_all_the_same(block: bool) -> None:
    """A stream that is stuck in a driver makes closing take its time; the second Ctrl-C is impatience."""
    process = script(
        f"""
        begun, stuck = threading.Event(), threading.Event()
        def stick():
            begun.set()
            stuck.wait()
        def end():
            begun.wait()
            os.kill(os.getpid(), 2)
        server = RouterServer(rpc_port=0, broadcast_port=0)
        server.add_stream_from_callable("stuck", 10, stick)
        ports = dict(rpc_port=server.rpc_port, broadcast_port=server.broadcast_port)
        if {block}:
            threading.Thread(target=end).start()
            interrupted_by_itself(lambda: server.run(block=True))
        else:
            server.run()
            begun.wait()
            interrupted_by_itself(server.close)
        with RouterServer(**ports, instances={{"f": lambda: "works"}}) as again:
            again.run()
            with RouterClient(**ports) as client:
                print(client.call("f"))
        stuck.set()
        """,
        "_stop join",  # It waits for a thread when it starts, too.
        0,
        1.0,
    )
    assert end_of(process) == ["interrupted", "works"]


def test_a_client_that_is_interrupted_while_it_closes_is_closed_all_the_same(server: SubprocessServer) -> None:
    process = script(
        """
        stuck = threading.Event()
        client = RouterClient(rpc_port=port, broadcast_port=None)
        client.configure_stream("ticks", wait=True)
        called = []
        def callback(sample):
            called.append(sample)
            stuck.wait()
        for _ in range(4):  # each is waited for, for half a second
            client.on_sample("ticks", callback)
        while len(called) < 4:
            time.sleep(0.01)
        interrupted_by_itself(client.close)
        stuck.set()
        print(client.state)
        while threading.active_count() > 1:
            time.sleep(0.01)
        """,
        "_stop join",
        server.rpc_port,
        1.0,
    )
    assert end_of(process) == ["interrupted", "closed"]


@contextmanager
def interrupted_after_start(nth: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ctrl-C in a moment in which the main thread has just started another one."""
    start, started = Thread.start, 0

    def interrupted_start(thread: Thread) -> None:
        nonlocal started
        start(thread)
        if current_thread() is main_thread():
            started += 1
            if started == nth:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", interrupted_start)
        with suppress(KeyboardInterrupt):
            yield


@pytest.mark.parametrize("nth", range(1, 6))
def test_a_start_that_is_interrupted_is_whole_or_not_at_all(nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    server = RouterServer(rpc_port=0, broadcast_port=0)
    server.add_stream_from_callable("ticks", 100, lambda: 1)
    with interrupted_after_start(nth, monkeypatch):
        server.run()
    server.close()
    with RouterServer(rpc_port=server.rpc_port, broadcast_port=server.broadcast_port) as again:
        again.run()


def test_a_client_that_is_interrupted_while_it_is_made_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with interrupted_after_start(1, monkeypatch):
        RouterClient(rpc_port=1, broadcast_port=2)


CLIENTS: dict[str, Callable[[RouterClient], object]] = {
    "configure_stream": lambda client: client.configure_stream("ticks"),
    "on_event": lambda client: client.on_event(lambda _: None),
    "iter_events": lambda client: client.iter_events(),
    "on_state": lambda client: client.on_state(lambda _: None),
    "on_sample": lambda client: client.on_sample("ticks", lambda _: None),
    "submit": lambda client: client.submit("f"),
}


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("what", CLIENTS)
def test_what_a_client_begins_ends_with_it_although_it_was_interrupted(
    what: str, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was interrupted may also do it again: nobody takes what is half there for the whole."""
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"f": lambda: 1}) as server:
        server.add_stream_from_callable("ticks", 50, lambda: 1)
        server.run()
        with RouterClient(rpc_port=server.rpc_port, broadcast_port=None) as client:
            client.wait_until_connected(10)
            with interrupted_after_start(nth, monkeypatch):
                CLIENTS[what](client)
            CLIENTS[what](client)
            client.configure_stream("ticks", wait=True, timeout_s=20)
            assert client.get_stream("ticks", timeout_s=20).data == 1


SERVERS: dict[str, Callable[[RouterServer], object]] = {
    "add_stream": lambda server: server.add_stream_from_callable("ticks", 50, lambda: 1),
    "add_zmq_stream": lambda server: server.add_zmq_stream("ticks", "tcp://127.0.0.1:1"),
    "add_router": lambda server: server.add_router("up", rpc_port=1),
    "submit": lambda server: server.submit("f", ""),
    "observe": lambda server: server.observe("numbers", "imag", frequency_hz=50),
}


@pytest.mark.parametrize("what", SERVERS)
def test_what_a_server_begins_ends_with_it_although_it_was_interrupted(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"f": lambda: 1, "numbers": 1j}) as server:
        server.run()
        with interrupted_after_start(1, monkeypatch):
            SERVERS[what](server)
        with suppress(ConfigurationError):  # Its first half may have been done by itself meanwhile.
            SERVERS[what](server)
        names = [thread.name for thread in enumerate_threads() if "ticker 50 Hz" in thread.name]
        assert len(names) <= 1, "everything is done twice"


def test_a_server_with_keys_that_is_interrupted_while_it_is_made_leaves_no_doorkeeper(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = KeyPair.new()
    with interrupted_after_start(1, monkeypatch):
        RouterServer(rpc_port=0, broadcast_port=0, keys=keys)
    with RouterServer(rpc_port=0, broadcast_port=0, keys=keys) as again:
        again.run()


def test_a_server_that_is_interrupted_while_it_is_made_gives_its_ports_back_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RouterServer(rpc_port=0, broadcast_port=0) as before:
        ports = {"rpc_port": before.rpc_port, "broadcast_port": before.broadcast_port}

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Broadcast, "__init__", interrupt)
        with pytest.raises(KeyboardInterrupt) as kept:  # And with it all that was made, as in an interactive session.
            RouterServer(**ports)
    with RouterServer(**ports) as again:
        again.run()
    assert kept


@contextmanager
def interrupted_in_join(nth: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ctrl-C in a moment in which the main thread waits for the end of another one."""
    join, joined = Thread.join, 0

    def interrupted_join(thread: Thread, timeout: float | None = None) -> None:
        nonlocal joined
        if current_thread() is main_thread():
            joined += 1
            if joined == nth:
                raise KeyboardInterrupt
        join(thread, timeout)

    with monkeypatch.context() as patched:
        patched.setattr(Thread, "join", interrupted_join)
        with suppress(KeyboardInterrupt):
            yield


def free_ports() -> dict[str, int | str]:
    with ControlService(broadcast_port=0, command_port=0) as service:
        service.start()
        return {"broadcast_port": service.broadcast_port, "command_port": service.command_port}


@pytest.mark.parametrize("nth", [1, 2])
def test_a_control_service_that_is_interrupted_while_it_starts_gives_its_ports_back(
    nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = free_ports()
    service = ControlService(**ports)
    with interrupted_after_start(nth, monkeypatch):
        service.start()
    service.stop()
    with ControlService(**ports) as again:
        again.start()


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_control_service_that_is_interrupted_while_it_stops_is_stopped_all_the_same(
    nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = free_ports()
    service = ControlService(**ports)
    service.start()
    with interrupted_in_join(nth, monkeypatch):
        service.stop()
    with ControlService(**ports) as again:
        again.start()


def test_what_a_peer_begins_ends_with_it_although_both_were_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = ControlPeer("127.0.0.1", 1, 1)
    with interrupted_after_start(1, monkeypatch):
        peer.listen(print)
    peer.listen(print)
    with interrupted_in_join(1, monkeypatch):
        peer.close()
    assert not [thread for thread in enumerate_threads() if "listener" in thread.name]
