"""What every target begins with: real messages of every kind, and files as people write them.

`python -m fuzz.seeds` writes them into the kept corpus, under names that say what they are, and leaves alone what was
found (`found-…`). The same on every machine and every Python, which `tests/test_fuzz_corpus.py` checks, together with
that no kind of message, encoding or extension type is missing.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import pathlib
import pickle
import re
import struct
import uuid
import zoneinfo
from collections import Counter, OrderedDict
from collections.abc import Iterable
from contextlib import AbstractContextManager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import msgpack  # type: ignore[import-untyped]
import numpy as np
from zmq.utils import z85

from fuzz.frames import joined
from one_liner.errors import BusyError, NotCarriableError, UnknownStreamError
from one_liner.keys import public_of
from one_liner.wire import messages
from one_liner.wire.codec import Codec
from one_liner.wire.faults import fault_of
from one_liner.wire.messages import (
    REFUSE_IF_BUSY,
    Encoding,
    Kind,
    Reply,
    Request,
    SampleMessage,
    Stamp,
    asked_of,
    ballast,
    version_reply,
)
from one_liner.wire.types import EnumValue

CORPUS: Final = Path(__file__).parent / "corpus"
WORDS: Final = CORPUS / "words.dict"

CODEC: Final = Codec()
_ZONE = zoneinfo.ZoneInfo("Europe/Zurich")
_FIELDS = np.dtype({"names": ["t", "xy"], "formats": ["<f8", ("<i2", (2,))], "offsets": [0, 8], "itemsize": 16})

VALUES: Final[dict[str, Any]] = {
    "none": None,
    "numbers": [True, 0, -1, 2**63, -(2**63), 0.5, float("nan"), float("inf"), -0.0],
    "text": ["", "µm", "\ud800", "x" * 40],
    "bytes": [b"", b"\0\xff", b"x" * 300],
    "dict": {"a": {"b": []}, 1: None, (1, 2): 0.5},
    "tuple": (1, (2, "three"), ()),
    "set": {1, 2},
    "frozenset": frozenset({(1, 2)}),
    "ordered-dict": OrderedDict([("z", 1), ("a", OrderedDict())]),
    "counter": Counter({"a": 2}),
    "bytearray": bytearray(b"abc"),
    "slice": slice(1, None, -2),
    "int": [2**64, -(2**200)],
    "complex": 1 - 2j,
    "decimal": [Decimal("1.10"), Decimal("NaN123"), Decimal("-Infinity")],
    "fraction": Fraction(-(2**70), 3),
    "range": range(10, -(2**70), -3),
    "ellipsis": ...,
    "datetime": [dt.datetime(2024, 10, 27, 2, 30, 1, 5, _ZONE, fold=1), dt.datetime(1, 1, 1)],
    "date": dt.date(2024, 2, 29),
    "time": [dt.time(1, 2, 3, 4, dt.UTC), dt.time(23, fold=1)],
    "timedelta": dt.timedelta(days=-1, microseconds=1),
    "timezone": [dt.UTC, dt.timezone(dt.timedelta(hours=-3, seconds=-7), "lab time"), _ZONE],
    "uuid": uuid.UUID(int=0x1234567890ABCDEF1234567890ABCDEF),
    "path": [pathlib.PurePosixPath("/data/µ"), pathlib.PureWindowsPath(r"C:\data")],
    "ip-address": [
        *map(ipaddress.ip_address, ("10.0.0.1", "fe80::1%eth0")),
        *map(ipaddress.ip_network, ("10.0.0.0/8", "2001:db8::/32")),
        *map(ipaddress.ip_interface, ("10.0.0.1/24", "::1/64")),
    ],
    "enum": [uuid.SafeUUID.safe, re.I | re.M],
    "enum-not-loaded": [EnumValue("lab.laser.Mode", "CW", 3), EnumValue("lab.laser.Flags", None, (1,))],
    "numpy-scalar": [np.float32(0.5), np.bool_(True), np.datetime64("2024-01-01T00:00:00", "ms"), np.str_("a\0")],
    "numpy-record": np.zeros(1, _FIELDS)[0],
    "array": np.arange(6, dtype="<u2").reshape(2, 3),
    "array-fortran": np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)),
    "array-empty": np.zeros((0, 3), "<c8"),
    "array-scalar": np.array(1.5),
    "array-text": np.array(["a", "bc"], "<U2"),
    "array-bytes": np.array([b"a", b"bc"], "|S2"),
    "array-times": np.array([1, 2], "<m8[25us]"),
    "array-structured": np.zeros(2, _FIELDS),
    "array-record": np.zeros(2, _FIELDS).view(np.recarray),
    "array-read-only": np.broadcast_to(np.uint8(5), (2, 3)),
    "array-nested": np.zeros(1, [("inner", _FIELDS), ("flag", "?")]),
    "masked-array": np.ma.MaskedArray([1.0, 2.0], mask=[False, True]),
    "masked": np.ma.masked,
    "masked-structured": np.ma.MaskedArray(np.zeros(2, _FIELDS)),
    "deep": [[[[[[[[[[[]]]]]]]]]]],
    "deep-tuples": ((((((((((((),),),),),),),),),),),),
}


def _ext(code: int, content: bytes) -> bytes:
    packed: bytes = msgpack.packb(msgpack.ExtType(code, content))
    return packed


_OUT = struct.pack(">I", 0)
# What no small value becomes: contents in frames of their own, and what is read only where it is allowed.
_BY_HAND: Final[dict[str, list[bytes]]] = {
    "bytes-out": [_ext(7, _OUT), b"content"],
    "bytearray-out": [_ext(8, _OUT), b"content"],
    "array-out": [_ext(50, _OUT + b"\x01\0\3<u2" + struct.pack(">Q", 3)), bytes(6)],
    "arrays-share": [
        b"\x92" + _ext(50, _OUT + b"\x01\0\3|u1" + struct.pack(">Q", 6)) + _ext(7, struct.pack(">I", 1)),
        bytes(6),
        b"second",
    ],
    "timestamp": [b"\xd6\xff\x66\x00\x00\x00"],
    "registered": [_ext(41, msgpack.packb(["lab.stage.Position", {"x": 1.0}]))],
    "pickle": [_ext(42, pickle.dumps([1, 2], protocol=5))],
    "long-list": [msgpack.packb([0] * 300)],
    "claims-much": [b"\xdd\xff\xff\xff\xff"],
}


def _values() -> Iterable[tuple[str, list[bytes]]]:
    for name, value in VALUES.items():
        body, buffers = CODEC.encode(value)
        yield name, [body, *map(bytes, buffers)]
    yield from _BY_HAND.items()


def _any_is_large() -> AbstractContextManager[Any]:
    """Where a body goes into a frame of its own, however small it is: a seed is to be short."""
    return patch.object(messages, "OUT_OF_BAND_BYTES", 0)


def _plain(frames: Iterable[Any]) -> list[bytes]:
    return [bytes(frame) for frame in frames]


# --- requests --------------------------------------------------------------------------------------------------------

_REQUESTS: Final[dict[str, tuple[Kind, str, Any]]] = {
    "call": (Kind.CALL, "stage", ["move", [2.0], {"speed": 0.5}]),
    "call-no-arguments": (Kind.CALL, "stage", ["read", [], {}]),
    "call-a-property": (Kind.CALL, "stage", ["position_mm", [], {}]),
    "call-what-is-leased": (Kind.CALL, "held", ["move", [2.0], {}]),
    "call-elsewhere": (Kind.CALL, "north/stage", ["move", [2.0], {}]),
    "call-private": (Kind.CALL, "stage", ["__init__", [], {}]),
    "call-nested": (Kind.CALL, "stage.axis", ["move", [2.0], {}]),
    "get": (Kind.GET, "stage", ["position_mm"]),
    "set": (Kind.SET, "stage", ["position_mm", 3.5]),
    "call-named": (Kind.CALL_NAMED, "home", [[1.0], {"speed": 3.0}]),
    "describe": (Kind.CONTROL, "", ["describe", {}]),
    "lease": (Kind.CONTROL, "stage", ["take_lease", {"force": True, "who": "me"}]),
    "add-stream": (
        Kind.CONTROL,
        "position",
        ["add_stream", {"frequency_hz": 10.0, "obj_name": "stage", "attr_name": "read", "args": [], "kwargs": {}}],
    ),
    "heartbeat": (Kind.HEARTBEAT, "", ["me", 1.0, {}]),
    "heartbeat-vouches": (Kind.HEARTBEAT, "", ["router", 1.0, {2**62: "me", 5: "you"}]),
    "cancel": (Kind.CANCEL, "stage", None),
}


def _requests() -> Iterable[tuple[str, list[bytes]]]:
    for name, (kind, path, content) in _REQUESTS.items():
        body, buffers = CODEC.encode(content)
        yield name, _plain(Request(kind, 3, 2**62, path, body, buffers).encode())
    yield "ask-again", _plain(Request(Kind.ASK_AGAIN, 3, 2**62, "stage", asked_of(7)).encode())
    body, _ = CODEC.encode(["move", [2.0], {}])
    yield "trail", _plain(Request(Kind.CALL, 3, 2**62, "stage", body, (), (1, 2**64 - 1)).encode())
    with _any_is_large():
        yield "body-behind", _plain(Request(Kind.CALL, 3, 2**62, "stage", body).encode())
    array = [_ext(50, _OUT + b"\x01\0\3<u2" + struct.pack(">Q", 3)), bytes(6)]
    yield "array", _plain(Request(Kind.SET, 3, 2**62, "stage", b"\x92\xa1x" + array[0], (array[1],)).encode())
    head = bytes(Request(Kind.CALL, 3, 2**62, "stage", body).encode()[0])
    yield "refuse-if-busy", [head[:3] + bytes([Kind.CALL | REFUSE_IF_BUSY]) + head[4:]]
    yield "another-version", [head[:2] + b"\x09" + head[3:]]


# --- replies ---------------------------------------------------------------------------------------------------------

_HELLO = {
    "server": 2**62,
    "name": "rig",
    "version": "0.2.0",
    "machine": "boot",
    "broadcast_port": 5556,
    "revision": 3,
}
_STREAM = {"name": "power", "kind": "periodic", "enabled": True, "encoding": "msgpack", "frequency_hz": 10.0}
_MOVE = {
    "name": "move",
    "doc": "Go.",
    "parameters": [
        {"name": "to_mm", "kind": "positional_or_keyword", "annotation": "float", "default": {"value": 1.5}}
    ],
    "returns": "float",
}
_DESCRIPTION = {
    "name": "rig",
    "version": "0.2.0",
    "protocol": 1,
    "objects": [
        {
            "name": "stage",
            "type": "lab.Stage",
            "doc": "A stage.",
            "methods": [_MOVE],
            "properties": [{"name": "position_mm", "type": "float", "writable": True}],
            "objects": [{"name": "axis", "callable": _MOVE, "dynamic": True}],
        }
    ],
    "named_calls": [
        {
            "name": "home",
            "obj_name": "stage",
            "attr_name": "move",
            "args": [{"value": 0.0}],
            "kwargs": {"speed": {"repr": "FAST"}},
        }
    ],
    "streams": {"power": _STREAM},
    "routers": {"north": {"state": "lost", "message": "since 3 s"}, "south": {"name": "south", "protocol": 1}},
}
_RESULTS: Final[dict[str, Any]] = {
    "result": {"counts": [1, 2]},
    "hello": _HELLO,
    "streams": {"periodic_streams": {"power": _STREAM}, "manual_streams": {}, "zmq_streams": {}},
    "description": _DESCRIPTION,
}
_RAISED: Final[dict[str, BaseException]] = {
    "value-error": ValueError("too hot"),
    "os-error": OSError(2, "No such file", "/data"),
    "unicode-error": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "key-error": KeyError("laser"),
    "stop-iteration": StopIteration(3),
    "exception-group": ExceptionGroup("two", [ValueError("a"), KeyError("b")]),
    "busy": BusyError("'stage' is at work", running="stage.move", who="me", for_s=1.5),
    "not-carriable": NotCarriableError("result.handle: <X>", path="result.handle", type_name="X"),
    "unknown-stream": UnknownStreamError("no stream 'x'"),
}


def _faults() -> Iterable[tuple[str, bytes]]:
    for name, error in _RAISED.items():
        yield name, bytes(CODEC.encode(fault_of(error, CODEC, "stage.move"))[0])


def _replies() -> Iterable[tuple[str, list[bytes]]]:
    stamp = Stamp(1234.5, 0.001)
    for name, value in _RESULTS.items():
        body, buffers = CODEC.encode(value)
        yield name, _plain(Reply(Kind.RESULT, 5, stamp, body, buffers).encode())
    for name, fault in _faults():
        yield name, _plain(Reply(Kind.ERROR, 5, stamp, fault).encode())
    yield "cancelled", _plain(Reply(Kind.CANCELLED, 5, stamp, next(iter(_faults()))[1]).encode())
    yield "goodbye", _plain(Reply(Kind.GOODBYE, 0, Stamp(float("nan"), float("inf")), b"\xc0").encode())
    yield "version", _plain(version_reply(bytes(Request(Kind.CALL, 77, 1, "x", b"\xc0").encode()[0])))
    with _any_is_large():
        yield "body-behind", _plain(Reply(Kind.RESULT, 5, stamp, b"\xc3", (b"rest",)).encode())


# --- samples ---------------------------------------------------------------------------------------------------------

_TOPIC = b"power\0"


def _samples() -> Iterable[tuple[str, list[bytes]]]:
    bodies = {
        Encoding.RAW: b"\0\1\2",
        Encoding.MSGPACK: bytes(CODEC.encode({"power_mw": 5.5})[0]),
        Encoding.JSON: b'{"power_mw": [5.5, null]}',
        Encoding.PICKLE: pickle.dumps([1], protocol=5),
        Encoding.CUSTOM: b"5.5",
        Encoding.FRAMES: b"one",
    }

    def sample(kind: Kind, encoding: Encoding, body: bytes, *buffers: bytes) -> list[bytes]:
        return _plain(SampleMessage(kind, 9, 2**62, encoding, Stamp(0.25, 0.5), 1.7e9, body, buffers).encode(_TOPIC))

    for encoding, body in bodies.items():
        yield f"sample-{encoding.label}", sample(Kind.SAMPLE, encoding, body)
    yield "sample-of-frames", sample(Kind.SAMPLE, Encoding.FRAMES, b"one", b"two", b"")
    array = _ext(50, _OUT + b"\x01\0\3<u2" + struct.pack(">Q", 3))
    yield "sample-array", sample(Kind.SAMPLE, Encoding.MSGPACK, array, bytes(6))
    with _any_is_large():
        yield "sample-behind", sample(Kind.SAMPLE, Encoding.RAW, b"content")
    yield "sample-deep-json", sample(Kind.SAMPLE, Encoding.JSON, b"[" * 3000 + b"]" * 3000)
    for name, fault in _faults():
        yield f"failure-{name}", sample(Kind.FAILURE, Encoding.MSGPACK, fault)
    yield "marker", sample(Kind.MARKER, Encoding.RAW, b"")
    yield "ballast", [ballast(sample(Kind.SAMPLE, Encoding.RAW, b"x")[0])]
    (frame,) = sample(Kind.SAMPLE, Encoding.RAW, b"x")
    yield "long-topic", [b"t" * 4200 + frame]


# --- files -----------------------------------------------------------------------------------------------------------

_SECRET = z85.encode(bytes(range(32))).decode()  # opens nothing
_PUBLIC = public_of(_SECRET)
_KEYS: Final[dict[str, str]] = {
    "pair": f'# a key\ncurve\n    public-key = "{_PUBLIC}"\n    secret-key = "{_SECRET}"\n',
    "public": f"curve\n    public-key = '{_PUBLIC}'\n",
    "secret-only": f"secret-key={_SECRET}",
    "strange-pair": f'public-key = "{_SECRET}"\nsecret-key = "{_SECRET}"\n',
    "clients": f'[[client]]\nkey = "{_PUBLIC}"\nrole = "control"\nobjects = ["laser"]\nname = "Anna\'s GUI"\n\n'
    f'[[client]]\nkey = "{_SECRET}"\nrole = "admin"\n',
    "another-table": "[server]\nkey = 1\n",
}
_SCRIPTS: Final[dict[str, str]] = {
    "chances": "drop 10% samples to_client broadcast # a chance\nduplicate every 5th to_server rpc\n",
    "durations": "delay 50ms..200ms rpc\nfreeze at 2s for 1s\ncut every 10s for 500ms broadcast\n",
    "small-delay": "delay 10us\n",
    "counts": "drop message 3 calls to_client\nreorder 2% within 3\nsever times 1 stream=cam\n",
    "damage": "truncate 1% ; corrupt 1% bytes=3 ; throttle 2MB/s to_client\n",
    "raw": "corrupt 5% raw commands\nreorder 2% within 2 hold 1s\n",
}


def seeds() -> dict[str, dict[str, bytes]]:
    """What each target begins with: by target and name, the input."""
    messages = {"values": _values(), "requests": _requests(), "replies": _replies(), "samples": _samples()}
    files = {"keys": _KEYS, "scripts": _SCRIPTS}
    return {
        **{target: {name: joined(frames) for name, frames in found} for target, found in messages.items()},
        **{target: {name: text.encode() for name, text in texts.items()} for target, texts in files.items()},
    }


# --- words -----------------------------------------------------------------------------------------------------------


def words() -> str:
    """What libFuzzer may put together, in its format: what the decoders compare with."""
    texts = [
        *("code", "message", "type", "args", "traceback", "where", "details", "remote", "builtins"),
        *(error.__class__.__name__ for error in _RAISED.values()),
        *_HELLO,
        *_STREAM,
        *_MOVE,
        *_DESCRIPTION,
        *("names", "formats", "offsets", "itemsize", "titles"),
        *("move", "read", "position_mm", "stage", "held", "home", "north/", "describe", "take_lease", "force"),
    ]
    kinds = [struct.pack("<2sBB", b"1L", 1, kind) for kind in Kind]
    extensions = [bytes((format_, code)) for code in (*range(1, 52), 0xFF) for format_ in (0xD4, 0xD6, 0xD8)]
    extensions += [bytes((0xC7, size, code)) for code in range(1, 52) for size in (0, 3, 24)]
    dtypes = [b"\0\3<f8", b"\0\3|u1", b"\0\3<U1", b"\0\3|S0", b"\0\3|V0", b"\0\6<m8[s]", b"\0\7<M8[ns]"]
    plain = [b"public-key", b"secret-key", b"[[client]]", b"curve", b"stream=", b"..", b"every", b"ms", b"%"]
    packed: list[bytes] = [msgpack.packb(text) for text in dict.fromkeys(texts)]
    return "".join(f'"{_escaped(word)}"\n' for word in dict.fromkeys([*kinds, *packed, *extensions, *dtypes, *plain]))


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> None:
    """Write the kept corpus anew, except for what was found."""
    for target, inputs in seeds().items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if not path.name.startswith("found-"):
                path.unlink()
        for name, data in inputs.items():
            (folder / name).write_bytes(data)
    WORDS.write_text(words(), encoding="ascii")


if __name__ == "__main__":
    main()
