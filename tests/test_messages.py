"""Every message of the protocol goes through its bytes and back; no bytes do anything but that."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from one_liner.errors import LimitError, MalformedError, VersionMismatchError
from one_liner.wire.extensions import OUT_OF_BAND_BYTES
from one_liner.wire.messages import (
    MAGIC,
    PROTOCOL_VERSION,
    Encoding,
    Kind,
    Reply,
    Request,
    SampleMessage,
    Stamp,
    ballast,
    check_prefix,
    is_ballast,
    readdressed,
    renamed,
    topic_of,
    version_reply,
)

REQUESTS = [kind for kind in Kind if kind < 64]
REPLIES = [kind for kind in Kind if 64 <= kind < 128]
SAMPLES = [kind for kind in Kind if kind >= 128 and kind is not Kind.BALLAST]
LARGE = bytes(OUT_OF_BAND_BYTES)
TOPIC = topic_of("north/cam")

ids = st.integers(0, 2**64 - 1)
times = st.floats(allow_nan=False, width=64)
errors = st.floats(min_value=0, allow_nan=False, width=32)
large = st.builds(bytes, st.just(OUT_OF_BAND_BYTES))
bodies = st.one_of(st.binary(min_size=1, max_size=300), large)
buffers = st.lists(st.binary(max_size=50), max_size=4)
requests = st.builds(
    Request,
    st.sampled_from(REQUESTS),
    ids,
    ids,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    bodies,
    buffers,
    st.lists(ids, max_size=20).map(tuple),
    st.booleans(),
).filter(lambda request: request.kind <= Kind.CALL_NAMED or not request.refuse_if_busy)
replies = st.builds(
    Reply,
    st.sampled_from([kind for kind in REPLIES if kind is not Kind.VERSION]),
    ids,
    st.builds(Stamp, times, errors),
    bodies,
    buffers,
)
samples = st.builds(
    SampleMessage,
    st.sampled_from(SAMPLES),
    ids,
    ids,
    st.sampled_from(Encoding),
    st.builds(Stamp, times, errors),
    times,
    bodies,
    buffers,
)


def plain(message: Any) -> Any:
    """With its parts as plain bytes, so that messages can be compared."""
    return message._replace(body=bytes(message.body), buffers=tuple(bytes(buffer) for buffer in message.buffers))


def decode_request(frames: list[Any]) -> Request:
    return Request.decode(bytes(frames[0]), frames[1:])


def decode_reply(frames: list[Any]) -> Reply:
    return Reply.decode(bytes(frames[0]), frames[1:])


def decode_sample(frames: list[Any]) -> SampleMessage:
    return SampleMessage.decode(bytes(frames[0]), len(TOPIC), frames[1:])


# --- there and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)
@pytest.mark.parametrize("body", [b"", b"\xc0", b"x" * 1000, LARGE], ids=["empty", "small", "medium", "large"])
@pytest.mark.parametrize("extra", [(), (b"one",), (b"one", LARGE, b"")], ids=len)
def test_every_kind_of_message_round_trips(kind: Kind, body: bytes, extra: tuple[bytes, ...]) -> None:
    if kind is Kind.VERSION:
        frames: list[Any] = list(version_reply(bytes(Request(Kind.CALL, 77, 1, "x", b"\xc0").encode()[0])))
        assert check_prefix(frames[0]) == (Kind.VERSION, 77)
        with pytest.raises(VersionMismatchError, match="this server speaks protocol"):
            decode_reply(frames)
    elif kind is Kind.BALLAST:
        frame = ballast(SampleMessage(Kind.SAMPLE, 1, 2, 0, Stamp(0.0), 0.0, body, extra).encode(TOPIC)[0])
        assert frame.startswith(TOPIC)
        assert is_ballast(frame, len(TOPIC))
        with pytest.raises(MalformedError):
            decode_sample([frame])
    elif kind in REQUESTS:
        request = Request(kind, 2**63, 2**62, "north/rig.stage", body, extra, (1, 2**64 - 1))
        assert plain(decode_request(request.encode())) == request
    elif kind in REPLIES:
        reply = Reply(kind, 5, Stamp(1234.5, math.inf), body, extra)
        assert plain(decode_reply(reply.encode())) == reply
    else:
        sample = SampleMessage(kind, 9, 2**63, Encoding.MSGPACK, Stamp(0.25, 0.5), 1.7e9, body, extra)
        assert plain(decode_sample(sample.encode(TOPIC))) == sample


@given(requests)
def test_any_request_round_trips(request: Request) -> None:
    assert plain(decode_request(request.encode())) == plain(request)


@given(replies)
def test_any_reply_round_trips(reply: Reply) -> None:
    assert plain(decode_reply(reply.encode())) == plain(reply)


@given(samples)
def test_any_sample_round_trips(sample: SampleMessage) -> None:
    assert plain(decode_sample(sample.encode(TOPIC))) == plain(sample)


def test_a_small_message_is_one_frame_and_a_large_body_is_one_of_its_own() -> None:
    assert len(Request(Kind.CALL, 1, 1, "x", b"body").encode()) == 1
    frames = Request(Kind.CALL, 1, 1, "x", LARGE, [b"buffer"]).encode()
    assert len(frames) == 3
    assert frames[1] is LARGE, "nothing large is copied"


def test_kinds_are_numbered_by_whose_they_are() -> None:
    assert len({int(kind) for kind in Kind}) == len(Kind)
    assert all(kind < 64 for kind in REQUESTS)
    assert all(64 <= kind < 128 for kind in REPLIES)
    assert {kind.name for kind in SAMPLES} >= {"SAMPLE", "FAILURE"}


def test_limits_are_errors_of_the_sender() -> None:
    with pytest.raises(LimitError, match="65535"):
        Request(Kind.CALL, 1, 1, "x" * 70_000, b"").encode()
    with pytest.raises(LimitError, match="65535"):
        Reply(Kind.RESULT, 1, Stamp(0.0), b"x", [b""] * 70_000).encode()


def test_the_first_twelve_bytes_are_the_same_in_every_message() -> None:
    for frames in (
        Request(Kind.CALL, 7, 1, "x", b"\xc0").encode(),
        Reply(Kind.RESULT, 7, Stamp(0.0), b"\xc0").encode(),
        version_reply(bytes(Request(Kind.CALL, 7, 1, "x", b"\xc0").encode()[0])),
    ):
        head = bytes(frames[0])
        assert head[:3] == MAGIC + bytes([PROTOCOL_VERSION])
        assert int.from_bytes(head[4:12], "little") == 7
    assert SampleMessage(Kind.SAMPLE, 7, 1, 0, Stamp(0.0), 0.0, b"x").encode(b"t\0")[0][2:5] == head[:3]


# --- anything else ---------------------------------------------------------------------------------------------------

DECODERS: list[Callable[[list[Any]], Any]] = [decode_request, decode_reply, decode_sample]


def expect_a_message_or_a_protocol_error(decode: Callable[[list[Any]], Any], frames: list[Any]) -> None:
    try:
        decode(frames)
    except (MalformedError, VersionMismatchError):
        return


@pytest.mark.parametrize("decode", DECODERS, ids=lambda decode: decode.__name__)
@settings(max_examples=200)
@given(st.binary(max_size=200), st.lists(st.binary(max_size=20), max_size=3), st.booleans())
def test_random_bytes_are_malformed(
    decode: Callable[[list[Any]], Any], head: bytes, rest: list[bytes], begins_well: bool
) -> None:
    if begins_well:
        head = (TOPIC if decode is decode_sample else b"") + MAGIC + bytes([PROTOCOL_VERSION]) + head
    expect_a_message_or_a_protocol_error(decode, [head, *rest])


@pytest.mark.parametrize(
    ("decode", "frames"),
    [
        (decode_request, Request(Kind.CALL, 1, 2, "north/laser", b"body", [b"a"], (1, 2, 3)).encode()),
        (decode_reply, Reply(Kind.ERROR, 1, Stamp(1.0), b"body", [b"a"]).encode()),
        (decode_sample, SampleMessage(Kind.SAMPLE, 1, 2, 1, Stamp(1.0), 2.0, b"body", [b"a"]).encode(TOPIC)),
    ],
    ids=["request", "reply", "sample"],
)
def test_a_message_cut_anywhere_is_malformed_or_shorter(decode: Callable[[list[Any]], Any], frames: list[Any]) -> None:
    head = bytes(frames[0])
    for end in range(len(head)):
        expect_a_message_or_a_protocol_error(decode, [head[:end], *frames[1:]])
    for wrong in ([head], [head, b"a", b"b"]):
        with pytest.raises(MalformedError):
            decode(wrong)


@settings(max_examples=300)
@given(st.sampled_from(range(3)), requests, replies, samples, st.integers(0, 200), st.integers(0, 255))
def test_a_message_with_one_byte_changed_is_a_message_or_a_protocol_error(
    which: int, request: Request, reply: Reply, sample: SampleMessage, position: int, byte: int
) -> None:
    frames = [request.encode, reply.encode, lambda: sample.encode(TOPIC)][which]()
    head = bytearray(frames[0])
    head[position % len(head)] = byte
    if which == 2 and bytes(head[: len(TOPIC)]) != TOPIC:
        return
    expect_a_message_or_a_protocol_error(DECODERS[which], [bytes(head), *frames[1:]])


@pytest.mark.parametrize("version", [0, 2, 255])
@pytest.mark.parametrize("decode", DECODERS, ids=lambda decode: decode.__name__)
def test_another_version_is_told_from_nonsense(decode: Callable[[list[Any]], Any], version: int) -> None:
    head = (TOPIC if decode is decode_sample else b"") + MAGIC + bytes([version]) + bytes(9)
    with pytest.raises(VersionMismatchError, match=f"protocol {version}"):
        decode([head])


def test_messages_of_one_kind_are_not_taken_for_another() -> None:
    reply = Reply(Kind.RESULT, 1, Stamp(0.0), b"x" * 50).encode()
    request = Request(Kind.CALL, 1, 1, "x", b"x" * 50).encode()
    with pytest.raises(MalformedError):
        decode_request(reply)
    with pytest.raises(MalformedError):
        decode_reply(request)
    with pytest.raises(MalformedError):
        SampleMessage.decode(bytes(reply[0]), 0, [])


# --- on the way through a router -------------------------------------------------------------------------------------


def test_a_router_readdresses_a_reply_without_touching_its_body() -> None:
    head, *rest = Reply(Kind.RESULT, 1, Stamp(10.0, 0.25), b"body", [b"buffer"]).encode()
    passed = decode_reply([readdressed(bytes(head), 99, 2.5, 0.5), *rest])
    assert (passed.id, passed.stamp, bytes(passed.body), passed.kind) == (99, Stamp(12.5, 0.75), b"body", Kind.RESULT)


def test_a_router_passes_a_version_reply_on_as_it_is() -> None:
    (head,) = version_reply(MAGIC + bytes([9]) + bytes(9))
    passed = readdressed(bytes(head), 99, 2.5, 0.5)
    assert check_prefix(passed) == (Kind.VERSION, 99)
    assert passed[12:] == bytes(head)[12:]


@pytest.mark.parametrize("head", [b"", b"1L\x01\x40", MAGIC + bytes([PROTOCOL_VERSION, Kind.RESULT]) + bytes(8)])
def test_a_router_does_not_pass_on_what_is_no_reply(head: bytes) -> None:
    with pytest.raises(MalformedError):
        readdressed(head, 1, 0.0, 0.0)


def test_a_relay_renames_a_sample_without_touching_its_body() -> None:
    head, *rest = SampleMessage(Kind.SAMPLE, 5, 6, 1, Stamp(10.0, 0.0), 3.0, b"body", [b"x"]).encode(TOPIC)
    topic = topic_of("a/north/cam")
    passed = SampleMessage.decode(renamed(bytes(head), len(TOPIC), topic, 1.0, 0.5), len(topic), rest)
    assert (passed.sequence, passed.origin, passed.stamp, bytes(passed.body)) == (5, 6, Stamp(11.0, 0.5), b"body")


def test_a_topic_ends_where_its_name_ends() -> None:
    assert topic_of("cam") == b"cam\0"
    assert not topic_of("cam_2").startswith(topic_of("cam"))


def test_the_ballast_of_a_topic_of_any_length() -> None:
    """What a router passes on has the names that others gave it."""
    topic = b"t" * 5000 + b"\0"
    frame = ballast(SampleMessage(Kind.SAMPLE, 1, 2, 0, Stamp(0.0), 0.0, b"x").encode(topic)[0])
    assert is_ballast(frame, len(topic))
