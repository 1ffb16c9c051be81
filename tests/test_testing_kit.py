"""The public test kit: each fault is shown to do what it says, between real sockets and real client and server."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from one_liner.client import RouterClient
from one_liner.clock import Clock, SystemClock
from one_liner.errors import (
    ClosedError,
    ConfigurationError,
    MalformedError,
    NoServerError,
    PortInUseError,
    ServerLostError,
)
from one_liner.server import RouterServer
from one_liner.testing import (
    Corrupt,
    Cut,
    Delay,
    Drop,
    Duplicate,
    FakeClock,
    Fault,
    FaultProxy,
    Freeze,
    Reorder,
    Sever,
    ShiftedClock,
    Struck,
    SubprocessServer,
    Throttle,
    Truncate,
    parse,
    poll_until,
    write,
)
from one_liner.testing.way import Dialogue, Injection, Record, Way
from one_liner.testing.zmtp import Splitter, Unit
from tests.conftest import busy_for

pytest_plugins = ["one_liner.testing.fixtures"]

HEARTBEAT_S = 0.3
ROOT = Path(__file__).parent.parent
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


class Stage:
    """A double."""

    def __init__(self) -> None:
        self.moves = 0

    def move(self) -> int:
        self.moves += 1
        return self.moves

    def echo(self, value: Any) -> Any:
        return value


def make_stage_server(rpc_port: int, broadcast_port: int, fail: bool = False) -> RouterServer:
    """For the process of a `SubprocessServer`."""
    if fail:
        raise RuntimeError("the stage has no power")
    server = RouterServer(rpc_port=rpc_port, broadcast_port=broadcast_port, instances={"stage": Stage()})
    server.add_stream("moves", 50, "stage", "moves")
    return server


def make_nothing(rpc_port: int, broadcast_port: int) -> None:
    """Returns no server."""


# --- clocks and waiting ----------------------------------------------------------------------------------------------


def test_a_fake_clock_stands_still_until_it_is_moved() -> None:
    clock = FakeClock(now=5.0, wall=100.0)
    face: Clock = clock
    assert (face.now(), face.wall()) == (5.0, 100.0)
    clock.advance(2.5)
    assert (clock.now(), clock.wall()) == (7.5, 102.5)
    clock.set_wall(50.0)
    assert (clock.now(), clock.wall()) == (7.5, 50.0)
    with pytest.raises(ConfigurationError, match="forwards"):
        clock.advance(-1.0)


def test_a_shifted_clock_is_ahead_and_drifts() -> None:
    base = FakeClock(now=100.0, wall=1000.0)
    face: Clock = ShiftedClock(30.0, rate=1.5, base=base)
    assert (face.now(), face.wall()) == (130.0, 1030.0)
    base.advance(10.0)
    assert (face.now(), face.wall()) == (145.0, 1045.0)


@pytest.mark.parametrize(("offset_s", "rate"), [(float("nan"), 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, float("inf"))])
def test_a_shifted_clock_refuses_what_is_no_clock(offset_s: float, rate: float) -> None:
    with pytest.raises(ConfigurationError, match="rate"):
        ShiftedClock(offset_s, rate)


def test_poll_until_gives_what_the_predicate_gave_or_says_what_was_missing() -> None:
    answers = iter([0, "", [1]])
    assert poll_until(lambda: next(answers)) == [1]
    with pytest.raises(AssertionError, match=r"not within 0.01 s: the moon; the last answer was 0"):
        poll_until(lambda: 0, 0.01, "the moon")


# --- faults and their script -----------------------------------------------------------------------------------------

SCRIPT = """
drop 10% samples to_client broadcast   # a chance
delay 50ms..200ms rpc
delay 2s
duplicate every 5th to_server rpc copies=2
drop message 3 calls to_client
reorder 2% within 3 hold 100ms
truncate 1%; corrupt 1% bytes=3 raw
truncate lose=4 stream=north/cam
sever times 1 heartbeats commands
throttle 2.5MB/s to_client
freeze at 2s for 1s to_server
cut every 1min for 500ms broadcast
"""
FAULTS: list[Fault] = [
    Drop(probability=0.1, traffic="samples", direction="to_client", port="broadcast"),
    Delay(seconds=0.05, up_to_s=0.2, port="rpc"),
    Delay(seconds=2.0),
    Duplicate(every=5, direction="to_server", port="rpc", copies=2),
    Drop(message=3, traffic="calls", direction="to_client"),
    Reorder(probability=0.02, within=3, hold_s=0.1),
    Truncate(probability=0.01),
    Corrupt(probability=0.01, bytes=3, raw=True),
    Truncate(lose=4, stream="north/cam"),
    Sever(times=1, traffic="heartbeats", commands=True),
    Throttle(bytes_per_s=2.5e6, direction="to_client"),
    Freeze(at_s=2.0, for_s=1.0, direction="to_server"),
    Cut(every_s=60.0, for_s=0.5, port="broadcast"),
]


def test_a_script_says_what_the_objects_say() -> None:
    assert parse(SCRIPT) == FAULTS
    assert parse(write(FAULTS)) == FAULTS
    assert parse("# nothing\n ; \n") == []


@pytest.mark.parametrize(
    "text", ["delay 10us", "drop 7%", "drop 0.00003%", "throttle 0.00001B/s", "cut at 3us for 1us"]
)
def test_numbers_of_any_size_are_written_as_they_are_read(text: str) -> None:
    assert parse(write(parse(text))) == parse(text)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("delay 5ms\ndorp 10%", r"line 2: 'dorp' is no fault; did you mean 'drop'\? Allowed: drop, delay, "),
        ("xyzzy", r"line 1: 'xyzzy' is no fault\. Allowed: drop"),
        ("drop to_cleint", r"line 1: 'to_cleint' does not fit drop; did you mean 'to_client'\? Allowed: to_client, "),
        ("drop byts=3", r"'byts=3' does not fit drop"),
        ("corrupt byts=3", r"'byts=3' does not fit corrupt; did you mean 'bytes'"),
        (f"corrupt bytes={'9' * 5000}", r"comes a number such as 3 or 5th, not"),
        ("corrupt bytes=many", r"after 'bytes=many' comes a number such as 3 or 5th, not 'many'"),
        ("drop every", r"after 'every' comes a number such as 3 or 5th, and the line ends there"),
        ("drop every fifth", r"after 'every' comes a number such as 3 or 5th, not 'fifth'"),
        ("freeze at 2", r"after 'at' comes a duration such as 500ms or 2s, not '2'"),
        ("freeze at 1s..2s", r"after 'at' comes a duration"),
        ("drop at 2s", r"'at' does not fit drop"),
        ("freeze 10%", r"'10%' does not fit freeze"),
        ("cut to_client", r"'to_client' does not fit cut"),
        ("drop rpc broadcast", r"line 1: 'broadcast' says for a second time what port is"),
        ("drop 50ms", r"'50ms' does not fit drop"),
        ("delay", r"line 1: delay needs a duration"),
        ("throttle rpc", r"line 1: throttle needs a rate such as 500kB/s"),
        ("throttle 0MB/s", r"line 1: a line carries some bytes per second, not 0.0"),
        ("throttle 2Mb/s", r"'2Mb/s' does not fit throttle. Allowed: .*500kB/s"),
        ("delay 2s..1s", r"line 1: a delay between 2.0 s and 1.0 s is none"),
        ("drop 0%", r"line 1: a probability is above 0 %"),
        ("drop 101%", r"line 1: a probability is above 0 %"),
        ("drop every 0", r"line 1: every is a number from 1 on, not 0"),
        ("cut every 1s for 2s", r"line 1: a fault that comes again"),
        ("cut every 1s", r"line 1: a fault that comes again"),
    ],
)
def test_a_typo_names_line_word_and_what_is_allowed(script: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse(script)


def test_an_object_is_checked_as_a_script_is() -> None:
    with pytest.raises(ConfigurationError, match="port is one of rpc, broadcast, both, not 'pub'"):
        Drop(port="pub")
    with pytest.raises(ConfigurationError, match="hold_s is a number of seconds from 0 on, not -1"):
        Reorder(hold_s=-1)


# --- framing and decisions, without sockets --------------------------------------------------------------------------

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
UNITS = st.builds(
    lambda parts, is_command: Unit(tuple(parts[:1] if is_command else parts), is_command),
    st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    st.booleans(),
)


@given(st.lists(UNITS, max_size=8), st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_the_splitter_finds_every_unit_however_the_bytes_come(units: list[Unit], sizes: list[int]) -> None:
    data = GREETING + b"".join(unit.encode() for unit in units)
    splitter, found, at, turn = Splitter(), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        found += list(splitter.feed(data[at : at + size]))
        at, turn = at + size, turn + 1
    assert b"".join(piece for piece in found if isinstance(piece, bytes)) == GREETING
    assert [piece for piece in found if isinstance(piece, Unit)] == units
    assert not splitter.opaque
    assert not splitter.sealed


def test_what_is_not_zmtp_passes_as_it_is() -> None:
    splitter = Splitter()
    assert b"".join(b for b in splitter.feed(b"GET / HTTP/1.1\r\n") if isinstance(b, bytes)) == b"GET / HTTP/1.1\r\n"
    assert splitter.opaque
    assert list(splitter.feed(b"\r\n")) == [b"\r\n"]


def _way(seed: int, faults: list[Fault], record: Record, connection: int = 1) -> Way:
    injections = [Injection(fault, number) for number, fault in enumerate(faults, 1)]
    way = Way("rpc", "to_client", connection, Dialogue(), seed=seed, injections=injections, record=record)
    way.feed(GREETING, 0.0)
    way.queue.clear()
    return way


def _struck(seed: int, connection: int = 1) -> list[int]:
    record = Record()
    way = _way(seed, parse("drop 20%"), record, connection)
    for _ in range(200):
        way.feed(Unit((b"x",), False).encode(), 0.0)
    return [entry.message for entry in record.entries()]


def test_the_same_seed_and_traffic_give_the_same_faults() -> None:
    assert _struck(1) == _struck(1)
    assert 20 < len(_struck(1)) < 60
    assert _struck(1) != _struck(2)
    assert _struck(1) != _struck(1, connection=2)


def test_commands_are_left_alone_unless_asked_for() -> None:
    for script, passes in (("drop", True), ("drop commands", False), ("drop commands heartbeats", True)):
        way = _way(0, parse(script), Record())
        way.feed(Unit((b"\x04PING\0\0",), True).encode(), 0.0)
        assert bool(way.queue) == passes


def test_a_delay_keeps_the_order_of_all_that_follows() -> None:
    way = _way(3, parse("delay 10ms..500ms"), Record())
    for index in range(50):
        way.feed(Unit((bytes((index,)),), False).encode(), index * 0.001)
        way.feed(Unit((b"\x04PING\0\0",), True).encode(), index * 0.001)
    dues = [due for due, _ in way.queue]
    assert dues == sorted(dues)
    assert [data[2] for _, data in way.queue if data and data[0] == 0] == list(range(50))
    assert dues[0] >= 0.01
    assert way.next_due == dues[0]


def test_a_slow_line_paces_the_bytes_within_a_message() -> None:
    way = _way(0, parse("throttle 100kB/s to_client; throttle 1B/s to_server"), Record())
    way.feed(Unit((bytes(50_000),), False).encode(), 1.0)
    way.feed(Unit((b"next",), False).encode(), 1.1)
    dues = [due for due, _ in way.queue]
    assert dues[0] == 1.0
    assert dues[-1] == pytest.approx(1.5, abs=0.02)
    assert b"".join(data for _, data in way.queue if data) == Unit((bytes(50_000),), False).encode() + b"\0\4next"


def test_a_message_that_is_held_back_goes_on_when_nothing_follows() -> None:
    way = _way(0, parse("reorder hold 200ms"), Record())
    way.feed(Unit((b"x",), False).encode(), 1.0)
    assert not way.queue
    assert way.next_due == pytest.approx(1.2)
    way.release_due(1.3)
    assert len(way.queue) == 1


# --- between raw sockets ---------------------------------------------------------------------------------------------


class Raw:
    """A ROUTER behind a proxy, and a DEALER before it."""

    def __init__(self, context: zmq.Context[Any], faults: str, seed: int, **options: Any) -> None:
        self.context = context
        self.options = options
        self.server = self.socket(zmq.ROUTER, server=True)
        port = self.server.bind_to_random_port("tcp://127.0.0.1")
        self.proxy = FaultProxy(port, port, faults=faults, seed=seed)
        self.client = self.socket(zmq.DEALER)
        self.client.setsockopt(zmq.RECONNECT_IVL, 10)
        self.client.connect(f"tcp://127.0.0.1:{self.proxy.rpc_port}")

    def socket(self, kind: int, server: bool = False) -> zmq.Socket[Any]:
        new = self.context.socket(kind)
        new.setsockopt(zmq.LINGER, 0)
        new.setsockopt(zmq.RCVTIMEO, 20_000)
        for name, value in self.options.get("server_keys" if server else "client_keys", {}).items():
            new.setsockopt(name, value)
        return new

    def send(self, *messages: bytes | list[bytes]) -> None:
        for message in messages:
            self.client.send_multipart(message if isinstance(message, list) else [message])

    def received(self, count: int) -> list[list[bytes]]:
        return [self.server.recv_multipart()[1:] for _ in range(count)]

    def close(self) -> None:
        self.client.close()
        self.server.close()
        self.proxy.close()


@pytest.fixture
def raw() -> Iterator[Any]:
    made: list[Raw] = []
    context: zmq.Context[Any] = zmq.Context.instance()

    def make(faults: str = "", seed: int = 0, **options: Any) -> Raw:
        made.append(Raw(context, faults, seed, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_without_faults_everything_passes_in_both_directions(raw: Any) -> None:
    pair = raw()
    large = os.urandom(3_000_000)
    pair.send([b"a", b"", large], b"b")
    identity, *message = pair.server.recv_multipart()
    assert message == [b"a", b"", large]
    assert pair.received(1) == [[b"b"]]
    pair.server.send_multipart([identity, b"back", large])
    assert pair.client.recv_multipart() == [b"back", large]
    assert pair.proxy.record == []
    assert pair.proxy.traffic == {("rpc", "to_server"): 2, ("rpc", "to_client"): 1}
    assert pair.proxy.connections("rpc") == 1
    assert pair.proxy.connections("broadcast") == 0


def test_drop_loses_exactly_what_the_record_says(raw: Any) -> None:
    pair = raw("drop 30% to_server", seed=7)
    pair.send(*([b"%d" % index, b"tail"] for index in range(100)))
    poll_until(lambda: pair.proxy.traffic.get(("rpc", "to_server")) == 100)
    lost = {entry.message - 1 for entry in pair.proxy.record}
    kept = pair.received(100 - len(lost))
    assert all(message[1:] == [b"tail"] for message in kept)
    assert [int(message[0]) for message in kept] == [index for index in range(100) if index not in lost]
    assert pair.proxy.counts.get("drop", 0) == len(lost)


def test_every_nth_one_message_and_so_many_times(raw: Any) -> None:
    pair = raw("drop every 3rd; drop message 1; duplicate times 1")
    pair.send(*(b"%d" % index for index in range(1, 8)))
    # Number 1 is struck by the second fault, 3 and 6 by the first; the first that is left is doubled.
    assert [int(message[0]) for message in pair.received(5)] == [2, 2, 4, 5, 7]
    assert pair.proxy.counts == {"drop": 3, "duplicate": 1}
    assert pair.proxy.record[0] == Struck("to_server", "rpc", 1, 1, "drop")


def test_duplicate_repeats_all_parts(raw: Any) -> None:
    pair = raw("duplicate every 2nd copies=2")
    pair.send([b"1", b"x"], [b"2", b"y"], [b"3", b"z"])
    assert pair.received(5) == [[b"1", b"x"], *[[b"2", b"y"]] * 3, [b"3", b"z"]]


def test_reorder_exchanges_and_loses_nothing(raw: Any) -> None:
    pair = raw("reorder 30% within 3", seed=5)
    pair.send(*(b"%d" % index for index in range(60)))
    order = [int(message[0]) for message in pair.received(60)]
    assert sorted(order) == list(range(60))
    assert order != sorted(order)
    late = [entry.message - 1 for entry in pair.proxy.record]
    assert [index for index in order if index not in late] == [index for index in range(60) if index not in late]


def test_delay_holds_back_and_keeps_the_order(raw: Any) -> None:
    pair = raw("delay 50ms..150ms to_server")
    began = time.monotonic()
    pair.send(*(b"%d" % index for index in range(10)))
    assert [int(message[0]) for message in pair.received(10)] == list(range(10))
    assert time.monotonic() - began >= 0.05


def test_throttle_takes_its_time(raw: Any) -> None:
    pair = raw("throttle 1MB/s to_server")
    began = time.monotonic()
    pair.send(bytes(200_000), b"next")
    assert pair.received(2) == [[bytes(200_000)], [b"next"]]
    assert time.monotonic() - began >= 0.19


class SlowClock(SystemClock):
    """Whoever looks at it has lost some time before the next thing is done, as on a loaded machine."""

    def now(self) -> float:
        now = super().now()
        busy_for(0.02)
        return now


def test_what_comes_due_while_the_proxy_has_no_processor_is_sent_nevertheless(
    raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("one_liner.testing.relay.SYSTEM_CLOCK", SlowClock())
    pair = raw("throttle 1MB/s to_server")
    pair.send(bytes(100_000), b"next")
    assert pair.received(2) == [[bytes(100_000)], [b"next"]]


def test_truncate_shortens_the_last_part_and_keeps_the_framing(raw: Any) -> None:
    pair = raw("truncate message 1 lose=3; truncate message 2; truncate message 3", seed=1)
    pair.send([b"head", b"abcdef", b""], [b"x" * 1000], [b""], [b"whole"])
    first, second, third, fourth = pair.received(4)
    assert first == [b"head", b"abc", b""]
    assert second[0] == b"x" * len(second[0])
    assert len(second[0]) < 1000
    assert (third, fourth) == ([b""], [b"whole"])
    assert pair.proxy.counts == {"truncate": 2}  # In an empty message there is nothing to be lost.


def test_corrupt_changes_exactly_so_many_bytes(raw: Any) -> None:
    pair = raw("corrupt message 1 bytes=5", seed=1)
    parts = [bytes(100), b"", bytes(300)]
    pair.send(parts, parts)
    first, second = pair.received(2)
    assert [len(part) for part in first] == [100, 0, 300]
    assert sum(byte != 0 for byte in b"".join(first)) == 5
    assert second == parts


def test_sever_ends_the_connection_in_mid_message(raw: Any) -> None:
    pair = raw("sever message 2 times 1")
    pair.send(b"1")
    pair.received(1)
    pair.send(b"2" * 1000)
    poll_until(lambda: pair.proxy.counts == {"sever": 1})
    poll_until(lambda: pair.proxy.connections("rpc") == 1)
    pair.send(b"3")
    assert pair.received(1) == [[b"3"]]  # The half of a message was not taken for one.
    assert pair.proxy.record == [Struck("to_server", "rpc", 1, 2, "sever")]


def test_freeze_of_one_direction_leaves_the_other(raw: Any) -> None:
    pair = raw()
    pair.send(b"1")
    identity = pair.server.recv_multipart()[0]
    pair.proxy.freeze("rpc", "to_server")
    pair.send(b"2")
    pair.server.send_multipart([identity, b"back"])
    assert pair.client.recv_multipart() == [b"back"]
    assert not pair.server.poll(50)
    pair.proxy.thaw()
    assert pair.received(1) == [[b"2"]]


def test_cut_refuses_and_keeps_the_port(raw: Any) -> None:
    pair = raw()
    pair.send(b"1")
    pair.received(1)
    pair.proxy.cut()
    assert pair.proxy.connections("both") == 0
    for port in (pair.proxy.rpc_port, pair.proxy.broadcast_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
        with pytest.raises(PortInUseError):
            FaultProxy(1, 1, listen_ports=(0, port))
    pair.proxy.heal()
    pair.send(b"2")
    assert pair.received(1) == [[b"2"]]
    assert pair.proxy.record == [Struck("both", "both", 0, 0, "cut")]


def test_timed_faults_come_go_and_come_again(raw: Any) -> None:
    pair = raw("cut every 200ms for 50ms; freeze rpc at 50ms for 50ms")
    poll_until(lambda: pair.proxy.counts.get("cut", 0) >= 2)
    pair.proxy.clear()
    pair.send(b"1")
    assert pair.received(1) == [[b"1"]]
    counts = pair.proxy.counts
    assert counts["freeze"] == 1
    assert {entry.fault for entry in pair.proxy.record} == {"cut", "freeze"}


def test_an_injection_ends_with_its_block_also_when_it_has_no_end(raw: Any) -> None:
    pair = raw()
    pair.send(b"1")
    pair.received(1)
    with pair.proxy.inject(Freeze()) as frozen:
        poll_until(lambda: frozen.struck)
        pair.send(b"2")
        assert not pair.server.poll(50)
    assert pair.received(1) == [[b"2"]]
    with pair.proxy.inject(Cut()) as cut:
        poll_until(lambda: cut.struck and not pair.proxy.connections("both"))
    pair.send(b"3")
    assert pair.received(1) == [[b"3"]]


def test_a_server_may_come_later_and_come_back(raw: Any) -> None:
    context: zmq.Context[Any] = zmq.Context.instance()
    with closing(socket.socket()) as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        port = placeholder.getsockname()[1]
    with FaultProxy(port, port) as proxy, context.socket(zmq.PUSH) as client:
        client.setsockopt(zmq.LINGER, 0)
        client.setsockopt(zmq.RECONNECT_IVL, 10)
        client.connect(f"tcp://127.0.0.1:{proxy.rpc_port}")
        client.send(b"1")
        for expected in (b"1", b"2"):
            with context.socket(zmq.PULL) as server:
                server.setsockopt(zmq.RCVTIMEO, 5000)
                poll_until(lambda: not proxy.connections("rpc"))
                server.bind(f"tcp://127.0.0.1:{port}")
                poll_until(lambda: proxy.connections("rpc"))
                if expected == b"2":
                    client.send(b"2")
                assert server.recv() == expected
                server.setsockopt(zmq.LINGER, 0)


def test_under_curve_frames_are_sealed_and_no_change_goes_unnoticed(raw: Any) -> None:
    public, secret = zmq.curve_keypair()
    mine, my_secret = zmq.curve_keypair()
    pair = raw(
        server_keys={zmq.CURVE_SERVER: 1, zmq.CURVE_SECRETKEY: secret},
        client_keys={zmq.CURVE_SERVERKEY: public, zmq.CURVE_PUBLICKEY: mine, zmq.CURVE_SECRETKEY: my_secret},
    )
    pair.send([b"a", b"b"])
    assert pair.received(1) == [[b"a", b"b"]]
    assert pair.proxy.traffic == {("rpc", "to_server"): 2}
    with pair.proxy.inject(Drop(times=1)):
        pair.send(b"lost")
        pair.send(b"kept")
        assert pair.received(1) == [[b"kept"]]
    with pair.proxy.inject(Drop(traffic="calls")) as blind:
        pair.send(b"2")
        assert pair.received(1) == [[b"2"]]
        assert blind.struck == 0
    with pair.proxy.inject(Corrupt(times=1)):
        pair.send(b"changed")
        poll_until(lambda: pair.proxy.counts.get("corrupt"))
    # The connection ended; what is sent on the next one arrives.
    poll_until(lambda: (pair.send(b"after"), pair.server.poll(20))[1])
    assert pair.received(1) == [[b"after"]]


def test_other_tcp_passes_as_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5.0)
        port = listener.getsockname()[1]
        with FaultProxy(port, port, faults="drop") as proxy:
            with socket.create_connection(("127.0.0.1", proxy.rpc_port), 5.0) as client:
                server, _ = listener.accept()
                with server:
                    client.sendall(b"hello")
                    assert server.recv(100) == b"hello"
                    server.sendall(b"bye")
                assert client.recv(100) == b"bye"
                assert client.recv(100) == b""  # The end of a connection passes as well.
            poll_until(lambda: not proxy.connections("both"))


# --- the proxy's own life --------------------------------------------------------------------------------------------


def test_a_closed_proxy_gives_its_ports_back_and_says_that_it_is_closed() -> None:
    proxy = FaultProxy("6000", 6001)
    ports = (proxy.rpc_port, proxy.broadcast_port)
    proxy.close()
    proxy.close()
    for action in (proxy.freeze, proxy.clear, proxy.heal, lambda: proxy.inject(Drop())):
        with pytest.raises(ClosedError):
            action()
    with FaultProxy(6000, 6001, listen_ports=ports) as again:
        assert (again.rpc_port, again.broadcast_port) == ports


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"faults": "dorp"}, "did you mean 'drop'"),
        ({"faults": ["drop"]}, "a fault is one of"),
        ({"interface": "no such host.invalid"}, "cannot be found"),
        ({"rpc_port": 0}, "from 1 on, not 0"),
        ({"listen_interface": "192.0.2.1"}, "cannot be bound"),
    ],
)
def test_bad_arguments_leave_nothing_bound(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FaultProxy(**{"rpc_port": 6000, "broadcast_port": 6001, **arguments})


def test_bad_arguments_of_a_living_proxy(raw: Any) -> None:
    proxy = raw().proxy
    for action in (
        lambda: proxy.freeze("pub"),
        lambda: proxy.freeze(direction="back"),
        lambda: proxy.cut("pub"),
        lambda: proxy.connections("pub"),
        lambda: proxy.delay(-1.0),
        lambda: proxy.inject("drop"),
    ):
        with pytest.raises(ConfigurationError):
            action()
    assert proxy.record == []


# --- between client and server ---------------------------------------------------------------------------------------


class Rig:
    """A server with a stage and a stream, a proxy, and a client behind it."""

    def __init__(self, server: RouterServer, proxy: FaultProxy, client: RouterClient, stage: Stage) -> None:
        self.server, self.proxy, self.client, self.stage = server, proxy, client, stage
        self.push = server.get_stream_fn("cam")
        client.wait_until_connected(5.0)
        client.configure_stream("cam", wait=True, timeout_s=5.0)

    def received(self) -> int:
        return self.client.stream_statistics("cam").received


@pytest.fixture
def rig(router_server: Any, fault_proxy: Any, router_client: Any) -> Rig:
    stage = Stage()
    server = router_server({"stage": stage})
    proxy = fault_proxy(server, seed=1)
    return Rig(server, proxy, router_client(proxy, heartbeat_s=HEARTBEAT_S), stage)


def test_the_ledger_counts_exactly_the_samples_that_were_dropped(rig: Rig) -> None:
    rig.push(-1)
    poll_until(lambda: rig.received() == 1)
    with rig.proxy.inject(Drop(probability=0.2, stream="cam")) as dropped:
        for index in range(200):
            rig.push(index)
        rig.push("last")
        poll_until(lambda: rig.proxy.traffic["broadcast", "to_client"] >= 202)
        poll_until(lambda: rig.received() == 202 - dropped.struck)
    rig.push("after")
    poll_until(lambda: rig.received() == 203 - dropped.struck)
    statistics = rig.client.stream_statistics("cam")
    assert 20 <= dropped.struck <= 65
    assert statistics.dropped_upstream == dropped.struck
    assert statistics.lost_on_the_way == statistics.stale == 0
    assert statistics.accounted


def test_a_sample_that_comes_twice_is_stale(rig: Rig) -> None:
    with rig.proxy.inject(Duplicate(every=2, stream="cam")):
        for index in range(10):
            rig.push(index)
        poll_until(lambda: rig.received() == 10)
        poll_until(lambda: rig.client.stream_statistics("cam").stale == 5)
    assert [rig.client.get_stream("cam")[1] for _ in range(10)] == list(range(10))


def test_a_sample_overtaken_is_counted_and_not_handed_out_of_order(rig: Rig) -> None:
    with rig.proxy.inject(Reorder(message=2, stream="cam")):
        for index in range(4):
            rig.push(index)
        poll_until(lambda: rig.client.stream_statistics("cam").stale == 1)
        poll_until(lambda: rig.received() == 3)
    assert [rig.client.get_stream("cam")[1] for _ in range(3)] == [0, 2, 3]
    assert rig.client.stream_statistics("cam").accounted


def test_a_broken_sample_is_no_sample_and_the_next_one_is(rig: Rig) -> None:
    rig.push("good")
    poll_until(lambda: rig.received() == 1)
    with rig.proxy.inject(Truncate(stream="cam", lose=60)) as broken:
        rig.push("bad")
        poll_until(lambda: broken.struck)
    rig.push("good again")
    poll_until(lambda: rig.received() == 2)
    assert [rig.client.get_stream("cam")[1] for _ in range(2)] == ["good", "good again"]
    assert rig.client.stream_statistics("cam").expected == 3


def test_a_broken_reply_is_an_error_and_the_next_call_is_well(rig: Rig) -> None:
    for direction in ("to_client", "to_server"):
        with (
            rig.proxy.inject(Truncate(traffic="calls", direction=direction, times=1, lose=5)),
            pytest.raises(MalformedError),
        ):
            rig.client.call("stage", "echo", [list(range(100))], timeout_s=5.0)
        assert rig.client.call("stage", "echo", ["well"], timeout_s=5.0) == "well"


def test_without_curve_a_changed_byte_may_be_another_value(rig: Rig) -> None:
    text = "a" * 2000
    with rig.proxy.inject(Corrupt(traffic="calls", direction="to_client", times=1)):
        answer = rig.client.call("stage", "echo", [text.encode()], timeout_s=5.0)
    # Of 2000 bytes one was hit, and nobody can know: that is what CURVE is for.
    assert len(answer) == 2000
    assert sum(one != other for one, other in zip(answer, text.encode(), strict=True)) == 1


def test_the_delay_is_in_every_round_trip(rig: Rig) -> None:
    rig.proxy.delay(0.05)
    began = time.monotonic()
    assert rig.client.call("stage", "move") == 1
    assert time.monotonic() - began >= 0.1
    rig.proxy.delay(0.0)
    struck = rig.proxy.counts
    assert rig.client.call("stage", "move") == 2
    assert rig.proxy.counts == struck


@pytest.mark.parametrize("direction", ["both", "to_client", "to_server"])
def test_a_frozen_server_is_lost_within_three_heartbeats_and_found_again(rig: Rig, direction: str) -> None:
    began = time.monotonic()
    rig.proxy.freeze(direction=direction)
    poll_until(lambda: rig.client.state == "lost", 20.0)
    assert time.monotonic() - began < 3 * HEARTBEAT_S + 2.0
    with pytest.raises(ServerLostError, match="has not answered since"):
        rig.client.call("stage", "move")
    rig.proxy.thaw()
    poll_until(lambda: rig.client.state == "connected")
    assert rig.client.call("stage", "move") == 1


def test_heartbeats_that_are_lost_alone_are_an_unresponsive_server(rig: Rig) -> None:
    with rig.proxy.inject(Drop(traffic="heartbeats", direction="to_client")):
        poll_until(lambda: rig.client.state == "unresponsive", 5 * HEARTBEAT_S)
        assert rig.client.call("stage", "move", timeout_s=5.0) == 1  # PINGs are answered: nothing fails.
    poll_until(lambda: rig.client.state == "connected")


def test_a_cut_server_is_lost_and_its_streams_come_back(rig: Rig) -> None:
    rig.push(0)
    poll_until(lambda: rig.received() == 1)
    rig.proxy.cut()
    poll_until(lambda: rig.client.state == "lost")
    rig.push(1)
    with pytest.raises(ServerLostError):
        rig.client.call("stage", "move")
    rig.proxy.heal()
    poll_until(lambda: rig.client.state == "connected")
    assert rig.client.call("stage", "move") == 1
    poll_until(lambda: (rig.push(2), rig.received())[1] >= 2)
    statistics = rig.client.stream_statistics("cam")
    assert statistics.accounted
    assert statistics.lost_on_the_way >= 1
    assert rig.proxy.summary().startswith("fault proxy with seed 1\n")


# --- a server in a process of its own --------------------------------------------------------------------------------


def test_a_server_of_its_own_is_killed_and_started_again_behind_a_proxy(fault_proxy: Any, router_client: Any) -> None:
    with SubprocessServer(make_stage_server) as server:
        proxy = fault_proxy(server)
        client = router_client(proxy, heartbeat_s=HEARTBEAT_S)
        assert client.call("stage", "move", timeout_s=5.0) == 1
        ports, pid = (server.rpc_port, server.broadcast_port), server.pid
        server.kill()
        assert not server.alive
        poll_until(lambda: client.state == "lost")
        server.restart()
        assert (server.rpc_port, server.broadcast_port) == ports
        assert server.pid != pid
        poll_until(lambda: client.state == "connected")
        assert client.call("stage", "move", timeout_s=5.0) == 1
        server.terminate()
        assert not server.alive
        poll_until(lambda: client.state == "lost")
        assert "Traceback" not in server.output


@posix_only
def test_a_stopped_process_is_silent_until_it_is_resumed(router_client: Any) -> None:
    with SubprocessServer(f"{__name__}:make_stage_server", environment={"PYTHONDEVMODE": "1"}) as server:
        client = router_client(server, heartbeat_s=HEARTBEAT_S)
        client.wait_until_connected(5.0)
        server.stop()
        assert server.alive
        assert "stopped" in repr(server)
        poll_until(lambda: client.state == "lost", 3 * HEARTBEAT_S + 1.0)
        server.resume()
        poll_until(lambda: client.state == "connected")
        server.stop()  # What is stopped is ended as well.
    assert not server.alive
    with pytest.raises(NoServerError, match="not alive"):
        server.resume()


def test_a_factory_that_fails_says_why() -> None:
    with pytest.raises(NoServerError, match="the stage has no power"):
        SubprocessServer(make_stage_server, {"fail": True})
    with pytest.raises(NoServerError, match="returned None, which is no RouterServer"):
        SubprocessServer(make_nothing)


def test_a_factory_has_a_name_that_another_process_can_find() -> None:
    with pytest.raises(ConfigurationError, match="cannot be imported by another process"):
        SubprocessServer(lambda **_: None)
    with pytest.raises(ConfigurationError, match=r"'package\.module:function', not 'no_colon'"):
        SubprocessServer("no_colon")
    with pytest.raises(ConfigurationError, match="plain values"):
        SubprocessServer(make_stage_server, {"stage": Stage()})


def test_without_signals_there_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with SubprocessServer(make_stage_server) as server:
        monkeypatch.delattr(signal, "SIGSTOP")
        with pytest.raises(ConfigurationError, match="this system has no SIGSTOP"):
            server.stop()


# --- the guide -------------------------------------------------------------------------------------------------------


def test_the_example_of_the_guide_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "test-your-gui.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", page, re.DOTALL))
    assert {"panel.py", "conftest.py", "test_panel.py"} <= set(files)
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_pytest_the_fixtures_say_how_to_get_it() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "import one_liner.testing\n"
        "from one_liner.errors import MissingExtraError\n"
        "try:\n    import one_liner.testing.fixtures\n"
        "except MissingExtraError as error:\n    assert 'pip install pytest' in str(error)\n"
        "else:\n    raise SystemExit('no error')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
