"""What nobody should send to a gateway and somebody will, and what instruments serve that is rare."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

pytest.importorskip("fastapi", reason="the gateway needs one_liner[gateway]")

import httpx
import numpy as np
from fastapi import FastAPI
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from one_liner import RouterServer
from one_liner.errors import (
    BadArgumentsError,
    ConfigurationError,
    MalformedError,
    NoServerError,
    NotCarriableError,
    PortInUseError,
    RefusedError,
)
from one_liner.gateway import NumpyClient, Role, Settings, Token, create_app
from one_liner.gateway.backends.continuity import MOST_ORIGINS
from one_liner.gateway.backends.envelope import Envelope
from one_liner.gateway.backends.exchange import Exchange
from one_liner.gateway.backends.memory import MemoryCarrier
from one_liner.gateway.frames import binary_frame, picture, read_binary_frame
from one_liner.gateway.listening import listen
from tests.conftest import poll_until
from tests.web import PATIENCE_S, serving

LOOKER, DRIVER = {"X-Token": "only looks"}, {"X-Token": "drives it all"}
JSON = {**DRIVER, "Content-Type": "application/json"}


class Cooler:
    """Served under a name that is not plain."""

    def __init__(self) -> None:
        self.calls = 0

    def cool(self, to_k: float = 4.0) -> float:
        """Cool down."""
        self.calls += 1
        return to_k

    def take(self, value: Any = None) -> int:
        """Take anything."""
        return len(value)

    def limits(self) -> list[float]:
        """Between what it can be set."""
        self.calls += 1
        return [4.0, 300.0]

    def rows(self) -> Any:
        """Rows of different lengths."""
        return 1, [2, 3]

    def seen(self) -> Any:
        """Instants."""
        return np.array(["2026-01-02T03:04:05"], "M8[s]")


class Lab(NamedTuple):
    app: FastAPI
    http: httpx.Client
    ws: str
    cooler: Cooler

    @property
    def url(self) -> str:
        return str(self.http.base_url)


@pytest.fixture
def lab() -> Iterator[Lab]:
    cooler = Cooler()
    tokens = (Token("only looks", Role.READ), Token("drives it all", Role.CONTROL))
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        server.add_instance("Kühler 1", cooler, read_only=["limits"])
        server.add_named_call("cool down", "Kühler 1", "cool", [10.0])
        server.add_stream("rows", 50, "Kühler 1", "rows")
        server.add_stream("seen", 50, "Kühler 1", "seen")
        server.run()
        app = create_app(f"127.0.0.1:{server.rpc_port}", Settings(tokens=tokens))
        with serving(app) as web, httpx.Client(base_url=web.http, timeout=PATIENCE_S) as http:
            (rig,) = app.state.gateway.rigs.all()
            poll_until(lambda: rig.description is not None, PATIENCE_S, "the server to be seen")
            yield Lab(app, http, web.ws, cooler)


# --- names -----------------------------------------------------------------------------------------------------------


def test_names_that_are_written_in_another_way_in_an_address_have_routes(lab: Lab) -> None:
    answer = lab.http.post("/api/objects/Kühler 1/cool", json={"to_k": 20}, headers=DRIVER)
    assert (answer.status_code, answer.json()["value"]) == (200, 20)
    answer = lab.http.post("/api/calls/cool down", headers=DRIVER)
    assert (answer.status_code, answer.json()["value"]) == (200, 10)
    assert "/api/objects/Kühler 1/cool" in lab.http.get("/openapi.json", headers=LOOKER).json()["paths"]


# --- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/instrument/Kühler 1/take", "/api/objects/Kühler 1/take"])
def test_arguments_that_are_nested_without_an_end_are_refused(lab: Lab, path: str) -> None:
    body = '{"value": ' + "[" * 600 + "]" * 600 + "}"
    answer = lab.http.post(path, content=body, headers=JSON)
    assert answer.status_code == 422
    assert "nested" in answer.json()["message"]


def test_an_origin_that_is_none_is_refused(lab: Lab) -> None:
    assert lab.http.get("/health", headers={"Origin": "http://["}).status_code == 403


@pytest.mark.parametrize(
    ("host", "settings", "status"),
    [
        ("stranger.example:8000", Settings(), 403),
        ("[", Settings(), 403),
        ("localhost:8000", Settings(), 200),
        ("127.0.0.1", Settings(), 200),
        ("[::1]:8000", Settings(), 200),
        (socket.gethostname(), Settings(), 200),
        ("lab.example", Settings(cors_origins=("https://lab.example",)), 200),
        ("lab.example", Settings(tokens=(Token("drives it all"),)), 200),
    ],
)
def test_the_name_of_a_stranger_does_not_lead_to_the_loopback(host: str, settings: Settings, status: int) -> None:
    with serving(create_app("127.0.0.1:1", settings)) as web:
        answer = httpx.get(f"{web.http}/health", headers={"Host": host})
    assert answer.status_code == status


def test_text_that_utf_8_does_not_have_comes_back_escaped(lab: Lab) -> None:
    answer = lab.http.post("/publish", content=rb'{"topics": "\ud800"}', headers=JSON)
    assert (answer.status_code, answer.json()["topics"]) == (200, ["\ud800"])


def test_who_may_not_store_is_refused_before_anything_is_called(lab: Lab) -> None:
    before = lab.cooler.calls
    assert lab.http.get("/instrument/Kühler 1/limits?$store=1", headers=LOOKER).status_code == 403
    assert lab.cooler.calls == before
    assert lab.http.get("/instrument/Kühler 1/limits", headers=LOOKER).status_code == 200


# --- streams ---------------------------------------------------------------------------------------------------------


def data_of(lab: Lab, query: str) -> dict[str, Any]:
    with connect(f"{lab.ws}/ws/stream?{query}", additional_headers=DRIVER) as websocket:
        websocket.send('{"action": "start"}')
        while True:
            content = websocket.recv(PATIENCE_S)
            message = json.loads(content) if isinstance(content, str) else read_binary_frame(content)[0]
            if message["type"] != "status":
                return dict(message)


def test_rows_of_different_lengths_are_shown_as_they_are(lab: Lab) -> None:
    message = data_of(lab, "stream=rows")
    assert (message["type"], message["y"], message["dtype"]) == ("data", [1, [2, 3]], "tuple")
    answer = lab.http.get("/api/streams/rows/last.png", headers=LOOKER)
    assert (answer.status_code, answer.json()["type"]) == (422, "NotCarriableError")


def test_instants_are_numbers_in_a_binary_frame(lab: Lab) -> None:
    assert data_of(lab, "stream=seen&format=binary")["dtype"] == "<M8[s]"


def test_a_stream_that_nobody_has_is_an_error_and_is_not_remembered(lab: Lab) -> None:
    (rig,) = lab.app.state.gateway.rigs.all()
    message = data_of(lab, "stream=ghost")
    assert (message["type"], message["stream"], message["error"]) == ("error", "ghost", "unknown_stream")
    assert "ghost" not in [channel.name for channel in rig.watched()]


def test_a_long_reason_is_cut_to_what_a_close_frame_can_hold(lab: Lab) -> None:
    name = "é" * 90
    with connect(f"{lab.ws}/api/streams/{name}/ws", additional_headers=LOOKER) as websocket:
        assert json.loads(websocket.recv(PATIENCE_S))["type"] == "error"
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(PATIENCE_S)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason[:20]) == (1008, "there is no stream '")


# --- frames and pictures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        np.array(["2026-01-02"], "M8[D]"),
        np.array([5], "m8[ms]"),
        np.array([(1, "2026-01-02")], [("a", "<i4"), ("at", "<M8[s]")]),
        np.zeros((2, 0), "M8[s]"),
        np.arange(6.0).reshape(2, 3).T,
    ],
    ids=lambda value: str(value.dtype),
)
def test_arrays_without_a_buffer_of_their_own_come_back(value: Any) -> None:
    _, back = read_binary_frame(binary_frame({}, value))
    assert back.dtype == value.dtype
    np.testing.assert_array_equal(back, value)


@pytest.mark.parametrize("data", [[[1, 2], [3]], np.zeros((1, 70_000), np.uint8)], ids=["rows", "too wide"])
def test_what_is_no_picture_is_named(data: Any) -> None:
    with pytest.raises(NotCarriableError):
        picture(data, "jpg")


# --- what brokers bring ----------------------------------------------------------------------------------------------


DEEP = b"[" * 100_000 + b"]" * 100_000


def test_what_is_nested_without_an_end_is_no_envelope_and_no_arguments() -> None:
    with pytest.raises(MalformedError):
        Envelope.from_bytes(b'{"origin": "a", "sequence": 1, "topic": "b"}\n' + DEEP)
    pytest.importorskip("nats", reason="the bridge needs one_liner[gateway]")
    from one_liner.gateway.bridge.bridge import _arguments

    with pytest.raises(BadArgumentsError):
        _arguments(DEEP)


def test_gateways_that_have_come_and_gone_are_forgotten() -> None:
    async def main() -> None:
        exchange = Exchange(MemoryCarrier("room"))
        for number in range(MOST_ORIGINS + 5):
            exchange._receive(Envelope("stays", number))
            exchange._receive(Envelope(f"gateway {number}", 1))
        assert len(exchange._heard_at) == MOST_ORIGINS
        assert "stays" in exchange._present()

    asyncio.run(main())


# --- the address -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_a_port_that_cannot_be_is_no_other_port(port: int) -> None:
    with pytest.raises(ConfigurationError, match="from 0 to 65535"):
        listen("127.0.0.1", port)


def test_a_port_that_is_taken_is_known_by_its_number_and_not_by_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(self: socket.socket, address: object) -> None:
        raise OSError(errno.EADDRINUSE, "Only one usage of each socket address is normally permitted")

    monkeypatch.setattr(socket.socket, "bind", bind)
    with pytest.raises(PortInUseError):
        listen("127.0.0.1", 5)


# --- from Python -----------------------------------------------------------------------------------------------------


def test_who_is_refused_a_stream_is_told_so(lab: Lab) -> None:
    with NumpyClient(lab.url) as nobody, pytest.raises(RefusedError, match="token"):
        nobody.connect_streaming(print).wait(PATIENCE_S)
    with NumpyClient(lab.url, token="only looks") as looker, pytest.raises(RefusedError, match="rate_hz"):
        looker.connect_streaming(print, rate_hz=-1).wait(PATIENCE_S)


def test_who_is_no_gateway_has_no_stream() -> None:
    with serving(FastAPI()) as web, NumpyClient(web.http) as client, pytest.raises(RefusedError, match="403"):
        client.connect_streaming(print)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"SSH-2.0\r\n")

        thread = threading.Thread(target=answer, name="no gateway")
        thread.start()
        with NumpyClient(f"http://127.0.0.1:{listener.getsockname()[1]}") as client, pytest.raises(NoServerError):
            client.connect_streaming(print)
        thread.join()


def test_connections_that_have_ended_are_not_kept(lab: Lab) -> None:
    with NumpyClient(lab.url, token="only looks") as looker:
        for _ in range(3):
            looker.connect_streaming(print).close()

        def forgotten() -> bool:
            gc.collect()
            return not looker._streams

        poll_until(forgotten, PATIENCE_S, "them to be forgotten")
