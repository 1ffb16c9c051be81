"""AsyncRouterClient: the same calls, errors and samples with await, on loops that know nothing of sockets of zmq."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import zmq

from one_liner import RouterServer
from one_liner.aio import AsyncRouterClient
from one_liner.errors import (
    BadArgumentsError,
    BusyError,
    BusyTimeoutError,
    CallTimeoutError,
    ClosedError,
    ConfigurationError,
    JobCancelledError,
    LeasedError,
    NoDataError,
    NoServerError,
    NotReceivedError,
    OneLinerError,
    RemoteError,
    ServerLostError,
    StreamTimeoutError,
    UnknownAttributeError,
    UnknownStreamError,
)
from one_liner.rpc import switchboard
from one_liner.testing import FaultProxy, Sever, SubprocessServer
from tests.conftest import poll_until

HEARTBEAT_S = 0.2
PATIENCE_S = 20.0


class Device:
    def __init__(self) -> None:
        self.power = 5.0
        self.calls = 0
        self.release = threading.Event()
        self.entered = threading.Event()

    def add(self, a: int, b: int = 0) -> int:
        self.calls += 1
        return a + b

    def wait(self) -> str:
        self.entered.set()
        assert self.release.wait(PATIENCE_S)
        return "waited"

    def fail(self) -> None:
        raise ValueError("no light")


class LoopWithoutReaders(asyncio.SelectorEventLoop):
    """As Windows' Proactor: it watches sockets of its own, and no descriptor that somebody brings."""

    def __init__(self) -> None:
        super().__init__(selectors.DefaultSelector())

    def add_reader(self, *_: Any) -> None:  # type: ignore[override]
        raise NotImplementedError

    def add_writer(self, *_: Any) -> None:  # type: ignore[override]
        raise NotImplementedError


Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop", "no readers"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    if request.param == "uvloop":
        factory: Callable[[], asyncio.AbstractEventLoop] = pytest.importorskip("uvloop").new_event_loop
        return factory
    return asyncio.SelectorEventLoop if request.param == "asyncio" else LoopWithoutReaders


@pytest.fixture
def run(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> Run:
    def run(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(asyncio.wait_for(main, 50))

    return run


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device()
    yield device
    device.release.set()


@pytest.fixture
def server(device: Device) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S) as server:
        server.add_instance("device", device)
        server.add_instance("other", Device())
        server.add_stream("power", 50, "device", "power")
        server.add_named_call("three", "device", "add", [1, 2])
        server.run()
        yield server


def client_of(server: RouterServer, **options: Any) -> AsyncRouterClient:
    return AsyncRouterClient(rpc_port=server.rpc_port, broadcast_port=None, heartbeat_s=HEARTBEAT_S, **options)


def test_calls_properties_and_descriptions_are_those_of_the_other_client(run: Run, server: RouterServer) -> None:
    async def main() -> None:
        async with client_of(server) as client:
            await client.wait_until_connected()
            assert await client.call("device", "add", [1], {"b": 2}) == 3
            assert await client.call_by_name("three") == 3
            timestamp, value = await client.call("device", "add", [1], get_timestamp=True)
            assert (type(timestamp), value) == (float, 1)
            await client.set("device", "power", 7.0)
            assert await client.get("device", "power") == 7.0
            assert await client.server_version() == client.version
            described = await client.describe()
            assert [one.name for one in described.objects] == ["device", "other"]
            assert (await client.describe_object("device")).find("add") is not None
            assert "power" in await client.get_stream_configurations()
            assert await client.running_calls() == []

    run(main())


def test_a_proxy_is_called_and_awaited(run: Run, server: RouterServer) -> None:
    async def main() -> None:
        async with client_of(server) as client:
            device = client.proxy("device")
            assert await device.add(2, b=3) == 5
            assert await device.power == 5.0
            with pytest.raises(AttributeError, match=r"await client\.set"):
                device.power = 3
            with pytest.raises(AttributeError):
                device._secret  # noqa: B018
            with pytest.raises(TypeError, match="an object"):
                await device

    run(main())


def test_errors_are_those_of_the_other_client(run: Run, server: RouterServer) -> None:
    async def main() -> None:
        async with client_of(server) as client:
            with pytest.raises(RemoteError, match="no light") as raised:
                await client.call("device", "fail")
            assert isinstance(raised.value, ValueError)
            with pytest.raises(UnknownAttributeError):
                await client.call("device", "nothing")
            with pytest.raises(BadArgumentsError):
                await client.call("device", "add")
            with pytest.raises(TypeError, match="args"):
                await client.call("device", "add", [object()])
            with pytest.raises(ConfigurationError):
                await client.call("a\ud800", "add")
            assert await client.call("device", "add", [1]) == 1  # None of these did any harm.

    run(main())


def test_hundreds_of_calls_are_in_flight_on_one_thread_at_most(run: Run, server: RouterServer, device: Device) -> None:
    async def main() -> None:
        async with client_of(server) as client:
            await client.call("device", "add", [0])
            threads = threading.active_count()
            stuck = asyncio.create_task(client.call("device", "wait"))
            await asyncio.to_thread(device.entered.wait, PATIENCE_S)
            behind = [asyncio.create_task(client.call("device", "add", [one])) for one in range(300)]
            # Another object's calls wait for none of them.
            assert await asyncio.gather(*(client.call("other", "add", [one]) for one in range(300))) == list(range(300))
            assert not any(task.done() for task in behind)
            mine = [one for one in threading.enumerate() if one.name.startswith("one_liner calls")]
            # A loop that cannot watch sockets has one thread do it.
            assert len(mine) == isinstance(asyncio.get_running_loop(), LoopWithoutReaders)
            assert threading.active_count() < threads + 20
            device.release.set()
            assert await stuck == "waited"
            assert await asyncio.gather(*behind) == list(range(300))

    run(main())


def test_a_cancelled_task_withdraws_its_call(run: Run, server: RouterServer, device: Device) -> None:
    async def main() -> None:
        async with client_of(server) as client:
            stuck = asyncio.create_task(client.call("device", "wait"))
            await asyncio.to_thread(device.entered.wait, PATIENCE_S)
            doomed = asyncio.create_task(client.call("device", "add", [1]))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(doomed), 0.1)
            doomed.cancel()
            with pytest.raises(asyncio.CancelledError):
                await doomed
            # What is asked on the same connection after the withdrawal is read after it.
            assert await client.call("other", "add", [1]) == 1
            device.release.set()
            assert await stuck == "waited"
            assert await client.call("device", "add", [2]) == 2
            assert device.calls == 1

    run(main())


def test_calls_that_were_withdrawn_are_forgotten_in_time(
    run: Run, server: RouterServer, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switchboard, "MOST_GIVEN_UP", 10)

    async def main() -> None:
        async with client_of(server) as client:
            waiting = asyncio.create_task(client.call("device", "wait"))
            assert await asyncio.to_thread(device.entered.wait, PATIENCE_S)
            rpc = client._parts.rpc
            operator = rpc._in_loop or rpc._on_thread
            assert operator is not None
            board = operator._board
            calls = [asyncio.create_task(client.call("device", "add", [1])) for _ in range(40)]
            await asyncio.to_thread(poll_until, lambda: len(board._sent) == 41, PATIENCE_S, "them to be sent")
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
            await asyncio.to_thread(poll_until, lambda: len(board._sent) == 1, PATIENCE_S, "them to be withdrawn")
            assert len(board._given_up) == 10
            device.release.set()
            assert await waiting == "waited"
            assert await client.call("device", "add", [2]) == 2

    run(main())


def test_a_timeout_says_whether_it_waits_or_runs(run: Run, server: RouterServer, device: Device) -> None:
    async def main() -> None:
        async with client_of(server) as client:
            with pytest.raises(CallTimeoutError, match=r"device\.wait.*still runs"):
                await client.call("device", "wait", timeout_s=0.2)
            with pytest.raises(BusyTimeoutError, match=r"device\.add"):
                await client.call("device", "add", [1], timeout_s=0.2)
            device.release.set()
            assert await client.call("device", "add", [2]) == 2
            assert device.calls == 1
            await asyncio.to_thread(poll_until, lambda: client.stale_replies == 1, what="the late reply to be counted")

    run(main())


def test_nobody_there_is_an_error_within_three_heartbeats(run: Run) -> None:
    async def main() -> None:
        async with AsyncRouterClient(rpc_port=1, broadcast_port=None, heartbeat_s=HEARTBEAT_S) as client:
            with pytest.raises(NoServerError):
                await client.call("device", "add", [1])
            with pytest.raises(NoServerError):
                await client.wait_until_connected(0.3)
            assert client.revision is None

    run(main())


def test_closing_gives_every_waiter_an_error(run: Run, server: RouterServer, device: Device) -> None:
    async def main() -> None:
        client = client_of(server)
        await client.configure_stream("nothing")
        waiting: list[asyncio.Task[Any]] = [
            asyncio.create_task(client.call("device", "wait")),
            asyncio.create_task(client.get_stream("nothing", block=True)),
        ]
        await asyncio.to_thread(device.entered.wait, PATIENCE_S)
        await client.close()
        for task in waiting:
            with pytest.raises(ClosedError):
                await task
        with pytest.raises(ClosedError):
            await client.call("device", "add", [1])
        await client.close()

    run(main())


def test_streams_are_iterated_read_and_left(run: Run, server: RouterServer) -> None:
    async def main() -> None:
        async with client_of(server) as client:
            await client.configure_stream("power", wait=True)
            seen: list[int] = []
            async for sample in client.stream("power", timeout_s=PATIENCE_S):
                seen.append(sample.sequence)
                if len(seen) == 20:
                    break
            assert seen == list(range(seen[0], seen[0] + 20))
            assert client.last_sample("power").data == 5.0
            assert client.stream_statistics("power").delivered == 20
            await client.disable_stream("power")
            with pytest.raises(StreamTimeoutError):
                await _until_it_raises(client, "power")
            with pytest.raises(NoDataError):
                await client.get_stream("power")
            client.unconfigure_stream("power")
            with pytest.raises(UnknownStreamError):
                await client.get_stream("power", block=True)

    run(main())


async def _until_it_raises(client: AsyncRouterClient, name: str) -> None:
    while True:
        await client.get_stream(name, timeout_s=0.3)


def test_a_lease_keeps_others_out(run: Run, server: RouterServer) -> None:
    async def main() -> None:
        async with client_of(server, name="anna") as anna, client_of(server, name="ben") as ben:
            async with anna.lease("device") as lease:
                assert lease.held
                lease.check()
                with pytest.raises(LeasedError, match="anna"):
                    await ben.call("device", "add", [1])
                assert [one["who"] for one in await ben.leases()] == ["anna"]
            assert await ben.call("device", "add", [1]) == 1

    run(main())


def test_a_lease_that_nobody_waits_for_any_more_is_given_back(
    run: Run, server: RouterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on, taken = threading.Event(), threading.Event(), threading.Event()

    async def main() -> None:
        async with client_of(server, name="anna") as anna:
            take = anna._inner.lease

            def take_slowly(*args: Any, **options: Any) -> Any:
                entered.set()
                assert go_on.wait(PATIENCE_S)
                held = take(*args, **options)
                taken.set()
                return held

            monkeypatch.setattr(anna._inner, "lease", take_slowly)

            async def hold() -> None:
                async with anna.lease("device"):
                    await asyncio.sleep(PATIENCE_S)

            holding = asyncio.create_task(hold())
            assert await asyncio.to_thread(entered.wait, PATIENCE_S)
            holding.cancel()
            await asyncio.wait([holding])
            assert holding.cancelled()
            go_on.set()
            assert await asyncio.to_thread(taken.wait, PATIENCE_S)
            await asyncio.to_thread(poll_until, lambda: not server.leases(), PATIENCE_S, "the lease to be given back")

    run(main())


def test_jobs_are_submitted_watched_and_cancelled(run: Run, server: RouterServer, device: Device) -> None:
    async def main() -> None:
        async with client_of(server, name="anna") as client:
            job = await client.submit("device", "add", [1], {"b": 2})
            assert await job.result() == 3
            assert job.info.who == "anna"
            failing = await client.submit("device", "fail")
            with pytest.raises(ValueError, match="no light"):
                await failing.result()
            stuck = await client.submit("device", "wait")
            await asyncio.to_thread(device.entered.wait, PATIENCE_S)
            behind = await client.submit("device", "add", [1])
            assert await behind.cancel()
            with pytest.raises(JobCancelledError):
                await behind.result()
            assert not await (await client.job(behind.id)).cancel()
            device.release.set()
            states = [info.state async for info in stuck.updates()]
            assert states[-1] == "succeeded"
            assert {info.id for info in await client.jobs()} == {job.id, failing.id, stuck.id, behind.id}

    run(main())


def test_events_are_iterated(run: Run, server: RouterServer) -> None:
    async def main() -> None:
        async with client_of(server) as client:
            server.emit("before", 0)
            async with contextlib.aclosing(client.iter_events("event", last=1)) as events:
                first = await anext(events)
                assert (first.kind, first.context) == ("before", 0)
                server.emit("after", 1)
                assert (await anext(events)).kind == "after"
            assert [event.kind for event in await client.events("event")] == ["before", "after"]

    run(main())


def test_who_does_not_want_to_wait_is_refused(run: Run, server: RouterServer, device: Device) -> None:
    async def main() -> None:
        async with client_of(server) as client:
            stuck = asyncio.create_task(client.call("device", "wait"))
            await asyncio.to_thread(device.entered.wait, PATIENCE_S)
            with pytest.raises(BusyError):
                await client.call("device", "add", [1], if_busy="refuse")
            device.release.set()
            await stuck

    run(main())


def make_counter(rpc_port: int, broadcast_port: int) -> RouterServer:
    server = RouterServer(rpc_port=rpc_port, broadcast_port=broadcast_port, heartbeat_s=HEARTBEAT_S)
    server.add_instance("device", Device())
    server.add_stream("power", 50, "device", "power")
    return server


def test_a_killed_server_is_told_soon_and_found_again(run: Run) -> None:
    with SubprocessServer(make_counter) as process:

        async def main() -> None:
            async with AsyncRouterClient(
                rpc_port=process.rpc_port, broadcast_port=None, heartbeat_s=HEARTBEAT_S
            ) as client:
                samples = client.stream("power")
                first = await anext(samples)
                revision = client.revision
                assert await client.call("device", "add", [1]) == 1
                waiting = asyncio.create_task(client.call("device", "wait"))
                await asyncio.to_thread(process.kill)
                with pytest.raises(ServerLostError):
                    await waiting
                await asyncio.to_thread(process.restart)
                await client.wait_until_connected(PATIENCE_S)
                assert await client.call("device", "add", [2]) == 2
                assert client.revision != revision
                later = await _next_of(client, "power", first.origin)
                assert later.origin != first.origin

        run(main())


async def _next_of(client: AsyncRouterClient, name: str, not_from: int) -> Any:
    while True:
        try:
            sample = await client.get_stream(name, block=True, timeout_s=PATIENCE_S)
        except OneLinerError:
            await asyncio.sleep(0.05)
            continue
        if sample.origin != not_from:
            return sample


def test_a_connection_that_breaks_costs_no_answer_of_what_ran_and_nothing_is_done_twice(run: Run) -> None:
    with (
        SubprocessServer(make_counter) as process,
        FaultProxy(process.rpc_port, process.broadcast_port) as proxy,
    ):

        async def main() -> None:
            # Slower than elsewhere here: who is kept from its core for half a second is not lost.
            async with AsyncRouterClient(rpc_port=proxy.rpc_port, broadcast_port=None, heartbeat_s=0.5) as client:
                assert await client.call("device", "add", [0]) == 0
                with proxy.inject(Sever(port="rpc", direction="to_client", every=40)) as severed:
                    calls = (client.call("device", "add", [one]) for one in range(200))
                    answers = await asyncio.gather(*calls, return_exceptions=True)
                    assert severed.struck
                # Those that were on their way to the server when the connection broke did not run, and are told so.
                lost = [one for one in answers if isinstance(one, NotReceivedError)]
                assert [one for one in answers if one not in lost] == [
                    index for index, one in enumerate(answers) if one not in lost
                ]
                assert await client.get("device", "calls") == 201 - len(lost)

        run(main())


def test_who_has_waited_for_samples_is_forgotten() -> None:
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        push = server.get_stream_fn("counter")
        server.run()

        async def main() -> None:
            async with AsyncRouterClient(rpc_port=server.rpc_port, broadcast_port=None) as client:
                await client.configure_stream("counter", wait=True)
                for number in range(5):
                    waiting = asyncio.create_task(client.get_stream("counter", block=True))
                    await asyncio.sleep(0)
                    push(number)
                    assert (await asyncio.wait_for(waiting, 30)).data == number
                some = asyncio.create_task(client.get_samples("counter", block=True))
                await asyncio.sleep(0)
                push(5)
                push(6)
                found = [sample.data for sample in await asyncio.wait_for(some, 30)]
                while len(found) < 2:
                    found += [sample.data for sample in await client.get_samples("counter", timeout_s=30)]
                assert found == [5, 6]
                with pytest.raises(NoDataError):
                    await client.get_samples("counter")
                assert client._parts.subscription("counter")._listeners == ()

        asyncio.run(main())


def test_a_loop_is_asked_once_whether_it_can_watch(server: RouterServer) -> None:
    asked = 0

    class Asked(LoopWithoutReaders):
        def add_reader(self, *_: Any) -> None:  # type: ignore[override]
            nonlocal asked
            asked += 1
            raise NotImplementedError

    async def main() -> None:
        async with client_of(server) as client:
            for number in range(5):
                assert await client.call("device", "add", [number]) == number

    with asyncio.Runner(loop_factory=Asked) as runner:
        runner.run(asyncio.wait_for(main(), 50))
    # The loop itself asks for one, of the pair that wakes it.
    assert asked <= 2


def test_a_client_goes_from_one_loop_to_the_next(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], server: RouterServer, device: Device
) -> None:
    client = client_of(server)
    for number in range(3):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            assert runner.run(asyncio.wait_for(client.call("other", "add", [number]), 50)) == number
            if number == 1:
                # Left behind with its loop; who comes next is not held up by it.
                runner.get_loop().create_task(client.call("device", "wait"))
                runner.run(asyncio.sleep(0))
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(asyncio.wait_for(client.close(), 50))


def test_two_loops_share_a_client(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], server: RouterServer, device: Device
) -> None:
    client = client_of(server)

    async def ask(meet: threading.Barrier) -> list[Any]:
        await asyncio.to_thread(meet.wait, PATIENCE_S)
        answers = [await client.call("device", "add", [number]) for number in range(50)]
        await asyncio.to_thread(meet.wait, PATIENCE_S)
        return answers

    def run_one(meet: threading.Barrier, found: list[list[Any]]) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            found.append(runner.run(asyncio.wait_for(ask(meet), 50)))

    meet, found = threading.Barrier(2), list[list[Any]]()
    threads = [threading.Thread(target=run_one, args=(meet, found)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [list(range(50))] * 2
    asyncio.run(client.close())


def test_closing_waits_for_no_loop_that_does_not_run(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], server: RouterServer, device: Device
) -> None:
    client = client_of(server)
    loop = loop_factory()
    stuck = loop.create_task(client.call("device", "wait"))
    loop.run_until_complete(asyncio.to_thread(device.entered.wait, PATIENCE_S))
    closing = threading.Thread(target=asyncio.run, args=(client.close(),))
    closing.start()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    with pytest.raises(ClosedError):
        loop.run_until_complete(stuck)
    loop.close()


def test_a_context_that_is_terminated_is_told_to_who_waits(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], server: RouterServer, device: Device
) -> None:
    context: zmq.Context[Any] = zmq.Context()

    async def main() -> None:
        client = client_of(server, context=context)
        stuck = asyncio.create_task(client.call("device", "wait"))
        await asyncio.to_thread(device.entered.wait, PATIENCE_S)
        ending = asyncio.create_task(asyncio.to_thread(context.term))
        with pytest.raises(OneLinerError):
            await stuck
        await client.close()
        await ending

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(asyncio.wait_for(main(), 50))
