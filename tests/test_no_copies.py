"""The payload is not copied by us: shown by where memory lies and by what is allocated, not by how long it takes.

From 64 KiB on an array is sent from the memory where it lies and read from the memory where it arrived. libzmq's own
buffers are made in C; everything that Python or numpy allocates is seen by `tracemalloc`, at both ends, since both live
in this process.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq

from one_liner.client import RouterClient
from one_liner.server import RouterServer

np = pytest.importorskip("numpy")

SIZE_BYTES = 8_000_000
PATIENCE_S = 20.0


class Camera:
    def __init__(self) -> None:
        self.image = np.arange(SIZE_BYTES, dtype=np.uint32).astype(np.uint8).reshape(1000, 2000, 4)
        self.received = None

    def grab(self):
        return self.image

    def look_at(self, image) -> int:
        self.received = image
        return int(image[-1, -1, -1])


@pytest.fixture
def camera() -> Camera:
    return Camera()


@pytest.fixture
def server(camera) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"camera": camera}) as server:
        server.run()
        yield server


@pytest.fixture(params=["direct", "through a router"])
def path(request, server) -> Iterator[tuple[RouterClient, str]]:
    """A client, and the prefix of the server's names."""
    with RouterServer(rpc_port=0, broadcast_port=0) as router:
        nearest, prefix = server, ""
        if request.param != "direct":
            router.add_router("lab", rpc_port=server.rpc_port)
            router.run()
            nearest, prefix = router, "lab/"
        with RouterClient(rpc_port=nearest.rpc_port, broadcast_port=None, timeout_s=PATIENCE_S) as client:
            client.wait_until_connected(PATIENCE_S)
            client.call(f"{prefix}camera", "grab")  # Whatever is made once is made.
            yield client, prefix


@pytest.fixture
def sent(monkeypatch) -> list[memoryview]:
    """Every large frame that this process sends, as it was handed to pyzmq, if it was to be sent from where it lies."""
    frames: list[memoryview] = []
    send = zmq.Socket.send

    def noting_send(socket, data, flags=0, copy=True, *args, **kwargs):
        view = memoryview(data)
        if view.nbytes >= SIZE_BYTES:
            assert not copy, "handed over to be copied"
            frames.append(view)
        return send(socket, data, flags, copy, *args, **kwargs)

    monkeypatch.setattr(zmq.Socket, "send", noting_send)
    return frames


def where_it_lies(array) -> object:
    """Who owns the memory of an array."""
    owner = array
    while True:
        further = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
        if further is None:
            return owner
        owner = further


@contextmanager
def copies() -> Iterator[list[float]]:
    """How many times the payload was allocated at most at a time, by anybody in this process but libzmq."""
    counted: list[float] = []
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield counted
        counted.append((tracemalloc.get_traced_memory()[1] - before) / SIZE_BYTES)
    finally:
        tracemalloc.stop()


def test_a_copy_would_be_counted(camera):
    with copies() as counted:
        assert camera.image.tobytes()
    assert counted[0] == pytest.approx(1.0, abs=0.1)


def test_a_result_is_sent_from_where_it_lies_and_read_from_where_it_came(path, camera, sent):
    client, prefix = path
    with copies() as counted:
        image = client.call(f"{prefix}camera", "grab")
    assert counted[0] < 0.1
    assert isinstance(where_it_lies(image), zmq.Frame)
    assert np.array_equal(image, camera.image)
    assert np.shares_memory(np.frombuffer(sent[0], np.uint8), camera.image)


def test_an_argument_is_sent_from_where_it_lies_and_read_from_where_it_came(path, camera, sent):
    client, prefix = path
    image = camera.image + 1
    with copies() as counted:
        assert client.call(f"{prefix}camera", "look_at", [image]) == image[-1, -1, -1]
    assert counted[0] < 0.1
    assert isinstance(where_it_lies(camera.received), zmq.Frame)
    assert np.array_equal(camera.received, image)
    assert np.shares_memory(np.frombuffer(sent[0], np.uint8), image)


@pytest.mark.parametrize("storage", ["queue", "cache"])
def test_a_sample_is_sent_from_where_it_lies_and_read_from_where_it_came(path, server, camera, storage, sent):
    client, prefix = path
    push = server.get_stream_fn("images")
    client.configure_stream(f"{prefix}images", storage, wait=True, timeout_s=PATIENCE_S)
    with copies() as counted:
        assert push(camera.image)
        _, image = client.get_stream(f"{prefix}images", block=True, timeout_s=PATIENCE_S)
    assert counted[0] < 0.1
    assert isinstance(where_it_lies(image), zmq.Frame)
    assert np.array_equal(image, camera.image)
    assert np.shares_memory(np.frombuffer(sent[0], np.uint8), camera.image)
