"""What curl, health checkers, Swagger and browsers expect of any server of HTTP, and who is let in to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

pytest.importorskip("fastapi", reason="the gateway needs one_liner[gateway]")

import httpx
import numpy as np
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send
from websockets.sync.client import ClientConnection, connect

from one_liner import RouterServer
from one_liner.gateway import NumpyClient, Role, Settings, Token, create_app
from one_liner.gateway.arrays import npy_bytes
from one_liner.gateway.frames import read_binary_frame
from one_liner.gateway.head import Head
from tests.conftest import poll_until
from tests.web import PATIENCE_S, serving

LOOKER, DRIVER = {"X-Token": "only looks"}, {"X-Token": "drives it all"}


class Cryostat:
    """Cold."""

    def __init__(self) -> None:
        self.calls = 0

        self._target = 4.0

    @property
    def kelvin(self) -> float:
        """How cold."""
        return 4.2

    @property
    def target(self) -> float:
        """How cold it is to be."""
        return self._target

    @target.setter
    def target(self, target: float) -> None:
        self._target = target

    def cool(self, to_k: float) -> float:
        """Cool down."""
        self.calls += 1
        return to_k

    def map(self) -> np.ndarray[Any, Any]:
        """Where it is how cold."""
        return np.eye(2)


class Lab(NamedTuple):
    app: FastAPI
    http: httpx.Client
    ws: str
    cryostat: Cryostat

    @property
    def url(self) -> str:
        return str(self.http.base_url)


def _lab(settings: Settings) -> Iterator[Lab]:
    cryostat = Cryostat()
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        server.add_instance("cryostat", cryostat, read_only=["map"])
        server.add_stream("kelvin", 50, "cryostat", "kelvin")
        server.add_stream("map", 50, "cryostat", "map")
        server.run()
        app = create_app(f"127.0.0.1:{server.rpc_port}", settings)
        with serving(app) as web, httpx.Client(base_url=web.http, timeout=PATIENCE_S) as http:
            (rig,) = app.state.gateway.rigs.all()
            poll_until(lambda: rig.description is not None, PATIENCE_S, "the server to be seen")
            yield Lab(app, http, web.ws, cryostat)


@pytest.fixture
def lab() -> Iterator[Lab]:
    yield from _lab(Settings())


@pytest.fixture
def guarded_lab() -> Iterator[Lab]:
    yield from _lab(Settings(tokens=(Token("only looks", Role.READ), Token("drives it all", Role.CONTROL))))


# --- HEAD ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/health",
        "/metrics",
        "/arrays",
        "/array/0",
        "/array/7",
        "/docs",
        "/openapi.json",
        "/api/objects",
        "/api/objects/cryostat/kelvin",
        "/api/objects/cryostat/cool",
        "/api/streams/map/last.npy",
        "/instrument/cryostat/kelvin",
        "/upload",
        "/nothing",
    ],
)
def test_head_says_what_get_says_without_the_content(lab: Lab, path: str) -> None:
    lab.http.post("/upload", files={"file": ("a.npy", npy_bytes(np.eye(3)))})
    looked, got = lab.http.head(path), lab.http.get(path)
    assert looked.status_code == got.status_code
    assert looked.headers["content-type"] == got.headers["content-type"]
    assert looked.content == b""
    # The connection is in order: what follows is the answer to the next request.
    assert lab.http.get("/health").json()["status"] == "healthy"


@pytest.mark.parametrize("path", ["/api/streams/map/mjpeg", "/api/events"])
def test_head_of_what_goes_on_and_on_ends(lab: Lab, path: str) -> None:
    answer = lab.http.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    poll_until(lambda: not any(rig.channel("map").watchers for rig in lab.app.state.gateway.rigs.all()), PATIENCE_S, "")


def test_what_never_ends_by_itself_is_ended_after_its_headers() -> None:
    sent: list[Message] = []

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["method"] == "GET"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"more", "more_body": True})
            await asyncio.sleep(0)

    async def take(message: Message) -> None:
        sent.append(message)

    async def silence() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nobody says anything")

    async def ask() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await Head(endless)({"type": "http", "method": "HEAD"}, silence, take)

    asyncio.run(ask())
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["body"] == b""


@pytest.mark.parametrize("path", ["/instrument/cryostat/cool?to_k=4", "/api/objects/cryostat/map?$store=1"])
def test_head_does_nothing(lab: Lab, path: str) -> None:
    answer = lab.http.head(path)
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert lab.cryostat.calls == 0
    assert lab.http.get("/arrays").json()["count"] == 0


# --- verbs and names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("GET", "/api/objects/cryostat/cool", "POST"),
        ("POST", "/api/objects/cryostat/kelvin", "GET"),
        ("GET", "/control/start", "POST"),
        ("POST", "/health", "GET"),
    ],
)
def test_who_asks_by_the_wrong_verb_is_told_the_right_one(lab: Lab, verb: str, path: str, allowed: str) -> None:
    answer = lab.http.request(verb, path)
    assert answer.status_code == 405
    assert allowed in answer.headers["allow"]
    assert answer.json()["status"] == "error"


def test_a_property_is_set_the_short_way_too(lab: Lab) -> None:
    answer = lab.http.post("/instrument/cryostat/target", json={"value": 1.5})
    assert answer.json() == {"message": "target", "value": 1.5}
    assert lab.http.get("/instrument/target").json()["value"] == 1.5
    assert lab.http.post("/instrument/cryostat/target", json={"kelvin": 1.5}).status_code == 422
    assert lab.http.post("/instrument/cryostat/kelvin", json={"value": 1.5}).status_code == 404


def test_who_only_looks_sets_no_property_the_short_way(guarded_lab: Lab) -> None:
    answer = guarded_lab.http.post("/instrument/cryostat/target", json={"value": 1.5}, headers=LOOKER)
    assert answer.status_code == 403
    assert guarded_lab.cryostat.target == 4.0


def test_a_bare_command_does_not_wait_for_servers_that_cannot_have_it() -> None:
    with RouterServer(rpc_port=0, broadcast_port=0) as first, RouterServer(rpc_port=0, broadcast_port=0) as second:
        first.add_instance("cryostat", Cryostat())
        second.add_instance("cryostat", Cryostat())
        second.add_instance("box", [1])
        for server in (first, second):
            server.run()
        addresses = {"a": f"127.0.0.1:{first.rpc_port}", "b": f"127.0.0.1:{second.rpc_port}", "gone": "127.0.0.1:1"}
        app = create_app(addresses)
        with serving(app) as web, httpx.Client(base_url=web.http, timeout=PATIENCE_S) as http:
            rigs = app.state.gateway.rigs
            poll_until(lambda: rigs["a"].description and rigs["b"].description, PATIENCE_S, "the servers to be seen")
            waited = _count_waiting(rigs["gone"])
            assert http.get("/instrument/pop").json()["value"] == 1
            said = http.get("/instrument/kelvin")
            assert said.status_code == 404
            assert said.json()["message"].endswith("There are: a/cryostat, b/cryostat")
            assert waited == []
            # What nobody has may be at the one that was never seen.
            assert http.get("/instrument/nothing").status_code == 503
            assert waited == ["gone"]
            # One that was seen once is known, and is told to be away only where it is meant.
            second.close()
            assert http.get("/instrument/b/cryostat/kelvin").status_code == 503
            assert http.get("/instrument/append?args=2").status_code == 503
            assert http.get("/instrument/a/cryostat/kelvin").status_code == 200


def _count_waiting(rig: Any) -> list[str]:
    """Every time that a server is waited for."""
    waited: list[str] = []
    described = rig.described

    async def watched() -> Any:
        waited.append(rig.name)
        return await described()

    rig.described = watched
    return waited


# --- arrays ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index", ["1", "-1", "+0", "abc", "0.0", "1e0", "0x0", "%C2%B2", "9" * 5000, "%20", "None", "[]"]
)
@pytest.mark.parametrize("verb", ["GET", "DELETE"])
@pytest.mark.parametrize("ending", ["", ".npy"])
def test_an_index_that_none_has_is_not_found(lab: Lab, verb: str, index: str, ending: str) -> None:
    lab.http.post("/upload", files={"file": ("a.npy", npy_bytes(np.eye(3)))})
    answer = lab.http.request(verb, f"/array/{index}{ending}")
    if (verb, ending) == ("DELETE", ".npy"):
        assert answer.status_code == 404
        return
    assert answer.status_code == 404
    assert set(answer.json()) == {"status", "message"}
    assert answer.json()["status"] == "error"
    assert "there is no array" in answer.json()["message"]


def test_one_file_is_uploaded_at_a_time(lab: Lab) -> None:
    content = npy_bytes(np.eye(2))
    answer = lab.http.post("/upload", files=[("file", ("a.npy", content)), ("file", ("b.npy", content))])
    assert answer.status_code == 400
    assert answer.json()["status"] == "error"
    assert lab.http.get("/arrays").json()["count"] == 0


# --- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc"])
def test_the_names_of_what_is_served_are_for_those_who_may_look(guarded_lab: Lab, path: str) -> None:
    answer = guarded_lab.http.get(path)
    assert answer.status_code == 401
    assert answer.json()["status"] == "error"
    assert "cryostat" not in answer.text
    assert guarded_lab.http.get(path, headers=LOOKER).status_code == 200
    assert guarded_lab.http.get(f"{path}?token=only looks").status_code == 200


@pytest.mark.parametrize("verb", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize(
    "path",
    [
        "/instrument/nothing",
        "/instrument/nobody/kelvin",
        "/instrument/cryostat/nothing",
        "/instrument/cryostat/cool?to_k=nothing",
        "/api/objects/cryostat/cool",
        "/api/objects/cryostat/nothing",
        "/api/objects/nobody/kelvin",
        "/api/streams/nothing/last",
        "/api/calls/nothing",
        "/array/7",
        "/array/abc",
    ],
)
def test_who_shows_no_token_is_not_told_what_there_is(guarded_lab: Lab, verb: str, path: str) -> None:
    answer = guarded_lab.http.request(verb, path, json={"wrong": 1} if verb == "POST" else None)
    # By the wrong verb, where only the form of the address is known.
    assert answer.status_code == 401 or (answer.status_code == 405 and verb in ("POST", "HEAD"))
    assert "cryostat" not in answer.text
    assert "kelvin" not in answer.text


def test_the_page_with_all_routes_asks_for_them_with_its_own_token(guarded_lab: Lab) -> None:
    page = guarded_lab.http.get("/docs?token=only looks").text
    assert "'/openapi.json?token=only%20looks'" in page
    specification = guarded_lab.http.get("/openapi.json", headers=LOOKER).json()
    assert "/api/objects/cryostat/cool" in specification["paths"]
    assert specification["components"]["securitySchemes"]["bearer"] == {"type": "http", "scheme": "bearer"}
    assert {"bearer": []} in specification["security"]


def test_without_tokens_there_is_none_to_show(lab: Lab) -> None:
    assert "'/openapi.json'" in lab.http.get("/docs").text
    assert "security" not in lab.http.get("/openapi.json").json()


def test_a_mounted_application_knows_where_its_routes_are(lab: Lab) -> None:
    outer = FastAPI()
    outer.mount("/lab", lab.app)
    with serving(outer, lifespan="off") as web, httpx.Client(base_url=web.http, timeout=PATIENCE_S) as http:
        assert "'/lab/openapi.json'" in http.get("/lab/docs").text
        assert http.get("/lab/openapi.json").json()["servers"] == [{"url": "/lab"}]


@pytest.mark.parametrize("action", ["start", "stop"])
def test_who_only_looks_neither_starts_nor_stops_it_for_all(guarded_lab: Lab, action: str) -> None:
    refused = guarded_lab.http.post(f"/control/{action}", headers=LOOKER)
    assert refused.status_code == 403
    with connect(f"{guarded_lab.ws}/ws/stream", additional_headers=LOOKER) as looking:
        assert _next(looking) == {"type": "status", "streaming": False}
        looking.send(json.dumps({"action": action}))
        assert _next(looking)["type"] == "error"
        assert guarded_lab.http.get("/health").json()["streaming"] is False
        # What somebody else starts is seen.
        with connect(f"{guarded_lab.ws}/ws/stream", additional_headers=DRIVER) as driving:
            driving.send('{"action": "start"}')
            assert _next(looking) == {"type": "status", "streaming": True}
            assert _next(looking)["type"] == "data"


def test_who_only_looks_is_told_why_nothing_comes(guarded_lab: Lab) -> None:
    with NumpyClient(guarded_lab.url, token="only looks") as client:
        stream = client.connect_streaming(print)
        poll_until(lambda: stream.problem, PATIENCE_S, "to be told")
        assert "control" in stream.problem


# --- /ws/stream ------------------------------------------------------------------------------------------------------


def test_a_shape_is_that_of_what_comes_also_of_a_single_value(lab: Lab) -> None:
    with connect(f"{lab.ws}/ws/stream?stream=kelvin") as socket:
        socket.send('{"action": "start"}')
        message = _next(socket, "data")
        assert (message["shape"], message["dtype"], message["y"]) == ([1], "float64", [4.2])
        assert message["x"] == [message["timestamp"]]
    with connect(f"{lab.ws}/ws/stream?stream=map") as socket:
        socket.send('{"action": "start"}')
        message = _next(socket, "data")
        assert (message["shape"], message["x"], message["y"]) == ([2, 2], [0, 1], [[1.0, 0.0], [0.0, 1.0]])


def test_the_sine_comes_as_binary_frames_too(lab: Lab) -> None:
    with connect(f"{lab.ws}/ws/stream?format=binary&stream=") as socket:
        socket.send('{"action": "start"}')
        while isinstance(content := socket.recv(PATIENCE_S), str):
            assert json.loads(content)["type"] == "status"
        head, values = read_binary_frame(content)
        assert head["type"] == "data"
        assert values.shape == tuple(head["shape"]) == (100,)


def _next(socket: ClientConnection, kind: str = "") -> dict[str, Any]:
    """The next message, or the next of a kind."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv(PATIENCE_S))
        if kind in ("", message["type"]):
            return message
