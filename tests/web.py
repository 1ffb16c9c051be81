"""A real uvicorn in a thread, and the frames of JSON RPC by hand: for the tests of the gateway's sockets."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import poll_until

PATIENCE_S = 30.0


class Served(NamedTuple):
    """Where an application is."""

    port: int
    server: uvicorn.Server

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serving(app: FastAPI, port: int = 0, **options: Any) -> Iterator[Served]:
    """An application on a free port, until the block is left."""
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, **options))
    thread = threading.Thread(target=server.run, args=([listener],), name="uvicorn")
    thread.start()
    try:
        poll_until(lambda: server.started or not thread.is_alive(), PATIENCE_S, "uvicorn to start")
        yield Served(listener.getsockname()[1], server)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class Wire:
    """One connection, spoken by hand: answers to our calls by id, and whatever else came."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self._ids = itertools.count()
        self._answers: dict[str | None, asyncio.Future[dict[str, Any]]] = {}
        self.requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.texts: list[str] = []

    async def read(self) -> None:
        async for text in self.websocket:
            assert isinstance(text, str), "frames are texts"
            self.texts.append(text)
            frame = json.loads(text)
            assert set(frame) == {"request", "response"}
            if frame["request"] is not None:
                assert frame["response"] is None
                self.requests.put_nowait(frame["request"])
            else:
                self.answer_to(frame["response"]["call_id"]).set_result(frame["response"])

    def answer_to(self, call_id: str | None) -> asyncio.Future[dict[str, Any]]:
        return self._answers.setdefault(call_id, asyncio.get_running_loop().create_future())

    async def send(self, method: str, arguments: Any = None) -> str:
        call_id = f"{next(self._ids):032x}"
        request = {"method": method, "arguments": {} if arguments is None else arguments, "call_id": call_id}
        await self.websocket.send(json.dumps({"request": request, "response": None}))
        return call_id

    async def call(self, method: str, arguments: Any = None) -> dict[str, Any]:
        call_id = await self.send(method, arguments)
        return await asyncio.wait_for(self.answer_to(call_id), PATIENCE_S)

    async def result(self, method: str, arguments: Any = None) -> Any:
        return (await self.call(method, arguments))["result"]

    async def notified(self) -> dict[str, Any]:
        """The arguments of the next `notify`, which is answered."""
        request = await asyncio.wait_for(self.requests.get(), PATIENCE_S)
        assert request["method"] == "notify"
        response = {"result": None, "result_type": "str", "call_id": request["call_id"]}
        await self.websocket.send(json.dumps({"request": None, "response": response}))
        return request["arguments"]


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    """A connection, spoken by hand."""
    async with connect(url, max_size=None, proxy=None) as websocket:
        spoken = Wire(websocket)
        reading = asyncio.create_task(spoken.read())
        try:
            yield spoken
        finally:
            reading.cancel()
            await asyncio.wait([reading])


async def until(predicate: Callable[[], Any], what: str = "") -> Any:
    """Waits until `predicate()` is true, beside the event loop."""
    return await asyncio.to_thread(poll_until, predicate, PATIENCE_S, what)


def run(body: Coroutine[Any, Any, Any]) -> Any:
    """One test on an event loop."""
    return asyncio.run(asyncio.wait_for(body, 55))
