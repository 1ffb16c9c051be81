"""Topics over WebSockets: the wire, stock clients, streams of servers, and watchers that never read."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest

pytest.importorskip("fastapi")

import httpx
from fastapi import Depends, FastAPI, HTTPException

from one_liner.errors import ConfigurationError
from one_liner.gateway import create_app
from one_liner.gateway.pubsub import ALL_TOPICS, PubSubEndpoint, Subscription
from one_liner.gateway.pubsub import endpoint as endpoint_module
from one_liner.gateway.pubsub.notifier import MAX_TOPICS, EventNotifier
from one_liner.gateway.rpc import RpcChannel
from one_liner.server import RouterServer
from tests.conftest import poll_until
from tests.web import PATIENCE_S, Served, Wire, run, serving, until, wire

HEX_32 = re.compile(r"[0-9a-f]{32}")


@contextmanager
def endpoint_served(endpoint: PubSubEndpoint, **options: Any) -> Iterator[Served]:
    app = FastAPI()
    endpoint.register_route(app, **options)
    with serving(app) as served:
        yield served


async def heard(*clients: Wire) -> list[list[tuple[str, Any]]]:
    """What each was told until now: topics and data. Everything before is, when an event of now has come."""
    told = []
    for client in clients:
        await client.result("subscribe", {"topics": ["the end"]})
        assert await client.result("publish", {"topics": ["the end"], "sync": False, "notifier_id": "me"}) is True
        events = []
        while (told_now := await client.notified())["subscription"]["topic"] != "the end":
            events.append((told_now["subscription"]["topic"], told_now["data"]))
        await client.result("unsubscribe", {"topics": ["the end"]})
        told.append(events)
    return told


# --- the wire --------------------------------------------------------------------------------------------------------


def test_notify_has_a_subscription_and_the_data() -> None:
    async def body(url: str) -> None:
        async with wire(url) as subscriber, wire(url) as publisher:
            assert await subscriber.call("subscribe", {"topics": ["a", "b"]}) == {
                "result": True,
                "result_type": "bool",
                "call_id": "0" * 32,
            }
            arguments = {"topics": ["b"], "data": {"n": [1, None, "é"]}, "sync": False, "notifier_id": None}
            assert await publisher.result("publish", arguments) is True
            told = await subscriber.notified()
            assert set(told) == {"subscription", "data"}
            assert told["data"] == {"n": [1, None, "é"]}
            subscription = told["subscription"]
            assert HEX_32.fullmatch(subscription["id"])
            assert subscription == {
                "id": subscription["id"],
                "subscriber_id": await subscriber.result("_get_channel_id_"),
                "topic": "b",
                "notifier_id": await publisher.result("_get_channel_id_"),
            }

    with endpoint_served(PubSubEndpoint()) as served:
        run(body(served.ws + "/pubsub"))


def test_topics_are_exact_and_n_topics_are_n_events() -> None:
    async def body(url: str) -> None:
        async with wire(url) as one, wire(url) as several, wire(url) as publisher:
            await one.result("subscribe", {"topics": "a"})
            await several.result("subscribe", {"topics": ["a", "b", "a/b", "a"]})
            for topics in (["a", "b", "c"], ["A"], ["a/"], "a/b", ["a", "a"], []):
                assert await publisher.result("publish", {"topics": topics, "data": topics, "sync": False}) is True
            assert await heard(one, several) == [
                [("a", ["a", "b", "c"]), ("a", ["a", "a"]), ("a", ["a", "a"])],
                [("a", ["a", "b", "c"]), ("b", ["a", "b", "c"]), ("a/b", "a/b"), ("a", ["a", "a"]), ("a", ["a", "a"])],
            ]

    with endpoint_served(PubSubEndpoint()) as served:
        run(body(served.ws + "/pubsub"))


def test_all_topics_are_all_topics_and_each_event_comes_once() -> None:
    async def body(url: str) -> None:
        async with wire(url) as everything, wire(url) as both, wire(url) as publisher:
            await everything.result("subscribe", {"topics": ALL_TOPICS})
            await both.result("subscribe", {"topics": [ALL_TOPICS, "a"]})
            await publisher.result("publish", {"topics": ["a", "b"], "sync": False})
            assert await heard(both) == [[("a", None), ("b", None)]]
            await both.result("unsubscribe", {"topics": [ALL_TOPICS]})
            await publisher.result("publish", {"topics": ["a", "b"], "sync": False})
            assert await heard(both) == [[("a", None)]]
            told = [(await everything.notified())["subscription"]["topic"] for _ in range(6)]
            assert told == ["a", "b", "the end"] * 2

    with endpoint_served(PubSubEndpoint()) as served:
        run(body(served.ws + "/pubsub"))


def test_the_publisher_gets_no_echo_unless_it_goes_by_another_name() -> None:
    async def body(url: str) -> None:
        async with wire(url) as client:
            await client.result("subscribe", {"topics": ["a", ALL_TOPICS]})
            own = await client.result("_get_channel_id_")
            await client.result("publish", {"topics": ["a"], "data": 1, "sync": False})
            await client.result("publish", {"topics": ["a"], "data": 2, "sync": False, "notifier_id": own})
            await client.result("publish", {"topics": ["a"], "data": 3, "sync": False, "notifier_id": "another"})
            assert await heard(client) == [[("a", 3)]]

    with endpoint_served(PubSubEndpoint()) as served:
        run(body(served.ws + "/pubsub"))


def test_unsubscribing_ends_it_and_is_true_for_what_never_was() -> None:
    async def body(url: str) -> None:
        async with wire(url) as client, wire(url) as publisher:
            await client.result("subscribe", {"topics": ["a", "b"]})
            assert await client.result("unsubscribe", {"topics": ["a", "never"]}) is True
            await publisher.result("publish", {"topics": ["a", "b"], "sync": False})
            assert await heard(client) == [[("b", None)]]
            assert await client.result("subscribe") is True
            assert await client.result("unsubscribe") is True
            assert await client.result("ping") == "pong"

    endpoint = PubSubEndpoint()
    with endpoint_served(endpoint) as served:
        run(body(served.ws + "/pubsub"))
        poll_until(lambda: endpoint.notifier.topics == set(), what="the end of who has left")


@pytest.mark.parametrize("topics", [None, 5, [1], {"a": 1}, "x" * 2000, [["a"]]])
def test_what_is_no_topic_is_an_error(topics: Any) -> None:
    async def body(url: str) -> None:
        async with wire(url) as client:
            for method in ("subscribe", "publish", "unsubscribe"):
                answer = await client.call(method, {"topics": topics})
                assert (answer["result_type"], answer["result"]["code"]) == ("RpcError", "configuration")

    with endpoint_served(PubSubEndpoint()) as served:
        run(body(served.ws + "/pubsub"))


def test_a_synchronous_publisher_waits_for_the_answers_but_not_for_who_is_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body(url: str) -> None:
        async with wire(url) as good, wire(url) as silent, wire(url) as publisher:
            await good.result("subscribe", {"topics": ["a"]})
            publishing = await publisher.send("publish", {"topics": ["a"], "sync": True})
            request = await asyncio.wait_for(good.requests.get(), PATIENCE_S)
            assert await publisher.result("_ping_") == "pong"
            assert not publisher.answer_to(publishing).done()
            response = {"result": None, "result_type": "str", "call_id": request["call_id"]}
            await good.websocket.send(json.dumps({"request": None, "response": response}))
            assert (await asyncio.wait_for(publisher.answer_to(publishing), PATIENCE_S))["result"] is True

            monkeypatch.setattr(endpoint_module, "SYNC_TIMEOUT_S", 0.05)
            await silent.result("subscribe", {"topics": ["b"]})
            assert await publisher.result("publish", {"topics": ["b"], "sync": True}) is True
            # Late now: nobody waits for it again, however long that would be.
            monkeypatch.setattr(endpoint_module, "SYNC_TIMEOUT_S", 1000)
            assert await publisher.result("publish", {"topics": ["b"], "sync": True}) is True
            # It answers, and counts again.
            await silent.notified()
            await silent.notified()
            assert await silent.result("ping") == "pong"
            publishing = await publisher.send("publish", {"topics": ["b"], "sync": True})
            await asyncio.wait_for(silent.requests.get(), PATIENCE_S)
            assert await publisher.result("_ping_") == "pong"
            assert not publisher.answer_to(publishing).done()

    with endpoint_served(PubSubEndpoint()) as served:
        run(body(served.ws + "/pubsub"))


# --- the application's side ------------------------------------------------------------------------------------------


def test_the_application_publishes_and_subscribes() -> None:
    app = FastAPI()
    endpoint = PubSubEndpoint()
    endpoint.register_route(app)
    told: list[tuple[Subscription, Any]] = []

    async def callback(subscription: Subscription, data: Any) -> None:
        told.append((subscription, data))

    @app.get("/go")
    async def go() -> None:
        await endpoint.subscribe(["a", "mine"], callback)
        await endpoint.publish("a", {"x": float("nan"), "y": (1, 2)})
        await endpoint.publish(["b", "a"], 5)

    async def body(served: Served) -> None:
        async with wire(served.ws + "/pubsub") as client, httpx.AsyncClient(base_url=served.http) as http:
            await client.result("subscribe", {"topics": ["a", "b"]})
            assert (await http.get("/go")).status_code == 200
            assert await heard(client) == [[("a", {"x": None, "y": [1, 2]}), ("b", 5), ("a", 5)]]
            await client.result("publish", {"topics": ["mine"], "data": "hello"})
            await until(lambda: len(told) == 3)
            assert [(subscription.topic, data) for subscription, data in told] == [
                ("a", {"x": None, "y": [1, 2]}),
                ("a", 5),
                ("mine", "hello"),
            ]

    with serving(app) as served:
        run(body(served))


def test_publishing_by_post() -> None:
    async def body(served: Served) -> None:
        async with wire(served.ws + "/pubsub") as client, httpx.AsyncClient(base_url=served.http) as http:
            await client.result("subscribe", {"topics": ["a", "b"]})
            for topics in (["a", "b"], "a"):
                answer = await http.post("/publish", json={"topics": topics, "data": {"n": 1}})
                assert (answer.status_code, answer.json()["status"]) == (200, "success")
            assert (await http.post("/publish", json={"topics": "b"})).status_code == 200
            for wrong in ({"data": 1}, {"topics": 5}, {"topics": ["x" * 2000]}):
                assert (await http.post("/publish", json=wrong)).status_code == 422
            assert await heard(client) == [[("a", {"n": 1}), ("b", {"n": 1}), ("a", {"n": 1}), ("b", None)]]

    with endpoint_served(PubSubEndpoint()) as served:
        run(body(served))


def test_hooks_restrictions_and_dependencies() -> None:
    seen: list[str] = []

    async def on_connect(channel: RpcChannel) -> None:
        seen.append("connect")

    async def on_disconnect(channel: RpcChannel) -> None:
        seen.append("disconnect")

    async def public_only(topics: list[str], channel: RpcChannel) -> None:
        if any(topic.startswith("private") for topic in topics):
            raise PermissionError(f"{channel.id} may not see {topics}")

    def key(key: str = "") -> None:
        if key != "right":
            raise HTTPException(401, "the key is wrong")

    endpoint = PubSubEndpoint(on_connect=[on_connect], on_disconnect=[on_disconnect])
    endpoint.notifier.add_channel_restriction(public_only)

    async def body(served: Served) -> None:
        async with wire(served.ws + "/pubsub?key=right") as client:
            assert await client.result("subscribe", {"topics": ["private/a", "b"]}) is False
            assert await client.result("publish", {"topics": ["private/a"]}) is False
            assert await client.result("subscribe", {"topics": ["b"]}) is True
            assert endpoint.notifier.topics == {"b"}
            assert seen == ["connect"]
        await until(lambda: seen == ["connect", "disconnect"] and not endpoint.notifier.topics)
        async with httpx.AsyncClient(base_url=served.http) as http:
            assert (await http.post("/publish", json={"topics": "a"})).status_code == 401
            assert (await http.post("/publish?key=right", json={"topics": "a"})).status_code == 200

    with endpoint_served(endpoint, dependencies=[Depends(key)]) as served:
        run(body(served))


def test_a_subscriber_may_have_many_topics_but_not_any_number() -> None:
    notifier = EventNotifier()
    assert len(notifier.subscribe("me", map(str, range(MAX_TOPICS)), lambda *_: None)) == MAX_TOPICS
    with pytest.raises(Exception, match="10000 topics"):
        notifier.subscribe("me", ["one more"], lambda *_: None)
    assert "one more" not in notifier.topics
    notifier.unsubscribe("me")
    assert notifier.topics == set()


def test_an_unknown_backend_is_an_error() -> None:
    for url in ("redis", "http://x", "memory://", "zmq://nowhere", "zmq://a:5?friend=b:6"):
        with pytest.raises(ConfigurationError):
            PubSubEndpoint(backend=url)


# --- streams of servers ----------------------------------------------------------------------------------------------


class Laser:
    def __init__(self) -> None:
        self.power_mw = 1.5

    def power(self) -> float:
        return self.power_mw


@pytest.fixture
def rig() -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"laser": Laser()}) as server:
        server.add_stream("power", 50, "laser", "power")
        server.run()
        yield server


@pytest.mark.parametrize(("name", "topic"), [("", "power"), ("rig2=", "rig2/power")])
def test_a_stream_is_a_topic(rig: RouterServer, name: str, topic: str) -> None:
    async def body(url: str) -> None:
        async with wire(url) as client, wire(url) as everything:
            await client.result("subscribe", {"topics": [topic, "also mine"]})
            told = [await client.notified() for _ in range(5)]
            assert {one["subscription"]["topic"] for one in told} == {topic}
            assert [set(one["data"]) for one in told] == [{"timestamp", "sequence", "data"}] * 5
            numbers = [one["data"]["sequence"] for one in told]
            assert numbers == list(range(numbers[0], numbers[0] + 5))
            assert told[0]["data"]["data"] == 1.5
            await everything.result("subscribe", {"topics": ALL_TOPICS})
            # Heartbeats, which are events, are topics, too.
            while (await everything.notified())["subscription"]["topic"] != topic:
                pass
            assert await client.result("publish", {"topics": [topic]}) is False
            assert await client.result("publish", {"topics": ["also mine", topic]}) is False
            async with httpx.AsyncClient() as http:
                for topics in (topic, ["also mine", topic]):
                    answer = await http.post(
                        url.replace("ws", "http", 1).replace("pubsub", "publish"), json={"topics": topics}
                    )
                    assert (answer.status_code, "is a stream" in answer.json()["message"]) == (403, True)
            assert await client.result("publish", {"topics": ["the end"]}) is True
            await client.result("subscribe", {"topics": ["the end"]})
            assert await client.result("publish", {"topics": ["the end"], "notifier_id": "me"}) is True
            while (told_now := await client.notified())["subscription"]["topic"] != "the end":
                assert set(told_now["data"]) == {"timestamp", "sequence", "data"}

    with serving(create_app(f"{name}localhost:{rig.rpc_port}")) as served:
        run(body(served.ws + "/pubsub"))


def test_a_stream_is_received_while_somebody_wants_it(rig: RouterServer) -> None:
    counted = rig.get_stream_fn("counted")
    app = create_app(f"localhost:{rig.rpc_port}")
    channel = lambda: app.state.gateway.rigs.all()[0].channel("power")  # noqa: E731

    async def body(url: str) -> None:
        counted(1)
        async with wire(url) as client:
            assert channel().watchers == 0
            await client.result("subscribe", {"topics": ["power"]})
            await client.notified()
            assert channel().watchers == 1
            await client.result("unsubscribe", {"topics": ["power"]})
            await until(lambda: channel().watchers == 0)

    with serving(app) as served:
        run(body(served.ws + "/pubsub"))


def test_a_stream_goes_on_after_its_server_came_back() -> None:
    with RouterServer(rpc_port=0, broadcast_port=0) as first:
        port = first.rpc_port

    async def body(url: str) -> None:
        async with wire(url) as client:
            await client.result("subscribe", {"topics": ["power"]})
            for value in (1.0, 2.0):
                with RouterServer(rpc_port=port, broadcast_port=0, instances={"laser": (laser := Laser())}) as server:
                    laser.power_mw = value
                    server.add_stream("power", 50, "laser", "power")
                    await asyncio.to_thread(server.run)
                    while (await client.notified())["data"]["data"] != value:
                        pass

    with serving(create_app(f"localhost:{port}")) as served:
        run(body(served.ws + "/pubsub"))


@pytest.mark.skipif(not hasattr(RouterServer, "emit"), reason="this server has no events")
def test_events_of_a_server_are_topics(rig: RouterServer) -> None:
    async def body(url: str) -> None:
        rig.emit("door", {"open": "before anybody listened"})
        async with wire(url) as client:
            await client.result("subscribe", {"topics": ["rig2/:event", "rig2/:emergency"]})
            stop = asyncio.Event()

            async def emit() -> None:
                while not stop.is_set():
                    rig.emit("door", {"open": True})
                    await asyncio.sleep(0.05)

            emitting = asyncio.create_task(emit())
            told = await client.notified()
            stop.set()
            await emitting
            assert told["subscription"]["topic"] == "rig2/:event"
            event = told["data"]["data"]
            assert (event["kind"], event["context"]) == ("door", {"open": True})
            rig.emergency("interlock", {"who": "door"})
            while told["subscription"]["topic"] != "rig2/:emergency":
                told = await client.notified()
            assert told["data"]["data"]["kind"] == "interlock"
            assert await client.result("publish", {"topics": ["rig2/:event"]}) is False

    with serving(create_app(f"rig2=localhost:{rig.rpc_port}")) as served:
        run(body(served.ws + "/pubsub"))


# --- stock clients ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_stock_clients_subscribe_publish_and_are_told() -> None:
    stock = pytest.importorskip("fastapi_websocket_pubsub", reason="pip install fastapi-websocket-pubsub")
    assert stock.ALL_TOPICS == ALL_TOPICS if hasattr(stock, "ALL_TOPICS") else True
    told: dict[str, list[tuple[str, Any]]] = {"one": [], "all": [], "publisher": []}

    def teller(name: str) -> Any:
        async def callback(data: Any, topic: str) -> None:
            told[name].append((topic, data))

        return callback

    async def body(url: str) -> None:
        one = stock.PubSubClient(["guns", "germs"], callback=teller("one"))
        everything = stock.PubSubClient()
        everything.subscribe(ALL_TOPICS, teller("all"))
        publisher = stock.PubSubClient(["guns"], callback=teller("publisher"))
        for client in (one, everything, publisher):
            client.start_client(url)
            await asyncio.wait_for(client.wait_until_ready(), PATIENCE_S)
        answer = await publisher.publish(["guns", "steel"], data={"n": 1})
        assert answer.result is True
        await publisher.publish(["germs"], data=2, sync=False)
        await until(lambda: len(told["one"]) == 2 and len(told["all"]) == 3)
        assert told == {
            "one": [("guns", {"n": 1}), ("germs", 2)],
            "all": [("guns", {"n": 1}), ("steel", {"n": 1}), ("germs", 2)],
            "publisher": [],
        }
        await one.unsubscribe("guns")
        await publisher.publish(["guns", "germs"], data=3)
        await until(lambda: told["one"][2:] == [("germs", 3)])
        for client in (one, everything, publisher):
            await client.disconnect()

    endpoint = PubSubEndpoint()
    with endpoint_served(endpoint) as served:
        run(body(served.ws + "/pubsub"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_stock_client_finds_a_gateway_that_was_restarted() -> None:
    stock = pytest.importorskip("fastapi_websocket_pubsub", reason="pip install fastapi-websocket-pubsub")
    told: list[Any] = []

    async def callback(data: Any, topic: str) -> None:
        told.append(data)

    async def told_by(endpoint: PubSubEndpoint, served: Served, value: int) -> None:
        await until(lambda: "a" in endpoint.notifier.topics)
        async with httpx.AsyncClient(base_url=served.http) as http:
            assert (await http.post("/publish", json={"topics": "a", "data": value})).status_code == 200
        await until(lambda: value in told)

    async def body() -> None:
        client = stock.PubSubClient(["a"], callback=callback)
        port = 0
        for value in (1, 2):
            endpoint = PubSubEndpoint()
            app = FastAPI()
            endpoint.register_route(app)
            manager = serving(app, port)
            served = await asyncio.to_thread(manager.__enter__)
            try:
                if not port:
                    port = served.port
                    client.start_client(served.ws + "/pubsub")
                await told_by(endpoint, served, value)
                if value == 2:
                    await client.disconnect()
            finally:
                await asyncio.to_thread(manager.__exit__, None, None, None)

    run(body())
    assert told == [1, 2]


# --- watchers that do not read ---------------------------------------------------------------------------------------


def _handshake(port: int, path: str) -> socket.socket:
    """A WebSocket that is opened, subscribes, and never reads again."""
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect(("127.0.0.1", port))
    stalled.sendall(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    stalled.settimeout(PATIENCE_S)
    assert b"101" in stalled.recv(4096)
    request = {"method": "subscribe", "arguments": {"topics": ["a", "for the stalled"]}, "call_id": "0" * 32}
    text = json.dumps({"request": request, "response": None}).encode()
    stalled.sendall(struct.pack("!BBH4x", 0x81, 0x80 | 126, len(text)) + text)
    return stalled


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read from /proc, which Linux has")
def test_two_hundred_watchers_beside_two_that_never_read_get_everything_in_flat_memory() -> None:
    rounds, filling = 40, "x" * (1 << 20)
    endpoint = PubSubEndpoint(max_messages=20, max_bytes=4 << 20)

    async def body(served: Served) -> None:
        async with AsyncExitStack() as stack, httpx.AsyncClient(base_url=served.http, timeout=PATIENCE_S) as http:
            for _ in range(2):
                stack.enter_context(await asyncio.to_thread(_handshake, served.port, "/pubsub"))
            clients = [await stack.enter_async_context(wire(served.ws + "/pubsub")) for _ in range(200)]
            for client in clients:
                await client.result("subscribe", {"topics": ["a"]})
            # More than the kernel's buffers and the outboxes hold.
            for _ in range(30):
                await http.post("/publish", json={"topics": "for the stalled", "data": filling})
            grown = _resident_bytes()
            for number in range(rounds):
                await http.post("/publish", json={"topics": ["a", "for the stalled"], "data": {"n": number}})
                for client in clients:
                    assert (await client.notified())["data"]["n"] == number
            grown = _resident_bytes() - grown
            found = [endpoint.endpoint.outbox(channel) for channel in endpoint.endpoint.channels]
            outboxes = [box for box in found if box is not None]
            assert len(outboxes) == 202
            dropped = sorted(box.counts.dropped for box in outboxes)
            assert dropped[:200] == [0] * 200
            assert dropped[200] > 0
            assert all(box.waiting <= 20 and box.waiting_bytes <= 4 << 20 for box in outboxes)
            assert grown < 30 << 20, f"memory grew by {grown} bytes"

    with endpoint_served(endpoint) as served:
        run(body(served))
