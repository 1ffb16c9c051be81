"""What joins gateways: each event once at each, brokers that are killed and come back, and what was lost, counted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

import httpx
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from one_liner.errors import BrokerLostError, MalformedError
from one_liner.gateway.backends import BackendStatistics
from one_liner.gateway.backends import exchange as exchange_module
from one_liner.gateway.backends.continuity import Continuity
from one_liner.gateway.backends.envelope import Envelope
from one_liner.gateway.backends.exchange import Exchange
from one_liner.gateway.event import Event
from one_liner.gateway.pubsub import PubSubEndpoint
from tests.brokers import Broker, broker
from tests.web import Served, Wire, run, serving, until, wire

# --- arithmetic ------------------------------------------------------------------------------------------------------


@given(
    topic=st.text(max_size=20),
    notifier_id=st.none() | st.text(max_size=20),
    data=st.sampled_from(["null", '{"a": [1, "é\\n"]}', '"\\u2028"', "1.5"]),
    sequence=st.integers(0, 2**40),
)
def test_envelopes_come_back(topic: str, notifier_id: str | None, data: str, sequence: int) -> None:
    envelope = Envelope("ab" * 16, sequence, Event(topic, data, notifier_id))
    assert Envelope.from_bytes(envelope.to_bytes()) == envelope
    beat = Envelope("ab" * 16, sequence, is_question=True)
    assert Envelope.from_bytes(beat.to_bytes()) == beat


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"origin": 1, "sequence": 1}',
        b'{"origin": "a", "sequence": true}',
        b'{"origin": "a", "sequence": 1, "topic": 5}\n1',
        b'{"origin": "a", "sequence": 1, "topic": "t"}\nno json',
        b'{"origin": "a", "sequence": 1, "topic": "t", "notifier_id": 5}\n1',
        b'{"origin": "a", "sequence": 1, "topic": "t"}',
    ],
)
def test_rubbish_is_no_envelope(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Envelope.from_bytes(data)


def test_gaps_are_lost_and_repetitions_are_duplicates() -> None:
    account = Continuity()
    assert [account.take("a", n) for n in (5, 6, 6, 9, 7)] == [True, True, False, True, False]
    assert (account.received, account.lost, account.duplicates) == (3, 2, 2)
    assert account.hear("a", 9) == 0
    assert account.hear("a", 12) == 3
    assert not account.take("a", 12)
    assert account.hear("b", 100) == 0
    assert account.take("b", 101)
    assert account.lost == 5


@given(st.lists(st.booleans(), max_size=50))
def test_received_and_lost_are_what_was_sent(arrives: list[bool]) -> None:
    account = Continuity()
    account.hear("a", 0)
    for number, there in enumerate(arrives, 1):
        if there:
            assert account.take("a", number)
    account.hear("a", len(arrives))
    assert (account.received, account.lost) == (sum(arrives), len(arrives) - sum(arrives))


# --- a carrier that is cut on purpose --------------------------------------------------------------------------------


class Wires:
    """Joins exchanges in this loop; can be cut, and can swallow what is sent."""

    name = "wires"

    def __init__(self) -> None:
        self.ends: list[asyncio.Queue[bytes | None]] = []
        self.up = True
        self.swallowing = False

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_End]:
        if not self.up:
            raise BrokerLostError("cut")
        own: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.ends.append(own)
        try:
            yield _End(self, own)
        finally:
            self.ends.remove(own)

    def cut(self) -> None:
        self.up = False
        for end in self.ends:
            end.put_nowait(None)


class _End:
    def __init__(self, wires: Wires, own: asyncio.Queue[bytes | None]) -> None:
        self._wires, self._own = wires, own

    async def send(self, messages: Sequence[bytes]) -> None:
        if not self._wires.up:
            raise BrokerLostError("cut")
        for end in [] if self._wires.swallowing else self._wires.ends:
            for message in messages:
                end.put_nowait(message)

    async def messages(self) -> AsyncIterator[bytes]:
        while (message := await self._own.get()) is not None:
            yield message
        raise BrokerLostError("cut")


async def met(*exchanges: Exchange) -> None:
    await until(lambda: all(len(one._heard_at) >= len(exchanges) - 1 for one in exchanges), "exchanges to meet")


@pytest.fixture(autouse=True)
def _fast_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "BEAT_S", 0.2)


def test_what_waits_while_the_carrier_is_away_arrives_once_and_in_order() -> None:
    async def body() -> None:
        wires, told = Wires(), []
        one, two = Exchange(wires), Exchange(wires)
        await one.start(lambda _: None)
        await two.start(told.append)
        await met(one, two)
        one.publish(Event("a", "0"))
        await until(lambda: told)
        wires.cut()
        await until(lambda: not one.statistics.connected and not two.statistics.connected)
        for number in range(1, 100):
            one.publish(Event("a", str(number)))
        wires.up = True
        await until(lambda: len(told) == 100)
        assert [event.data for event in told] == [str(number) for number in range(100)]
        assert (two.statistics.lost, two.statistics.duplicates) == (0, 0)
        assert one.statistics.reconnections >= 1
        assert (one.statistics.published, one.statistics.sent, one.statistics.waiting) == (100, 100, 0)
        await one.close()
        await two.close()

    run(body())


def test_what_finds_no_room_is_unsent_here_and_lost_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "_MOST_WAITING", 10)

    async def body() -> None:
        wires, told = Wires(), []
        one, two = Exchange(wires), Exchange(wires)
        await one.start(lambda _: None)
        await two.start(told.append)
        await met(one, two)
        wires.cut()
        await until(lambda: not one.statistics.connected and not two.statistics.connected)
        for number in range(30):
            one.publish(Event("a", str(number)))
        assert (one.statistics.unsent, one.statistics.waiting) == (20, 10)
        wires.up = True
        await until(lambda: len(told) == 10)
        assert two.statistics.lost == 20
        await one.close()
        await two.close()

    run(body())


def test_what_the_carrier_swallows_is_noticed_also_if_nothing_follows() -> None:
    async def body() -> None:
        wires, told = Wires(), []
        one, two = Exchange(wires), Exchange(wires)
        await one.start(lambda _: None)
        await two.start(told.append)
        await met(one, two)
        wires.swallowing = True
        for _ in range(5):
            one.publish(Event("a", "null"))
        await until(lambda: one.statistics.sent == 5)
        wires.swallowing = False
        await until(lambda: two.statistics.lost == 5)
        assert told == []
        await one.close()
        await two.close()

    run(body())


def test_rubbish_on_the_carrier_harms_nobody() -> None:
    async def body() -> None:
        wires, told = Wires(), []
        one, two = Exchange(wires), Exchange(wires)
        await one.start(lambda _: None)
        await two.start(told.append)
        await met(one, two)
        for end in wires.ends:
            end.put_nowait(b"rubbish")
        one.publish(Event("a", "1"))
        await until(lambda: told == [Event("a", "1")])
        await one.close()
        await two.close()

    run(body())


# --- real carriers ---------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@asynccontextmanager
async def _living(endpoint: PubSubEndpoint, app: FastAPI) -> AsyncIterator[None]:
    async with endpoint:
        yield


@contextmanager
def gateways(*urls: str) -> Iterator[list[tuple[PubSubEndpoint, Served]]]:
    """An application for each URL."""
    with ExitStack() as stack:
        found = []
        for url in urls:
            endpoint = PubSubEndpoint(backend=url)
            app = FastAPI(lifespan=partial(_living, endpoint))
            endpoint.register_route(app)
            found.append((endpoint, stack.enter_context(serving(app))))
        yield found


def statistics(endpoint: PubSubEndpoint) -> BackendStatistics:
    return endpoint.backend.statistics


async def joined(found: Sequence[tuple[PubSubEndpoint, Served]]) -> None:
    await until(lambda: all(len(endpoint.backend._heard_at) >= len(found) - 1 for endpoint, _ in found), "to meet")


@pytest.fixture(params=["memory", "zmq", "redis", "nats"])
def three_urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    if request.param == "memory":
        yield [f"memory://{tmp_path.name}"] * 3
    elif request.param == "zmq":
        ports = [free_port() for _ in range(3)]
        query = {own: "&".join(f"peer=127.0.0.1:{port}" for port in ports if port != own) for own in ports}
        yield [f"zmq://127.0.0.1:{own}?{query[own]}" for own in ports]
    else:
        pytest.importorskip(request.param, reason="pip install 'one_liner[gateway]'")
        with broker(request.param, tmp_path) as one:
            yield [one.url] * 3


def test_each_event_arrives_exactly_once_wherever_a_client_is_connected(three_urls: list[str]) -> None:
    async def told(client: Wire, expected: int) -> list[Any]:
        return [(await client.notified())["data"] for _ in range(expected)]

    async def body(found: list[tuple[PubSubEndpoint, Served]]) -> None:
        await joined(found)
        urls = [served.ws + "/pubsub" for _, served in found]
        async with wire(urls[0]) as a, wire(urls[1]) as b, wire(urls[2]) as c, wire(urls[2]) as d:
            for client in (a, b, c, d):
                await client.result("subscribe", {"topics": ["x"]})
            for number in range(100):
                await a.result("publish", {"topics": ["x", "y"], "data": number, "sync": False})
            async with httpx.AsyncClient(base_url=found[1][1].http) as http:
                await http.post("/publish", json={"topics": "x", "data": "the end"})
            everything = [*range(100), "the end"]
            assert await told(a, 1) == ["the end"]
            for client in (b, c, d):
                # From two gateways: each in its order.
                assert sorted(map(str, await told(client, 101))) == sorted(map(str, everything))
            await d.result("publish", {"topics": ["x"], "data": "last", "sync": False})
            for client in (a, b, c):
                assert await told(client, 1) == ["last"]
            for endpoint, _ in found:
                assert (statistics(endpoint).lost, statistics(endpoint).duplicates) == (0, 0)

    with gateways(*three_urls) as found:
        run(body(found))


@pytest.mark.parametrize("scheme", ["redis", "nats"])
def test_a_broker_that_is_killed_and_comes_back_costs_at_most_counted_events(scheme: str, tmp_path: Path) -> None:
    pytest.importorskip(scheme, reason="pip install 'one_liner[gateway]'")
    sent = 0

    async def body(found: list[tuple[PubSubEndpoint, Served]], one: Broker) -> None:
        nonlocal sent
        await joined(found)
        async with wire(found[0][1].ws + "/pubsub") as a, wire(found[1][1].ws + "/pubsub") as b:
            told: list[int] = []
            await b.result("subscribe", {"topics": ["x"]})

            async def listen() -> None:
                while True:
                    request = await b.requests.get()
                    told.append(request["arguments"]["data"])

            async def publish(count: int) -> None:
                nonlocal sent
                for _ in range(count):
                    assert await a.result("publish", {"topics": ["x"], "data": sent, "sync": False}) is True
                    sent += 1

            listening = asyncio.create_task(listen())
            for _ in range(2):
                await publish(50)
                await asyncio.to_thread(one.kill)
                await until(lambda: not any(statistics(endpoint).connected for endpoint, _ in found))
                await publish(50)
                await asyncio.to_thread(one.start)
                await publish(50)
                await until(lambda: all(statistics(endpoint).connected for endpoint, _ in found))
                await publish(50)
            await until(lambda: len(told) + statistics(found[1][0]).lost == sent, "every event to be told or counted")
            assert len(set(told)) == len(told)
            assert told == sorted(told)
            # Those that were published while it was away have waited for it.
            assert set(range(50, 100)) <= set(told)
            assert statistics(found[0][0]).reconnections == 2
            assert statistics(found[0][0]).waiting == 0
            listening.cancel()
            await asyncio.wait([listening])

    with broker(scheme, tmp_path) as one, gateways(one.url, one.url) as found:
        run(body(found, one))


@pytest.mark.parametrize("scheme", ["redis", "nats"])
def test_a_gateway_works_alone_while_its_broker_was_never_there(scheme: str, tmp_path: Path) -> None:
    pytest.importorskip(scheme, reason="pip install 'one_liner[gateway]'")

    async def body(served: Served, endpoint: PubSubEndpoint) -> None:
        async with wire(served.ws + "/pubsub") as a, wire(served.ws + "/pubsub") as b:
            await b.result("subscribe", {"topics": ["x"]})
            await a.send("publish", {"topics": ["x"], "data": 1, "sync": False})
            assert (await b.notified())["data"] == 1
            assert not statistics(endpoint).connected
            assert statistics(endpoint).waiting == 1

    with gateways(f"{scheme}://127.0.0.1:{free_port()}") as ((endpoint, served),):
        run(body(served, endpoint))


def test_a_mesh_goes_on_when_a_member_is_gone_and_returns() -> None:
    ports = [free_port(), free_port()]
    urls = [
        f"zmq://127.0.0.1:{ports[0]}?peer=127.0.0.1:{ports[1]}",
        f"zmq://127.0.0.1:{ports[1]}?peer=127.0.0.1:{ports[0]}",
    ]

    async def exchanged(found: list[tuple[PubSubEndpoint, Served]], data: Any) -> None:
        await joined(found)
        async with wire(found[0][1].ws + "/pubsub") as a, wire(found[1][1].ws + "/pubsub") as b:
            await a.result("subscribe", {"topics": ["x"]})
            await b.result("publish", {"topics": ["x"], "data": data})
            assert (await a.notified())["data"] == data
            await b.result("subscribe", {"topics": ["x"]})
            await a.result("publish", {"topics": ["x"], "data": data})
            assert (await b.notified())["data"] == data

    with gateways(urls[0]) as first:
        for data in (1, 2):
            first[0][0].backend._heard_at.clear()
            with gateways(urls[1]) as second:
                run(exchanged([*first, *second], data))


class _Stubborn:
    """A carrier that answers being cancelled with an error of its own, as the library of a broker may."""

    name = "stubborn"

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_Stubborn]:
        yield self

    async def send(self, messages: Sequence[bytes]) -> None:
        self.reached.set()

    async def messages(self) -> AsyncIterator[bytes]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise BrokerLostError("the connection is closed") from None
        yield b""


def test_an_exchange_ends_whatever_its_carrier_makes_of_that() -> None:
    async def body() -> None:
        carrier = _Stubborn()
        exchange = Exchange(carrier)
        await exchange.start(lambda event: None)
        await carrier.reached.wait()
        async with asyncio.timeout(20):
            await exchange.close()

    run(body())


async def _deaf(reached: asyncio.Event) -> None:
    """Lose a cancelling, as `asyncio.wait_for` does before Python 3.12 when what it waits for comes that moment."""
    reached.set()
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


class _Deaf(_Stubborn):
    """A carrier whose library loses a cancelling."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_Stubborn]:
        if self._where == "connect":
            await _deaf(self.reached)
        yield self

    async def send(self, messages: Sequence[bytes]) -> None:
        if self._where == "send":
            await _deaf(self.reached)


@pytest.mark.parametrize("where", ["connect", "send"])
def test_an_exchange_ends_although_its_carrier_loses_a_cancelling(where: str) -> None:
    async def body() -> None:
        carrier = _Deaf(where)
        exchange = Exchange(carrier)
        await exchange.start(lambda event: None)
        await carrier.reached.wait()
        async with asyncio.timeout(20):
            await exchange.close()

    run(body())
