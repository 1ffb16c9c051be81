"""JSON RPC over WebSockets: the wire byte by byte, stock clients, and who may call what."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import pytest

pytest.importorskip("fastapi")

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, WebSocket
from pydantic import BaseModel
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from one_liner.gateway import Role, Settings, Token, create_app
from one_liner.gateway.refusal import AcceptThenClose
from one_liner.gateway.rpc import RpcChannel, RpcMethods, WebSocketRpcEndpoint
from one_liner.server import RouterServer
from tests.conftest import poll_until
from tests.web import PATIENCE_S, Served, run, serving, until, wire

HEX_32 = re.compile(r"[0-9a-f]{32}")


class Point(BaseModel):
    x: float
    y: float


class Methods(RpcMethods):
    """One's own."""

    def __init__(self) -> None:
        self.secret_runs = 0
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)

    async def add(self, a: int, b: int = 0) -> int:
        return a + b

    async def anything(self, value: Any) -> Any:
        return value

    async def plain(self, value):
        return value

    async def point(self) -> Point:
        return Point(x=1, y=2)

    def stuck(self, value: int) -> int:
        self.entered.release()
        self.gate.wait()
        return value

    async def boom(self) -> None:
        raise ValueError("not today")

    async def awaits_what_was_cancelled(self) -> None:
        inner = asyncio.create_task(asyncio.sleep(1000))
        inner.cancel()
        await inner

    def leaves(self) -> None:
        raise SystemExit(3)

    async def unspeakable(self) -> str:
        raise ValueError(object())

    async def ask_back(self, name: str) -> str:
        return (await self.channel.other.greeting(name=name)).result

    async def who(self) -> str:
        return self.channel.context.get("user", "nobody")

    async def _secret(self) -> None:
        self.secret_runs += 1


@contextmanager
def endpoint_served(endpoint: WebSocketRpcEndpoint, **options: Any) -> Iterator[Served]:
    app = FastAPI()
    endpoint.register_route(app, **options)
    with serving(app) as served:
        yield served


# --- the wire --------------------------------------------------------------------------------------------------------


def test_frames_are_those_of_the_protocol() -> None:
    async def body(url: str) -> None:
        async with connect(url, proxy=None) as websocket:
            call_id = "0123456789abcdef" * 2
            request = {"method": "add", "arguments": {"a": 1, "b": 2}, "call_id": call_id}
            await websocket.send(json.dumps({"request": request, "response": None}))
            text = await asyncio.wait_for(websocket.recv(), PATIENCE_S)
            assert isinstance(text, str)
            assert json.loads(text) == {
                "request": None,
                "response": {"result": 3, "result_type": "int", "call_id": call_id},
            }

    with endpoint_served(WebSocketRpcEndpoint(Methods())) as served:
        run(body(served.ws + "/ws"))


def test_the_two_built_in_methods() -> None:
    channels: list[RpcChannel] = []

    async def on_connect(channel: RpcChannel) -> None:
        channels.append(channel)

    async def body(url: str) -> None:
        async with wire(url) as client:
            assert await client.call("_ping_") == {"result": "pong", "result_type": "str", "call_id": "0" * 32}
            channel_id = await client.result("_get_channel_id_")
            assert HEX_32.fullmatch(channel_id)
            assert channel_id == channels[0].id

    with endpoint_served(WebSocketRpcEndpoint(on_connect=[on_connect])) as served:
        run(body(served.ws + "/ws"))


@pytest.mark.parametrize(
    ("method", "arguments", "result", "result_type"),
    [
        ("add", {"a": 1}, 1, "int"),
        ("add", {"b": 1, "a": 2}, 3, "int"),
        ("add", [1, 2], 3, "int"),
        ("add", {"a": "x", "b": "ü€"}, "xü€", "int"),
        ("anything", {"value": None}, None, "Any"),
        ("plain", {"value": {"deep": [1, {"é": 1.5}]}}, {"deep": [1, {"é": 1.5}]}, "dict"),
        ("plain", {"value": "text"}, "text", "str"),
        ("point", None, {"x": 1.0, "y": 2.0}, "Point"),
    ],
)
def test_results_and_the_names_of_their_types(method: str, arguments: Any, result: Any, result_type: str) -> None:
    async def body(url: str) -> None:
        async with wire(url) as client:
            answer = await client.call(method, arguments)
            assert (answer["result"], answer["result_type"]) == (result, result_type)

    with endpoint_served(WebSocketRpcEndpoint(Methods())) as served:
        run(body(served.ws + "/ws"))


@pytest.mark.parametrize(
    ("method", "arguments", "type_name", "code"),
    [
        ("boom", None, "ValueError", "remote"),
        ("unspeakable", None, "ValueError", "remote"),
        ("awaits_what_was_cancelled", None, "CancelledError", "remote"),
        ("leaves", None, "SystemExit", "remote"),
        ("nothing", None, "UnknownAttributeError", "unknown_attribute"),
        ("secret_runs", None, "UnknownAttributeError", "unknown_attribute"),
        ("channel", None, "UnknownAttributeError", "unknown_attribute"),
        ("add", {"c": 1}, "BadArgumentsError", "bad_arguments"),
        ("add", None, "BadArgumentsError", "bad_arguments"),
        ("_ping_", {"a": 1}, "BadArgumentsError", "bad_arguments"),
        ("_secret", None, "NotExposedError", "not_exposed"),
        ("__init__", None, "NotExposedError", "not_exposed"),
        ("__class__", None, "NotExposedError", "not_exposed"),
        ("_bound_", {"channel": 1}, "NotExposedError", "not_exposed"),
        ("add.__call__", None, "NotExposedError", "not_exposed"),
    ],
)
def test_an_error_is_an_answer_and_the_connection_stays(method: str, arguments: Any, type_name: str, code: str) -> None:
    methods = Methods()

    async def body(url: str) -> None:
        async with wire(url) as client:
            answer = await client.call(method, arguments)
            assert answer["result_type"] == "RpcError"
            assert (answer["result"]["type"], answer["result"]["code"]) == (type_name, code)
            assert answer["result"]["message"]
            assert await client.result("_ping_") == "pong"

    with endpoint_served(WebSocketRpcEndpoint(methods)) as served:
        run(body(served.ws + "/ws"))
    assert methods.secret_runs == 0


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[]", "1", '{"request": {"arguments": {}}}', '{"request": {"method": 3}}', '{"response": []}'],
)
def test_what_is_no_frame_is_answered_with_an_error_and_the_connection_stays(text: str) -> None:
    async def body(url: str) -> None:
        async with wire(url) as client:
            await client.websocket.send(text)
            answer = await asyncio.wait_for(client.answer_to(None), PATIENCE_S)
            assert answer["result_type"] == "RpcError"
            assert answer["result"]["code"] == "malformed"
            assert await client.result("_ping_") == "pong"

    with endpoint_served(WebSocketRpcEndpoint()) as served:
        run(body(served.ws + "/ws"))


@pytest.mark.parametrize(
    "request_", ['{"method": 3, "call_id": "mine"}', '{"method": "add", "arguments": 5, "call_id": "mine"}']
)
def test_whoever_waits_for_the_answer_to_what_is_no_request_has_one(request_: str) -> None:
    async def body(url: str) -> None:
        async with wire(url) as client:
            await client.websocket.send(f'{{"request": {request_}, "response": null}}')
            answer = await asyncio.wait_for(client.answer_to("mine"), PATIENCE_S)
            assert answer["result_type"] == "RpcError"
            assert answer["result"]["code"] == "malformed"

    with endpoint_served(WebSocketRpcEndpoint()) as served:
        run(body(served.ws + "/ws"))


def test_an_empty_frame_and_an_unknown_answer_are_nothing() -> None:
    async def body(url: str) -> None:
        async with wire(url) as client:
            await client.websocket.send("{}")
            await client.websocket.send('{"response": {"result": 1, "result_type": "int", "call_id": "nobody"}}')
            await client.websocket.send(b'{"request": {"method": "_ping_", "call_id": "in bytes"}}')
            answer = await asyncio.wait_for(client.answer_to("in bytes"), PATIENCE_S)
            assert answer["result"] == "pong"
            assert len(client.texts) == 1

    with endpoint_served(WebSocketRpcEndpoint()) as served:
        run(body(served.ws + "/ws"))


# --- many calls, both ways -------------------------------------------------------------------------------------------


def test_hundreds_of_stuck_calls_delay_nobody_and_none_is_mixed_up() -> None:
    methods = Methods()

    async def body(url: str) -> None:
        async with wire(url) as client, wire(url) as other:
            stuck = [await client.send("stuck", {"value": number}) for number in range(200)]
            await asyncio.to_thread(lambda: [methods.entered.acquire() for _ in stuck])
            assert await client.result("add", {"a": 1}) == 1
            assert await other.result("add", {"a": 2}) == 2
            methods.gate.set()
            answers = [await asyncio.wait_for(client.answer_to(call_id), PATIENCE_S) for call_id in stuck]
            assert [answer["result"] for answer in answers] == list(range(200))

    with endpoint_served(WebSocketRpcEndpoint(methods)) as served:
        try:
            run(body(served.ws + "/ws"))
        finally:
            methods.gate.set()


def test_calls_beyond_the_limit_are_answered_at_once() -> None:
    methods = Methods()

    async def body(url: str) -> None:
        async with wire(url) as client:
            stuck = [await client.send("stuck", {"value": number}) for number in range(4)]
            await asyncio.to_thread(lambda: [methods.entered.acquire() for _ in stuck])
            answer = await client.call("add", {"a": 1})
            assert (answer["result_type"], answer["result"]["code"]) == ("RpcError", "busy")
            methods.gate.set()
            await asyncio.wait_for(asyncio.gather(*map(client.answer_to, stuck)), PATIENCE_S)
            assert await client.result("add", {"a": 1}) == 1

    with endpoint_served(WebSocketRpcEndpoint(methods, max_calls=4)) as served:
        try:
            run(body(served.ws + "/ws"))
        finally:
            methods.gate.set()


def test_a_method_may_call_the_client_while_it_runs() -> None:
    async def body(url: str) -> None:
        async with wire(url) as client:
            call_id = await client.send("ask_back", {"name": "Anna"})
            request = await asyncio.wait_for(client.requests.get(), PATIENCE_S)
            assert (request["method"], request["arguments"]) == ("greeting", {"name": "Anna"})
            assert HEX_32.fullmatch(request["call_id"])
            response = {"result": "hello Anna", "result_type": "str", "call_id": request["call_id"]}
            await client.websocket.send(json.dumps({"request": None, "response": response}))
            answer = await asyncio.wait_for(client.answer_to(call_id), PATIENCE_S)
            assert answer["result"] == "hello Anna"

    with endpoint_served(WebSocketRpcEndpoint(Methods())) as served:
        run(body(served.ws + "/ws"))


def test_a_client_that_goes_away_leaves_nobody_waiting() -> None:
    ended: list[str] = []

    async def on_connect(channel: RpcChannel) -> None:
        try:
            await channel.other.never_answered()
        except Exception as error:
            ended.append(type(error).__name__)
            raise

    async def on_disconnect(channel: RpcChannel) -> None:
        ended.append("disconnected")
        assert channel.closed

    endpoint = WebSocketRpcEndpoint(Methods(), on_connect=[on_connect], on_disconnect=[on_disconnect])

    async def body(url: str) -> None:
        async with wire(url) as client:
            await asyncio.wait_for(client.requests.get(), PATIENCE_S)
        await until(lambda: "disconnected" in ended)

    with endpoint_served(endpoint) as served:
        run(body(served.ws + "/ws"))
        assert endpoint.channels == []


def test_calls_wait_for_the_hooks_on_connect_and_a_hook_that_raises_closes() -> None:
    release = threading.Event()

    async def slow(channel: RpcChannel) -> None:
        await asyncio.to_thread(release.wait)
        if channel.context["websocket"].query_params.get("bad"):
            raise PermissionError("bad")

    async def body(url: str) -> None:
        async with wire(url) as client:
            call_id = await client.send("add", {"a": 1})
            await client.websocket.ping()
            assert not client.answer_to(call_id).done()
            release.set()
            assert (await asyncio.wait_for(client.answer_to(call_id), PATIENCE_S))["result"] == 1
        async with connect(url + "?bad=1", proxy=None) as refused:
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(refused.recv(), PATIENCE_S)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008

    with endpoint_served(WebSocketRpcEndpoint(Methods(), on_connect=[slow])) as served:
        try:
            run(body(served.ws + "/ws"))
        finally:
            release.set()


# --- refusing --------------------------------------------------------------------------------------------------------


def only_anna(user: Annotated[str, Query()] = "") -> str:
    if user != "anna":
        raise HTTPException(403, "only for Anna")
    return user


async def closed_with(url: str) -> tuple[int, str]:
    async with connect(url, proxy=None) as websocket:  # Raises where the handshake is refused.
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(websocket.recv(), PATIENCE_S)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code, closed.value.rcvd.reason


@pytest.mark.parametrize("included", [False, True])
def test_a_dependency_refuses_by_accepting_and_closing(included: bool) -> None:
    app, router = FastAPI(), APIRouter()
    endpoint = WebSocketRpcEndpoint(Methods())
    endpoint.register_route(router if included else app, dependencies=[Depends(only_anna)])
    if included:
        app.include_router(router, prefix="/lab")
    path = "/lab/ws" if included else "/ws"

    async def body(url: str) -> None:
        assert await closed_with(url + path) == (1008, "only for Anna")
        async with wire(url + path + "?user=anna") as client:
            assert await client.result("_ping_") == "pong"

    with serving(app) as served:
        run(body(served.ws))


def test_the_middleware_covers_routes_of_ones_own_and_paths_that_do_not_exist() -> None:
    app = FastAPI()
    app.add_middleware(AcceptThenClose)
    endpoint = WebSocketRpcEndpoint(Methods())

    @app.websocket("/mine")
    async def mine(websocket: WebSocket, user: Annotated[str, Depends(only_anna)]) -> None:
        await endpoint.main_loop(websocket, user=user)

    async def body(url: str) -> None:
        assert (await closed_with(url + "/mine"))[0] == 1008
        assert (await closed_with(url + "/nowhere"))[0] == 1008
        async with wire(url + "/mine?user=anna") as client:
            assert await client.result("who") == "anna"

    with serving(app) as served:
        run(body(served.ws))


# --- what servers serve ----------------------------------------------------------------------------------------------


class Laser:
    def __init__(self) -> None:
        self.power_mw = 1.0
        self.gate = threading.Event()
        self.entered = threading.Event()

    def set_power(self, power_mw: float) -> float:
        self.power_mw = float(power_mw)
        return self.power_mw

    def stuck(self) -> str:
        self.entered.set()
        self.gate.wait()
        return "done"

    def fail(self) -> None:
        raise RuntimeError("interlock open")

    def trip(self) -> None:
        class InterlockError(Exception):
            """What no client knows."""

        raise InterlockError("door open")

    def _private(self) -> None:
        raise AssertionError("it ran")


class Stage:
    def move(self, x: float, y: float = 0.0) -> list[float]:
        return [x, y]


@contextmanager
def rig(**instances: Any) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, instances=instances) as server:
        server.run()
        yield server


def test_methods_of_served_objects_by_their_names() -> None:
    async def body(url: str) -> None:
        async with wire(url) as client:
            assert await client.result("laser.set_power", {"power_mw": 7}) == 7.0
            assert await client.result("laser.power_mw") == 7.0
            assert await client.result("laser.power_mw", {"value": 2.5}) is None
            assert await client.result("laser.power_mw") == 2.5
            assert await client.result("rig2/stage.move", {"x": 1, "y": 2}) == [1, 2]
            assert await client.result("rig2/stage.move", [3]) == [3, 0.0]
            for name, code in [
                ("laser.fail", "remote"),
                ("laser.nothing", "unknown_attribute"),
                ("camera.grab", "unknown_object"),
                ("nowhere/laser.set_power", "unknown_object"),
                ("laser._private", "not_exposed"),
                ("laser.__init__", "not_exposed"),
                ("_laser.set_power", "not_exposed"),
            ]:
                answer = await client.call(name)
                assert (answer["result_type"], answer["result"]["code"]) == ("RpcError", code), name
            answer = await client.call("laser.fail")
            assert answer["result"] == {"type": "RuntimeError", "message": "interlock open", "code": "remote"}
            answer = await client.call("laser.trip")
            assert answer["result"]["message"] == "door open"
            assert answer["result"]["type"].endswith("InterlockError")

    with rig(laser=Laser()) as one, rig(stage=Stage()) as two:
        app = create_app([f"localhost:{one.rpc_port}", f"rig2=localhost:{two.rpc_port}"])
        with serving(app) as served:
            run(body(served.ws + "/ws"))


def test_bare_names_of_the_one_object_and_a_stuck_call_beside_others() -> None:
    laser = Laser()

    async def body(url: str) -> None:
        async with wire(url) as client:
            assert await client.result("set_power", {"power_mw": 4}) == 4.0
            stuck = await client.send("stuck")
            await asyncio.to_thread(laser.entered.wait, PATIENCE_S)
            assert await client.result("stage.move", {"x": 1}) == [1, 0.0]
            laser.gate.set()
            assert (await asyncio.wait_for(client.answer_to(stuck), PATIENCE_S))["result"] == "done"

    with rig(laser=laser, stage=Stage()) as server, serving(create_app(f"localhost:{server.rpc_port}")) as served:
        try:
            run(body(served.ws + "/ws"))
        finally:
            laser.gate.set()


def test_a_bare_name_may_be_a_named_call() -> None:
    tokens = [Token("look-but-do-not-touch", Role.READ), Token("the-hands-of-anna", Role.CONTROL)]

    async def body(url: str) -> None:
        async with wire(url + "?token=the-hands-of-anna") as client:
            assert await client.result("half") == 5.0
            assert await client.result("half", [6]) == 6.0
            assert await client.result("half", {}) == 5.0
        async with wire(url + "?token=look-but-do-not-touch") as reader:
            assert (await reader.call("half"))["result"]["code"] == "refused"

    with rig(laser=Laser()) as server:
        server.add_named_call("half", "laser", "set_power", [5.0])
        app = create_app(f"localhost:{server.rpc_port}", Settings(tokens=tokens))
        with serving(app) as served:
            (seen,) = app.state.gateway.rigs.all()
            poll_until(lambda: seen.description and seen.description.named_calls, PATIENCE_S, "the call to be seen")
            run(body(served.ws + "/ws"))


def test_who_may_only_read_reads() -> None:
    tokens = [Token("look-but-do-not-touch", Role.READ), Token("the-hands-of-anna", Role.CONTROL)]

    async def body(url: str) -> None:
        assert (await closed_with(url + "/ws"))[0] == 1008
        assert (await closed_with(url + "/pubsub"))[0] == 1008
        async with wire(url + "/ws?token=look-but-do-not-touch") as reader:
            assert await reader.result("laser.power_mw") == 1.0
            assert (await reader.call("laser.set_power", {"power_mw": 9}))["result"]["code"] == "refused"
            assert (await reader.call("laser.power_mw", {"value": 9}))["result"]["code"] == "refused"
        async with wire(url + "/ws?token=the-hands-of-anna") as anna:
            assert await anna.result("laser.power_mw") == 1.0
            assert await anna.result("laser.set_power", {"power_mw": 9}) == 9.0
        async with wire(url + "/pubsub?token=look-but-do-not-touch") as reader:
            assert await reader.result("subscribe", {"topics": ["a"]}) is True
            assert await reader.result("publish", {"topics": ["a"]}) is False

    with rig(laser=Laser()) as server:
        app = create_app(f"localhost:{server.rpc_port}", Settings(tokens=tokens))
        with serving(app) as served:
            run(body(served.ws))


def test_a_dead_server_is_an_error_within_seconds_and_comes_back() -> None:
    async def body(url: str) -> None:
        async with wire(url) as client:
            answer = await client.call("laser.set_power", {"power_mw": 1})
            assert answer["result_type"] == "RpcError"
            with RouterServer(rpc_port=port, broadcast_port=0, instances={"laser": Laser()}) as server:
                await asyncio.to_thread(server.run)
                for _ in range(100):
                    answer = await client.call("laser.set_power", {"power_mw": 3})
                    if answer["result_type"] != "RpcError":
                        break
                assert answer["result"] == 3.0

    with rig() as short_lived:
        port = short_lived.rpc_port
    with serving(create_app(f"localhost:{port}")) as served:
        run(body(served.ws + "/ws"))


# --- stock clients ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_stock_client_calls_is_called_and_has_hundreds_of_calls_in_flight() -> None:
    stock = pytest.importorskip("fastapi_websocket_rpc", reason="the stock client: pip install fastapi-websocket-rpc")

    class ClientMethods(stock.RpcMethodsBase):  # type: ignore[misc, name-defined]
        async def greeting(self, name: str) -> str:
            return f"hello {name}"

    async def body(url: str) -> None:
        async with stock.WebSocketRpcClient(url, ClientMethods(), default_response_timeout=PATIENCE_S) as client:
            assert (await client.other._ping_()).result == "pong"
            assert HEX_32.fullmatch((await client.other._get_channel_id_()).result)
            answers = await asyncio.gather(*(client.call("add", {"a": n, "b": 1}) for n in range(500)))
            assert [answer.result for answer in answers] == list(range(1, 501))
            assert (await client.other.ask_back(name="Anna")).result == "hello Anna"
            assert (await client.other.boom()).result_type == "RpcError"
            assert (await client.other.add(a=1)).result == 1

    with endpoint_served(WebSocketRpcEndpoint(Methods())) as served:
        run(body(served.ws + "/ws"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_stock_client_that_is_refused_does_not_storm() -> None:
    stock = pytest.importorskip("fastapi_websocket_rpc", reason="the stock client: pip install fastapi-websocket-rpc")
    knocks = 0

    def refuse() -> None:
        nonlocal knocks
        knocks += 1
        raise HTTPException(403, "go away")

    async def body(url: str) -> None:
        client = stock.WebSocketRpcClient(url)
        knocking = asyncio.create_task(client.__aenter__())
        await until(lambda: knocks >= 2)
        await asyncio.wait([knocking], timeout=1.0)
        assert knocks < 30
        while not knocking.done():  # Python 3.11's asyncio.wait_for, in there, loses one that comes with a refusal.
            knocking.cancel()
            await asyncio.wait([knocking], timeout=0.1)

    with endpoint_served(WebSocketRpcEndpoint(), dependencies=[Depends(refuse)]) as served:
        run(body(served.ws + "/ws"))
