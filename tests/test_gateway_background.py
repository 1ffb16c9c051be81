"""The gateway's tasks that meet an error nobody thought of: it is in the log, and no browser waits for ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the gateway needs one_liner[gateway]")

import httpx
from fastapi import FastAPI
from websockets.asyncio.client import connect

from one_liner import RouterServer
from one_liner.aio import AsyncRouterClient
from one_liner.gateway import Settings, create_app, event_routes
from one_liner.gateway.backends.exchange import Exchange
from one_liner.gateway.backends.zmq import ZmqCarrier, _Mesh
from one_liner.gateway.bridge.bridge import Bridge
from one_liner.gateway.broadcast import Group
from one_liner.gateway.event import Event
from one_liner.gateway.outbox import Outbox
from one_liner.gateway.pubsub.streams import StreamTopics
from one_liner.gateway.rigs import Rig
from one_liner.gateway.rpc.channel import RpcChannel
from one_liner.gateway.rpc.endpoint import WebSocketRpcEndpoint
from one_liner.gateway.ui.polls import Poll
from one_liner.gateway.watch import Channel
from tests.conftest import poll_until
from tests.test_background import PATIENCE_S, PURPOSE, Break, Device, errors
from tests.web import Served, run, serving, until, wire


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds, result=None: sleep(min(seconds, 0.05), result))


@pytest.fixture
def server() -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=0.2) as server:
        server.add_instance("device", Device())
        server.add_stream("power", 50, "device", "power")
        server.run()
        yield server


@pytest.fixture
def app(server: RouterServer) -> FastAPI:
    return create_app(f"127.0.0.1:{server.rpc_port}", Settings(stream="power"))


@pytest.fixture
def served(app: FastAPI) -> Iterator[Served]:
    with serving(app) as served:
        poll_until(lambda: httpx.get(f"{served.http}/instrument/device/power").status_code == 200, PATIENCE_S)
        yield served


@pytest.mark.parametrize(
    ("cls", "method", "name"),
    [(Channel, "_take_in", "one_liner watch power"), (Group, "_send", "one_liner broadcast")],
)
def test_data_go_on(
    cls: type, method: str, name: str, served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with connect(f"{served.ws}/ws/stream", proxy=None) as watcher:
            broken = Break(monkeypatch, cls, method)
            await watcher.send('{"action": "start"}')
            while not broken.happened.is_set():
                await asyncio.wait_for(watcher.recv(), PATIENCE_S)
            while json.loads(await asyncio.wait_for(watcher.recv(), PATIENCE_S))["type"] != "data":
                pass

    run(main())
    assert [one.partition(" ended")[0] for one in errors(caplog)] == [name]


def test_a_connection_whose_outbox_breaks_ends(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        Break(monkeypatch, Outbox, "_send_waiting")
        async with connect(f"{served.ws}/ws/stream", proxy=None) as watcher:
            await asyncio.wait_for(watcher.wait_closed(), PATIENCE_S)

    run(main())
    assert errors(caplog) == ["one_liner outbox ended by an error"]


def test_a_call_whose_answer_breaks_is_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with wire(f"{served.ws}/ws") as client:
            assert await client.result("device.add", {"a": 1}) == 2
            Break(monkeypatch, RpcChannel, "_answer")
            assert (await client.call("device.add", {"a": 1}))["result_type"] == "RpcError"
            assert await client.result("device.add", {"a": 1}) == 2

    run(main())
    assert errors(caplog) == ["one_liner rpc device.add ended by an error"]


def test_a_connection_that_cannot_be_greeted_ends(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        Break(monkeypatch, WebSocketRpcEndpoint, "_greet")
        async with connect(f"{served.ws}/ws", proxy=None) as client:
            await asyncio.wait_for(client.wait_closed(), PATIENCE_S)

    run(main())
    assert errors(caplog) == ["one_liner rpc greeting ended by an error"]


def test_topics_go_on(served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        broken = [Break(monkeypatch, StreamTopics, name) for name in ("_known", "_deliver")]
        async with wire(f"{served.ws}/pubsub") as client:
            assert await client.result("subscribe", {"topics": ["power"]}) is True
            assert (await client.notified())["subscription"]["topic"] == "power"
        assert all(one.happened.is_set() for one in broken)

    run(main())
    assert sorted(one.partition(" ended")[0] for one in errors(caplog)) == [
        "one_liner stream topics",
        "one_liner topic power",
    ]


def test_a_rig_is_looked_at_all_the_same(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Break(monkeypatch, Rig, "_look")
    other = create_app(f"127.0.0.1:{served.port}")
    with serving(other):
        assert broken.happened.wait(PATIENCE_S)
    assert [one.partition(" ended")[0][:13] for one in errors(caplog)] == ["one_liner rig"]


def test_events_go_on(
    server: RouterServer, served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = False
    dumps = event_routes.dumps

    def fails_once(content: Any) -> bytes:
        nonlocal broken
        if not broken:
            broken = True
            raise RuntimeError(PURPOSE)
        return dumps(content)

    async def main() -> None:
        monkeypatch.setattr(event_routes, "dumps", fails_once)
        async with (
            httpx.AsyncClient(timeout=PATIENCE_S) as client,
            client.stream("GET", f"{served.http}/api/events", params={"topic": "event"}) as answer,
        ):
            telling = asyncio.create_task(_tell(server))
            try:
                async with asyncio.timeout(PATIENCE_S):
                    async for line in answer.aiter_lines():
                        if line.startswith("data:"):
                            break
            finally:
                telling.cancel()

    run(main())
    assert [one.partition(" ended")[0].strip() for one in errors(caplog)] == ["one_liner events  event"]


async def _tell(server: RouterServer) -> None:
    while True:
        server.emit("tell", 1)
        await asyncio.sleep(0.05)


def test_a_poll_asks_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        asked: list[int] = []

        async def ask() -> int:
            asked.append(len(asked))
            if len(asked) == 1:
                raise RuntimeError(PURPOSE)
            return len(asked)

        poll = Poll(ask, 0.01)
        poll.join()
        await until(lambda: poll.answered, "the second answer")
        await poll.close()

    run(main())
    assert [one.partition(" ended")[0] for one in errors(caplog)] == ["one_liner ui poll"]


def test_gateways_without_a_broker_go_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        got: list[Event] = []
        with RouterServer(rpc_port=0, broadcast_port=0) as placeholder:
            placeholder.run()
            port = placeholder.rpc_port
        first = Exchange(ZmqCarrier(f"zmq://127.0.0.1:{port}"))
        broken = Break(monkeypatch, _Mesh, "_read")
        second = Exchange(ZmqCarrier(f"zmq://127.0.0.1:0?peer=127.0.0.1:{port}"))
        await first.start(lambda _: None)
        await second.start(got.append)
        async with asyncio.timeout(PATIENCE_S):
            while not got:
                first.publish(Event("topic", "1"))
                await asyncio.sleep(0.05)
        assert broken.happened.is_set()
        await second.close()
        await first.close()

    run(main())
    assert [one.partition(" 127")[0] for one in errors(caplog)] == ["one_liner mesh"]


def test_nobody_waits_for_a_bridge_that_has_ended(server: RouterServer, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with AsyncRouterClient(rpc_port=server.rpc_port, broadcast_port=None) as client:
            bridge = Bridge("nats://127.0.0.1:1", client)

            async def connect() -> None:
                raise RuntimeError(PURPOSE)

            bridge._connect = connect  # type: ignore[method-assign]
            with pytest.raises(RuntimeError, match=PURPOSE):
                async with bridge:
                    await asyncio.wait_for(bridge.wait_connected(), PATIENCE_S)

    run(main())
    assert errors(caplog) == ["one_liner bridge ended by an error"]
