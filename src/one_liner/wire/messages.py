"""The messages of the protocol and their layout in frames.

Every message starts with the same twelve bytes, which never change between versions: magic, protocol version, kind
and id. So a peer of another version can always be told, in words, that it is one.

A message is one frame (head and body together) unless large buffers follow; the head says how many. A body that is
itself large travels as the first of those frames: an empty body means "see the first buffer". So nothing large is
ever concatenated, and no receiver has to search for the end of a message.

All integers are little-endian. `docs/reference/protocol.md` is the authority; a change of layout is a new version.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from one_liner.errors import LimitError, MalformedError, VersionMismatchError
from one_liner.wire.extensions import OUT_OF_BAND_BYTES, Buffer

PROTOCOL_VERSION: Final = 1
MAGIC: Final = b"1L"
TOPIC_END: Final = b"\0"
ROUTE_SEPARATOR: Final = "/"
MAX_HOPS: Final = 16
MARKER: Final = "\x01"  # in front of the names that the library itself publishes under

_SIGNATURE: Final = MAGIC + bytes((PROTOCOL_VERSION,))
_PREFIX = struct.Struct("<2sBBQ")  # magic, version, kind, id
_REQUEST = struct.Struct("<3sBQQHBH")  # prefix, client, buffers, hops, length of the path
_REPLY = struct.Struct("<3sBQHdf")  # prefix, buffers, timestamp, its error
_SAMPLE = struct.Struct("<3sBQHQBdfd")  # prefix (kind: SAMPLE, id: sequence), buffers, origin, encoding, timestamp, …
SAMPLE_HEAD_BYTES: Final = _SAMPLE.size
_STAMP = struct.Struct("<df")
_STAMP_OFFSET = struct.calcsize("<3sBQHQB")
COPIED_BYTES: Final = 4096  # a body up to this size is copied out of its frame: cheaper than a view of it
_new = tuple.__new__  # the constructor of a NamedTuple takes 2.4 times as long


class Kind(IntEnum):
    """What a message is. Requests are below 64, replies from 64 on, samples from 128 on."""

    CALL = 1
    """Call `body[0]` (attribute) of the object `path` with `body[1]` (arguments) and `body[2]` (by name)."""
    GET = 2
    """Read the attribute `body[0]` of the object `path`."""
    SET = 3
    """Set the attribute `body[0]` of the object `path` to `body[1]`."""
    CALL_NAMED = 4
    """Call what is registered under `path`, overwriting its arguments by `body[0]` and `body[1]`."""
    CONTROL = 5
    """Ask the server itself: operation `body[0]` on `path`, with the arguments `body[1]` by name."""
    HEARTBEAT = 6
    """Are you there? `body` names the client; the answer is a `Hello`."""
    CANCEL = 7
    """Forget the request with this id if it has not begun. The answer is `CANCELLED`, unless it was answered."""
    ASK_AGAIN = 8
    """What became of the request with this id? Its answer comes again, if it has one; nothing is done again."""

    RESULT = 64
    """The answer; `body` is the value."""
    ERROR = 65
    """The answer is an error; `body` is a fault."""
    VERSION = 66
    """We speak another version; `body` is UTF-8 text. Readable by every version."""
    GOODBYE = 67
    """The server closes in good order; sent unasked."""
    CANCELLED = 68
    """The answer to `CANCEL`; `body` is a fault that says whether the call was withdrawn, or still runs."""

    SAMPLE = 128
    """One sample of a stream."""
    FAILURE = 129
    """One sample of a stream whose function failed; `body` is a fault."""
    MARKER = 130
    """No sample: a subscriber asked for it, to know that its subscriptions have arrived."""
    BALLAST = 131
    """Nothing: it makes a large sample count for as much as it is heavy, where messages are counted. Twelve bytes."""


_FIRST_REPLY: Final = int(Kind.RESULT)
_VERSION_REPLY: Final = int(Kind.VERSION)
_FIRST_SAMPLE: Final = int(Kind.SAMPLE)
_LAST_SAMPLE: Final = int(Kind.MARKER)
REFUSE_IF_BUSY: Final = 32
"""Added to the kind of a CALL, GET, SET or CALL_NAMED that is to be refused where it would have to wait for a call."""
_REFUSING: Final = {kind | REFUSE_IF_BUSY: int(kind) for kind in (Kind.CALL, Kind.GET, Kind.SET, Kind.CALL_NAMED)}


class Encoding(IntEnum):
    """How the body of a sample was made from its value."""

    RAW = 0
    """Bytes as they are."""
    MSGPACK = 1
    """The codec of this library."""
    JSON = 2
    """JSON text."""
    PICKLE = 3
    """Pickle, which is read only where the reader allows it."""
    CUSTOM = 4
    """A pair of the user's own functions; bytes for a reader that has none."""
    FRAMES = 5
    """Several frames of a foreign publisher, as they are."""

    @property
    def label(self) -> str:
        """The word that users write: `msgpack`, `json`, …"""
        return self.name.lower()


class Stamp(NamedTuple):
    """An instant on the timeline of whoever reads it.

    Attributes:
        time: seconds on `time.perf_counter()`.
        error_s: how far off it may be; 0 on one machine, infinite where nobody measured.
    """

    time: float
    error_s: float = 0.0

    def shifted(self, offset_s: float, error_s: float) -> Stamp:
        """The same instant on another timeline."""
        return Stamp(self.time + offset_s, self.error_s + error_s)


class Request(NamedTuple):
    """What a client asks.

    Attributes:
        kind: one of the requests of `Kind`.
        id: chosen by the sender, growing on each connection; the reply repeats it. One that came before is not done
            again.
        client: random number of the client that asked first, the same through all hops.
        path: route and name: `laser`, `rig.stage`, `north/laser`.
        body: encoded arguments.
        buffers: large parts of the arguments, in frames of their own.
        trail: ids of the servers that passed this request on.
        refuse_if_busy: do not wait for a call that is at work with the object; only of CALL, GET, SET, CALL_NAMED.
    """

    kind: int
    id: int
    client: int
    path: str
    body: Buffer
    buffers: Sequence[Buffer] = ()
    trail: tuple[int, ...] = ()
    refuse_if_busy: bool = False

    def encode(self, request_id: int | None = None) -> list[Buffer]:
        """The frames of this request.

        Args:
            request_id: its id, in place of the one that it has.
        """
        kind, own_id, client, path, body, buffers, trail, refuse_if_busy = self
        if request_id is None:
            request_id = own_id
        name = path.encode()
        if len(name) > 0xFFFF:
            raise LimitError(f"a path of {len(name)} bytes is longer than 65535")
        if buffers or len(body) >= OUT_OF_BAND_BYTES:
            body, buffers = _split(body, buffers)
        if refuse_if_busy:
            kind |= REFUSE_IF_BUSY
        head = _REQUEST.pack(_SIGNATURE, kind, request_id, client, len(buffers), len(trail), len(name))
        if trail:
            head += struct.pack(f"<{len(trail)}Q", *trail)
        return [head + name + body, *buffers]

    def passed_on(self, server: int, path: str) -> Request:
        """This request as a server passes it on, for what it calls `path` at the next one."""
        kind, request_id, client, _, body, buffers, trail, refuse_if_busy = self
        return _new(Request, (kind, request_id, client, path, body, buffers, (*trail, server), refuse_if_busy))

    @classmethod
    def decode(cls, head: bytes, buffers: Sequence[Buffer]) -> Request:
        """Read a request from its frames.

        Raises:
            VersionMismatchError: the sender speaks another version.
            MalformedError: these bytes are no request.
        """
        try:
            signature, kind, request_id, client, count, hops, path_length = _REQUEST.unpack_from(head)
            if signature != _SIGNATURE:
                check_prefix(head)
            start = _REQUEST.size + 8 * hops
            end = start + path_length
            trail = struct.unpack_from(f"<{hops}Q", head, _REQUEST.size) if hops else ()
            path = head[start:end].decode()
        except (struct.error, UnicodeDecodeError) as error:
            check_prefix(head)
            raise MalformedError(f"not a request: {error}") from None
        if len(head) < end or count != len(buffers) or kind >= _FIRST_REPLY:
            raise MalformedError("not a request: its parts contradict each other")
        body, rest = _join(head, end, buffers)
        refuse_if_busy = kind in _REFUSING
        if refuse_if_busy:
            kind = _REFUSING[kind]
        return _new(cls, (kind, request_id, client, path, body, rest, trail, refuse_if_busy))


class Reply(NamedTuple):
    """What a server answers.

    Attributes:
        kind: `RESULT` or `ERROR`.
        id: that of the request.
        stamp: when the function returned, on the timeline of the server that sends this.
        body: encoded value, or fault.
        buffers: large parts of the value, in frames of their own.
    """

    kind: int
    id: int
    stamp: Stamp
    body: Buffer
    buffers: Sequence[Buffer] = ()

    def encode(self) -> list[Buffer]:
        """The frames of this reply."""
        kind, reply_id, (time, error_s), body, buffers = self
        if buffers or len(body) >= OUT_OF_BAND_BYTES:
            body, buffers = _split(body, buffers)
        return [_REPLY.pack(_SIGNATURE, kind, reply_id, len(buffers), time, error_s) + body, *buffers]

    @classmethod
    def decode(cls, head: bytes, buffers: Sequence[Buffer]) -> Reply:
        """Read a reply from its frames.

        Raises:
            VersionMismatchError: the server speaks another version.
            MalformedError: these bytes are no reply.
        """
        if len(head) < _REPLY.size or head[3] == _VERSION_REPLY or not head.startswith(_SIGNATURE):
            kind, _ = check_prefix(head)
            if kind == _VERSION_REPLY:
                raise VersionMismatchError(head[_PREFIX.size :].decode(errors="replace"))
            raise MalformedError("not a reply: it is too short")
        _, kind, request_id, count, time, error_s = _REPLY.unpack_from(head)
        if count != len(buffers) or not _FIRST_REPLY <= kind < _FIRST_SAMPLE:
            raise MalformedError("not a reply: its parts contradict each other")
        body, rest = _join(head, _REPLY.size, buffers)
        return _new(cls, (kind, request_id, _new(Stamp, (time, error_s)), body, rest))


class SampleMessage(NamedTuple):
    """One sample as it travels; its topic and a NUL stand in front of the head.

    Attributes:
        kind: `SAMPLE`, `FAILURE` when the body is a fault, or `MARKER`.
        sequence: from 0, one more for every sample of this stream in the life of its server.
        origin: random number of the server that made it; another one after a restart.
        encoding: how the body was made.
        stamp: when the value was there, on the timeline of the server that sends this.
        wall_time: the same instant as `time.time()` of the machine that made it.
        body: encoded value, or fault.
        buffers: large parts of the value, in frames of their own.
    """

    kind: int
    sequence: int
    origin: int
    encoding: int
    stamp: Stamp
    wall_time: float
    body: Buffer
    buffers: Sequence[Buffer] = ()

    def encode(self, topic: bytes, sequence: int | None = None) -> list[Buffer]:
        """The frames of this sample.

        Args:
            topic: what it is sent under; ends in its NUL.
            sequence: its number, in place of the one that it has.
        """
        kind, number, origin, encoding, (time, error_s), wall_time, body, buffers = self
        if sequence is not None:
            number = sequence
        return sample_frames(topic, kind, number, origin, encoding, time, error_s, wall_time, body, buffers)

    @classmethod
    def decode(cls, head: bytes, topic_length: int, buffers: Sequence[Buffer]) -> SampleMessage:
        """Read a sample from its frames, whose topic is `topic_length` bytes long with its NUL.

        Raises:
            VersionMismatchError: the publisher speaks another version.
            MalformedError: these bytes are no sample.
        """
        fields = sample_fields(head, topic_length)
        _, kind, sequence, _, origin, encoding, time, error_s, wall = fields
        body, rest = sample_body(head, topic_length, fields, buffers)
        return _new(cls, (kind, sequence, origin, encoding, _new(Stamp, (time, error_s)), wall, body, rest))


def sample_frames(
    topic: bytes,
    kind: int,
    sequence: int,
    origin: int,
    encoding: int,
    time: float,
    error_s: float,
    wall_time: float,
    body: Buffer,
    buffers: Sequence[Buffer],
) -> list[Buffer]:
    """The frames of a sample, as `SampleMessage.encode` gives them, for those who make one only to send it."""
    if buffers or len(body) >= OUT_OF_BAND_BYTES:
        body, buffers = _split(body, buffers)
    head = _SAMPLE.pack(_SIGNATURE, kind, sequence, len(buffers), origin, encoding, time, error_s, wall_time)
    return [topic + head + body, *buffers]


SampleFields: TypeAlias = tuple[bytes, int, int, int, int, int, float, float, float]
"""The head of a sample: signature, kind, sequence, number of buffers, origin, encoding, time, its error, wall time."""


def sample_fields(head: bytes, topic_length: int) -> SampleFields:
    """What `SampleMessage.decode` reads, for those who receive more samples than they look at.

    Raises:
        VersionMismatchError: the publisher speaks another version.
        MalformedError: these bytes are no sample.
    """
    if len(head) < topic_length + SAMPLE_HEAD_BYTES or not head.startswith(_SIGNATURE, topic_length):
        check_prefix(head, topic_length)
        raise MalformedError("not a sample: it is too short")
    fields: SampleFields = _SAMPLE.unpack_from(head, topic_length)
    if not _FIRST_SAMPLE <= fields[1] <= _LAST_SAMPLE:
        raise MalformedError("not a sample: it is of another kind")
    return fields


def sample_body(
    head: bytes, topic_length: int, fields: SampleFields, buffers: Sequence[Buffer]
) -> tuple[Buffer, Sequence[Buffer]]:
    """The body of a sample and the buffers that belong to it.

    Raises:
        MalformedError: these are not as many as it says.
    """
    if fields[3] != len(buffers):
        raise MalformedError("not a sample: its parts contradict each other")
    return _join(head, topic_length + SAMPLE_HEAD_BYTES, buffers)


def check_prefix(head: bytes, start: int = 0) -> tuple[int, int]:
    """Kind and id of any message.

    Raises:
        MalformedError: it is no message of this protocol.
        VersionMismatchError: it is one of another version.
    """
    try:
        magic, version, kind, message_id = _PREFIX.unpack_from(head, start)
    except struct.error:
        raise MalformedError(f"{len(head)} bytes are no message of one_liner") from None
    if magic != MAGIC:
        raise MalformedError("these bytes are no message of one_liner")
    if version != PROTOCOL_VERSION:
        raise VersionMismatchError(f"the other side speaks protocol {version}, this one {PROTOCOL_VERSION}")
    return kind, message_id


def version_reply(head: bytes) -> list[Buffer]:
    """The answer to a message of another version, which every version can read."""
    message_id = _PREFIX.unpack_from(head)[3]
    text = f"this server speaks protocol {PROTOCOL_VERSION}, the request is of protocol {head[2]}"
    return [_PREFIX.pack(MAGIC, PROTOCOL_VERSION, Kind.VERSION, message_id) + text.encode()]


def ballast(head: bytes | bytearray | memoryview) -> bytes:
    """A message of no content under the topic of a sample."""
    # Not only at the beginning: a stranger's topic, passed on by a router, may be of any length.
    topic = bytes(head[: bytes(head).index(TOPIC_END) + 1])
    return topic + _PREFIX.pack(MAGIC, PROTOCOL_VERSION, Kind.BALLAST, 0)


def is_ballast(head: bytes, topic_length: int) -> bool:
    """Whether a message under a topic has no content."""
    return len(head) == topic_length + _PREFIX.size and head[topic_length + 3] == Kind.BALLAST


def readdressed(head: bytes, reply_id: int, offset_s: float, error_s: float) -> bytes:
    """The first frame of a reply under another id, its timestamp moved to another timeline; the body stays as it is.

    Raises:
        MalformedError: it is no reply.
    """
    if len(head) < _REPLY.size or head[3] == Kind.VERSION:
        if check_prefix(head)[0] != Kind.VERSION:
            raise MalformedError("not a reply: it is too short")
        return _PREFIX.pack(MAGIC, PROTOCOL_VERSION, Kind.VERSION, reply_id) + head[_PREFIX.size :]
    signature, kind, _, count, time, frame_error_s = _REPLY.unpack_from(head)
    prefix = _REPLY.pack(signature, kind, reply_id, count, time + offset_s, frame_error_s + error_s)
    return prefix + head[_REPLY.size :]


def renamed(head: bytes, topic_length: int, topic: bytes, offset_s: float, error_s: float) -> bytes:
    """The first frame of a sample under another topic, its timestamp moved to another timeline.

    The body and all further frames stay as they are, undecoded.

    Raises:
        MalformedError: it is no sample.
    """
    if len(head) < topic_length + _SAMPLE.size:
        raise MalformedError("not a sample: it is too short")
    frame = bytearray(topic + head[topic_length:])
    at = len(topic) + _STAMP_OFFSET
    stamp = Stamp(*_STAMP.unpack_from(frame, at)).shifted(offset_s, error_s)
    _STAMP.pack_into(frame, at, *stamp)
    return bytes(frame)


def asked_of(server: int | None) -> bytes:
    """The body of an ASK_AGAIN: the number of the server that the request was sent to."""
    return b"\xc0" if server is None else b"\xcf" + server.to_bytes(8, "big")


def topic_of(stream_name: str) -> bytes:
    """The topic of a stream: its name and a NUL, so that `cam` never receives `cam_2`."""
    return stream_name.encode() + TOPIC_END


def _split(body: Buffer, buffers: Sequence[Buffer]) -> tuple[Buffer, Sequence[Buffer]]:
    """Move a large body out of the first frame; and an empty one, or the next would be taken for it."""
    if len(body) >= OUT_OF_BAND_BYTES or (buffers and not body):
        body, buffers = b"", (body, *buffers)
    if len(buffers) > 0xFFFF:
        raise LimitError(f"{len(buffers)} large buffers in one message are more than 65535")
    return body, buffers


def _join(head: bytes, start: int, buffers: Sequence[Buffer]) -> tuple[Buffer, Sequence[Buffer]]:
    """Undo `_split`."""
    if not buffers and len(head) - start <= COPIED_BYTES:
        return head[start:], buffers
    if start == len(head) and buffers:
        return buffers[0], buffers[1:]
    return memoryview(head)[start:], buffers
