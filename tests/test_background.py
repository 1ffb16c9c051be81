"""Threads and tasks that meet an error nobody thought of: it is in the log, and nobody waits for ever."""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

from one_liner import RouterClient, RouterServer, background
from one_liner.aio import AsyncRouterClient, anew, in_background, stopped
from one_liner.aio import background as tasks
from one_liner.background import BackgroundThread
from one_liner.callbacks import Callback
from one_liner.commands.desk import CommandDesk
from one_liner.control import ControlService
from one_liner.control.port import CommandPort
from one_liner.errors import NoDataError, ServerLostError
from one_liner.events.hub import EventHub
from one_liner.rpc.home import Home
from one_liner.rpc.lease import Leases
from one_liner.rpc.link import Link
from one_liner.rpc.server import RpcServer
from one_liner.rpc.switchboard import Switchboard
from one_liner.streams.bookkeeper import Bookkeeper
from one_liner.streams.receiver import Receiver
from one_liner.streams.relay import RouterRelay, StreamRelay
from one_liner.streams.ticker import Ticker
from one_liner.transport.fanout import Fanout
from tests.conftest import poll_until
from tests.test_aio import LoopWithoutReaders

SOURCE = Path(background.__file__).parent
PATIENCE_S = 30.0
HEARTBEAT_S = 0.2
PURPOSE = "broken on purpose"

# Who begins a task or a thread by hand, and how often: each is awaited where it is begun, and raises there.
BY_HAND = {
    "aio/background.py": 1,
    "gateway/backends/nats.py": 2,
    "gateway/head.py": 2,
    "gateway/outbox.py": 3,
    "gateway/pubsub/endpoint.py": 1,
    "gateway/rpc/endpoint.py": 1,
    "gateway/watch.py": 1,
    "uninterrupted.py": 1,
}


class UnthoughtError(Exception):
    """Of no kind that anything expects."""


class Break:
    """Something of the library that raises once, at its next call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cls: type, name: str) -> None:
        self.happened = threading.Event()
        whole = getattr(cls, name)

        def broken(*args: Any, **kwargs: Any) -> Any:
            if not self.happened.is_set():
                self.happened.set()
                raise UnthoughtError(PURPOSE)
            return whole(*args, **kwargs)

        async def broken_when_awaited(*args: Any, **kwargs: Any) -> Any:
            return await broken(*args, **kwargs)

        monkeypatch.setattr(cls, name, broken_when_awaited if inspect.iscoroutinefunction(whole) else broken)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The names of what ended, as the log has them, each with its traceback."""
    texts = logging.Formatter()
    found = [one for one in caplog.records if one.exc_info and PURPOSE in texts.formatException(one.exc_info)]
    assert all(one.levelno >= logging.ERROR for one in found)
    return [one.getMessage() for one in found]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = time.sleep  # noqa: TID251
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.05)))


# --- the rule --------------------------------------------------------------------------------------------------------


def test_threads_and_tasks_are_begun_in_one_place() -> None:
    found: dict[str, int] = {}
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith("testing/"):
            continue  # Helpers of tests, where pytest tells.
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _begins(node.func):
                found[name] = found.get(name, 0) + 1
    assert found == BY_HAND


def _begins(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id == "Thread"
    if not isinstance(function, ast.Attribute):
        return False
    in_a_group = isinstance(function.value, ast.Name) and function.value.id == "together"
    return function.attr in ("create_task", "ensure_future", "Thread", "start_soon") and not in_a_group


# --- the helpers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError(PURPOSE), SystemExit(PURPOSE)])
def test_a_thread_that_ends_by_an_error_is_in_the_log_and_told(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[BaseException] = []

    def work() -> None:
        raise error

    def failed(why: BaseException) -> None:
        told.append(why)
        raise ValueError("this, too")

    thread = BackgroundThread(work, "worker", failed=failed)
    thread.start()
    thread.join(PATIENCE_S)
    assert told == [error]
    assert [one.getMessage() for one in caplog.records] == ["one_liner worker ended by an error"] * 2


def test_a_thread_that_feeds_others_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    rounds: list[int] = []

    def work() -> None:
        rounds.append(len(rounds))
        if len(rounds) < 3:
            raise RuntimeError(PURPOSE)

    thread = BackgroundThread(work, "feeder", pause_s=0.01)
    thread.start()
    thread.join(PATIENCE_S)
    assert rounds == [0, 1, 2]
    assert errors(caplog) == ["one_liner feeder ended by an error, and begins anew"] * 2


def test_a_task_that_ends_by_an_error_is_in_the_log_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        told: list[Exception] = []

        async def work(fails: bool) -> None:
            await asyncio.sleep(0 if fails else PATIENCE_S)
            raise RuntimeError(PURPOSE)

        failing = in_background(work(True), "one_liner worker", failed=told.append)
        cancelled = in_background(work(False), "one_liner other", failed=told.append)
        await asyncio.wait([failing])
        cancelled.cancel()
        await asyncio.wait([cancelled])
        await asyncio.sleep(0)
        assert [str(one) for one in told] == [PURPOSE]

    asyncio.run(main())
    assert errors(caplog) == ["one_liner worker ended by an error"]
    assert not tasks._running


def test_tasks_are_stopped_although_one_loses_a_cancelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_PATIENCE_S", 0.05)

    async def deaf(times: int) -> None:
        for _ in range(times):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async def main() -> None:
        begun = [asyncio.create_task(deaf(times)) for times in range(3)]
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S):
            await stopped(*begun)
            await stopped()
        assert all(task.done() for task in begun)

    asyncio.run(main())


def test_a_task_that_feeds_others_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        rounds: list[int] = []

        async def work() -> None:
            rounds.append(len(rounds))
            if len(rounds) < 3:
                raise RuntimeError(PURPOSE)

        await in_background(anew(work, pause_s=0.01), "one_liner feeder")
        assert rounds == [0, 1, 2]

    asyncio.run(main())
    assert errors(caplog) == ["one_liner feeder ended by an error, and begins anew in 0.01 s"] * 2


# --- every thread of server and client -------------------------------------------------------------------------------


class Device:
    def __init__(self) -> None:
        self.power = 1.0
        self.release = threading.Event()
        self.entered = threading.Event()

    def add(self, a: int) -> int:
        return a + 1

    def wait(self) -> str:
        self.entered.set()
        assert self.release.wait(PATIENCE_S)
        return "waited"


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device()
    yield device
    device.release.set()


@pytest.fixture
def server(device: Device) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S) as server:
        server.add_instance("device", device)
        server.add_stream("power", 50, "device", "power")
        server.run()
        yield server


@pytest.fixture
def client(server: RouterServer) -> Iterator[RouterClient]:
    with RouterClient(rpc_port=server.rpc_port, broadcast_port=None, heartbeat_s=HEARTBEAT_S) as client:
        client.wait_until_connected(PATIENCE_S)
        yield client


def next_sample(client: RouterClient, name: str = "power") -> Any:
    """One that was made after this was called, whatever waits."""
    try:
        while True:
            client.get_stream(name)
    except NoDataError:
        return client.get_stream(name, timeout_s=PATIENCE_S)


def _calls(client: RouterClient, server: RouterServer) -> None:
    assert client.call("device", "add", [1], timeout_s=PATIENCE_S) == 2


def _samples(client: RouterClient, server: RouterServer) -> None:
    next_sample(client)


def _events(client: RouterClient, server: RouterServer) -> None:
    with client.iter_events("event", "tell", timeout_s=0.2) as events:

        def told() -> bool:
            server.emit("tell", 1)
            try:
                return bool(next(events))
            except NoDataError:
                return False

        poll_until(told, PATIENCE_S, "an event")


def _ledger(client: RouterClient, server: RouterServer) -> None:
    client.configure_stream(":ledger")
    assert "power" in next_sample(client, ":ledger").data["streams"]


Use = Callable[[RouterClient, RouterServer], None]


@pytest.mark.parametrize(
    ("cls", "method", "use", "thread"),
    [
        (Link, "_judge", _calls, "link"),
        (Receiver, "_receive_all", _samples, "receiver"),
        (Ticker, "_serve", _samples, "ticker 50 Hz"),
        (EventHub, "_take_event", _events, "events"),
        (Bookkeeper, "_balance", _ledger, "bookkeeper"),
        (RpcServer, "_receive", _calls, "rpc"),
    ],
)
def test_what_feeds_others_goes_on(
    cls: type,
    method: str,
    use: Use,
    thread: str,
    server: RouterServer,
    client: RouterClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.configure_stream("power", wait=True)
    if use is _events:
        _events(client, server)
        client.on_event(lambda _: None)
    broken = Break(monkeypatch, cls, method)

    def reached() -> bool:
        server.emit("tell", 0)
        client.call("device", "add", [1], timeout_s=PATIENCE_S)
        if use is _ledger:
            client.configure_stream(":ledger")
        return broken.happened.is_set()

    poll_until(reached, PATIENCE_S, "it to break")
    use(client, server)
    (message,) = errors(caplog)
    assert message.startswith(f"one_liner {thread}")
    assert message.endswith("begins anew")


def test_a_fanout_goes_on(
    server: RouterServer, client: RouterClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client.configure_stream("power", wait=True)
    Break(monkeypatch, Fanout, "_cut")
    server._fanout.cut()
    next_sample(client)
    assert [one.partition(" tcp")[0] for one in errors(caplog)] == ["one_liner fanout"]


def test_relays_and_routers_go_on(
    server: RouterServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S) as front:
        front.add_router("back", rpc_port=server.rpc_port, broadcast_port=None)
        front.add_zmq_stream("power", f"tcp://127.0.0.1:{server.broadcast_port}")
        front.run()
        with RouterClient(rpc_port=front.rpc_port, broadcast_port=None, heartbeat_s=HEARTBEAT_S) as client:
            for name in ("power", "back/power"):
                client.configure_stream(name)
                client.get_stream(name, timeout_s=PATIENCE_S)
            broken = [Break(monkeypatch, cls, "_pass_on") for cls in (StreamRelay, RouterRelay)]
            poll_until(lambda: all(one.happened.is_set() for one in broken), PATIENCE_S, "them to break")
            for name in ("power", "back/power"):
                next_sample(client, name)
    assert sorted(errors(caplog)) == [
        "one_liner relay power ended by an error, and begins anew",
        "one_liner router back ended by an error, and begins anew",
    ]


def test_leases_of_the_dead_end_all_the_same(
    server: RouterServer, client: RouterClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Break(monkeypatch, Leases, "those_of_the_dead")
    other = RouterClient(rpc_port=server.rpc_port, broadcast_port=None, heartbeat_s=HEARTBEAT_S)
    held = other.lease("device")
    assert broken.happened.wait(PATIENCE_S)
    held.stop()
    other.close()  # It gives nothing back.
    poll_until(lambda: not client.leases(), PATIENCE_S, "the lease to end")
    assert errors(caplog) == ["one_liner warden ended by an error, and begins anew"]


def test_jobs_whose_time_is_up_are_ended_all_the_same(
    server: RouterServer,
    client: RouterClient,
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    Break(monkeypatch, CommandDesk, "_look_after")
    client.submit("device", "wait")
    late = client.submit("device", "add", [1], timeout_s=0.1)
    assert late.wait(PATIENCE_S) == "failed"
    assert errors(caplog) == ["one_liner jobs ended by an error, and begins anew"]


def test_a_home_goes_on(
    server: RouterServer, client: RouterClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    home = Home(permanent=True)
    thread = BackgroundThread(home.live, "home")
    thread.start()
    done: list[int] = []

    def fail() -> None:
        raise RuntimeError(PURPOSE)

    home.post(fail)
    home.post(lambda: done.append(1))
    home.leave()
    thread.join(PATIENCE_S)
    assert done == [1]
    assert errors(caplog) == ["one_liner home ended by an error"]


def test_a_callback_that_gets_nothing_more_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    woken: list[bool] = []

    def next_item() -> int:
        raise RuntimeError(PURPOSE)

    callback = Callback("broken", print, next_item, lambda: woken.append(True)).start()
    poll_until(lambda: callback.closed and woken, PATIENCE_S, "its end")
    assert errors(caplog) == ["one_liner callback broken ended by an error"]
    callback.close()


def test_a_control_port_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with ControlService("rig", broadcast_port=0, command_port=0, heartbeat_s=0.05) as service:
        service.start()
        broken = Break(monkeypatch, CommandPort, "_keep_beat")
        assert broken.happened.wait(PATIENCE_S)
        context: zmq.Context[Any] = zmq.Context()
        with context, context.socket(zmq.REQ) as peer:
            peer.linger = 0
            peer.connect(service.command_endpoint)
            peer.send(b"what is this?")
            assert peer.poll(int(PATIENCE_S * 1000))
            peer.recv()
    (message,) = errors(caplog)
    assert message.startswith("one_liner control")


@pytest.mark.parametrize("factory", [asyncio.SelectorEventLoop, LoopWithoutReaders])
def test_calls_of_an_event_loop_fail_and_the_next_ones_do_not(
    factory: Callable[[], asyncio.AbstractEventLoop],
    server: RouterServer,
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with AsyncRouterClient(rpc_port=server.rpc_port, broadcast_port=None, heartbeat_s=HEARTBEAT_S) as client:
            stuck = asyncio.ensure_future(client.call("device", "wait"))
            await asyncio.to_thread(device.entered.wait, PATIENCE_S)
            Break(monkeypatch, Switchboard, "take_turn")
            with pytest.raises(ServerLostError, match="as the log says"):
                await stuck
            device.release.set()
            assert await client.call("device", "add", [1]) == 2

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(asyncio.wait_for(main(), 50))
    assert len(errors(caplog)) == 1
