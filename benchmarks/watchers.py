"""Many WebSocket watchers of one gateway, beside some that never read: `python -m benchmarks.watchers --seconds 180`.

Server, gateway and watchers are processes of their own. All subscribe to the topic of one stream; each watcher checks
that the numbers have no gap. The memory of the gateway is read every few seconds; it has to be flat. Those that never
read are cut off by the gateway when they do not answer its pings, and come back once a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import struct
import time
from multiprocessing.connection import Connection

import psutil
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.children import Children
from one_liner.gateway import create_app
from one_liner.server import RouterServer

SUBSCRIBE = {"request": {"method": "subscribe", "arguments": {"topics": ["samples"]}, "call_id": "0" * 32}}
_LEADING_S = 10
_COME_BACK_S = 60


def serve(frequency_hz: float, size: int, out: Connection) -> None:
    """An instrument with one stream."""
    value = "x" * size
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        server.add_stream_from_callable("samples", frequency_hz, lambda: value)
        server.run()
        out.send(server.rpc_port)
        out.recv()


def gateway(port: int, out: Connection) -> None:
    """A gateway, as the command makes it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
    out.send((os.getpid(), listener.getsockname()[1]))
    config = uvicorn.Config(create_app(f"localhost:{port}"), log_level="warning", ws_per_message_deflate=False)
    uvicorn.Server(config).run([listener])


def stalled(port: int) -> socket.socket:
    """A WebSocket that subscribes, and never reads again."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect(("127.0.0.1", port))
    head = (
        "GET /pubsub HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\n"
    )
    one.sendall(f"{head}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
    one.recv(4096)
    text = json.dumps(SUBSCRIBE).encode()
    one.sendall(struct.pack("!BBH4x", 0x81, 0x80 | 126, len(text)) + text)
    return one


class Watcher:
    """One healthy client, which answers each notification."""

    def __init__(self) -> None:
        self.got = self.missed = 0
        self._last: int | None = None

    async def watch(self, websocket: ClientConnection) -> None:
        """Until the connection ends."""
        await websocket.send(json.dumps(SUBSCRIBE))
        async for text in websocket:
            request = json.loads(text)["request"]
            if request is None:
                continue
            number = request["arguments"]["data"]["sequence"]
            self.missed += 0 if self._last is None else number - self._last - 1
            self._last = number
            self.got += 1
            response = {"result": None, "result_type": "str", "call_id": request["call_id"]}
            await websocket.send(json.dumps({"request": None, "response": response}))


def watch(port: int, count: int, out: Connection) -> None:
    """Many healthy clients; tells what they got when it is asked."""

    async def main() -> None:
        watchers = [Watcher() for _ in range(count)]
        sockets = [await connect(f"ws://127.0.0.1:{port}/pubsub", proxy=None) for _ in watchers]
        tasks = [asyncio.create_task(one.watch(each)) for one, each in zip(watchers, sockets, strict=True)]
        out.send("ready")
        while await asyncio.to_thread(out.recv):
            ended = sum(task.done() for task in tasks)
            out.send((sum(one.got for one in watchers), sum(one.missed for one in watchers), ended))

    asyncio.run(main())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--watchers", type=int, default=200)
    parser.add_argument("--stalled", type=int, default=2)
    parser.add_argument("--hz", type=float, default=20)
    parser.add_argument("--bytes", type=int, default=1000)
    options = parser.parse_args()
    with Children() as children:
        measure(options, children)


def measure(options: argparse.Namespace, children: Children) -> None:
    """Print a line every few seconds."""
    server = children.start(serve, options.hz, options.bytes)
    pid, port = children.start(gateway, server.hear()).hear()
    crowd = children.start(watch, port, options.watchers)
    crowd.hear()
    silent = [stalled(port) for _ in range(options.stalled)]
    gateway_process = psutil.Process(pid)
    began = came = time.monotonic()
    before = 0
    while (passed := time.monotonic() - began) < options.seconds:
        time.sleep(_LEADING_S)
        if time.monotonic() > came + _COME_BACK_S:
            # Who does not answer pings is cut off; so they come back.
            came = time.monotonic()
            for one in silent:
                one.close()
            silent = [stalled(port) for _ in range(options.stalled)]
        got, missed, ended = crowd.ask("how many?")
        rss, cpu = gateway_process.memory_info().rss / 2**20, sum(gateway_process.cpu_times()[:2])
        rate = (got - before) / _LEADING_S / options.watchers
        before = got
        print(
            f"{passed + _LEADING_S:6.0f} s  {rss:7.1f} MiB  {cpu:7.1f} s of processor  "
            f"{rate:5.1f}/s each  {missed} missed  {ended} ended",
            flush=True,
        )
    for one in silent:
        one.close()


if __name__ == "__main__":
    main()
