"""`stop` runs at once, whatever else is going on; what is going on can be asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from one_liner.client import RouterClient
from one_liner.errors import BusyTimeoutError, CallTimeoutError, ConfigurationError, LeasedError
from one_liner.server import RouterServer
from tests.conftest import poll_until

PATIENCE_S = 10.0


class Axis:
    def halt(self) -> str:
        return "halted"


class Stage:
    """Moves until it is stopped."""

    def __init__(self) -> None:
        self.axis = Axis()
        self.moves = 0
        self.begun = threading.Event()
        self.stopped = threading.Event()

    def move(self) -> int:
        self.moves += 1
        self.begun.set()
        self.stopped.wait(PATIENCE_S)
        return self.moves

    def stop(self) -> str:
        self.stopped.set()
        return "stopped"

    def abort(self, by: Any = None) -> str:
        return f"aborted {by}"

    def where(self) -> int:
        return self.moves


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.stopped.set()


@pytest.fixture
def server(stage: Stage) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        server.add_instance("stage", stage, urgent=["stop", "abort", "axis.halt"], read_only=["where"])
        server.run()
        yield server


def client_of(server: RouterServer, name: str) -> RouterClient:
    return RouterClient(rpc_port=server.rpc_port, broadcast_port=None, interface="127.0.0.1", name=name)


@pytest.fixture
def client(server: RouterServer) -> Iterator[RouterClient]:
    with client_of(server, "ann") as client:
        yield client


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(24) as pool:
        yield pool


def test_stop_runs_beside_a_stuck_call(client: RouterClient, stage: Stage, pool: ThreadPoolExecutor) -> None:
    moving = pool.submit(client.call, "stage", "move")
    assert stage.begun.wait(PATIENCE_S)
    assert client.call("stage", "stop", timeout_s=5) == "stopped"
    assert moving.result(PATIENCE_S) == 1


def test_stop_does_not_queue_behind_twenty_others(
    client: RouterClient, server: RouterServer, stage: Stage, pool: ThreadPoolExecutor
) -> None:
    moving = [pool.submit(client.call, "stage", "move") for _ in range(21)]
    poll_until(lambda: len(server.running_calls()) == 21)
    assert client.call("stage", "abort", [5], timeout_s=5) == "aborted 5"
    assert client.call("stage", "axis.halt", timeout_s=5) == "halted"
    assert client.call("stage.axis", "halt", timeout_s=5) == "halted"
    assert stage.moves == 1
    assert client.call("stage", "stop", timeout_s=5) == "stopped"
    assert sorted(future.result(PATIENCE_S) for future in moving) == list(range(1, 22))


def test_what_is_not_urgent_waits(client: RouterClient, stage: Stage, pool: ThreadPoolExecutor) -> None:
    moving = pool.submit(client.call, "stage", "move")
    assert stage.begun.wait(PATIENCE_S)
    with pytest.raises(BusyTimeoutError):
        client.call("stage", "where", timeout_s=0.1)
    stage.stopped.set()
    assert moving.result(PATIENCE_S) == 1


def test_stop_runs_in_spite_of_a_lease(server: RouterServer, client: RouterClient, stage: Stage) -> None:
    with client_of(server, "bob") as bob:
        for leased in ("stage", ""):
            with client.lease(leased):
                with pytest.raises(LeasedError):
                    bob.call("stage", "move")
                assert bob.call("stage", "stop") == "stopped"
                assert bob.call("stage.axis", "halt") == "halted"
                server.add_named_call("panic", "stage", "stop")
                assert bob.call_by_name("panic") == "stopped"
    assert stage.moves == 0


def test_what_runs_and_what_waits_can_be_asked(
    client: RouterClient, server: RouterServer, stage: Stage, pool: ThreadPoolExecutor
) -> None:
    with client_of(server, "bob") as bob:
        moving = pool.submit(client.call, "stage", "move")
        assert stage.begun.wait(PATIENCE_S)
        waiting = pool.submit(bob.call, "stage", "where")
        poll_until(lambda: len(server.running_calls()) == 2)
        calls = {call["where"]: call for call in bob.running_calls()}
        assert calls["stage.move"]["who"] == "ann"
        assert calls["stage.where"]["who"] == "bob"
        assert all(0 <= call["for_s"] < PATIENCE_S for call in calls.values())
        stage.stopped.set()
        assert moving.result(PATIENCE_S) == waiting.result(PATIENCE_S) == 1
        assert poll_until(lambda: server.running_calls() == [])


def test_an_urgent_call_and_the_stuck_one_are_both_listed(
    client: RouterClient, server: RouterServer, stage: Stage, pool: ThreadPoolExecutor
) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        def stop(self) -> None:
            inside.set()
            go_on.wait(PATIENCE_S)

        def move(self) -> None:
            stage.stopped.wait(PATIENCE_S)

    server.add_instance("slow", Slow(), urgent=["stop"])
    moving = pool.submit(client.call, "slow", "move")
    poll_until(lambda: server.running_calls())
    stopping = pool.submit(client.call, "slow", "stop")
    assert inside.wait(PATIENCE_S)
    assert {call["where"] for call in server.running_calls()} == {"slow.move", "slow.stop"}
    go_on.set()
    stopping.result(PATIENCE_S)
    stage.stopped.set()
    moving.result(PATIENCE_S)


def test_an_urgent_call_that_takes_too_long_runs_on(
    client: RouterClient, server: RouterServer, stage: Stage, pool: ThreadPoolExecutor
) -> None:
    class Slow:
        def stop(self) -> None:
            stage.stopped.wait(PATIENCE_S)

    server.add_instance("slow", Slow(), urgent=["stop"])
    with pytest.raises(CallTimeoutError, match="still runs"):
        client.call("slow", "stop", timeout_s=0.1)


def test_stop_runs_at_once_on_an_object_with_a_thread_of_its_own(
    client: RouterClient, server: RouterServer, pool: ThreadPoolExecutor
) -> None:
    other = Stage()
    server.add_instance("other", other, urgent=["stop"], own_thread=True)
    moving = pool.submit(client.call, "other", "move")
    assert other.begun.wait(PATIENCE_S)
    assert client.call("other", "stop", timeout_s=5) == "stopped"
    assert moving.result(PATIENCE_S) == 1


def test_stop_runs_at_once_through_a_router(server: RouterServer, stage: Stage, pool: ThreadPoolExecutor) -> None:
    with RouterServer(rpc_port=0, broadcast_port=0) as top:
        top.run()
        top.add_router("low", interface="127.0.0.1", rpc_port=server.rpc_port)
        with client_of(top, "ann") as client:
            moving = pool.submit(client.call, "low/stage", "move")
            assert stage.begun.wait(PATIENCE_S)
            assert client.call("low/stage", "stop", timeout_s=5) == "stopped"
            assert moving.result(PATIENCE_S) == 1


@pytest.mark.parametrize("what", ["urgent", "read_only"])
@pytest.mark.parametrize("names", ["stop", ["stpo"], ["stop", "axis.hal"]])
def test_a_declaration_with_a_typo_is_refused_and_serves_nothing(server: RouterServer, what: str, names: Any) -> None:
    with pytest.raises(ConfigurationError, match=what):
        server.add_instance("another", Stage(), **{what: names})
    assert "another" not in server.instances


@pytest.mark.parametrize("name", ["prak", "axis.prak", "_park"])
def test_a_safe_call_that_does_not_exist_is_refused(server: RouterServer, name: str) -> None:
    with pytest.raises(ConfigurationError, match="safe_call"):
        server.add_instance("another", Stage(), safe_call=name)
    assert "another" not in server.instances
