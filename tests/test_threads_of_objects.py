"""On which thread an object is used: for drivers that belong to one."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from one_liner.client import RouterClient
from one_liner.errors import ServerClosedError
from one_liner.rpc.forwarder import Forwarder
from one_liner.rpc.home import QUICK_CALLS_TO_LEAVE
from one_liner.server import RouterServer
from tests.conftest import busy_for, poll_until

PATIENCE_S = 10.0
SLOW_S = 0.05  # ten times as long as the leading thread is waited for


class Driver:
    """Belongs to the thread that opened it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.threads: list[int] = []

    def note(self) -> int:
        self.threads.append(threading.get_ident())
        return self.threads[-1]

    def open_slowly(self) -> int:
        self.lock.acquire()
        busy_for(SLOW_S)
        return self.note()

    def slow(self) -> int:
        busy_for(SLOW_S)
        return self.note()

    def close(self) -> int:
        self.lock.release()  # RuntimeError on any other thread
        return self.note()

    def fail(self) -> None:
        self.note()
        raise ValueError("no")


class Stuck:
    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def wait(self) -> None:
        self.begun.set()
        self.go.wait(PATIENCE_S)


@pytest.fixture
def server() -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        server.run()
        yield server


def client_of(server: RouterServer) -> RouterClient:
    return RouterClient(rpc_port=server.rpc_port, broadcast_port=None, interface="127.0.0.1")


@pytest.fixture
def client(server: RouterServer) -> Iterator[RouterClient]:
    with client_of(server) as client:
        yield client


def our_threads() -> int:
    return sum(thread.name.startswith("one_liner rpc") for thread in threading.enumerate())


def test_a_driver_that_was_slow_stays_on_the_thread_it_was_slow_on(server: RouterServer, client: RouterClient) -> None:
    driver = Driver()
    server.add_instance("driver", driver)
    home = client.call("driver", "open_slowly")
    assert [client.call("driver", name) for name in ("slow", "note", "slow", "close")] == [home] * 4


def test_others_are_served_while_a_driver_is_at_home(server: RouterServer, client: RouterClient) -> None:
    driver, stuck = Driver(), Stuck()
    server.add_instance("driver", driver)
    server.add_instance("stuck", stuck)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.call, "stuck", "wait")
        assert stuck.begun.wait(PATIENCE_S)
        for _ in range(3):
            client.call("driver", "slow")
        stuck.go.set()
        waiting.result(PATIENCE_S)


def test_many_quick_calls_bring_an_object_back_to_the_leading_thread(
    server: RouterServer, client: RouterClient
) -> None:
    driver, other = Driver(), Driver()
    server.add_instance("driver", driver)
    server.add_instance("other", other)
    home = client.call("driver", "slow")
    assert client.call("driver", "note") == home
    with_leader = poll_until(
        lambda: next(
            (
                True
                for _ in range(4 * QUICK_CALLS_TO_LEAVE)
                if client.call("driver", "note") == client.call("other", "note")
            ),
            None,
        )
    )
    assert with_leader


def test_an_object_with_a_thread_of_its_own_is_used_on_no_other(server: RouterServer) -> None:
    driver = Driver()
    server.add_instance("driver", driver, own_thread=True)
    server.add_stream("notes", 100, "driver", "note")
    server.add_stream_from_callable("more notes", 50, driver.note)

    def work() -> None:
        with client_of(server) as client:
            for _ in range(10):
                client.call("driver", "note")
                with pytest.raises(ValueError, match="no"):
                    client.call("driver", "fail")
            client.call("driver", "slow")
            for _ in range(QUICK_CALLS_TO_LEAVE + 5):
                client.call("driver", "note")

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result(PATIENCE_S)
    noted = len(driver.threads)
    poll_until(lambda: len(driver.threads) > noted + 10, what="ticks, when nobody calls any more")
    assert len(set(driver.threads)) == 1
    assert driver.threads[0] != threading.get_ident()


def test_a_nested_object_shares_the_thread_of_its_owner(server: RouterServer, client: RouterClient) -> None:
    class Rig:
        def __init__(self) -> None:
            self.driver = Driver()

        def note(self) -> int:
            return threading.get_ident()

    server.add_instance("rig", Rig(), own_thread=True)
    home = client.call("rig", "note")
    assert client.call("rig.driver", "open_slowly") == home
    assert client.call("rig.driver", "close") == home


def test_calls_that_waited_for_an_object_are_made_at_its_home(server: RouterServer, client: RouterClient) -> None:
    driver = Driver()
    server.add_instance("driver", driver, own_thread=True)
    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(client.call, "driver", "slow") for _ in range(16)]
        assert len({future.result(PATIENCE_S) for future in futures}) == 1


def test_an_object_that_is_served_no_longer_keeps_no_thread(server: RouterServer, client: RouterClient) -> None:
    server.add_instance("idle", Driver())
    client.call("idle", "note")
    before = our_threads()
    for _ in range(12):
        server.add_instance("driver", Driver(), own_thread=True)
        client.call("driver", "note")
        server.remove_instance("driver")

    def few() -> bool:
        gc.collect()
        return our_threads() <= before + 3

    poll_until(few, what="the threads of removed objects to end, or to be used again")


def closes_in_time(server: RouterServer) -> bool:
    began = time.monotonic()
    server.close()
    return time.monotonic() - began < 2.0


def test_closing_ends_homes_that_are_alive(server: RouterServer, client: RouterClient) -> None:
    for number in range(5):
        server.add_instance(f"driver {number}", Driver(), own_thread=True)
        client.call(f"driver {number}", "slow")
        server.add_instance(f"slow {number}", Driver())
        client.call(f"slow {number}", "slow")
    assert our_threads() >= 10
    assert closes_in_time(server)
    poll_until(lambda: our_threads() == 0)


@pytest.mark.parametrize("own_thread", [False, True])
def test_closing_does_not_wait_for_a_driver_that_is_stuck(
    server: RouterServer, client: RouterClient, own_thread: bool
) -> None:
    stuck = Stuck()
    server.add_instance("stuck", stuck, own_thread=own_thread)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(client.call, "stuck", "wait")
        assert stuck.begun.wait(PATIENCE_S)
        waiting = pool.submit(client.call, "stuck", "wait")
        poll_until(lambda: len(server.running_calls()) == 2)
        assert closes_in_time(server)
        stuck.go.set()
        with pytest.raises(ServerClosedError, match="may or may not have run"):
            running.result(PATIENCE_S)
        with pytest.raises(ServerClosedError, match="did not run"):
            waiting.result(PATIENCE_S)
    poll_until(lambda: our_threads() == 0)


def test_closing_does_not_wait_for_a_tick_that_is_stuck_at_home(server: RouterServer) -> None:
    stuck = Stuck()
    server.add_instance("stuck", stuck, own_thread=True)
    server.add_stream("waits", 10, "stuck", "wait")
    assert stuck.begun.wait(PATIENCE_S)
    assert closes_in_time(server)
    stuck.go.set()
    poll_until(lambda: our_threads() == 0)


@pytest.mark.parametrize("run", [False, True])
def test_closing_with_a_router_that_was_just_added_leaves_nothing(run: bool) -> None:
    with RouterServer(rpc_port=0, broadcast_port=0) as low:
        low.run()
        server = RouterServer(rpc_port=0, broadcast_port=0)
        if run:
            server.run()
        server.add_router("low", interface="127.0.0.1", rpc_port=low.rpc_port)
        sockets = [hop.forwarder.socket for hop in server._cascade.all()]
        assert closes_in_time(server)
        assert all(socket.closed for socket in sockets)


@pytest.mark.parametrize("run", [False, True])
def test_closing_while_a_router_is_being_added_leaves_nothing(run: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread closes the server in the moment in which the new hop is known, and its way is not yet open."""
    server = RouterServer(rpc_port=0, broadcast_port=0)
    if run:
        server.run()
    add_forwarder = server._rpc.add_forwarder
    with RouterServer(rpc_port=0, broadcast_port=0) as low, ThreadPoolExecutor(1) as pool:
        low.run()
        closings: list[Future[None]] = []
        forwarders: list[Forwarder] = []

        def add_late(forwarder: Forwarder) -> None:
            forwarders.append(forwarder)
            closings.append(pool.submit(server.close))
            wait(closings, 0.5)  # Unless it waits for us, it is over now.
            add_forwarder(forwarder)

        monkeypatch.setattr(server._rpc, "add_forwarder", add_late)
        server.add_router("low", interface="127.0.0.1", rpc_port=low.rpc_port)
        closings[0].result(PATIENCE_S)
        assert [forwarder.socket.closed for forwarder in forwarders] == [True]
