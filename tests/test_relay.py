"""Relays: the streams of another server, and of strangers, on our broadcast address."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import zmq

from one_liner import RouterClient, RouterServer
from one_liner.errors import ConfigurationError, NoDataError
from one_liner.streams.relay import StreamRelay
from tests.conftest import poll_until

HEARTBEAT_S = 0.3
Messages = list[list[bytes]]


@contextmanager
def serving(**options: Any) -> Iterator[RouterServer]:
    options = {"rpc_port": 0, "broadcast_port": 0, **options}
    with RouterServer(heartbeat_s=HEARTBEAT_S, **options) as server:
        server.run()
        yield server


@contextmanager
def watching(server: RouterServer) -> Iterator[RouterClient]:
    ports = {"rpc_port": server.rpc_port, "broadcast_port": server.broadcast_port}
    with RouterClient(heartbeat_s=HEARTBEAT_S, **ports) as client:
        yield client


class Stranger:
    """Somebody's publisher that knows nothing of us; it hears subscriptions, so that no test has to guess."""

    def __init__(self, address: str = "tcp://127.0.0.1:*") -> None:
        self.socket = zmq.Context.instance().socket(zmq.XPUB)
        self.socket.linger = 0
        try:
            self.socket.bind(address)
        except zmq.ZMQError:
            self.close()
            raise
        self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.topics: set[bytes] = set()

    def hear(self) -> set[bytes]:
        while self.socket.poll(0):
            word = self.socket.recv()
            (self.topics.add if word[0] else self.topics.discard)(word[1:])
        return self.topics

    def await_topic(self, topic: bytes) -> None:
        poll_until(lambda: topic in self.hear(), what=f"a subscription to {topic!r}")

    def await_nobody(self) -> None:
        poll_until(lambda: not self.hear(), what="all subscriptions to end")

    def send(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def close(self) -> None:
        self.socket.close(0)


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    publisher = Stranger()
    yield publisher
    publisher.close()


@pytest.fixture
def server() -> Iterator[RouterServer]:
    with serving() as running:
        yield running


@pytest.fixture
def client(server: RouterServer) -> Iterator[RouterClient]:
    with watching(server) as connected:
        yield connected


# --- strangers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "subscribed", "frames", "expected"),
    [
        (None, b"cam", [b"cam", b"payload"], b"payload"),
        (None, b"cam", [b"cam\0", b"payload"], b"payload"),
        (None, b"cam", [b"cam", b""], b""),
        (None, b"cam", [b"cam", b"a", b"b", b"c"], (b"a", b"b", b"c")),
        (None, b"cam", [b"cam", b"", b"payload"], (b"", b"payload")),
        (None, b"cam", [b"cam", b"", b""], (b"", b"")),
        (None, b"cam", [b"cam", b"header", bytes(200_000)], (b"header", bytes(200_000))),
        (None, b"cam", [b"cam", bytes(200_000), b"", b"end"], (bytes(200_000), b"", b"end")),
        (None, b"cam", [b"cam", b"x" * 8_000_000], b"x" * 8_000_000),
        ("", b"", [b"only frame"], b"only frame"),
        ("", b"", [b""], b""),
        ("", b"", [b"x" * 8_000_000], b"x" * 8_000_000),
        ("", b"", [b"any topic", b"payload"], b"payload"),
        ("sensor/", b"sensor/", [b"sensor/7", b"payload"], b"payload"),
        (b"\xff\x00\x01", b"\xff\x00\x01", [b"\xff\x00\x01", b"payload"], b"payload"),
        (b"\xff\x00\x01", b"\xff\x00\x01", [b"\xff\x00\x01payload"], b"\xff\x00\x01payload"),
    ],
)
def test_a_strangers_frames_arrive_as_bytes(
    server: RouterServer,
    client: RouterClient,
    stranger: Stranger,
    topic: Any,
    subscribed: bytes,
    frames: list[bytes],
    expected: Any,
) -> None:
    client.configure_stream("cam", wait=True)
    server.add_zmq_stream("cam", stranger.address, topic=topic)
    stranger.await_topic(subscribed)
    for number in range(3):
        stranger.send(*frames)
        sample = client.get_stream("cam", timeout_s=5)
        assert sample.data == expected
        assert sample.sequence == number
    assert client.get_stream_configurations()["cam"].produced == 3


def test_a_relay_knows_its_readers_before_its_first_sample(
    server: RouterServer, client: RouterClient, stranger: Stranger
) -> None:
    client.configure_stream("cam", wait=True)
    server.add_zmq_stream("cam", stranger.address)
    relay = server._registry.get("cam").feeder
    assert isinstance(relay, StreamRelay)
    assert relay._publisher.listens(b"cam\0")


def test_topics_that_begin_alike_never_mix(server: RouterServer, client: RouterClient, stranger: Stranger) -> None:
    for name in ("cam", "cam_2"):
        client.configure_stream(name, wait=True)
        server.add_zmq_stream(name, stranger.address)
        stranger.await_topic(name.encode())
    for number in range(5):
        stranger.send(b"cam_2", b"two %d" % number)
        stranger.send(b"cam", b"one %d" % number)
        stranger.send(b"cam_3", b"three")
    assert [client.get_stream("cam", timeout_s=5).data for _ in range(5)] == [b"one %d" % number for number in range(5)]
    assert [client.get_stream("cam_2", timeout_s=5).data for _ in range(5)] == [b"two %d" % n for n in range(5)]
    with pytest.raises(NoDataError):
        client.get_stream("cam")


@pytest.mark.parametrize(
    "hostile",
    [
        b"cam\0" + b"1L\x01\x80" + bytes(8),  # begins as a sample of ours, and ends at once
        b"cam\0" + b"1L\x01\x80",
        b"cam\0" + b"1L\x01\x80" + bytes(30),
        b"cam\0" + b"1L\x01\x80" + bytes(200),
        b"cam\0" + b"1L\x7f\x80" + bytes(60),  # another version
        b"cam\0" + struct.pack("<2sBBQHQBdfd", b"1L", 1, 128, 5, 9, 1, 77, 0.0, 0.0, 0.0),
        b"cam\0",
        b"cam",
    ],
)
def test_a_hostile_publisher_does_not_end_the_relay(
    server: RouterServer, client: RouterClient, stranger: Stranger, hostile: bytes
) -> None:
    client.configure_stream("cam", max_samples=100, wait=True)
    server.add_zmq_stream("cam", stranger.address)
    stranger.await_topic(b"cam")
    for _ in range(5):
        stranger.send(hostile)
    stranger.send(b"cam", b"good")
    _read_until(client, "cam", b"good")


def _read_until(client: RouterClient, name: str, wanted: Any) -> None:
    def found() -> bool:
        try:
            return bool(client.get_stream(name).data == wanted)
        except NoDataError:
            return False
        except Exception:
            return False  # What a hostile sample gives is an error of that sample.

    poll_until(found, what=f"{wanted!r} in {name}")


def test_a_publisher_that_is_not_there_dies_and_returns(server: RouterServer, client: RouterClient) -> None:
    first = Stranger()
    address = first.address
    first.close()
    client.configure_stream("cam", wait=True)
    server.add_zmq_stream("cam", address)
    for number in range(3):
        publisher = poll_until(lambda: _bound(address))
        publisher.await_topic(b"cam")
        publisher.send(b"cam", b"%d" % number)
        sample = client.get_stream("cam", timeout_s=5)
        assert (sample.data, sample.sequence) == (b"%d" % number, number)
        publisher.close()


def _bound(address: str) -> Stranger | None:
    try:
        return Stranger(address)
    except zmq.ZMQError:  # The system has not released the port of the last one yet.
        return None


def test_nothing_crosses_while_it_is_disabled(server: RouterServer, client: RouterClient, stranger: Stranger) -> None:
    client.configure_stream("cam", wait=True)
    server.add_zmq_stream("cam", stranger.address, enabled=False)
    server.add_zmq_stream("other", stranger.address)
    stranger.await_topic(b"other")
    assert stranger.topics == {b"other"}
    for number in range(5):
        client.enable_stream("cam")
        stranger.await_topic(b"cam")
        stranger.send(b"cam", b"%d" % number)
        assert client.get_stream("cam", timeout_s=5).data == b"%d" % number
        server.disable_stream("cam")
        poll_until(lambda: b"cam" not in stranger.hear())
        assert not client.get_stream_configurations()["cam"].enabled
    client.remove_stream("other")
    stranger.await_nobody()
    assert set(client.get_stream_configurations()) == {"cam"}


def test_replacing_goes_on_counting(server: RouterServer, client: RouterClient, stranger: Stranger) -> None:
    client.configure_stream("cam", max_samples=100_000, wait=True)
    server.get_stream_fn("cam")("manual")
    samples = [client.get_stream("cam", timeout_s=5)]
    for number in range(10):
        server.add_zmq_stream("cam", stranger.address)

        def arrived(number: int = number) -> bool:
            stranger.hear()
            stranger.send(b"cam", b"%d" % number)
            with suppress(NoDataError):
                while True:
                    samples.append(client.get_stream("cam"))
            return samples[-1].data == b"%d" % number

        poll_until(arrived)
    server.add_stream_from_callable("cam", 100, lambda: "periodic")
    while samples[-1].data != "periodic":
        samples.append(client.get_stream("cam", timeout_s=5))
    assert [sample.sequence for sample in samples] == list(range(len(samples)))
    order = list(dict.fromkeys(sample.data for sample in samples))
    assert order == ["manual", *(b"%d" % number for number in range(10)), "periodic"]
    assert client.stream_statistics("cam").stale == 0


def test_a_relay_that_is_replaced_under_fire_keeps_its_order(server: RouterServer, client: RouterClient) -> None:
    """Over inproc the publisher is there at once, and what the old relay sent may still be on its way inside."""
    publisher = Stranger("inproc://one_liner-test-relay-under-fire")
    try:
        client.configure_stream("cam", max_samples=100_000, wait=True)
        for _ in range(60):
            server.add_zmq_stream("cam", publisher.address)
            publisher.await_topic(b"cam")
            for _ in range(100):
                publisher.send(b"cam", b"x")
        statistics = poll_until(
            lambda: (s := client.stream_statistics("cam")) and s.received >= 10 and s, what="samples to come"
        )
        assert (statistics.stale, statistics.dropped_upstream) == (0, 0)
    finally:
        server.remove_stream("cam")
        publisher.close()


def test_what_is_pushed_on_the_way_of_another_cannot_overtake_it(server: RouterServer, client: RouterClient) -> None:
    """Each kind of stream has a socket of its own: the samples of one name change theirs with every replacement."""
    client.configure_stream("cam", max_samples=100_000, wait=True)
    for number in range(30):
        push = server.get_stream_fn("cam")
        for _ in range(200):
            push(number)
        server.add_stream_from_callable("cam", 1000, lambda number=number: number)
        poll_until(lambda: server.get_stream_configurations()["cam"].produced > 0)
    server.remove_stream("cam")
    push = server.get_stream_fn("cam")
    push("last")
    data = []
    while not data or data[-1] != "last":
        data.append(client.get_stream("cam", timeout_s=5).data)
    assert data[:-1] == sorted(data[:-1])
    statistics = client.stream_statistics("cam")
    assert (statistics.stale, statistics.dropped_upstream) == (0, 0)


def test_chatter_is_logged(server: RouterServer, stranger: Stranger, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="one_liner.streams.relay")
    server.add_zmq_stream("quiet", stranger.address)
    server.add_zmq_stream("chatty", stranger.address, log_chatter=True)
    stranger.await_topic(b"quiet")
    stranger.await_topic(b"chatty")
    stranger.send(b"quiet", b"not this")
    stranger.send(b"chatty", b"this")
    stranger.send(b"chatty", bytes(1_000_000))
    poll_until(lambda: "1000006 bytes" in caplog.text)
    assert "chatty" in caplog.text
    assert "quiet" not in caplog.text


@pytest.mark.parametrize(
    "attempt",
    [
        lambda server: server.add_zmq_stream("cam", "no address"),
        lambda server: server.add_zmq_stream("cam", 5),
        lambda server: server.add_zmq_stream("cam", "tcp://127.0.0.1:6000", topic=5),
        lambda server: server.add_zmq_stream("", "tcp://127.0.0.1:6000"),
        lambda server: server.add_zmq_stream("a\0b", "tcp://127.0.0.1:6000"),
    ],
)
def test_impossible_relays_add_nothing(server: RouterServer, attempt: Callable[[RouterServer], None]) -> None:
    with pytest.raises(ConfigurationError):
        attempt(server)
    assert len(server.get_stream_configurations()) == 0


@pytest.mark.parametrize("address", ["nonsense://127.0.0.1:1", "tcp://127.0.0.1"])
def test_addresses_that_zeromq_refuses_are_configuration_errors(server: RouterServer, address: str) -> None:
    with pytest.raises(ConfigurationError):
        server.add_zmq_stream("cam", address)
    assert len(server.get_stream_configurations()) == 0


# --- servers of ours -------------------------------------------------------------------------------------------------


def test_a_server_of_ours_keeps_values_numbers_and_origin() -> None:
    with serving() as far, serving() as near, watching(far) as direct, watching(near) as client:
        direct.configure_stream("cam", wait=True)
        client.configure_stream("view", wait=True)
        push = far.get_stream_fn("cam", set_timestamp=True)
        push(0.5, "nobody relays this")
        near.add_zmq_stream("view", far.broadcast_endpoint, topic="cam\0")
        poll_until(lambda: push(1.0, "hello") and client.stream_statistics("view").received)
        values = [{1: (2, 3)}, b"x" * 3_000_000, ["a", b"y" * 200_000, b"z" * 200_000], None]
        for value in values:
            push(2.0, value)
        push(3.0, ValueError("over there"))
        relayed = client.get_stream("view", timeout_s=5)
        while relayed.data == "hello":
            relayed = client.get_stream("view", timeout_s=5)
        for value in values:
            original = direct.get_stream("cam", timeout_s=5)
            while original.sequence != relayed.sequence:
                original = direct.get_stream("cam", timeout_s=5)
            assert relayed == original
            assert (relayed.data, relayed.timestamp) == (value, 2.0)
            assert (relayed.sequence, relayed.origin) == (original.sequence, original.origin)
            assert relayed.wall_time == original.wall_time
            if value is not None:
                relayed = client.get_stream("view", timeout_s=5)
        with pytest.raises(ValueError, match="over there"):
            client.get_stream("view", timeout_s=5)
        assert client.stream_statistics("view").accounted


def test_similar_names_of_a_server_of_ours_never_mix() -> None:
    with serving() as far, serving() as near, watching(near) as client:
        for name in ("cam", "cam_2"):
            client.configure_stream(name, wait=True)
            near.add_zmq_stream(name, far.broadcast_endpoint)
        one, two = far.get_stream_fn("cam"), far.get_stream_fn("cam_2")
        poll_until(
            lambda: (
                one("one")
                and two("two")
                and client.stream_statistics("cam").received > 5
                and client.stream_statistics("cam_2").received > 5
            )
        )
        for name, value in (("cam", "one"), ("cam_2", "two")):
            assert {client.get_stream(name).data for _ in range(5)} == {value}


def test_a_server_of_ours_that_restarts_is_relayed_again() -> None:
    with serving() as near, watching(near) as client:
        with serving() as far:
            ports = {"rpc_port": far.rpc_port, "broadcast_port": far.broadcast_port}
            near.add_zmq_stream("cam", far.broadcast_endpoint)
            client.configure_stream("cam", wait=True)
            push = far.get_stream_fn("cam")
            poll_until(lambda: push(1) and client.stream_statistics("cam").received)
        with serving(**ports) as far:
            push = far.get_stream_fn("cam")
            before = client.stream_statistics("cam").received
            poll_until(lambda: push(2) and client.stream_statistics("cam").received > before)
            statistics = client.stream_statistics("cam")
            assert statistics.restarts == 1
            assert statistics.accounted
