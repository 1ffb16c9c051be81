"""AsyncRouterClient has the faces of RouterClient, name by name, and calls functions in its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import pytest

from one_liner import Job, RouterClient, RouterServer
from one_liner.aio import AsyncCallback, AsyncJob, AsyncLease, AsyncRouterClient, Event, JobState, Sample, State
from one_liner.commands.handle import JobHandle
from one_liner.errors import (
    CallTimeoutError,
    ClosedError,
    ConfigurationError,
    OneLinerError,
    ServerLostError,
    SourceFailedError,
    StreamTimeoutError,
)
from one_liner.rpc.held import HeldLease
from one_liner.testing import SubprocessServer
from tests.conftest import poll_until
from tests.test_aio import HEARTBEAT_S, PATIENCE_S, Device, Run, client_of, loop_factory, make_counter, run

__all__ = ["loop_factory", "run"]

NOT_IN_CLIENT = {"parts": "what it is made of, for this library"}
OTHERWISE_IN_CLIENT = {"server_version": "asks the server, and nothing that is not called can be awaited"}
NOT_IN_JOB = {"show": "a bar of its own thread; `on_progress` draws one in a loop"}
NOT_IN_LEASE = {
    "take": "for this library",
    "give_up": "for this library",
    "release": "the end of the `async with`",
    "stop": "for this library",
    "wait_lost": "for this library",
}


def public(cls: type) -> dict[str, Any]:
    return {
        name: inspect.getattr_static(cls, name)
        for name in dir(cls)
        if name[:1] != "_" or name in ("__init__", "__await__", "__iter__", "__next__")
    }


@pytest.mark.parametrize(
    ("sync", "with_await", "absent", "otherwise"),
    [
        (RouterClient, AsyncRouterClient, NOT_IN_CLIENT, OTHERWISE_IN_CLIENT),
        (JobHandle, AsyncJob, NOT_IN_JOB, {"__init__": "made by the client only"}),
        (HeldLease, AsyncLease, NOT_IN_LEASE, {"__init__": "made by the client only"}),
    ],
)
def test_every_public_name_is_there_with_the_same_parameters(
    sync: type, with_await: type, absent: dict[str, str], otherwise: dict[str, str]
) -> None:
    there = public(with_await)
    assert public(sync).keys() - there.keys() == absent.keys()
    differing = {}
    for name, member in public(sync).items():
        if name in absent:
            continue
        other = there[name]
        if isinstance(member, property) or isinstance(other, property):
            same = type(member) is type(other)
        else:
            same = _parameters(member) == _parameters(other)
        if not same:
            differing[name] = (member, other)
    assert differing.keys() == otherwise.keys()


def _parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


class Instrument(Device):
    def scan(self, steps: int, job: Job) -> int:
        for step in range(steps):
            job.progress((step + 1) / steps)
            job.check()
        return steps


@pytest.fixture
def device() -> Iterator[Instrument]:
    device = Instrument()
    yield device
    device.release.set()


@pytest.fixture
def server(device: Instrument) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S) as server:
        server.add_instance("device", device)
        server.add_stream("power", 50, "device", "power")
        server.run()
        yield server


async def until(predicate: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not predicate():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.005)


def test_functions_are_called_in_the_loop_and_coroutine_functions_awaited_one_after_the_other(
    run: Run, server: RouterServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        here, events, awaited, at_work = threading.get_ident(), list[Any](), list[Any](), 0

        def plain(event: Event) -> None:
            assert threading.get_ident() == here
            asyncio.get_running_loop()
            events.append(event.context)
            if event.context == 1:
                raise ValueError("no good")

        async def slow(event: Event) -> None:
            nonlocal at_work
            at_work += 1
            assert at_work == 1
            await asyncio.sleep(0.01)
            at_work -= 1
            awaited.append(event.context)
            if event.context == 2:
                raise ValueError("nor this")

        async with client_of(server) as client:
            server.emit("tell", 0)
            first, second = (client.on_event(one, "event", "tell", last=1) for one in (plain, slow))
            await until(lambda: events == awaited == [0], "the last one")
            for number in range(1, 5):
                server.emit("tell", number)
            await until(lambda: events == awaited == [0, 1, 2, 3, 4], "all of them, in order")
            first.close()
            assert first.closed
            server.emit("tell", 5)
            await until(lambda: awaited[-1] == 5, "the one that is still open")
            assert events[-1] == 4
        assert second.closed

    with caplog.at_level(logging.ERROR):
        run(main())
    assert [str(one.exc_info[1]) for one in caplog.records if one.exc_info] == ["no good", "nor this"]


def test_states_are_told_in_order(run: Run) -> None:
    with SubprocessServer(make_counter) as process:

        async def main() -> None:
            told: list[State] = []
            client = AsyncRouterClient(rpc_port=process.rpc_port, broadcast_port=None, heartbeat_s=HEARTBEAT_S)
            handle = client.on_state(told.append)
            await client.wait_until_connected(PATIENCE_S)
            await asyncio.to_thread(process.kill)
            await until(lambda: State.LOST in told, "the loss")
            await client.close()
            # How it is when listening begins, and every change from there on.
            assert told.index(State.CONNECTED) < told.index(State.LOST)
            assert State.CONNECTING not in told[1:]
            assert handle.closed

        run(main())


def test_samples_and_what_is_raised_in_their_place_are_told(run: Run, server: RouterServer, device: Instrument) -> None:
    async def main() -> None:
        samples, errors = list[Sample](), list[OneLinerError]()

        async def more(error: OneLinerError) -> None:
            await asyncio.sleep(0)
            errors.append(error)

        async with client_of(server) as client:
            with client.on_sample("power", samples.append, more) as handle:
                await until(lambda: len(samples) >= 5, "samples")
                assert [one.sequence for one in samples] == list(
                    range(samples[0].sequence, samples[0].sequence + len(samples))
                )
                device.power = None  # type: ignore[assignment]
                del device.power
                await until(lambda: errors, "an error")
                assert isinstance(errors[0], SourceFailedError)
            await until(lambda: handle._task.done(), "its end")
            seen = len(samples)
            device.power = 3.0
            await client.configure_stream("power", wait=True)
            await client.get_stream("power", block=True, timeout_s=PATIENCE_S)
            assert len(samples) == seen

    run(main())


def test_a_callback_of_samples_is_told_once_that_the_server_is_gone(run: Run) -> None:
    with SubprocessServer(make_counter) as process:

        async def main() -> None:
            samples, errors = list[Sample](), list[OneLinerError]()
            async with AsyncRouterClient(
                rpc_port=process.rpc_port, broadcast_port=None, heartbeat_s=HEARTBEAT_S
            ) as client:
                client.on_sample("power", samples.append, errors.append)
                await until(lambda: samples, "a sample")
                await asyncio.to_thread(process.kill)
                await until(lambda: errors, "the loss")
                await asyncio.to_thread(process.restart)
                before = samples[-1].origin
                await until(lambda: samples[-1].origin != before, "samples of the next server")
                assert [type(one) for one in errors] == [ServerLostError]

        run(main())


def test_a_busy_callback_leaves_the_loop_to_others(run: Run, server: RouterServer) -> None:
    async def main() -> None:
        taken, seen_by_others = list[int](), list[int]()

        def tell(event: Event) -> None:
            if not taken:
                asyncio.get_running_loop().call_soon(lambda: seen_by_others.append(len(taken)))
            taken.append(event.context)

        async with client_of(server) as client:
            for number in range(100):
                server.emit("tell", number)
            client.on_event(tell, "event", last=100)
            await until(lambda: len(taken) == 100, "all that waited")
        assert taken == list(range(100))
        assert seen_by_others[0] < 5

    run(main())


def test_a_callback_that_closes_itself_is_not_cancelled_and_one_that_hangs_is(run: Run, server: RouterServer) -> None:
    async def main() -> None:
        begun, ended = list[str](), list[str]()
        handles: dict[str, AsyncCallback[Event]] = {}

        async def once(_: Event) -> None:
            handles["once"].close()
            await asyncio.sleep(0.01)
            ended.append("by itself")

        async def hang(_: Event) -> None:
            begun.append("hangs")
            try:
                await asyncio.sleep(PATIENCE_S)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        server.emit("tell", 0)
        async with client_of(server) as client:
            handles["once"] = client.on_event(once, "event", last=1)
            await until(lambda: ended, "its end")
            handles["hang"] = client.on_event(hang, "event", last=1)
            await until(lambda: begun, "it to be called")
        assert ended == ["by itself", "cancelled"]

    run(main())


def test_a_callback_outlives_neither_its_loop_nor_its_client(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], server: RouterServer
) -> None:
    client = client_of(server)
    told: list[Any] = []

    async def begin() -> list[AsyncCallback[Any]]:
        handles: list[AsyncCallback[Any]] = [client.on_event(told.append), client.on_state(told.append)]
        handles.append(client.on_sample("power", told.append))
        await client.wait_until_connected(PATIENCE_S)
        await until(lambda: any(isinstance(one, Sample) for one in told), "a sample")
        return handles

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        handles = runner.run(begin())
    seen = len(told)
    server.emit("tell", 1)  # What wakes a loop that is gone hurts nobody.
    assert all(one.closed for one in handles)
    for one in handles:
        one.close()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(client.close())
    assert len(told) == seen
    with asyncio.Runner(loop_factory=loop_factory) as runner, pytest.raises(ClosedError):
        runner.run(_listening_late(client))


async def _listening_late(client: AsyncRouterClient) -> None:
    client.on_event(print)


def test_nobody_listens_without_a_loop(server: RouterServer) -> None:
    client = client_of(server)
    for begin in (client.on_event, client.on_state):
        with pytest.raises(RuntimeError, match="loop"):
            begin(print)
    with pytest.raises(RuntimeError, match="loop"):
        client.on_sample("power", print)
    assert client._inner._hub is None
    asyncio.run(client.close())


def test_events_are_awaited_without_a_thread_for_each_listener(run: Run, server: RouterServer) -> None:
    async def main() -> None:
        async with client_of(server) as client:
            with client.iter_events("event", timeout_s=0.05) as events:
                with pytest.raises(StreamTimeoutError):
                    await anext(events)
                threads = threading.active_count()
                many = [client.iter_events("event", "tell") for _ in range(30)]
                waiting = [asyncio.ensure_future(anext(one)) for one in many]
                # A topic is told to the server for the first of them; from then on nothing is missed.
                await client.events()
                feed = client._inner._hub
                assert feed is not None
                server.emit("tell", 0)
                found = await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_S)
                assert [one.context for one in found] == [0] * 30
                assert threading.active_count() <= threads + 1  # One of the executor's at most, for closing.
                late = asyncio.ensure_future(anext(many[0]))
                late.cancel()
                await asyncio.wait([late])
                server.emit("tell", 1)
                assert (await asyncio.wait_for(anext(many[0]), PATIENCE_S)).context == 1  # It took nothing with it.
                closing = asyncio.ensure_future(anext(many[1]))
                assert (await closing).context == 1
                closing = asyncio.ensure_future(_all_of(many[1]))
                await asyncio.sleep(0)
                many[1].close()
                assert await asyncio.wait_for(closing, PATIENCE_S) == []
                assert many[0].dropped == 0
            with pytest.raises(ConfigurationError):
                client.iter_events("nonsense")
            ending = asyncio.ensure_future(_all_of(client.iter_events("event")))
            await asyncio.sleep(0)
        assert await asyncio.wait_for(ending, PATIENCE_S) == []

    run(main())


async def _all_of(events: Any) -> list[Event]:
    async with contextlib.aclosing(events):
        return [one async for one in events]


def test_properties_are_observed(run: Run, server: RouterServer, device: Instrument) -> None:
    async def main() -> None:
        async with client_of(server) as client:
            await client.observe("device", "power", 50)
            device.power = 11.0
            # With the last ones: the change may be seen before the subscription has arrived.
            changes = client.iter_events("property_change", last=10, timeout_s=PATIENCE_S)
            async for change in changes:
                if change.context["new"] == 11.0:
                    break
            await client.unobserve("device", "power")
            with pytest.raises(OneLinerError, match="not observed"):
                await client.unobserve("device", "power")

    run(main())


class HasPower(Protocol):
    @property
    def power(self) -> Awaitable[float]: ...

    async def add(self, a: int, b: int = 0) -> int: ...


def test_a_proxy_has_a_type(run: Run, server: RouterServer) -> None:
    async def main() -> None:
        async with client_of(server, if_busy="refuse") as client:
            device = client.proxy("device", HasPower)
            total: int = await device.add(1, b=2)
            power: float = await device.power
            assert (total, power) == (3, 5.0)

    run(main())


def test_jobs_tell_what_becomes_of_them(run: Run, server: RouterServer, device: Instrument) -> None:
    async def main() -> None:
        fractions, ended = list[float | None](), list[AsyncJob]()
        async with client_of(server) as client:
            job = await client.submit("device", "wait")
            with pytest.raises(CallTimeoutError, match="goes on"):
                await job.wait(0.05)
            with pytest.raises(CallTimeoutError, match="goes on"):
                await job.result(timeout_s=0)
            job.on_done(ended.append)
            scan = await client.submit("device", "scan", [5])
            scan.on_progress(lambda progress: fractions.append(progress.fraction))
            updates = asyncio.ensure_future(_all_infos(scan))
            await asyncio.sleep(0.05)
            assert (scan.command, scan.state, ended) == ("device.scan", JobState.PENDING, [])
            device.release.set()
            assert await job == "waited"
            assert await scan.wait() is JobState.SUCCEEDED
            assert await scan.exception() is None
            assert await scan.result() == 5
            await until(lambda: ended == [job] and fractions[-1] == 1.0, "them to be told")
            infos = await asyncio.wait_for(updates, PATIENCE_S)
            assert infos[-1].state is JobState.SUCCEEDED
            assert [one.revision for one in infos] == sorted({one.revision for one in infos})

    run(main())


async def _all_infos(job: AsyncJob) -> list[Any]:
    return [info async for info in job.updates(PATIENCE_S)]


def test_a_job_that_is_lost_with_its_server_is_an_end(run: Run) -> None:
    with SubprocessServer(make_counter) as process:

        async def main() -> None:
            ended: list[AsyncJob] = []
            async with AsyncRouterClient(
                rpc_port=process.rpc_port, broadcast_port=None, heartbeat_s=HEARTBEAT_S
            ) as client:
                job = await client.submit("device", "wait")
                job.on_done(ended.append)
                waiting = asyncio.ensure_future(job.wait())
                await asyncio.to_thread(process.kill)
                with pytest.raises(OneLinerError):
                    await waiting
                assert not ended
                await asyncio.to_thread(process.restart)
                await until(lambda: ended == [job], "its end")

        run(main())


def test_who_loses_a_lease_is_told_in_the_loop(run: Run, server: RouterServer) -> None:
    async def main() -> None:
        told: list[OneLinerError] = []

        async def lost(reason: OneLinerError) -> None:
            await asyncio.sleep(0)
            told.append(reason)

        async with (
            client_of(server, name="anna") as anna,
            client_of(server, name="ben") as ben,
            anna.lease("device", on_lost=lost) as lease,
            ben.lease("device", force=True),
        ):
            await until(lambda: told, "the loss")
            assert not lease.held

    run(main())


def test_a_feed_of_events_is_closed_with_its_last_listener(run: Run, server: RouterServer) -> None:
    async def main() -> None:
        async with client_of(server) as client:
            handle = client.on_event(print, "event")
            hub = client._inner._hub
            assert hub is not None
            assert hub._feeds
            handle.close()
            await asyncio.to_thread(poll_until, lambda: not hub._feeds, PATIENCE_S, "it to be closed")

    run(main())
