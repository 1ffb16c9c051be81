"""Watchers that never read, on real sockets: what they cost is counted samples, and nobody else's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import pytest

pytest.importorskip("fastapi", reason="the gateway needs one_liner[gateway]")

from websockets.sync.client import ClientConnection, connect

from one_liner import RouterServer
from one_liner.gateway.frames import read_binary_frame
from one_liner.testing import SubprocessServer
from tests.conftest import poll_until
from tests.gateway_process import GatewayProcess

PATIENCE_S = 50.0
IMAGE_BYTES = 512 << 10
BLOCK_BYTES = 48 << 10
MOST_WAITING = 200
MARGIN_BYTES = 32 << 20

pytestmark = pytest.mark.timeout(240)


def make_cameras(rpc_port: int, broadcast_port: int) -> RouterServer:
    """One stream of images, which conflate, and one of blocks, which wait in line."""
    server = RouterServer(rpc_port=rpc_port, broadcast_port=broadcast_port)
    image, block = np.ones(IMAGE_BYTES, np.uint8), np.ones(BLOCK_BYTES, np.uint8)
    server.add_stream_from_callable("image", 40, lambda: image)
    server.add_stream_from_callable("block", 200, lambda: block)
    server.add_stream_from_callable("number", 20, lambda: 1.0)
    return server


@pytest.fixture
def gateway() -> Iterator[GatewayProcess]:
    with (
        SubprocessServer(make_cameras) as cameras,
        GatewayProcess("--server", f"127.0.0.1:{cameras.rpc_port}", "--no-ui") as gateway,
    ):
        poll_until(lambda: gateway.get("/api/streams/number/last").status == 200, PATIENCE_S, "the first sample")
        yield gateway


@contextmanager
def stalled(gateway: GatewayProcess, stream: str) -> Iterator[socket.socket]:
    """A WebSocket that is opened and never read from, with as little room in the system as there can be."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.settimeout(PATIENCE_S)
        one.connect(("127.0.0.1", gateway.port))
        one.sendall(
            f"GET /api/streams/{stream}/ws?format=binary HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert one.recv(12) == b"HTTP/1.1 101"
        yield one


def metric(gateway: GatewayProcess, name: str) -> float:
    lines = gateway.get("/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"one_liner_gateway_{name} ")).split()[1])


def dropped(gateway: GatewayProcess) -> float:
    return metric(gateway, "messages_dropped_total")


def next_number(watcher: ClientConnection) -> int:
    frame = watcher.recv(PATIENCE_S)
    assert isinstance(frame, bytes)
    head: dict[str, Any] = read_binary_frame(frame)[0]
    return int(head["sequence"])


@pytest.mark.parametrize(("stream", "size", "most"), [("image", IMAGE_BYTES, 1), ("block", BLOCK_BYTES, MOST_WAITING)])
def test_who_never_reads_costs_counted_samples_and_no_memory(
    gateway: GatewayProcess, stream: str, size: int, most: int
) -> None:
    process = psutil.Process(gateway.pid)
    with (
        stalled(gateway, stream),
        stalled(gateway, stream),
        connect(f"ws://127.0.0.1:{gateway.port}/api/streams/number/ws?format=binary") as watcher,
    ):
        numbers = [next_number(watcher)]
        poll_until(lambda: dropped(gateway) > 20, PATIENCE_S, "the system's buffers to be full")
        before, memory = dropped(gateway), process.memory_info().rss
        # More than the margin, had it been kept.
        more = 2 * MARGIN_BYTES / size
        poll_until(lambda: dropped(gateway) > before + more, PATIENCE_S, "more to be dropped")
        assert process.memory_info().rss < memory + MARGIN_BYTES
        assert metric(gateway, "messages_waiting") <= 2 * most + 1
        numbers += [next_number(watcher) for _ in range(20)]
        # The other one has lost nothing.
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    poll_until(lambda: metric(gateway, "websockets") == 0, PATIENCE_S, "the sockets to be gone")
    assert metric(gateway, "messages_waiting") == 0
