"""Bytes of somebody who means no good, on both ports of a living server: one error for them, nothing for the others."""

from __future__ import annotations

import logging
import os
import pickle
import random
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]
import psutil
import pytest
import zmq

from one_liner import RouterClient, RouterServer
from one_liner.errors import MalformedError, OneLinerError, VersionMismatchError
from one_liner.wire.codec import Codec
from one_liner.wire.faults import error_of
from one_liner.wire.messages import MAGIC, PROTOCOL_VERSION, Kind, Reply, Request, Stamp
from tests.conftest import poll_until

CODEC = Codec()
PATIENCE_MS = 10_000


class Laser:
    def __init__(self) -> None:
        self.power = 1.0
        self.calls = 0

    def fire(self) -> int:
        self.calls += 1
        return self.calls


class Opened:
    """What a pickle does when somebody loads it."""

    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["ONE_LINER_TEST_TRAP"],)


@pytest.fixture(params=["tcp", "ipc", "inproc"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterServer]:
    interface = {"tcp": "127.0.0.1", "ipc": str(tmp_path_factory.mktemp("h") / "rig"), "inproc": "hostile"}
    logging.getLogger("one_liner").setLevel(logging.CRITICAL)
    with RouterServer(
        request.param, interface[request.param], 0, 0, instances={"laser": Laser()}, heartbeat_s=0.2
    ) as made:
        made.add_stream("power", 100, "laser", "power")
        made.add_stream("shy", 100, "laser", "power", on_demand=True)
        made.run()
        yield made
    logging.getLogger("one_liner").setLevel(logging.NOTSET)


@pytest.fixture
def client(server: RouterServer) -> Iterator[RouterClient]:
    """A good client, whose next call and next sample come whatever the others did."""
    protocol, _, rest = server.rpc_endpoint.partition("://")
    interface, _, port = rest.rpartition(":")
    with RouterClient(
        protocol, interface, port, server.broadcast_port, heartbeat_s=0.2, timeout_s=PATIENCE_MS / 1000
    ) as made:
        made.configure_stream("power", "cache", wait=True, timeout_s=20)
        made.call("laser", "fire")
        yield made
        for _ in range(3):
            made.call("laser", "fire")
        assert made.get_stream("power", timeout_s=PATIENCE_MS / 1000)[1] == 1.0
        assert made.state == "connected"


@pytest.fixture
def context() -> zmq.Context[Any]:
    """Of whoever attacks; inproc reaches only from the server's own."""
    return zmq.Context.instance()


@pytest.fixture
def raw(server: RouterServer, context: zmq.Context[Any]) -> Iterator[zmq.Socket[bytes]]:
    with _socket(context, zmq.DEALER, server.rpc_endpoint) as made:
        yield made


def _socket(context: zmq.Context[Any], kind: int, address: str) -> zmq.Socket[bytes]:
    made: zmq.Socket[bytes] = context.socket(kind)
    made.linger = 0
    made.rcvtimeo = made.sndtimeo = PATIENCE_MS
    if kind == zmq.DEALER:
        made.setsockopt(zmq.ROUTING_ID, b"c" + os.urandom(8))
    made.connect(address)
    return made


def _router() -> zmq.Socket[bytes]:
    """A socket that plays a server."""
    made: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    made.linger = 0
    return made


def request(kind: int, content: Any, path: str = "laser", number: int = 1) -> list[bytes]:
    body, buffers = CODEC.encode(content)
    return Request(kind, number, 7, path, body, buffers).encode()  # type: ignore[return-value]


def answer(frames: list[bytes]) -> Reply:
    if frames[0] == b"":  # as a REQ socket wants it
        frames = frames[1:]
    return Reply.decode(frames[0], frames[1:])


def fault(frames: list[bytes]) -> OneLinerError:
    reply = answer(frames)
    assert reply.kind == Kind.ERROR
    return error_of(CODEC.decode(reply.body, reply.buffers))


GOOD = request(Kind.CALL, ["fire", [], {}])[0]
NONSENSE: dict[str, list[bytes]] = {
    "nothing": [b""],
    "two times nothing": [b"", b""],
    "one byte": [b"1"],
    "no magic": [b"GET / HTTP/1.1\r\nHost: laser\r\n\r\n"],
    "magic only": [b"1L"],
    "prefix only": [GOOD[:12]],
    "cut in the path": [GOOD[:30]],
    "a reply": Reply(Kind.RESULT, 1, Stamp(0.0), b"\xc0").encode(),  # type: ignore[dict-item]
    "a sample kind": [MAGIC + bytes([PROTOCOL_VERSION, Kind.SAMPLE]) + bytes(40)],
    "an unknown kind": [MAGIC + bytes([PROTOCOL_VERSION, 60]) + GOOD[4:]],
    "kind 0": [MAGIC + bytes([PROTOCOL_VERSION, 0]) + GOOD[4:]],
    "claims buffers": [GOOD[:20] + b"\xff\xff" + GOOD[22:]],
    "claims hops": [GOOD[:22] + b"\xff" + GOOD[23:]],
    "claims a long path": [GOOD[:23] + b"\xff\xff" + GOOD[25:]],
    "too many frames": [GOOD, *[b"x"] * 200],
    "path is no text": [GOOD.replace(b"laser", b"\xff\xfe\xfd\xfc\xfb")],
    "no body": [GOOD[:30] + b"laser"[:5]],
    "body is no msgpack": [GOOD[:30] + b"\xc1"],
    "body claims 4 billion items": [GOOD[:30] + b"\xdd\xff\xff\xff\xff"],
    "body claims 4 GB of bytes": [GOOD[:30] + b"\xc6\xff\xff\xff\xff"],
    "body nests without end": [GOOD[:30] + b"\x91" * 100_000],
    "body is a pickle": [GOOD[:30] + pickle.dumps([1, 2])],
    "array of a huge shape": [
        GOOD[:30] + msgpack.packb(["fire", [msgpack.ExtType(49, b"\x02\0\x03<f8" + b"\xff" * 16)], {}])
    ],
    "array of objects": [
        GOOD[:30]
        + msgpack.packb(["fire", [msgpack.ExtType(49, b"\x01\0\x02|O" + struct.pack(">Q", 1) + bytes(8))], {}])
    ],
    "an unregistered class": [
        GOOD[:30] + msgpack.packb(["fire", [msgpack.ExtType(41, msgpack.packb(["os.x", {}]))], {}])
    ],
    "parts of the wrong kind": request(Kind.CALL, [1, 2, 3]),
    "too few parts": request(Kind.CALL, ["fire"]),
    "arguments by number": request(Kind.CALL, ["fire", [], {1: 2}]),
    "a call of nothing": request(Kind.CALL, None),
    "a heartbeat of a long number": request(Kind.HEARTBEAT, [10**5000, 1.0, {}]),
    "a heartbeat of an endless number": request(Kind.HEARTBEAT, ["me", 1.0, {float("inf"): "you"}]),
    "a heartbeat of no number": request(Kind.HEARTBEAT, ["me", "soon", {}]),
    "a heartbeat of two parts": request(Kind.HEARTBEAT, [[], {}]),
    "a heartbeat of nothing": request(Kind.HEARTBEAT, None),
    "a control word that is none": request(Kind.CONTROL, ["eval", {"code": "1"}]),
    "a control word with strange arguments": request(Kind.CONTROL, ["describe", {"trail": 5, "path": 5}]),
    "a control word with numbers": request(Kind.CONTROL, ["version", {5: 5}]),
    "a stream of nothing": request(Kind.CONTROL, ["add_stream", {"frequency_hz": float("inf")}]),
    "a stream of a private name": request(
        Kind.CONTROL, ["add_stream", {"frequency_hz": 1, "obj_name": "laser", "attr_name": "__class__"}]
    ),
    "a pickled stream": request(
        Kind.CONTROL,
        ["add_stream", {"frequency_hz": 1, "obj_name": "laser", "attr_name": "power", "serializer": "pickle"}],
    ),
    "a marker that is a stream": request(Kind.CONTROL, ["publish_marker", {}], "power"),
    "surrogates": request(Kind.CALL, ["\ud800", [], {}], "laser"),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_gets_one_error(client: RouterClient, raw: zmq.Socket[bytes], what: str) -> None:
    raw.send_multipart(NONSENSE[what])
    error = fault(raw.recv_multipart())
    assert isinstance(error, OneLinerError)
    assert str(error)
    raw.send_multipart(request(Kind.CALL, ["fire", [], {}], number=2))
    reply = answer(raw.recv_multipart())
    assert (reply.kind, reply.id) == (Kind.RESULT, 2), (
        "the same peer may do better next time, and there was exactly one error"
    )


def test_a_req_socket_is_answered_in_its_own_way(client: RouterClient, server: RouterServer) -> None:
    with _socket(zmq.Context.instance(), zmq.REQ, server.rpc_endpoint) as req:
        for message in (pickle.dumps({"method": "fire"}), b"hello", GOOD):
            req.send(message)
            assert isinstance(fault(req.recv_multipart()), MalformedError)


@pytest.mark.parametrize("version", [0, PROTOCOL_VERSION + 1, 255])
def test_another_version_is_told_so(client: RouterClient, raw: zmq.Socket[bytes], version: int) -> None:
    raw.send(MAGIC + bytes([version]) + GOOD[3:])
    head = raw.recv()
    assert head[3] == Kind.VERSION
    assert head[4:12] == GOOD[4:12]
    with pytest.raises(VersionMismatchError, match=f"protocol {version}"):
        Reply.decode(head, [])


def test_a_pickle_is_never_opened(
    client: RouterClient, raw: zmq.Socket[bytes], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "trap"
    monkeypatch.setenv("ONE_LINER_TEST_TRAP", str(trap))
    evil = pickle.dumps(Opened())
    for number, body in enumerate((evil, msgpack.packb(["fire", [msgpack.ExtType(42, evil)], {}])), 1):
        raw.send(GOOD[:4] + number.to_bytes(8, "little") + GOOD[12:30] + body)
        assert isinstance(fault(raw.recv_multipart()), MalformedError)
    raw.send_multipart([evil, evil])
    fault(raw.recv_multipart())
    assert not trap.exists()


def test_random_bytes_in_every_place(server: RouterServer, client: RouterClient) -> None:
    chance = random.Random(20)
    for _ in range(30):  # peers, each of them below the number of messages from which on it is ignored
        with _socket(zmq.Context.instance(), zmq.DEALER, server.rpc_endpoint) as raw:
            for index in range(8):
                head = bytearray(GOOD)
                for _ in range(chance.randint(1, 4)):
                    head[chance.randrange(4, len(head))] = chance.randrange(256)
                noise = [chance.randbytes(chance.randint(0, 60))] * (index % 4 + 1)
                raw.send_multipart([bytes(head)] if index % 2 else noise)
                answer(raw.recv_multipart())


def test_who_talks_nonsense_without_end_is_not_listened_to(server: RouterServer, client: RouterClient) -> None:
    with _socket(zmq.Context.instance(), zmq.DEALER, server.rpc_endpoint) as raw:
        for _ in range(2000):
            raw.send(b"nonsense")
        answers = 0
        while raw.poll(200):
            raw.recv_multipart()
            answers += 1
        assert 0 < answers < 2000


def test_the_same_request_sent_twice_at_once_is_carried_out_once(server: RouterServer, client: RouterClient) -> None:
    began, go = threading.Event(), threading.Event()
    count: list[int] = []

    def stick() -> None:
        count.append(1)
        began.set()
        assert go.wait(20)

    server.add_instance("stick", stick)
    with _socket(zmq.Context.instance(), zmq.DEALER, server.rpc_endpoint) as raw:
        twice = request(Kind.CALL, ["", [], {}], "stick")
        raw.send_multipart(twice)
        assert began.wait(10)
        raw.send_multipart(twice)
        raw.send(request(Kind.CALL, ["fire", [], {}], "laser", 2)[0])
        assert answer(raw.recv_multipart()).id == 2
        go.set()
        assert answer(raw.recv_multipart()).id == 1
    assert count == [1]


def test_memory_stays_bounded_under_nonsense(server: RouterServer, client: RouterClient) -> None:
    process = psutil.Process()
    with (
        _socket(zmq.Context.instance(), zmq.DEALER, server.rpc_endpoint) as raw,
        _socket(zmq.Context.instance(), zmq.DEALER, server.rpc_endpoint) as nonsense,
    ):

        def flood() -> None:
            for index in range(2000):
                nonsense.send_multipart([b"x" * 1000, b"y"])
                raw.send_multipart(request(Kind.HEARTBEAT, [f"name {index}" * 50, 1.0, {}], "", index))
                raw.recv_multipart()

        flood()
        before = process.memory_info().rss
        flood()
        assert process.memory_info().rss - before < 20e6


def test_one_client_that_connects_again_and_again_is_one_client(server: RouterServer, client: RouterClient) -> None:
    for _ in range(20):
        with _socket(zmq.Context.instance(), zmq.DEALER, server.rpc_endpoint) as raw:
            raw.send_multipart(request(Kind.HEARTBEAT, ["flapping", 1.0, {}]))
            raw.recv_multipart()
    assert len(server._rpc._sessions.hearts()) <= 2


# --- raw bytes under ZeroMQ ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["tcp"], indirect=True)
@pytest.mark.parametrize("which", ["rpc", "broadcast"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 1000,
        b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL" + bytes(48) + b"\xff" * 100,
        os.urandom(5000),
        pickle.dumps(list(range(1000))),
    ],
    ids=["empty", "http", "ones", "bad handshake", "random", "pickle"],
)
def test_bytes_that_are_no_zeromq(server: RouterServer, client: RouterClient, which: str, data: bytes) -> None:
    port = server.rpc_port if which == "rpc" else server.broadcast_port
    connections = [socket.create_connection(("127.0.0.1", int(port)), timeout=10) for _ in range(10)]
    for connection in connections:
        connection.sendall(data)
    assert client.call("laser", "fire")
    for connection in connections:
        connection.close()


# --- the broadcast address -------------------------------------------------------------------------------------------


def test_a_stranger_that_only_subscribes_learns_nothing_but_samples(server: RouterServer, client: RouterClient) -> None:
    with _socket(zmq.Context.instance(), zmq.SUB, server.broadcast_endpoint) as sub:
        sub.subscribe(b"power\0")
        assert sub.recv_multipart()[0].startswith(b"power\0")


@pytest.mark.parametrize("kind", [zmq.PUB, zmq.XPUB, zmq.DEALER, zmq.REQ, zmq.PUSH])
def test_other_sockets_on_the_broadcast_address(server: RouterServer, client: RouterClient, kind: int) -> None:
    if server.broadcast_endpoint.startswith("inproc"):
        return  # Inside one process libzmq does not check whether two kinds of sockets go together.
    with _socket(zmq.Context.instance(), kind, server.broadcast_endpoint) as wrong:
        for message in (b"power\0nonsense", b"\x01", b"\0power\0", GOOD):
            try:
                wrong.send(message, zmq.NOBLOCK)
            except zmq.ZMQError:
                break
        assert client.call("laser", "fire")


def test_messages_sent_up_to_the_publisher(server: RouterServer, client: RouterClient) -> None:
    with _socket(zmq.Context.instance(), zmq.XSUB, server.broadcast_endpoint) as up:
        for message in (
            [b"hello"],
            [b"\x02", b"\x01power"],
            [b"\x00power\0"],
            [b"\x00shy\0"],
            [b"\x01"],
            [b"\x00"],
            [b"\x01" + b"t" * 100_000],
            [b""],
            [b"", b"", b"\x01"],
            [b"x" * 1_000_000],
        ):
            up.send_multipart(message)
        first = client.get_stream("power", timeout_s=20).sequence
        poll_until(lambda: client.get_stream("power", timeout_s=20).sequence > first + 10)


@pytest.mark.parametrize("times", [1, 500])
def test_a_subscription_in_the_middle_of_a_message_ends_nothing(
    server: RouterServer, client: RouterClient, times: int
) -> None:
    """libzmq takes one that it knows already out of the message, whose end its own proxy then waits for in vain."""
    with _socket(zmq.Context.instance(), zmq.XSUB, server.broadcast_endpoint) as up:
        up.send(b"\x01power\0")
        for _ in range(times):
            up.send_multipart([b"hello", b"\x01power\0"])
            up.send_multipart([b"\x01power\0", b"\x00power\0", b"\x01power\0"])
        first = client.get_stream("power", timeout_s=20).sequence
        poll_until(lambda: client.get_stream("power", timeout_s=20).sequence > first + 10)
        client.configure_stream("shy", wait=True, timeout_s=20)
        assert client.get_stream("shy", timeout_s=20)[1] == 1.0


def test_a_flood_of_subscriptions_disturbs_no_ticks(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("shy", "cache", wait=True, timeout_s=20)
    with _socket(zmq.Context.instance(), zmq.XSUB, server.broadcast_endpoint) as up:
        for index in range(5000):
            up.send(b"\x01" + index.to_bytes(4, "big"))
            up.send(b"\x00" + index.to_bytes(4, "big"))
        for index in range(2000):
            up.send(b"\x01" + index.to_bytes(4, "big"))
        first = client.get_stream("shy", timeout_s=10).sequence
        poll_until(lambda: client.get_stream("shy", timeout_s=10).sequence > first + 10)
        first = client.get_stream("power", timeout_s=10).sequence
        poll_until(lambda: client.get_stream("power", timeout_s=10).sequence > first + 10)


# --- the other way round ---------------------------------------------------------------------------------------------


def test_a_client_survives_a_server_that_talks_nonsense() -> None:
    with _router() as router:
        port: int = router.bind_to_random_port("tcp://127.0.0.1")
        stop = threading.Event()

        def talk() -> None:
            replies: Iterator[list[Any]] = iter(
                [
                    [b""],
                    [b"nonsense"],
                    [GOOD],
                    [MAGIC + bytes([PROTOCOL_VERSION, Kind.RESULT])],
                    Reply(Kind.RESULT, 1, Stamp(float("nan"), float("inf")), b"\xc1").encode(),
                    Reply(Kind.RESULT, 2, Stamp(0.0), CODEC.encode({"server": "?"})[0]).encode(),
                    Reply(Kind.ERROR, 3, Stamp(0.0), CODEC.encode("no fault")[0]).encode(),
                    [b"x"] * 50,
                ]
                * 3
            )
            while not stop.is_set():
                if router.poll(20):
                    peer = router.recv_multipart()[0]
                    router.send_multipart([peer, *next(replies, [b"enough"])])

        talker = threading.Thread(target=talk)
        talker.start()
        logging.getLogger("one_liner").setLevel(logging.CRITICAL)
        try:
            with (
                RouterClient(rpc_port=port, broadcast_port=None, heartbeat_s=0.2) as client,
                pytest.raises(OneLinerError),
            ):
                client.call("laser", "fire")
        finally:
            logging.getLogger("one_liner").setLevel(logging.NOTSET)
            stop.set()
            talker.join(10)


def test_a_client_of_another_version_is_told_which(server: RouterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    del server
    with _router() as router:
        port: int = router.bind_to_random_port("tcp://127.0.0.1")
        stop = threading.Event()

        def talk() -> None:
            while not stop.is_set():
                if router.poll(20):
                    peer, head, *_ = router.recv_multipart()
                    router.send_multipart([peer, MAGIC + bytes([9, Kind.VERSION]) + head[4:12] + b"we speak 9"])

        talker = threading.Thread(target=talk)
        talker.start()
        try:
            with RouterClient(rpc_port=port, broadcast_port=None, heartbeat_s=0.2) as client:
                with pytest.raises(VersionMismatchError, match="9"):
                    client.call("laser", "fire")
                assert client.state == "refused"
        finally:
            stop.set()
            talker.join(10)
