"""One target for each family of decoders: a function that takes any bytes, and returns or fails.

It returns when the bytes were refused with an error that the decoder documents, or were read, and what was read says
the same again once it was written and read anew. Anything else, any other exception among them, is a finding.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fuzz.bounds import bounded_memory
from fuzz.frames import split
from fuzz.sameness import same
from one_liner.clock import SYSTEM_CLOCK
from one_liner.errors import (
    CallError,
    ConfigurationError,
    LimitError,
    MalformedError,
    MissingExtraError,
    OneLinerError,
    RefusedError,
    VersionMismatchError,
)
from one_liner.keys import read_clients, read_pair, read_public
from one_liner.rpc.description import ServerDescription
from one_liner.rpc.dispatch import Dispatcher
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.hello import Hello
from one_liner.rpc.lease import Lease, Leases
from one_liner.rpc.named import NamedCalls
from one_liner.rpc.permission import Permission
from one_liner.rpc.rules import RuleBook
from one_liner.rpc.server import read_heartbeat
from one_liner.rpc.sessions import Sessions
from one_liner.streams.configuration import StreamConfigurations
from one_liner.testing.script import parse, write
from one_liner.wire import arrays as arrays  # the codec loads it with the first array; here it is to be watched, too
from one_liner.wire.codec import Codec
from one_liner.wire.faults import error_of, fault_of
from one_liner.wire.messages import (
    TOPIC_END,
    Encoding,
    Kind,
    Reply,
    Request,
    SampleMessage,
    asked_of,
    ballast,
    is_ballast,
    readdressed,
    renamed,
    version_reply,
)
from one_liner.wire.serializers import value_of

Target = Callable[[bytes], None]

# Small limits, so that a small input can go beyond them.
CODEC: Final = Codec(max_depth=12, max_elements=200)
UNREADABLE: Final = (MalformedError, LimitError, MissingExtraError)
# The codec calls malformed whatever a loader stumbles over; these should have been prevented.
EXHAUSTED: Final = (MemoryError, RecursionError, SystemError)
_PREFIX: Final = b"north/"


def values(data: bytes) -> None:
    """A value: body and buffers."""
    body, buffers = split(data)
    try:
        value = CODEC.decode(body, buffers)
    except UNREADABLE as error:
        assert str(error)
        assert not isinstance(error.__cause__, EXHAUSTED), repr(error.__cause__)
        return
    again = CODEC.decode(*CODEC.encode(value))
    assert same(value, again), f"{value!r} came back as {again!r}"


# --- what a server receives ------------------------------------------------------------------------------------------


class Stage:
    """Something to be served."""

    position_mm = 1.5

    def move(self, to_mm: float, *, speed: float = 1.0) -> float:
        return to_mm * speed

    def read(self) -> float:
        return self.position_mm


def _dispatcher() -> Dispatcher:
    exposure, named_calls, rules, leases = Exposure(), NamedCalls(), RuleBook(), Leases()
    for name in ("stage", "held"):
        exposure.add(name, Stage())
        rules.add(name, ["read"], ["read"], "")
    named_calls.add("home", "stage", "move", [0.0], {"speed": 2.0})
    held = exposure.resolve("held", "move").touches[0]
    leases.take(held.key, Lease("held", 1, "somebody", 0.0))
    return Dispatcher(
        server=7,
        exposure=exposure,
        named_calls=named_calls,
        rules=rules,
        leases=leases,
        sessions=Sessions(),
        controls={"describe": lambda path, **_: None, "take_lease": lambda path, **_: None},
        was_set=lambda target, value, who: None,
        object_of_job=lambda job_id: None,
        codec=CODEC,
        clock=SYSTEM_CLOCK,
    )


DISPATCHER: Final = _dispatcher()
PERMISSIONS: Final = (
    Permission.of("read"),
    Permission.of("control", ["stage", "home"]),
    Permission.of("admin"),
    None,
)


def requests(data: bytes) -> None:
    """A request, as far as a server reads it before anything of an object runs."""
    head, buffers = split(data)
    try:
        request = Request.decode(head, buffers)
    except VersionMismatchError:
        _check_version_reply(head)
        return
    except MalformedError:
        return
    first, *further = request.encode()
    assert _plain(Request.decode(bytes(first), further)) == _plain(request)
    for permission in PERMISSIONS:
        try:
            DISPATCHER.permit(request, permission)
        except (RefusedError, *UNREADABLE):
            pass
    try:
        if request.kind == Kind.HEARTBEAT:
            read_heartbeat(CODEC.decode(request.body, request.buffers))
        elif request.kind in DISPATCHER.kinds:
            DISPATCHER.task(request, b"peer", 0.0)
    except (CallError, *UNREADABLE) as error:
        fault_of(error, CODEC, request.path)


def _check_version_reply(head: bytes) -> None:
    (answer,) = version_reply(head)
    try:
        Reply.decode(bytes(answer), [])
    except VersionMismatchError:
        return
    raise AssertionError("the answer to another version cannot be read")


# --- what a client receives ------------------------------------------------------------------------------------------


def replies(data: bytes) -> None:
    """A reply, and everything that a client makes of its value; also on its way through a router."""
    head, buffers = split(data)
    try:
        passed_on = readdressed(head, 5, 0.25, 0.5)
    except (MalformedError, VersionMismatchError):
        passed_on = None
    try:
        reply = Reply.decode(head, buffers)
    except (MalformedError, VersionMismatchError):
        return
    assert passed_on is not None
    assert Reply.decode(passed_on, buffers).id == 5
    first, *further = reply.encode()
    assert _plain(Reply.decode(bytes(first), further)) == _plain(reply)
    try:
        value = CODEC.decode(reply.body, reply.buffers)
    except UNREADABLE:
        return
    if reply.kind == Kind.RESULT:
        _described(value)
    else:
        _raised(value, of_sample=False)


# What a client makes of the answers to questions of its own.
READERS: Final = (Hello.from_dict, StreamConfigurations.from_dict, ServerDescription.from_dict)


def _described(value: Any) -> None:
    for read in READERS:
        try:
            described = read(value)
        except MalformedError:
            continue
        assert str(described)
        described.as_dict()
        if isinstance(described, Hello):
            asked_of(described.server)


def _raised(value: Any, *, of_sample: bool) -> None:
    try:
        error = error_of(value, of_sample=of_sample)
    except MalformedError:
        return
    assert isinstance(error, OneLinerError)
    again = error_of(CODEC.decode(*CODEC.encode(fault_of(error, CODEC, "somewhere"))), of_sample=of_sample)
    assert str(again) == str(error), f"{error!r} was passed on as {again!r}"


def samples(data: bytes) -> None:
    """A sample, at its reader and on its way through a router."""
    head, buffers = split(data)
    length = head.find(TOPIC_END) + 1
    if is_ballast(head, length):
        return
    try:
        message = SampleMessage.decode(head, length, buffers)
    except (MalformedError, VersionMismatchError):
        return
    if length:
        _passed_on(head, length, buffers, message)
    first, *further = message.encode(b"topic\0")
    assert _plain(SampleMessage.decode(bytes(first), 6, further)) == _plain(message)
    try:
        if message.kind == Kind.FAILURE:
            _raised(CODEC.decode(message.body, message.buffers), of_sample=True)
        else:
            value = value_of(message.encoding, message.body, message.buffers, CODEC, allow_pickle=False, loads=None)
            assert message.encoding != Encoding.FRAMES or isinstance(value, tuple)
    except UNREADABLE:
        pass


def _passed_on(head: bytes, length: int, buffers: list[bytes], message: SampleMessage) -> None:
    """Under another name, the same sample; and the ballast behind it is known as that."""
    topic = _PREFIX + head[:length]
    frame = renamed(head, length, topic, -0.0, -0.0)  # adding 0.0 would make 0.0 of -0.0
    assert _plain(SampleMessage.decode(frame, len(topic), buffers)) == _plain(message)
    assert is_ballast(ballast(frame), len(topic))


def _plain(message: Any) -> str:
    """What a message says, to be compared: with its parts as bytes, and every NaN equal to every other."""
    return repr(message._replace(body=bytes(message.body), buffers=[bytes(buffer) for buffer in message.buffers]))


# --- files -----------------------------------------------------------------------------------------------------------


class _Files:
    """A file of keys, private as one has to be, for everything that reads one."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="one_liner-fuzz-")
        self.path = Path(self._folder.name) / "some.key"
        self.path.touch(0o600)


_files: list[_Files] = []


def keys(data: bytes) -> None:
    """A file of keys or of clients."""
    if not _files:
        _files.append(_Files())
    path = _files[0].path
    path.write_bytes(data)
    for read in (read_pair, read_public, read_clients):
        try:
            read(path)
        except ConfigurationError as error:
            assert os.fspath(path) in str(error)


def scripts(data: bytes) -> None:
    """A script of faults for the test kit's proxy."""
    try:
        faults = parse(data.decode("utf-8", "replace"))
    except ConfigurationError as error:
        assert "line" in str(error)
        return
    assert parse(write(faults)) == faults


TARGETS: Final[dict[str, Target]] = {
    target.__name__: target for target in (values, requests, replies, samples, keys, scripts)
}


def run(name: str, data: bytes) -> None:
    """Give one input to a target.

    Raises:
        Exception: a finding.
    """
    with bounded_memory():
        TARGETS[name](data)
