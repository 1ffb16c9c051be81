"""Any frames, at any port, in either direction: an error or nothing, and the next good call, or sample, comes.

`tests/test_hostile.py` has those that somebody thought of.
"""

from __future__ import annotations

import itertools
import logging
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
import zmq
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from one_liner import RouterClient, RouterServer
from one_liner.errors import NoDataError, OneLinerError
from one_liner.limits import Limits
from one_liner.rpc.hello import Hello, random_id
from one_liner.streams.sample import Sample
from one_liner.wire.codec import Codec
from one_liner.wire.faults import fault_of
from one_liner.wire.messages import MAGIC, Encoding, Kind, Reply, Request, SampleMessage, Stamp
from tests.conftest import poll_until
from tests.test_codec import HOSTILE, SCALARS

CODEC = Codec()
PATIENCE_S = 20.0
HEARTBEAT_S = 0.3
# Not made shorter: that takes minutes with real sockets, and a time-out would hide what failed.
PROPERTY = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

# --- frames ----------------------------------------------------------------------------------------------------------

NUMBERS = st.sampled_from([0, 1, 2**31, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)
INSTANTS = st.floats(width=64)
ERRORS = st.floats(width=32)
SIMPLE = st.sampled_from(SCALARS) | st.integers() | st.text(max_size=10) | st.binary(max_size=10) | st.floats()
VALUES = st.recursive(
    SIMPLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
BODIES = VALUES.map(lambda value: CODEC.encode(value)[0]) | st.sampled_from(sorted(HOSTILE.values())) | st.binary()
BUFFERS = st.lists(st.binary(max_size=20), max_size=3)
NAMES = st.sampled_from(["victim", "victim.x", "nothing", "a/b", "victim\x01token"]) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20
)
NOISE = st.lists(st.binary(max_size=80), min_size=1, max_size=5)


@st.composite
def damaged(draw: Any, whole: st.SearchStrategy[list[bytes]]) -> list[bytes]:
    """A message as it should be, or with a few bytes of its first frame changed, or cut."""
    head, *buffers = draw(whole)
    head = bytearray(head)
    for _ in range(draw(st.integers(0, 3))):
        if head:
            head[draw(st.integers(0, len(head) - 1))] = draw(st.integers(0, 255))
    if draw(st.integers(0, 9)) == 0:
        del head[draw(st.integers(0, len(head))) :]
    return [bytes(head), *buffers]


def frames_of(message: Any) -> list[bytes]:
    return [bytes(frame) for frame in message.encode()]


CALLS = st.tuples(st.sampled_from(["fire", "power", "__class__", "no"]), VALUES, VALUES).map(list)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["frequency_hz", "obj_name", "attr_name", "args", "kwargs", "force", "who", "trail", "path", "x"]),
    # No frequency that would be one: a ticker of a gigahertz is a wish, and not nonsense.
    st.sampled_from([0, -1.0, float("inf"), "victim", "fire", None, [], {}, b"", True, 10**400]) | st.text(max_size=5),
    max_size=6,
)
WORDS = st.sampled_from(
    [
        *("describe", "describe_object", "stream_configurations", "running_calls", "version", "trace", "leases", "no"),
        *("enable_stream", "disable_stream", "remove_stream", "add_stream", "publish_marker"),
        *("take_lease", "give_lease_back", "holds_lease"),
    ]
)
CONTENTS = (
    CALLS
    | st.tuples(WORDS, ARGUMENTS).map(list)
    | st.tuples(SIMPLE, st.floats(), VALUES).map(list)
    | st.tuples(VALUES, VALUES).map(list)
)
REQUESTS = st.builds(
    Request,
    st.sampled_from([*Kind, 0, 60, 255]),
    NUMBERS,
    NUMBERS,
    NAMES,
    CONTENTS.map(lambda value: CODEC.encode(value)[0]) | BODIES,
    BUFFERS,
    st.lists(NUMBERS, max_size=18).map(tuple),
).map(frames_of)
FAULTS = st.dictionaries(
    st.sampled_from(["code", "message", "type", "args", "traceback", "where", "details"]),
    st.sampled_from(["remote", "OSError", "UnicodeDecodeError", "ExceptionGroup", "not_carriable", [], {}, [1, 2]])
    | VALUES,
    min_size=5,
).map(lambda changes: {**fault_of(ValueError("x"), CODEC), **changes})
HELLOS = st.fixed_dictionaries(
    {
        "server": NUMBERS | SIMPLE,
        "name": SIMPLE,
        "version": SIMPLE,
        "machine": SIMPLE,
        "broadcast_port": st.sampled_from([0, -1, 1, 65536, "x", "", "a b", "\0"]) | SIMPLE,
        "revision": SIMPLE,
    }
)
REPLIES = st.builds(
    Reply,
    st.sampled_from([*Kind, 0, 70, 255]),
    NUMBERS,
    st.builds(Stamp, INSTANTS, ERRORS),
    (FAULTS | HELLOS).map(lambda value: CODEC.encode(value)[0]) | BODIES,
    BUFFERS,
).map(frames_of)
SAMPLES = st.builds(
    SampleMessage,
    st.sampled_from([*Kind, 0, 200, 255]),
    NUMBERS,
    NUMBERS,
    st.integers(0, 10),
    st.builds(Stamp, INSTANTS, ERRORS),
    INSTANTS,
    FAULTS.map(lambda value: CODEC.encode(value)[0]) | BODIES,
    BUFFERS,
)


# --- at a server -----------------------------------------------------------------------------------------------------


class Laser:
    power = 1.0

    def fire(self) -> int:
        return 5


class Complaints(logging.Handler):
    """What the library itself calls a bug of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


@pytest.fixture(autouse=True)
def complaints() -> Iterator[None]:
    """Errors in the log fail a test; what is said of strangers is only noise here."""
    handler, log = Complaints(), logging.getLogger("one_liner")
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.ERROR)
    log.propagate = False
    yield
    log.removeHandler(handler)
    log.setLevel(level)
    log.propagate = propagate
    assert not handler.records


@contextmanager
def raw(kind: int, address: str) -> Iterator[zmq.Socket[bytes]]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    socket.linger = 0
    socket.rcvtimeo = socket.sndtimeo = int(PATIENCE_S * 1000)
    if kind == zmq.DEALER:
        socket.setsockopt(zmq.ROUTING_ID, b"c" + os.urandom(8))
    try:
        socket.connect(address)
        yield socket
    finally:
        socket.close()


@pytest.fixture
def server() -> Iterator[RouterServer]:
    # Nobody is ignored for what was sent before: here every message has to be looked at.
    limits = Limits(malformed=1_000_000)
    with RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S, limits=limits) as made:
        made.add_instance("laser", Laser())
        made.add_instance("victim", Laser())
        made.add_stream("power", 200, "laser", "power")
        made.add_stream("victim", 100, "victim", "power")
        made.run()
        yield made


@pytest.fixture
def client(server: RouterServer) -> Iterator[RouterClient]:
    with RouterClient(
        rpc_port=server.rpc_port, broadcast_port=server.broadcast_port, heartbeat_s=HEARTBEAT_S, timeout_s=PATIENCE_S
    ) as made:
        made.configure_stream("power", "cache", wait=True, timeout_s=PATIENCE_S)
        yield made


def works(client: RouterClient) -> None:
    assert client.call("laser", "fire") == 5
    assert client.get_stream("power", timeout_s=PATIENCE_S).data == 1.0


def test_any_frames_at_the_port_of_calls(server: RouterServer, client: RouterClient) -> None:
    """One message of a stranger, whatever it is; then the same stranger asks for a sign of life, and gets it."""
    body, _ = CODEC.encode(["stranger", 1.0, {}])
    ids = itertools.count(2**62)

    with raw(zmq.DEALER, server.rpc_endpoint) as stranger:

        @settings(PROPERTY, max_examples=300)
        @given(NOISE | damaged(REQUESTS))
        def send(frames: list[bytes]) -> None:
            stranger.send_multipart(frames)
            number = next(ids)
            stranger.send_multipart(frames_of(Request(Kind.HEARTBEAT, number, 7, "", body)))
            while True:
                parts = stranger.recv_multipart()
                reply = parts[1:] if parts[0] == b"" else parts  # as a REQ socket wants it
                if reply[0][3] != Kind.VERSION and Reply.decode(reply[0], reply[1:]).id == number:
                    break
            Hello.from_dict(CODEC.decode(Reply.decode(reply[0], reply[1:]).body))
            assert client.call("laser", "fire") == 5

        send()
    works(client)


def test_any_frames_at_the_port_of_streams(server: RouterServer, client: RouterClient) -> None:
    subscriptions = st.tuples(st.sampled_from([b"\0", b"\1", b"\2"]), st.binary(max_size=60)).map(b"".join)

    @PROPERTY
    @given(st.lists(NOISE | st.lists(subscriptions | st.just(b"\1power\0"), min_size=1, max_size=3), max_size=20))
    def send(messages: list[list[bytes]]) -> None:
        for frames in messages:
            stranger.send_multipart(frames)
        works(client)

    with raw(zmq.XSUB, server.broadcast_endpoint) as stranger:
        send()
    works(client)


# --- at a client -----------------------------------------------------------------------------------------------------

Answers = list[list[bytes]]


class Impostor:
    """A server that says what it is told to, and then what it should: on both of its ports.

    Attributes:
        to_calls: what each call is answered with, before the good answer; those with the magic get the right number.
        to_heartbeats: the same for heartbeats.
        beats: how many heartbeats were answered.
    """

    def __init__(self) -> None:
        self.to_calls: Answers = []
        self.to_heartbeats: Answers = []
        self.beats = 0
        context = zmq.Context.instance()
        self._router: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self._publisher: zmq.Socket[bytes] = context.socket(zmq.PUB)
        self._router.linger = self._publisher.linger = 0
        self.rpc_port: int = self._router.bind_to_random_port("tcp://127.0.0.1")
        self.broadcast_port: int = self._publisher.bind_to_random_port("tcp://127.0.0.1")
        self._origins = itertools.count(2**62)
        self.restart()
        self._stopping = False
        self._thread = Thread(target=self._answer)
        self._thread.start()

    def restart(self) -> None:
        """Be another server, to all who ask."""
        self._hello = CODEC.encode(Hello(random_id(), "x", "0", "elsewhere", self.broadcast_port, 0, {}).as_dict())[0]

    def _answer(self) -> None:
        while not self._stopping:
            if not self._router.poll(20):
                continue
            peer, head, *buffers = self._router.recv_multipart()
            request = Request.decode(head, buffers)
            if request.kind == Kind.HEARTBEAT:
                self._send(peer, head, self.to_heartbeats)
                self._send(peer, head, [frames_of(Reply(Kind.RESULT, 0, Stamp(1.0), self._hello))])
                self.beats += 1
            elif request.kind == Kind.CALL:
                self._send(peer, head, self.to_calls)
                self._send(peer, head, [frames_of(Reply(Kind.RESULT, 0, Stamp(1.0), CODEC.encode(5)[0]))])

    def _send(self, peer: bytes, head: bytes, answers: Answers) -> None:
        for first, *further in answers:
            if first.startswith(MAGIC) and len(first) >= 12:
                first = first[:4] + head[4:12] + first[12:]
            self._router.send_multipart([peer, first, *further])

    def beat(self, answers: Answers) -> None:
        """Answer at least two heartbeats with this first."""
        self.to_heartbeats, beats = answers, self.beats
        poll_until(lambda: self.beats > beats + 1, PATIENCE_S, what="heartbeats")
        self.to_heartbeats = []

    def publish(self, frames: list[bytes]) -> None:
        """Only for the test's thread."""
        self._publisher.send_multipart(frames)

    def publish_well(self, value: Any) -> None:
        """A sample as it should be, of a server that is new every time: what came before counts for nothing."""
        body, _ = CODEC.encode(value)
        good = SampleMessage(Kind.SAMPLE, 0, next(self._origins), Encoding.MSGPACK, Stamp(1.0), 1.0, body)
        self.publish([bytes(frame) for frame in good.encode(b"power\0")])

    def close(self) -> None:
        self._stopping = True
        self._thread.join(10)
        self._router.close()
        self._publisher.close()


@pytest.fixture
def impostor() -> Iterator[Impostor]:
    made = Impostor()
    yield made
    made.close()


@pytest.fixture
def victim(impostor: Impostor) -> Iterator[RouterClient]:
    with RouterClient(
        rpc_port=impostor.rpc_port, broadcast_port=None, heartbeat_s=HEARTBEAT_S, timeout_s=PATIENCE_S
    ) as made:
        yield made


def answered(client: RouterClient) -> bool:
    try:
        return bool(client.call("laser", "fire") == 5)
    except OneLinerError:
        return False


def test_any_frames_in_answer_to_a_call(impostor: Impostor, victim: RouterClient) -> None:
    @settings(PROPERTY, max_examples=200)
    @given(st.lists(NOISE | damaged(REPLIES), min_size=1, max_size=4))
    def answer(answers: Answers) -> None:
        impostor.to_calls = answers
        answered(victim)
        impostor.to_calls = []
        # What came behind an answer is still there: each such message may cost one more call, and its connection.
        outcomes = [answered(victim)]
        while not outcomes[-1]:
            outcomes.append(answered(victim))
            assert len(outcomes) <= len(answers) + 1
        assert victim.call("laser", "fire") == 5

    answer()


def comes(impostor: Impostor, client: RouterClient) -> bool:
    impostor.publish_well(1)
    return read_until(client, "power", 1)


def test_any_frames_in_answer_to_a_heartbeat(
    impostor: Impostor, victim: RouterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("one_liner.rpc.link.KNOCK_S", 0.05)  # how long a client waits that was refused
    victim.configure_stream("power")
    poll_until(lambda: answered(victim), PATIENCE_S)

    @settings(PROPERTY, max_examples=15)
    @given(st.lists(NOISE | damaged(REPLIES) | REPLIES, min_size=1, max_size=20))
    def answer(answers: Answers) -> None:
        impostor.beat(answers)
        poll_until(lambda: answered(victim), PATIENCE_S, what="a good answer to a call")

    answer()
    impostor.restart()
    poll_until(lambda: comes(impostor, victim), PATIENCE_S, what="a good sample")


SOUND = Hello(2**62, "x", "0", "elsewhere", 1, 0, {}).as_dict()


@pytest.mark.parametrize(
    "answer",
    [
        {**SOUND, "broadcast_port": "no port"},
        {**SOUND, "broadcast_port": -1},
        {**SOUND, "broadcast_port": "\0"},
        {**SOUND, "server": 2**70},
        {**SOUND, "server": -1},
        # A time zone that nobody knows, which cannot be read without another library.
        msgpack.ExtType(28, b"Z" + struct.pack(">q", -(1 << 63)) + b"No/Where"),
    ],
    ids=["port of words", "negative port", "unprintable port", "large number", "negative number", "zone"],
)
def test_a_server_that_says_what_cannot_be(impostor: Impostor, victim: RouterClient, answer: Any) -> None:
    victim.configure_stream("power")
    body = msgpack.packb(answer) if isinstance(answer, msgpack.ExtType) else CODEC.encode(answer)[0]
    impostor.beat([frames_of(Reply(Kind.RESULT, 0, Stamp(1.0), body))])
    poll_until(lambda: answered(victim), PATIENCE_S, what="a good answer to a call")
    impostor.restart()
    poll_until(lambda: comes(impostor, victim), PATIENCE_S, what="a good sample")


def test_any_frames_as_samples(impostor: Impostor, victim: RouterClient) -> None:
    victim.configure_stream("power")
    values = itertools.count()

    def come(value: int) -> bool:
        impostor.publish_well(value)
        return read_until(victim, "power", value)

    poll_until(lambda: come(-1), PATIENCE_S)
    heads = st.sampled_from([b"power\0", b"power\0\0", b"power\0power\0"])

    @settings(PROPERTY, max_examples=200)
    @given(st.lists(st.tuples(heads, NOISE | damaged(SAMPLES.map(headless))), max_size=4))
    def publish(messages: list[tuple[bytes, list[bytes]]]) -> None:
        for head, (first, *further) in messages:
            impostor.publish([head + first, *further])
        value = next(values)
        impostor.publish_well(value)
        poll_until(lambda: read_until(victim, "power", value), PATIENCE_S)

    publish()
    assert victim.stream_statistics("power").accounted


def headless(message: SampleMessage) -> list[bytes]:
    return [bytes(frame) for frame in message.encode(b"")]


def read_until(client: RouterClient, name: str, value: Any) -> bool:
    """Take what there is; whether the value was among it. All else may be of any kind, or an error of ours."""
    while True:
        try:
            sample: Sample = client.get_stream(name)
        except NoDataError:
            return False
        except OneLinerError:
            continue
        if type(sample.data) is type(value) and sample.data == value:
            return True


# --- in between ------------------------------------------------------------------------------------------------------


def test_any_frames_from_upstream(impostor: Impostor) -> None:
    """A router and a relay pass on what can be passed on, and go on."""
    values = itertools.count()
    with RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S) as server:
        server.add_router("north", rpc_port=impostor.rpc_port)
        server.add_zmq_stream("power", f"tcp://127.0.0.1:{impostor.broadcast_port}", topic=b"")
        server.run()
        with (
            RouterClient(
                rpc_port=server.rpc_port, broadcast_port=server.broadcast_port, heartbeat_s=HEARTBEAT_S
            ) as client,
            raw(zmq.SUB, server.broadcast_endpoint) as curious,
        ):
            curious.subscribe(b"")  # so that the router is subscribed to everything up there
            for name in ("north/power", "power"):
                client.configure_stream(name, max_samples=100_000)

            def come(value: int) -> bool:
                impostor.publish_well(value)
                came = [read_until(client, name, value) for name in ("north/power", "power")]
                return all(came)

            poll_until(lambda: come(-1), PATIENCE_S)
            heads = st.sampled_from([b"power\0", b"", b"\0", b"x" * 5000 + b"\0"])

            @PROPERTY
            @given(st.lists(st.tuples(heads, NOISE | damaged(SAMPLES.map(headless))), max_size=4))
            def publish(messages: list[tuple[bytes, list[bytes]]]) -> None:
                for head, (first, *further) in messages:
                    impostor.publish([head + first, *further])
                value = next(values)
                arrives(client, impostor, value)

            publish()
            large = SampleMessage(Kind.SAMPLE, 0, 1, Encoding.RAW, Stamp(1.0), 1.0, b"", [bytes(1 << 20)])
            impostor.publish([bytes(frame) for frame in large.encode(b"x" * 5000 + b"\0")])
            arrives(client, impostor, next(values))


def arrives(client: RouterClient, impostor: Impostor, value: int) -> None:
    impostor.publish_well(value)
    for name in ("north/power", "power"):
        poll_until(partial(read_until, client, name, value), PATIENCE_S, what=f"sample {value} of {name}")
