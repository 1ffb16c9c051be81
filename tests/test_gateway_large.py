"""What is large is written on a thread, piece by piece: meanwhile the gateway answers everybody else."""

from __future__ import annotations

import asyncio
import datetime
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the gateway needs one_liner[gateway]")

import httpx
import numpy as np
from websockets.asyncio.client import connect

from one_liner import RouterServer
from one_liner.gateway import Settings, array_routes, create_app, pieces
from one_liner.gateway.json_values import dumps
from one_liner.gateway.pieces import PiecesResponse, is_large, json_pieces, json_response, json_text
from tests.conftest import poll_until
from tests.web import PATIENCE_S, Served, run, serving, until, wire

MOST_PIECE_BYTES = 2_000_000
RANDOM = np.random.default_rng(0)
STRUCTURED = np.zeros(30_000, dtype=[("x", float), ("n", "i4")])
DEEP: Any = list(range(10_000))
for _ in range(90):
    DEEP = [DEEP]

LARGE = {
    "floats": RANDOM.normal(size=(300, 400)),
    "long rows": RANDOM.normal(size=(3, 100_000)),
    "one row of planes": RANDOM.normal(size=(1, 3, 100, 400)),
    "not finite": np.where(RANDOM.random((300, 400)) > 0.5, np.nan, 1.0),
    "complex": RANDOM.normal(size=50_000) + 1j,
    "instants": np.arange(40_000).astype("M8[s]"),
    "texts": np.array(["a", "bü"] * 20_000),
    "structured": STRUCTURED,
    "objects": np.array([1, "a", None] * 10_000, dtype=object),
    "not contiguous": RANDOM.normal(size=(400, 300)).T,
    "masked": np.ma.masked_less(np.arange(50_000), 3),
    "list": [1, 2.5, None, "a", True] * 20_000,
    "tuples": [(1, "a")] * 30_000,
    "rows": [[float(x) for x in range(1000)] for _ in range(40)],
    "numbers of more than 64 bits": [2**70] * 10_000,
    "dict": dict.fromkeys(range(20000), "b" * 10),
    "dict of arrays": {"a": 1, "b": RANDOM.normal(size=20_000), 3: {"c": [RANDOM.normal(size=20_000), "d"]}, "e": None},
    "dates": [datetime.date(2026, 1, 1)] * 30_000,
    "text": 'ä"\\\n😀' * 100_000,
    "bytes": bytes(range(256)) * 4_000,
    "bytearray": bytearray(700_001),
    "deep": DEEP,
}


@pytest.mark.parametrize("name", LARGE)
def test_the_pieces_are_what_would_be_written_at_once(name: str) -> None:
    value = LARGE[name]
    assert is_large(value)
    found = list(json_pieces(value))
    assert json.loads(b"".join(found)) == json.loads(dumps(value))
    assert json_text(value) == b"".join(found).decode()
    if name not in ("masked", "objects"):
        assert len(found) > 1
        assert max(map(len, found)) < MOST_PIECE_BYTES


SMALL = [None, 1, 2.5, "text", b"", [], {}, [1] * 100, np.zeros(100), {"a": np.zeros((3, 0))}]


@pytest.mark.parametrize("value", SMALL)
def test_what_is_small_is_written_at_once(value: Any) -> None:
    assert not is_large(value)
    assert list(json_pieces(value)) == [dumps(value)]


def test_small_parts_that_are_large_together_are_large() -> None:
    assert is_large([[[0.0] * 100] * 100])
    assert is_large({"a": {"b": [b"c" * 40_000, "d" * 40_000]}})
    assert not is_large([[0.0] * 100] * 10)


def test_pieces_are_sent_one_after_the_other_and_others_have_their_turn() -> None:
    async def main() -> None:
        sent: list[dict[str, Any]] = []
        turns: list[int] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def other() -> None:
            while True:
                turns.append(len(sent))
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        response = await json_response({"value": np.arange(300_000)})
        assert isinstance(response, PiecesResponse)
        await response({"type": "http"}, None, send)  # type: ignore[arg-type]
        beside.cancel()
        bodies = [one["body"] for one in sent[1:]]
        assert json.loads(b"".join(bodies)) == {"value": list(range(300_000))}
        assert dict(sent[0]["headers"])[b"content-length"] == str(sum(map(len, bodies))).encode()
        assert [one["more_body"] for one in sent[1:]] == [True] * (len(sent) - 2) + [False]
        assert set(range(2, len(sent) - 1)) <= set(turns)

    run(main())


class Camera:
    def image(self) -> Any:
        return LARGE["floats"]

    def rows(self) -> Any:
        return LARGE["rows"]


@pytest.fixture
def served() -> Iterator[Served]:
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        server.add_instance("camera", Camera())
        server.add_stream("images", 20, "camera", "image")
        server.run()
        app = create_app(f"127.0.0.1:{server.rpc_port}", Settings(stream="images"))
        app.state.gateway.arrays.add(LARGE["floats"])
        with serving(app) as served:
            poll_until(lambda: httpx.get(f"{served.http}/api/streams/images/last").status_code == 200, PATIENCE_S)
            yield served


async def _by_http(served: Served, path: str) -> bytes:
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        answer = await client.get(f"{served.http}{path}")
        assert answer.status_code == 200
        return answer.content


async def _by_rpc(served: Served, method: str) -> bytes:
    async with wire(f"{served.ws}/ws") as client:
        return json.dumps(await client.result(method)).encode()


async def _by_socket(served: Served, path: str) -> bytes:
    async with connect(f"{served.ws}{path}", proxy=None, max_size=None) as socket:
        if path == "/ws/stream":
            await socket.send('{"action": "start"}')
        while len(text := await socket.recv()) < 100_000:
            pass
        assert isinstance(text, str)
        return text.encode()


async def _by_topic(served: Served, topic: str) -> bytes:
    async with wire(f"{served.ws}/pubsub") as client:
        await client.result("subscribe", {"topics": [topic]})
        return json.dumps(await client.notified()).encode()


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        (_by_http, "/instrument/camera/image"),
        (_by_http, "/instrument/camera/rows"),
        (_by_http, "/api/streams/images/last"),
        (_by_http, "/array/0"),
        (_by_rpc, "camera.image"),
        (_by_socket, "/api/streams/images/ws"),
        (_by_socket, "/ws/stream"),
        (_by_topic, "images"),
    ],
)
def test_while_a_large_answer_is_written_others_are_answered(
    ask: Callable[[Served, str], Awaitable[bytes]], what: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, go_on = threading.Event(), threading.Event()
    threads: set[str] = set()

    def held(function: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
        def pieces_of(*args: Any) -> Iterator[bytes]:
            for piece in function(*args):
                yield piece
                threads.add(threading.current_thread().name)
                writing.set()
                assert go_on.wait(PATIENCE_S)

        return pieces_of

    async def main() -> None:
        monkeypatch.setattr(pieces, "array_pieces", held(pieces.array_pieces))
        monkeypatch.setattr(pieces, "_of_items", held(pieces._of_items))
        monkeypatch.setattr(array_routes, "array_pieces", held(array_routes.array_pieces))
        asking = asyncio.ensure_future(ask(served, what))
        await until(writing.is_set, "it to be written")
        async with asyncio.timeout(PATIENCE_S / 2), httpx.AsyncClient(timeout=PATIENCE_S) as client:
            assert (await client.get(f"{served.http}/health")).status_code == 200
            async with wire(f"{served.ws}/ws") as other:
                assert await other.result("_ping_") == "pong"
        assert not asking.done()
        go_on.set()
        assert len(await asyncio.wait_for(asyncio.shield(asking), PATIENCE_S)) > 100_000
        assert "uvicorn" not in threads

    try:
        run(main())
    finally:
        go_on.set()
