"""Values come back as what they were; what can't travel is named; what strangers send does no harm."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import importlib.util
import ipaddress
import itertools
import math
import operator
import os
import pathlib
import pickle
import re
import struct
import subprocess
import sys
import textwrap
import threading
import types
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest

from fuzz.sameness import same
from one_liner.errors import ConfigurationError, MalformedError, MissingExtraError, NotCarriableError
from one_liner.wire import arrays, extensions, library, nesting
from one_liner.wire import reader as reader_module
from one_liner.wire import types as wire_types
from one_liner.wire import writer as writer_module
from one_liner.wire.codec import Codec
from one_liner.wire.extensions import OUT_OF_BAND_BYTES
from one_liner.wire.types import EnumValue, register_type

CODEC = Codec()


def trip(value: Any, codec: Codec = CODEC) -> Any:
    body, buffers = codec.encode(value)
    assert type(body) is bytes
    return codec.decode(body, buffers)


def memory_of(array: Any) -> memoryview:
    return memoryview(array)


class Mode(enum.Enum):
    OFF = 0
    CW = "cw"
    PULSED = (1, 2.5)
    ALIAS = 0  # noqa: PIE796  # an alias on purpose


class Port(enum.IntEnum):
    A = 1
    B = 2


class Unit(enum.StrEnum):
    MW = "mW"


class Status(enum.Flag):
    READY = 1
    LASING = 2


class Register(enum.IntFlag):
    ERROR = 1
    OVERHEATED = 4


class Odd(enum.Enum):
    """The value of a member cannot travel; its name can."""

    HANDLE = object()


class Rig:
    class Axis(enum.Enum):
        X = 1


class Pair(NamedTuple):
    left: Any
    right: Any


ZURICH = zoneinfo.ZoneInfo("Europe/Zurich")
ODD_OFFSET = dt.timezone(dt.timedelta(hours=-3, minutes=-30, seconds=-7, microseconds=-123))

SCALARS: list[Any] = [
    None, True, False,
    0, 1, -1, 127, 128, -32, -33, 255, 256, 65535, 65536, 2**31, -(2**31), 2**63 - 1, 2**63, -(2**63), 2**64 - 1,
    2**64, -(2**63) - 1, 2**200, -(2**200), -(2**127), 2**127, 10**500,
    0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308,
    "", "µm", "a\0b", "\U0001f600", "\ud800", "x\udfffy", "long" * 1000,
    b"", b"\0\xff", b"x" * 1000,
    1 + 2j, complex(math.inf, -0.0),
    range(5), range(10, -10, -3), range(2**70), range(0),
    ...,
    Decimal("1.10"), Decimal("-0"), Decimal("NaN"), Decimal("Infinity"), Decimal("1E+999999"), Decimal("NaN123"),
    Fraction(1, 3), Fraction(-(2**100), 3**50), Fraction(0),
    uuid.UUID(int=0x1234567890ABCDEF1234567890ABCDEF),
    dt.datetime(2024, 2, 29, 12, 30, 59, 999999), dt.datetime.min, dt.datetime.max,
    dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 1, 1, tzinfo=ODD_OFFSET),
    dt.datetime(2024, 7, 1, 12, tzinfo=ZURICH),
    dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZURICH), dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZURICH, fold=1),
    dt.datetime(2024, 10, 27, 2, 30, fold=1),
    dt.date(2024, 2, 29), dt.date.min, dt.date.max,
    dt.time(1, 2, 3, 4), dt.time.max, dt.time(1, tzinfo=dt.UTC), dt.time(1, tzinfo=ZURICH), dt.time(1, fold=1),
    dt.timedelta(days=-1, microseconds=1), dt.timedelta.min, dt.timedelta.max, dt.timedelta(0),
    dt.UTC, ODD_OFFSET, dt.timezone(dt.timedelta(hours=1), "lab time"), ZURICH,
    pathlib.PurePosixPath("/data/µ"), pathlib.PureWindowsPath(r"C:\data"), pathlib.Path("relative"),
    pathlib.PurePosixPath(), pathlib.PurePosixPath("bad\udcff"),
    ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("fe80::1%eth0"), ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.ip_network("2001:db8::/32"), ipaddress.ip_interface("10.0.0.1/24"), ipaddress.ip_interface("::1/64"),
    *Mode, *Port, *Unit, *Status, *Register, Rig.Axis.X, Odd.HANDLE,
    Status.READY | Status.LASING, Status(0), Register.ERROR | 0x80, Register(-1),
    EnumValue("lab.laser.Mode", "CW", 3), EnumValue("lab.laser.Flags", None, 5),
    (), (1, (2, "three")), frozenset(), frozenset({1, "a", (2, 3)}), frozenset({frozenset({1})}),
]  # fmt: skip

CONTAINERS: list[Any] = [
    [], [1, [2, [3]]], {}, {"a": {"b": []}}, set(), {1, 2.5, "x", None, (1, 2)},
    bytearray(), bytearray(b"abc"), [bytearray(b"deep")], {"k": (bytearray(b"in a tuple"),)},
    slice(None), slice(1, None, -2), slice("a", [1], 2.5),
    OrderedDict([("z", 1), ("a", OrderedDict())]), Counter("abracadabra"),
    {1: "int", 2.5: "float", None: "none", True * 3: "three", b"b": "bytes", (1, ("x",)): "tuple",
     frozenset({1}): "frozenset", Mode.CW: "enum", 2**70: "big", 1j: "complex", dt.date(2024, 1, 1): "date",
     np.float32(0.5): "numpy", "\ud800": "surrogate", math.nan: "nan", uuid.UUID(int=1): "uuid"},
    [[], {}, (), set(), "", b"", bytearray(), None],
    {"z": 1, "a": 2, "m": 3},
]  # fmt: skip


def _name(value):
    """Of a test; the same in every process, because workers compare them."""
    return f"a set of {len(value)}" if isinstance(value, (set, frozenset)) else repr(value).partition(" at 0x")[0][:40]


@pytest.mark.parametrize("value", SCALARS, ids=_name)
def test_a_scalar_comes_back_as_it_was_alone_nested_and_as_a_key(value):
    assert same(trip(value), value)
    nested = [{"deep": (value, [value])}]
    assert same(trip(nested), nested)
    if not (isinstance(value, Decimal) and value.is_snan()):
        assert same(trip({value: 1}), {value: 1})


@pytest.mark.parametrize("value", CONTAINERS, ids=_name)
def test_a_container_comes_back_as_it_was(value):
    assert same(trip(value), value)
    assert same(trip((value, {"k": value})), (value, {"k": value}))


def test_datetimes_keep_zone_and_fold():
    first = trip(dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZURICH, fold=1))
    assert first.tzinfo is ZURICH
    assert first.fold == 1
    assert first.utcoffset() == dt.timedelta(hours=1)
    assert trip(dt.time(1, fold=1)).fold == 1
    assert trip(dt.UTC) is dt.UTC
    assert trip(dt.timezone(dt.timedelta(hours=1), "lab")).tzname(None) == "lab"


class Drifting(dt.tzinfo):
    """A zone of some other library; it may not know its offset."""

    def __init__(self, offset: dt.timedelta | None) -> None:
        self._offset = offset

    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta | None:
        return self._offset

    def tzname(self, when: dt.datetime | None) -> str:
        return "drifting"

    def dst(self, when: dt.datetime | None) -> dt.timedelta | None:
        return None


def test_a_zone_of_another_library_arrives_as_its_offset_of_the_moment():
    moment = dt.datetime(2024, 1, 1, tzinfo=Drifting(dt.timedelta(hours=5)))
    arrived = trip(moment)
    assert arrived == moment
    assert arrived.tzinfo == dt.timezone(dt.timedelta(hours=5))
    with pytest.raises(NotCarriableError, match=r"result\[0\]: <datetime.datetime> .*time zone Drifting"):
        CODEC.encode([dt.datetime(2024, 1, 1, tzinfo=Drifting(None))])


def test_a_zone_that_is_unknown_here_keeps_the_instant(monkeypatch):
    moment = dt.datetime(2024, 7, 1, 12, tzinfo=ZURICH)
    body, _ = CODEC.encode(moment)
    alone, _ = CODEC.encode(ZURICH)

    def not_found(key: str) -> None:
        raise zoneinfo.ZoneInfoNotFoundError(key)

    monkeypatch.setattr("zoneinfo.ZoneInfo", not_found)
    arrived = CODEC.decode(body)
    assert arrived == moment
    assert arrived.tzname() == "Europe/Zurich"
    with pytest.raises(MissingExtraError, match="pip install tzdata"):
        CODEC.decode(alone)


def test_kinds_that_arrive_as_something_plainer():
    assert same(trip(memoryview(b"abc")), b"abc")
    assert same(trip([memoryview(bytearray(range(10)))[::2]]), [bytes(range(0, 10, 2))])
    assert same(trip(memory_of(np.arange(3.0))), np.arange(3.0).tobytes())
    assert same(trip({memoryview(b"k"): 1}), {b"k": 1})
    assert same(trip(defaultdict(list, {"a": [bytearray(b"x")]})), {"a": [bytearray(b"x")]})
    assert same(trip(Pair(1, [2])), (1, [2]))
    times = os.times()
    assert same(trip(times), tuple(times))


@pytest.mark.parametrize(
    ("there", "here"),
    [
        (pathlib.PosixPath, pathlib.PurePosixPath if os.name == "nt" else pathlib.PosixPath),
        (pathlib.WindowsPath, pathlib.WindowsPath if os.name == "nt" else pathlib.PureWindowsPath),
    ],
)
def test_a_concrete_path_of_the_other_system_arrives_pure(there, here):
    content = bytes((library._PATHS.index(there),)) + b"x"
    assert type(CODEC.decode(ext(33, content))) is here


# --- numpy -----------------------------------------------------------------------------------------------------------

PADDED = np.dtype([("flag", "i1"), ("value", "f8")], align=True)
NESTED = np.dtype([("name", "U4"), ("inner", [("xy", ">f4", (2, 3)), ("t", "M8[us]")]), ("raw", "V3")])
OVERLAPPING = np.dtype(
    {"names": ["low", "all"], "formats": ["u1", "<u4"], "offsets": [0, 0], "itemsize": 8, "titles": ["Low byte", None]}
)
DTYPES = [
    *("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"),
    *(np.longdouble, np.clongdouble, np.longlong, ">i4", ">f8", ">c16", ">U5", "S7", "U3", "V5"),
    *("M8[ns]", "M8[D]", "M8[25s]", ">M8[ms]", "M8", "m8[us]", "m8"),
    *(PADDED, NESTED, OVERLAPPING, np.dtype([]), np.dtype([("x", "f8", (0,))])),
]  # fmt: skip


def filled(dtype: Any, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    if dtype.kind == "U":
        return np.resize(np.array(["a", "µ", "", "longer"], dtype), shape)
    memory = np.resize(np.arange(1, 7, dtype="u1"), count * dtype.itemsize)
    if dtype.kind == "b":
        memory %= 2
    if dtype == NESTED:
        return np.zeros(shape, dtype)
    return np.ndarray(shape, dtype, buffer=memory.tobytes()).copy() if dtype.itemsize else np.empty(shape, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (5,), (0,), (3, 0, 2), (2, 3, 4)], ids=str)
def test_an_array_keeps_dtype_shape_and_order(dtype, shape):
    array = filled(dtype, shape)
    arrived = trip({"a": [array]})["a"][0]
    assert same(arrived, array)
    assert arrived.flags.writeable
    fortran = np.asfortranarray(array) if array.ndim else array
    arrived = trip(fortran)
    assert same(arrived, array)
    assert arrived.flags.f_contiguous == fortran.flags.f_contiguous
    assert arrived.flags.c_contiguous == fortran.flags.c_contiguous


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_numpy_scalar_keeps_its_dtype(dtype):
    value = filled(dtype, (2,))[1]
    arrived = trip({"v": value})["v"]
    assert type(arrived) is np.dtype(arrived.dtype).type
    if np.dtype(dtype).kind != "U":
        assert arrived.dtype.newbyteorder("=") == value.dtype.newbyteorder("=")
    assert arrived.tobytes() == value.tobytes()


@pytest.mark.parametrize(
    "value", [np.str_("zeros at the end\0\0"), np.bytes_(b"same\0"), np.str_(""), np.str_("\ud800")]
)
def test_numpy_strings_keep_the_zeros_at_their_end(value):
    arrived = trip(value)
    assert type(arrived) is type(value)
    assert arrived == value
    assert len(arrived) == len(value)


@pytest.mark.parametrize("size", [4, 20_000], ids=["inline", "out of band"])
@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1],
        lambda a: a[:, ::2],
        lambda a: a[1:, 1:-1],
        lambda a: a.T[::2],
        lambda a: np.broadcast_to(a[0], a.shape),
        lambda a: np.lib.stride_tricks.sliding_window_view(a[0], 3),
    ],
)
def test_any_view_arrives_equal_and_contiguous(size, view):
    array = view(np.arange(4.0 * size).reshape(4, size))
    arrived = trip(array)
    assert same(arrived, array)
    assert arrived.flags.c_contiguous


def test_the_memory_of_a_file_arrives_as_an_array(tmp_path):
    mapped = np.memmap(tmp_path / "scan", dtype="f4", mode="w+", shape=(3, 4))
    assert same(trip(mapped), np.zeros((3, 4), "f4"))


@pytest.mark.parametrize("size", [3, 100_000], ids=["inline", "out of band"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_read_only_arrives_read_only(size, order):
    fixed = np.asarray(np.zeros((size, 2)), order=order)
    fixed.flags.writeable = False
    body, buffers = CODEC.encode([fixed, np.zeros(size)])
    arrived, other = CODEC.decode(body, [bytearray(buffer) for buffer in buffers])
    assert same(arrived, fixed)
    assert not arrived.flags.writeable
    assert other.flags.writeable
    again = trip(arrived)
    assert same(again, fixed)
    assert not again.flags.writeable
    assert not trip(np.frombuffer(bytes(8 * size))).flags.writeable


@pytest.mark.parametrize("size", [2, 20_000], ids=["inline", "out of band"])
def test_records_keep_their_fields_as_attributes(size):
    record = np.rec.array([(1, 2.5)] * size, dtype=[("a", "i4"), ("b", "f8")])
    arrived = trip([record])[0]
    assert type(arrived) is np.recarray
    assert arrived.dtype == record.dtype
    assert arrived.b.tolist() == [2.5] * size
    assert type(arrived[0]) is np.record
    assert arrived.flags.writeable
    fixed = record.copy()
    fixed.flags.writeable = False
    arrived = trip(fixed)
    assert (type(arrived), arrived.flags.writeable) == (np.recarray, False)


def test_one_record_keeps_its_fields_as_attributes():
    record = np.rec.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])[0]
    arrived = trip(record)
    assert type(arrived) is np.record
    assert (arrived.a, arrived.b) == (1, 2.5)
    plain = np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])[0]
    assert type(trip(plain)) is np.void


@pytest.mark.parametrize(
    "content",
    [b"", b"\1", b"\4\x31", b"\1\x30\0\3<f8" + bytes(8), b"\1\1\x90", b"\1\x34\1\x31", b"\x80\x31"],
    ids=["empty", "no code", "no array", "a scalar that is read-only", "a tuple", "marked twice", "unknown mark"],
)
def test_marks_that_cannot_be(content):
    with pytest.raises(MalformedError):
        CODEC.decode(msgpack.packb(msgpack.ExtType(52, content)))


@pytest.mark.parametrize("size", [10, 100_000])
def test_masked_arrays_come_back_masked(size):
    data = np.arange(float(size))
    for array in (
        np.ma.array(data, mask=data > 5, fill_value=-1.0),
        np.ma.array(data),
        np.ma.array(data, mask=data > 5, hard_mask=True),
        np.ma.array(data.reshape(2, -1), mask=data.reshape(2, -1) > 5)[:, ::2],
        np.ma.array(np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]), mask=np.array([(0, 1)], "?,?")),
    ):
        arrived = trip([array])[0]
        assert type(arrived) is np.ma.MaskedArray
        assert same(arrived.data, np.ascontiguousarray(array.data))
        assert np.array_equal(np.ma.getmaskarray(arrived), np.ma.getmaskarray(array))
        assert arrived.fill_value == array.fill_value
        assert arrived.hardmask == array.hardmask
        assert (arrived.mask is np.ma.nomask) == (array.mask is np.ma.nomask)
    assert trip(np.ma.masked) is np.ma.masked


class Quantity(np.ndarray):
    """Stands for an array with a unit, which would be lost."""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([None]), "dtype object holds Python objects"),
        (np.zeros(2, [("a", "i4"), ("b", [("c", "O")])]), "holds Python objects"),
        (np.zeros(2, [("a", "i4"), ("b", [("c", "O")])])[0], "holds Python objects"),
        (np.arange(3).view(Quantity), r"send numpy\.asarray\(…\), or register the class"),
        (np.ma.array(np.array([None])), "holds Python objects"),
        (np.dtype("f8"), "register it"),
        (np.zeros(1, [(f"{i:0200}", "i1") for i in range(400)]), "too many fields"),
    ],
)
def test_arrays_that_cannot_travel_are_named(value, text):
    with pytest.raises(NotCarriableError, match=text) as caught:
        CODEC.encode({"data": [value]})
    assert caught.value.path == 'result["data"][0]'


@pytest.mark.skipif(not hasattr(np, "dtypes") or not hasattr(np.dtypes, "StringDType"), reason="numpy 2 has it")
def test_variable_strings_are_refused():
    texts = np.array(["a", "bc"], np.dtypes.StringDType())
    with pytest.raises(NotCarriableError, match=r"texts .* outside of the array; send numpy\.array\(….tolist\(\)\)"):
        CODEC.encode(texts)
    assert trip(np.array(texts.tolist())).tolist() == ["a", "bc"]


def test_a_dtype_that_its_text_does_not_describe_is_refused(monkeypatch):
    monkeypatch.setattr("one_liner.wire.arrays.np.dtype", lambda text: np.float64)
    with pytest.raises(NotCarriableError, match="does not say how the memory"):
        CODEC.encode(np.zeros(1, "S123"))


def test_long_doubles_of_another_machine_are_not_taken_for_ours(monkeypatch):
    body, _ = CODEC.encode(np.zeros(2, np.longdouble))
    monkeypatch.setattr(arrays, "_dtypes", {})
    monkeypatch.setattr(arrays, "_LONG_BITS", 112)
    if np.dtype(np.longdouble).itemsize > 8:
        with pytest.raises(MalformedError, match="another kind of machine"):
            CODEC.decode(body)


def test_the_caches_of_dtypes_stay_small(monkeypatch):
    monkeypatch.setattr(arrays, "_CACHED", 4)
    for length in range(1, 20):
        assert same(trip(np.zeros(1, f"S{length}")), np.zeros(1, f"S{length}"))
    assert len(arrays._headers) <= 4
    assert len(arrays._dtypes) <= 4


# --- out of band -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "f8", "M8[ns]", PADDED, "U4", ">c16", np.longdouble, "V16"], ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_array_is_never_copied(dtype, order):
    array = np.zeros((300, 300), dtype, order=order)
    body, buffers = CODEC.encode({"image": array})
    (buffer,) = buffers
    assert len(body) < 300
    assert np.shares_memory(np.frombuffer(buffer, "u1"), array)
    arrived = CODEC.decode(body, buffers)["image"]
    assert same(arrived, array)
    assert arrived.flags.f_contiguous == array.flags.f_contiguous
    assert np.shares_memory(arrived, array)


def test_a_large_array_is_writable_if_its_buffer_is():
    body, (buffer,) = CODEC.encode(np.arange(10_000.0))
    assert not CODEC.decode(body, [bytes(buffer)]).flags.writeable
    assert CODEC.decode(body, [bytearray(buffer)]).flags.writeable
    words: Any = memoryview(bytearray(buffer)).cast("d")
    assert np.shares_memory(CODEC.decode(body, [words]), np.frombuffer(words, "u1"))


@pytest.mark.parametrize(("bytes_", "frames"), [(OUT_OF_BAND_BYTES - 1, 0), (OUT_OF_BAND_BYTES, 1)])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, "u1")])
def test_the_threshold(kind, bytes_, frames):
    value = kind(bytes(bytes_))
    body, buffers = CODEC.encode([value])
    assert len(buffers) == frames
    assert (len(body) < 100) == bool(frames)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_large_bytes_are_not_copied_wherever_they_are(kind):
    content = kind(bytearray(range(256)) * 1000)
    codec = Codec()
    for value in (
        content,
        [content],
        {"a": [{"b": content}]},
        (content,),
        defaultdict(list, {"a": content}),
        [content],
    ):
        body, buffers = codec.encode(value)
        (buffer,) = buffers
        assert len(body) < 100
        assert np.shares_memory(np.frombuffer(buffer, "u1"), np.frombuffer(content, "u1"))
        arrived = codec.decode(body, buffers)
        while isinstance(arrived, (list, tuple, dict)):
            (arrived,) = arrived.values() if isinstance(arrived, dict) else arrived
        assert type(arrived) is (bytearray if kind is bytearray else bytes)
        assert arrived == content
    assert codec.encode(1)[1] == ()


def test_several_buffers_keep_their_places():
    value = [bytes([i]) * OUT_OF_BAND_BYTES for i in range(3)] + [np.full(OUT_OF_BAND_BYTES, 3, "u1"), bytearray(b"x")]
    body, buffers = CODEC.encode((value, {"again": value[0]}))
    assert len(buffers) == 5
    assert same(CODEC.decode(body, buffers), (value, {"again": value[0]}))


def test_a_buffer_may_be_used_twice():
    body = msgpack.packb([msgpack.ExtType(7, b"\0\0\0\0"), msgpack.ExtType(8, b"\0\0\0\0")])
    assert same(CODEC.decode(body, [b"abc"]), [b"abc", bytearray(b"abc")])


def test_large_memory_of_odd_shape_travels():
    pieces = memoryview(bytearray(300_000))[::2]
    assert same(trip([pieces]), [bytes(150_000)])
    foreign = memory_of(np.zeros(20_000, ">f8"))
    assert same(trip([foreign]), [bytes(160_000)])
    grid = memory_of(np.zeros((300, 300)))
    assert same(trip(grid), bytes(720_000))


def test_a_packer_that_grew_large_is_given_up():
    codec = Codec()
    value = ["x" * 1000] * 2000
    assert trip(value, codec) == value
    assert trip([1], codec) == [1]


# --- registered classes ----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(wire_types, "_by_type", {})
    monkeypatch.setattr(wire_types, "_by_name", {})


@dataclasses.dataclass
class Position:
    x: float
    y: float = 0.0
    tags: list[Any] = dataclasses.field(default_factory=list)
    norm: float = dataclasses.field(init=False, default=0.0)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x is negative")


@dataclasses.dataclass(frozen=True, slots=True)
class Fixed:
    name: str
    count: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", len(self.name))


@dataclasses.dataclass
class Special(Position):
    pass


class Plain:
    def __init__(self, content: Any) -> None:
        self.content = content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)


def test_dataclasses_travel_once_registered():
    assert register_type(Position) is Position
    register_type(Fixed)
    value = Position(1.5, tags=[Position(2.0), (Fixed("a"), np.arange(3.0))])
    value.norm = 7.0
    arrived = trip(value)
    assert type(arrived) is Position
    assert arrived.norm == 7.0
    assert arrived.tags[0] == Position(2.0)
    assert arrived.tags[1][0] == Fixed("a")
    assert same(arrived.tags[1][1], np.arange(3.0))
    assert trip({Fixed("k"): 1}) == {Fixed("k"): 1}


def test_a_field_that_was_never_set_stays_unset():
    register_type(Fixed)
    value = Fixed("ab")
    object.__delattr__(value, "count")
    assert trip(value).count == 2


def test_only_the_very_class_travels():
    register_type(Position)
    with pytest.raises(NotCarriableError, match="Special> cannot be carried; register it"):
        CODEC.encode(Special(1.0))


def test_what_a_registered_class_does_not_accept_is_malformed():
    register_type(Position)
    value = Position(1.0)
    value.x = -1.0
    body, _ = CODEC.encode(value)
    with pytest.raises(MalformedError, match=r"Position> does not accept what arrived: ValueError: x is negative"):
        CODEC.decode(body)
    for content in ({}, {"x": 1.0, "z": 2}, [1], {1: 2}, None):
        with pytest.raises(MalformedError):
            CODEC.decode(ext(41, msgpack.packb([f"{__name__}.Position", content])))


def test_what_is_not_registered_on_arrival_is_malformed():
    register_type(Position, name="pos")
    body, _ = CODEC.encode(Position(1.0))
    wire_types._by_name.clear()
    with pytest.raises(MalformedError, match=r'"pos" is not registered here.*both ends'):
        CODEC.decode(body)
    register_type(Mode, name="mode")
    with pytest.raises(MalformedError, match='"mode" is not registered'):
        CODEC.decode(ext(41, msgpack.packb(["mode", 1])))


def test_named_tuples_arrive_as_themselves_once_registered():
    register_type(Pair)
    assert same(trip([Pair(1, Pair([2], 3))]), [Pair(1, Pair([2], 3))])


def test_any_class_travels_with_a_pair_of_functions():
    @register_type(name="plain", encode=lambda value: value.content, decode=Plain)
    class Mine(Plain):
        pass

    arrived = trip({"a": Mine((1, bytearray(b"x")))})
    assert type(arrived["a"]) is Plain
    assert arrived["a"].content == (1, bytearray(b"x"))
    register_type(Plain, encode=lambda value: value.content, decode=Plain)
    assert trip({Plain(1): Plain([2])}) == {Plain(1): Plain([2])}


def test_register_type_works_as_a_decorator():
    @register_type
    @dataclasses.dataclass
    class One:
        a: int

    @register_type(name="two")
    @dataclasses.dataclass
    class Two:
        a: int

    assert trip([One(1), Two(2)]) == [One(1), Two(2)]


def test_wrong_registrations_are_configuration_errors():
    for arguments, keywords, text in [
        ((Plain,), {}, "give encode and decode"),
        ((Plain,), {"encode": str}, "both encode and decode"),
        ((Plain,), {"decode": str}, "both encode and decode"),
        ((dt.datetime,), {}, "carried as it is"),
        ((dict,), {"encode": str, "decode": str}, "carried as it is"),
        (("text",), {}, "takes a class"),
    ]:
        with pytest.raises(ConfigurationError, match=text):
            register_type(*arguments, **keywords)  # type: ignore[call-overload]
    register_type(Position, name="p")
    with pytest.raises(ConfigurationError, match=r"'p' is taken by <.*Position>; give <.*Fixed> another name"):
        register_type(Fixed, name="p")
    assert trip(Position(1.0)) == Position(1.0)


def test_the_same_class_again_replaces():
    register_type(Position, name="old")
    register_type(Position, name="new")
    register_type(Fixed, name="old")
    assert trip([Position(1.0), Fixed("x")]) == [Position(1.0), Fixed("x")]


def test_a_class_that_is_defined_anew_replaces_the_old_one():
    def define() -> type:
        @dataclasses.dataclass
        class Cell:
            a: int

        return register_type(Cell)

    old, new = define(), define()
    assert trip(new(1)) == new(1)
    with pytest.raises(NotCarriableError):
        CODEC.encode(old(1))


def test_a_registration_that_fails_is_named():
    register_type(Plain, encode=operator.attrgetter("nothing"), decode=Plain)
    with pytest.raises(NotCarriableError, match=r"result\[0\]: <.*Plain> cannot be carried: AttributeError"):
        CODEC.encode([Plain(1)])
    register_type(Plain, encode=lambda value: {"inner": value.content}, decode=Plain)
    with pytest.raises(NotCarriableError, match=r'result\[0\]\["inner"\]: <object>'):
        CODEC.encode([Plain(object())])


def test_a_registration_that_is_taken_away_meanwhile_is_named(monkeypatch):
    register_type(Position)
    answers = itertools.chain([wire_types.registration_of(Position), None], itertools.repeat(None))
    monkeypatch.setattr(writer_module, "registration_of", lambda cls: next(answers))
    with pytest.raises(NotCarriableError, match="registration was changed"):
        CODEC.encode(Position(1.0))


def test_an_encode_function_may_use_the_codec_itself():
    register_type(
        Plain, encode=lambda value: CODEC.encode(value.content)[0], decode=lambda body: Plain(CODEC.decode(body))
    )
    assert trip([(Plain((1, 2)),)]) == [(Plain((1, 2)),)]


# --- pydantic --------------------------------------------------------------------------------------------------------


@pytest.fixture
def pydantic() -> Any:
    return pytest.importorskip("pydantic")


def test_pydantic_models_are_validated_on_arrival(pydantic):
    # Made by hand, so that the types of these tests can be checked without pydantic.
    Inner = pydantic.create_model("Inner", mode=(Mode, ...))  # noqa: N806
    Settings = pydantic.create_model(  # noqa: N806
        "Settings",
        __config__=pydantic.ConfigDict(extra="allow", strict=True),
        power=(float, pydantic.Field(ge=0)),
        when=(dt.datetime, ...),
        inner=(Inner, ...),
        shape=(tuple[int, int], ...),
        renamed=(int, pydantic.Field(alias="reNamed")),
    )
    register_type(Inner)
    register_type(Settings, name="settings")
    value = Settings(
        power=1.5, when=dt.datetime(2024, 1, 1), inner=Inner(mode=Mode.CW), shape=(1, 2), reNamed=3, more=[4]
    )
    arrived = trip({"s": value})["s"]
    assert arrived == value
    assert arrived.more == [4]
    wrong = value.model_copy(update={"power": -1.0})
    with pytest.raises(MalformedError, match="greater than or equal to 0"):
        trip(wrong)
    unknown = value.model_copy(update={"inner": object()})
    with pytest.raises(NotCarriableError, match=r"result\.inner: <object>"):
        CODEC.encode(unknown)


def test_root_models_and_long_complaints(pydantic):
    Many = pydantic.RootModel[list[int]]  # noqa: N806
    register_type(Many, name="many")
    assert trip(Many([1, 2])) == Many([1, 2])
    with pytest.raises(MalformedError) as caught:
        trip(Many.model_construct(["x"] * 100))
    assert len(str(caught.value)) < 700


class OldModel:
    """Stands for a model of a pydantic before 2.11, which knows aliases only."""

    model_config: ClassVar[dict[str, Any]] = {}
    model_fields: ClassVar[dict[str, Any]] = {
        "a": types.SimpleNamespace(validation_alias="A", alias=None),
        "b": types.SimpleNamespace(validation_alias=None, alias=None),
    }

    def __init__(self, **values: Any) -> None:
        self.a, self.b = values.get("A", values.get("a")), values["b"]
        self.model_extra = None

    @classmethod
    def model_validate(cls, obj: Any) -> OldModel:
        return cls(**obj)


@pytest.mark.parametrize("config", [{}, {"populate_by_name": True}])
def test_older_pydantic(monkeypatch, config):
    monkeypatch.setattr(OldModel, "model_config", config)
    register_type(OldModel)
    arrived = trip(OldModel(A=1, b=2))
    assert (arrived.a, arrived.b) == (1, 2)


# --- enumerations ----------------------------------------------------------------------------------------------------


@pytest.fixture
def far_module():
    """A module with enumerations that can be loaded and unloaded."""
    source = """
        import enum
        class Mode(enum.Enum):
            CW = 1
            PULSED = (2, "x")
        class Port(enum.IntEnum):
            A = 1
        class Flags(enum.Flag):
            X = 1
            Y = 2
        class Holder:
            class Inner(enum.Enum):
                DEEP = 1
        not_an_enum = 5
        def __getattr__(name):
            raise AssertionError(f"{name} was asked for")
    """
    module = types.ModuleType("far_away")
    exec(textwrap.dedent(source), module.__dict__)  # noqa: S102  # a module that can be unloaded
    sys.modules["far_away"] = module
    yield module
    sys.modules.pop("far_away", None)


def test_a_member_whose_class_is_not_loaded_arrives_as_a_stand_in(far_module):
    members = [far_module.Mode.CW, far_module.Mode.PULSED, far_module.Port.A, far_module.Holder.Inner.DEEP]
    body, _ = CODEC.encode([*members, far_module.Flags.X, far_module.Flags(3)])
    del sys.modules["far_away"]
    arrived = CODEC.decode(body)
    assert [type(item) for item in arrived] == [EnumValue] * 6
    assert (arrived[0].type_name, arrived[0].name, arrived[0].value) == ("far_away.Mode", "CW", 1)
    assert arrived[1].value == (2, "x")
    assert arrived[5].value == 3
    assert arrived[:4] == members
    assert members == arrived[:4]
    assert hash(arrived[0]) == hash(members[0])
    assert arrived[0] != arrived[1]
    assert arrived[0] != members[1]
    assert arrived[0] != "CW"
    assert str(arrived[0]) == "Mode.CW"
    assert str(EnumValue("a.B", None, 3)) == "B.3"
    with pytest.raises(AttributeError, match="never changes"):
        arrived[0].name = "x"
    sent_on, _ = CODEC.encode(arrived)
    sys.modules["far_away"] = far_module
    assert CODEC.decode(sent_on)[:4] == members
    assert CODEC.decode(sent_on)[0] is far_module.Mode.CW
    assert CODEC.decode(sent_on)[5] == far_module.Flags(3)


@pytest.mark.parametrize(
    "type_name",
    [
        "far_away.missing", "far_away.not_an_enum", "far_away.not_an_enum.x", "far_away.Holder", "far_away.Holder.Mode",
        "far_away", "", ".", "nowhere.Mode", "far_away.Mode.CW", "far_away.Mode.__class__", "one_liner.RouterServer",
        "this.is.not.imported", ".".join("x" * 100), "xml.dom.minidom.Mode",
    ],
)  # fmt: skip
def test_what_is_no_loaded_enumeration_is_neither_imported_nor_asked(far_module, type_name):
    before = set(sys.modules)
    arrived = CODEC.decode(ext(40, msgpack.packb([type_name, "CW", 1])))
    assert arrived == EnumValue(type_name, "CW", 1)
    assert set(sys.modules) == before


def test_a_lazy_module_is_not_loaded():
    spec = importlib.util.find_spec("antigravity")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["lazy_module"] = module
    try:
        spec.loader.exec_module(module)
        assert type(CODEC.decode(ext(40, msgpack.packb(["lazy_module.Mode", "CW", 1])))) is EnumValue
        assert type(module).__name__ == "_LazyModule"
    finally:
        del sys.modules["lazy_module"]


def test_an_enumeration_can_be_registered_under_a_name():
    register_type(Mode, name="mode")
    body, _ = CODEC.encode(Mode.CW)
    assert b"test_codec" not in body
    assert CODEC.decode(body) is Mode.CW
    assert EnumValue("mode", "CW", "cw") == Mode.CW
    assert CODEC.decode(ext(40, msgpack.packb(["mode", "NEW", 9]))) == EnumValue("mode", "NEW", 9)
    register_type(Position, name="position")
    assert CODEC.decode(ext(40, msgpack.packb(["position", "A", 1]))) == EnumValue("position", "A", 1)


def test_flags_come_back_by_value_and_in_bounded_number():
    name = f"{__name__}.Register"
    assert CODEC.decode(ext(40, msgpack.packb([name, None, 5]))) is Register(5)
    many = [CODEC.decode(ext(40, msgpack.packb([name, None, 1 << 12 | i]))) for i in range(0, 2 * 4096, 8)]
    many += [CODEC.decode(ext(40, msgpack.packb([name, None, 1 << 20 | i]))) for i in range(5000)]
    assert type(many[0]) is Register
    assert type(many[-1]) is EnumValue
    assert len(Register._value2member_map_) < 5000
    assert type(CODEC.decode(ext(40, msgpack.packb([name, "ERROR", "no number"])))) is EnumValue
    body, _ = CODEC.encode(EnumValue(name, None, 2**5000))
    assert type(CODEC.decode(body)) is EnumValue
    assert type(CODEC.decode(ext(40, msgpack.packb([f"{__name__}.Status", None, 64])))) is EnumValue


# --- what cannot be carried ------------------------------------------------------------------------------------------


class Handle:
    pass


class BadRepr(int):
    def __repr__(self) -> str:
        raise RuntimeError


HANDLE = Handle()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (HANDLE, "result"),
        ([1, 2, 3, HANDLE], "result[3]"),
        ({"a": HANDLE}, 'result["a"]'),
        ({"stage": Pair(1, HANDLE)}, 'result["stage"].right'),
        ((1, HANDLE), "result[1]"),
        ([(0, [{"x": (HANDLE,)}])], 'result[0][1][0]["x"][0]'),
        ({HANDLE}, "result{…}"),
        (frozenset({HANDLE}), "result{…}"),
        ({HANDLE: 1}, "result.keys()"),
        ({(1, HANDLE): 1}, "result.keys()[1]"),
        ({2**70: {1: HANDLE}}, "result[1180591620717411303424][1]"),
        ({10**5000: HANDLE}, "result[<int>]"),
        ({Mode.CW: HANDLE}, "result[<Mode.CW: 'cw'>]"),
        (OrderedDict(a=[HANDLE]), 'result["a"][0]'),
        (defaultdict(list, a=[HANDLE]), 'result["a"][0]'),
        (slice(1, HANDLE), "result.stop"),
        ({"b": bytes(100_000), "h": [HANDLE]}, 'result["h"][0]'),
        (["\ud800", memoryview(b"abcd")[::2], HANDLE], "result[2]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_error_names_type_and_path(value, path):
    with pytest.raises(NotCarriableError) as caught:
        CODEC.encode(value)
    assert caught.value.path == path
    assert caught.value.type_name == f"{__name__}.Handle"
    assert str(caught.value) == (
        f"{path}: <{__name__}.Handle> cannot be carried; register it with one_liner.register_type on both ends"
    )
    assert trip([1, {"a": (2,)}]) == [1, {"a": (2,)}]


def test_the_path_starts_with_the_root_and_knows_fields():
    register_type(Position)
    with pytest.raises(NotCarriableError, match=r'^arguments\["stage"\]\.tags\[0\]: <function> cannot be carried'):
        CODEC.encode({"stage": Position(1.0, tags=[lambda: None])}, "arguments")


@pytest.mark.parametrize(
    "value", [object(), len, int, sys, (n for n in [1]), iter([]), {}.keys(), ValueError()], ids=type
)
def test_other_things_are_not_carried(value):
    with pytest.raises(NotCarriableError):
        CODEC.encode([value])


def test_a_key_that_cannot_be_shown_is_named_by_its_type():
    register_type(BadRepr, encode=int, decode=BadRepr)
    with pytest.raises(NotCarriableError) as caught:
        CODEC.encode({BadRepr(3): HANDLE})
    assert caught.value.path.startswith("result[<BadRepr instance at")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(1, 3 << 70_000), "more than 8192 bytes"),
        (range(1 << 70_000), "more than 8192 bytes"),
    ],
)
def test_exact_numbers_beyond_all_use_are_refused(value, text):
    with pytest.raises(NotCarriableError, match=text):
        CODEC.encode({"n": value})


def nested(depth: int, wrap: Any) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS = {
    "list": lambda v: [v],
    "dict": lambda v: {"k": v},
    "tuple": lambda v: (v,),
    "frozenset": lambda v: frozenset((v,)),
    "tuple key": lambda v: {(v if not isinstance(v, dict) else tuple(v)): 1},
    "mixed": lambda v: [(v,)],
    "ordered": lambda v: OrderedDict(k=v),
    "slice": lambda v: slice(v),
    "bytes": lambda v: [v, b"x"],
    "surrogate": lambda v: [v, "\ud800"],
}


@pytest.mark.parametrize("kind", ["list", "dict", "tuple", "frozenset", "ordered", "bytes", "surrogate"])
def test_the_depth_that_goes_out_is_the_depth_that_comes_in(kind):
    wrap = WRAPS[kind]
    deepest = nested(100, wrap)
    assert same(trip(deepest), deepest)
    with pytest.raises(NotCarriableError, match=r"^result: .* nested deeper than 100 levels"):
        CODEC.encode(nested(101, wrap))
    deeper = Codec(max_depth=300).encode(nested(101, wrap))
    with pytest.raises(MalformedError, match=r"nested deeper than 100 levels|no value"):
        CODEC.decode(*deeper)


@pytest.mark.parametrize("kind", WRAPS)
@pytest.mark.parametrize("depth", [250, 600, 5000])
def test_far_too_deep_is_an_error_of_ours(kind, depth):
    with pytest.raises(NotCarriableError, match="deeper"):
        CODEC.encode([nested(depth, WRAPS[kind])])


def test_registered_classes_count_as_levels():
    register_type(Plain, encode=lambda value: value.content, decode=Plain)
    assert trip(nested(90, Plain)) == nested(90, Plain)
    with pytest.raises(NotCarriableError, match="deeper"):
        CODEC.encode(nested(200, Plain))
    inside = nested(101, lambda v: [v])
    with pytest.raises(NotCarriableError, match="deeper"):
        CODEC.encode(Plain(inside))
    body, _ = Codec(max_depth=200).encode(Plain(inside))
    with pytest.raises(MalformedError, match="deeper"):
        CODEC.decode(body)


def test_a_codec_without_depth_carries_single_values():
    flat = Codec(max_depth=0)
    register_type(Mode)
    assert trip(1.5, flat) == 1.5
    for value in ([1], (1,), Mode.CW):
        with pytest.raises(NotCarriableError, match="nested deeper than 0 levels"):
            flat.encode(value)


def test_what_contains_itself_is_named():
    loop: list[Any] = [1]
    loop.append(loop)
    mapping: dict[str, Any] = {}
    mapping["me"] = (mapping,)
    wide: list[Any] = []
    wide.extend([wide, wide, wide])
    for value, path in (
        (loop, "result[1]"),
        (mapping, 'result["me"][0]'),
        (wide, "result[0]"),
        ([[loop]], "result[0][0][1]"),
    ):
        with pytest.raises(NotCarriableError, match="contains itself") as caught:
            CODEC.encode(value)
        assert caught.value.path == path


def test_what_contains_itself_is_found_after_large_bytes_too():
    codec = Codec()
    assert len(codec.encode([bytes(100_000)])[1]) == 1
    loop: list[Any] = [b"x"]
    loop.append(loop)
    with pytest.raises(NotCarriableError, match="contains itself"):
        codec.encode(loop)


def test_looking_for_depth_copes_with_many_containers_that_share():
    row: list[Any] = []
    row.extend([row] * 200)
    assert nesting.nests(row, 100)
    crowd: list[Any] = [[[]] for _ in range(11_000)]
    assert not nesting.nests(crowd, 3)
    assert nesting.nests(crowd, 2)


def test_when_little_of_the_stack_is_left_it_is_said_so():
    def dive(depth: int) -> None:
        if depth:
            dive(depth - 1)
        else:
            CODEC.encode(nested(99, WRAPS["tuple"]))

    frame, used = sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1  # type: ignore[assignment]
    for left in (40, 80, 120):
        try:
            dive(sys.getrecursionlimit() - used - left)
        except (NotCarriableError, RecursionError):
            pass
    assert trip((1, 2)) == (1, 2)


def test_a_container_that_changes_meanwhile_is_an_error_of_ours():
    changing: dict[Any, Any] = {}

    def change(value: Plain) -> int:
        changing[len(changing)] = 1
        return 1

    register_type(Plain, encode=change, decode=Plain)
    changing.update(a=Plain(1), b=2)
    with pytest.raises(NotCarriableError, match="RuntimeError"):
        CODEC.encode(changing)
    growing = {"\ud800": Plain(1), "b": 2}
    changing = growing
    with pytest.raises(NotCarriableError, match="RuntimeError"):
        CODEC.encode(growing)


# --- pickle ----------------------------------------------------------------------------------------------------------


def test_pickles_travel_only_where_both_ends_allow_it():
    trusting = Codec(allow_pickle=True)
    value = {"h": Handle(), "o": np.array([None, "x"]), "ok": (1, 2), "s": Special(1.0)}
    body, buffers = trusting.encode(value)
    arrived = trusting.decode(body, buffers)
    assert type(arrived["h"]) is Handle
    assert arrived["o"].tolist() == [None, "x"]
    assert arrived["ok"] == (1, 2)
    assert arrived["s"] == Special(1.0)
    with pytest.raises(MalformedError, match="allowed on both ends"):
        CODEC.decode(body, buffers)
    with pytest.raises(MalformedError):
        trusting.decode(ext(42, b"no pickle"))
    with pytest.raises(NotCarriableError, match=r"result\[0\]: <function> .*not even as a pickle"):
        trusting.encode([lambda: None])
    register_type(Plain, encode=lambda value: value.content, decode=Plain)
    with pytest.raises(NotCarriableError, match=r"<function> .*not even as a pickle"):
        trusting.encode(Plain([lambda: None]))
    with pytest.raises(NotCarriableError, match="deeper"):
        trusting.encode(nested(200, WRAPS["tuple"]))


def test_no_pickle_is_ever_loaded_without_leave(tmp_path):
    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "exploded"),)

    body = ext(42, pickle.dumps(Bomb()))
    with pytest.raises(MalformedError):
        CODEC.decode(body)
    assert list(tmp_path.iterdir()) == []


# --- what strangers send ---------------------------------------------------------------------------------------------


def ext(code: int, content: bytes) -> bytes:
    packed: bytes = msgpack.packb(msgpack.ExtType(code, content) if code >= 0 else msgpack.Timestamp.from_unix(0))
    return packed


def array_body(dtype: Any, shape: tuple[int, ...], content: bytes, code: int = 49, rank: int | None = None) -> bytes:
    text = dtype.encode() if isinstance(dtype, str) else msgpack.packb(dtype)
    header = bytes((len(shape) if rank is None else rank,)) + struct.pack(">H", len(text)) + text
    return ext(code, header + struct.pack(f">{len(shape)}Q", *shape) + content)


def scalar_body(dtype: Any, content: bytes) -> bytes:
    text = dtype.encode() if isinstance(dtype, str) else msgpack.packb(dtype)
    return ext(48, struct.pack(">H", len(text)) + text + content)


def fields(**changes: Any) -> dict[str, Any]:
    return {"names": ["a"], "formats": ["<f8"], "offsets": [0], "itemsize": 8, **changes}


def deep_dtype(depth: int) -> Any:
    return nested(depth, lambda v: [v if v != 1 else "<f8", [1]])


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "reserved": b"\xc1",
    "trailing": b"\x01\x02",
    "cut off": b"\x92\x01",
    "list of 4 G": b"\xdd\xff\xff\xff\xff",
    "map of 4 G": b"\xdf\xff\xff\xff\xff",
    "bytes of 4 G": b"\xc6\xff\xff\xff\xff",
    "text of 4 G": b"\xdb\xff\xff\xff\xff",
    "ext of 4 G": b"\xc9\xff\xff\xff\xff\x01",
    "lists that claim": b"\xdc\xff\xff" * 1000 + b"\xc0" * 70_000,
    "lists that claim in a tuple": ext(1, b"\xdc\xff\xff" * 1000 + b"\xc0" * 70_000),
    "list as key": b"\x81\x90\x01",
    "map as key": b"\x81\x80\x01",
    "set as key": b"\x81" + ext(2, b"\x90") + b"\x01",
    "list in a set": ext(2, b"\x91\x90"),
    "list in a frozenset": ext(3, b"\x91\x90"),
    "signalling Decimal in a set": ext(2, b"\x91" + ext(18, b"sNaN")),
    "deep": b"\x91" * 101 + b"\x01",
    "very deep": b"\x91" * 2000 + b"\x01",
    "deep maps": b"\x81\x01" * 500 + b"\x01",
    "bad text": b"\xa1\xff",
    "unknown extension": ext(99, b""),
    "unknown negative extension": b"\xd4\xfe\x00",
    "timestamp cut off": b"\xd4\xff\x00",
    "timestamp beyond the calendar": b"\xc7\x0c\xff\x00\x00\x00\x00" + b"\x7f" * 8,
    "tuple of no list": ext(1, b"\x80"),
    "tuple of nothing": ext(1, b""),
    "tuple with more": ext(1, b"\x90\x90"),
    "OrderedDict of a list": ext(4, b"\x90"),
    "Counter of a list": ext(5, b"\x90"),
    "buffer out of range": ext(7, b"\0\0\0\1"),
    "buffer of no number": ext(7, b"\0"),
    "buffer with more": ext(8, b"\0\0\0\0\0"),
    "buffer huge": ext(8, b"\xff\xff\xff\xff"),
    "slice of two": ext(9, b"\x92\x01\x02"),
    "slice of no list": ext(9, b"\x01"),
    "complex cut off": ext(17, b"\0"),
    "Decimal of words": ext(18, b"laser"),
    "Decimal of other digits": ext(18, "१".encode()),
    "Fraction over zero": ext(19, b"\0\1\1\0\1\0"),
    "Fraction cut off": ext(19, b"\0\1\1\0\2\0"),
    "Fraction with more": ext(19, b"\0\1\1\0\1\1\1"),
    "Fraction too large": ext(19, b"\x40\0" + b"\1" * 0x4000 + b"\0\1\1"),
    "range of no step": ext(20, b"\0\1\1" * 2 + b"\0\1\0"),
    "Ellipsis with content": ext(21, b"\0"),
    "datetime of month 13": ext(24, struct.pack(">HBBBBBI", 2024, 13, 1, 0, 0, 0, 0)),
    "datetime of too many microseconds": ext(24, struct.pack(">HBBBBBI", 2024, 1, 1, 0, 0, 0, 10**6)),
    "datetime cut off": ext(24, b"\0"),
    "date of year 0": ext(25, struct.pack(">HBB", 0, 1, 1)),
    "time of hour 24": ext(26, struct.pack(">BBBI", 24, 0, 0, 0)),
    "timedelta too large": ext(27, struct.pack(">iII", 2**31 - 1, 0, 0)),
    "timezone of nothing": ext(28, b""),
    "timezone of a week": ext(28, b"F" + struct.pack(">q", 7 * 86400 * 10**6)),
    "timezone of no time": ext(28, b"F" + struct.pack(">q", -(2**63))),
    "timezone of another kind": ext(28, b"X" + bytes(8)),
    "timezone elsewhere on the disk": ext(28, b"Z" + bytes(8) + b"../../etc/passwd"),
    "timezone absolute": ext(28, b"Z" + bytes(8) + b"/etc/passwd"),
    "UUID cut off": ext(32, b"\0"),
    "path of nothing": ext(33, b""),
    "path of another kind": ext(33, b"\x04x"),
    "address of another kind": ext(34, b"\x0610.0.0.1"),
    "address of words": ext(34, b"\0laser"),
    "enum of a number": ext(40, msgpack.packb([1, "A", 1])),
    "enum member of a number": ext(40, msgpack.packb(["a.B", 1, 1])),
    "enum of too much": ext(40, msgpack.packb(["a.B", "C", 1, 2])),
    "enum of one": ext(40, msgpack.packb(["a.B"])),
    "registered under a list": ext(41, msgpack.packb([[], 1])),
    "registered under a number": ext(41, msgpack.packb([1, 1])),
    "registered of one": ext(41, msgpack.packb(["a"])),
    "array of nothing": ext(49, b""),
    "array too large": array_body("<f8", (2**40,), b""),
    "array whose size overflows": array_body("<f8", (2**32, 2**32), b""),
    "array whose size wraps around": array_body("<f8", (2**61, 8), b""),
    "array of too many dimensions": array_body("<f8", (1,) * 100, bytes(8)),
    "array cut off": array_body("<f8", (2,), bytes(15)),
    "array with more": array_body("<f8", (2,), bytes(17)),
    "array whose shape is cut off": array_body("<f8", (2,), b"", rank=2),
    "array of objects": array_body("|O", (1,), bytes(8)),
    "array of objects by size": array_body("|O8", (1,), bytes(8)),
    "array of an expression": array_body("<f8,<f8", (1,), bytes(16)),
    "array of a deprecated name": array_body("|a5", (1,), bytes(5)),
    "array of i3": array_body("<i3", (1,), bytes(3)),
    "array of odd time": array_body("<M8[0s]", (1,), bytes(8)),
    "array of unknown time": array_body("<M8[xx]", (1,), bytes(8)),
    "array of too large items": array_body("|S999999999", (1,), b""),
    "array of many too large items": array_body("<U999999999", (2,), b""),
    "array of another number type": array_body("<f8/12", (1,), bytes(8)),
    "array of a bare subarray": array_body(["<f8", [2]], (1,), bytes(16)),
    "array of a subarray of words": array_body(fields(formats=[["<f8", ["x"]]]), (1,), bytes(16)),
    "array of a negative subarray": array_body(fields(formats=[["<f8", [-1]]]), (1,), bytes(16)),
    "array of a huge subarray": array_body(fields(formats=[["<f8", [2**40, 2**40]]]), (1,), bytes(16)),
    "array of nested objects": array_body(fields(formats=["|O"]), (1,), bytes(8)),
    "array of no fields": array_body({}, (1,), bytes(8)),
    "array of odd fields": array_body(fields(extra=1), (1,), bytes(8)),
    "array of fields elsewhere": array_body(fields(offsets=[-8]), (1,), bytes(8)),
    "array of fields beyond": array_body(fields(offsets=[8]), (1,), bytes(8)),
    "array of fields of no end": array_body(fields(itemsize=2**62), (1,), bytes(8)),
    "array of fields of no size": array_body(fields(itemsize=-1), (1,), bytes(8)),
    "array of fields without names": array_body(fields(names=[1]), (1,), bytes(8)),
    "array of equal fields": array_body(fields(names=["a", "a"], formats=["<f8"] * 2, offsets=[0, 0]), (1,), b""),
    "array of a number": array_body(5, (1,), bytes(8)),
    "array of a deep dtype": array_body(deep_dtype(50), (1,), bytes(8)),
    "array of a bottomless dtype": array_body(deep_dtype(400), (1,), bytes(8)),
    "array of bad text": array_body("<\xff", (1,), bytes(8)),
    "array of no dtype": array_body("", (1,), bytes(8)),
    "array out of no buffer": ext(50, b"\0\0\0\5" + b"\x01\0\3<f8" + struct.pack(">Q", 1)),
    "array out and in": ext(50, b"\0\0\0\0" + b"\x01\0\3<f8" + struct.pack(">Q", 1) + b"x"),
    "array out of a small buffer": ext(50, b"\0\0\0\0" + b"\x01\0\3<f8" + struct.pack(">Q", 100)),
    "scalar of nothing": ext(48, b""),
    "scalar cut off": scalar_body("<f8", b"\0"),
    "scalar with more": scalar_body("<f8", bytes(9)),
    "scalar of no character": scalar_body("<U1", b"\xff\xff\xff\xff"),
    "scalar of bad text": scalar_body("U", b"\xff"),
    "scalar of objects": scalar_body("|O", bytes(8)),
    "mask of no array": ext(51, msgpack.packb([1, None, 1, False])),
    "mask of three": ext(51, msgpack.packb([1, None, 1])),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_hostile_bytes_are_malformed(name, kind):
    with pytest.raises(MalformedError):
        CODEC.decode(kind(HOSTILE[name]), [b"12345678"])
    inside = b"\x92\x01" + HOSTILE[name]
    with pytest.raises(MalformedError):
        CODEC.decode(kind(inside), [b"12345678"])


def test_masks_have_to_fit():
    def masked(*parts: Any) -> bytes:
        return ext(51, CODEC.encode(list(parts))[0])

    data = np.arange(4.0)
    assert same(CODEC.decode(masked(data, None, None, False)).data, data)
    for parts in (
        (data, np.zeros(1, bool), 1.0, False),
        (data, np.zeros(4, "u1"), 1.0, False),
        (data, True, 1.0, False),
        (data, None, 1.0, 1),
        (data, None, "no number", False),
        ([1.0], None, 1.0, False),
    ):
        with pytest.raises(MalformedError):
            CODEC.decode(masked(*parts))


def test_hostile_depth_in_extensions_is_malformed():
    for inner in (b"\x90", b"\x01"):
        for wrap in (
            lambda b: ext(1, b"\x91" + b),
            lambda b: ext(3, b"\x91" + b),
            lambda b: ext(9, b"\x93\xc0\xc0" + b),
        ):
            body = inner
            for _ in range(101):
                body = wrap(body)
            with pytest.raises(MalformedError):
                CODEC.decode(body)
    body = b"\x90"
    for level in range(20):
        body = ext(1, b"\x91" + body + (b"\x01" if level == 2 else b""))
    with pytest.raises(MalformedError, match="bytes behind"):
        CODEC.decode(body)


def test_hostile_buffers():
    body = ext(50, b"\0\0\0\0" + b"\x01\0\3<f8" + struct.pack(">Q", 1))
    assert CODEC.decode(body, [bytes(8)]).tolist() == [0.0]
    pieces: list[Any] = [memoryview(bytearray(16))[::2], b"", "text", None, 5]
    for buffer in pieces:
        with pytest.raises(MalformedError):
            CODEC.decode(body, [buffer])
    assert CODEC.decode(b"\x01", [b"not used"]) == 1


def test_items_of_no_size_take_no_memory():
    arrived = CODEC.decode(array_body("|V0", (2**40,), b""))
    assert arrived.nbytes == 0
    assert CODEC.decode(array_body("<f8", (0, 2**40), b"")).size == 0


def test_a_timestamp_of_msgpack_arrives_as_a_datetime():
    assert CODEC.decode(msgpack.packb(dt.datetime(2024, 1, 1, tzinfo=dt.UTC), datetime=True)) == dt.datetime(
        2024, 1, 1, tzinfo=dt.UTC
    )


def test_claims_are_checked_before_memory_is_taken():
    import tracemalloc

    body = HOSTILE["lists that claim"]
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError):
            CODEC.decode(body)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


# --- without numpy, with threads -------------------------------------------------------------------------------------


def test_numpy_is_neither_needed_nor_imported():
    body, _ = CODEC.encode(np.arange(3))
    script = f"""
        import sys
        sys.modules["numpy"] = None
        from one_liner.errors import MissingExtraError, NotCarriableError
        from one_liner.wire.codec import Codec
        codec = Codec()
        value = {{"a": (1, {{2}}), "b": [1j, None]}}
        assert codec.decode(*codec.encode(value)) == value
        for _ in range(2):
            try:
                codec.decode({body!r})
            except MissingExtraError as error:
                assert "pip install one_liner[numpy]" in str(error), error
            else:
                raise AssertionError("an array without numpy")
        del sys.modules["numpy"]
        Pretender = type("Pretender", (), {{"__module__": "other"}})
        try:
            codec.encode([Pretender()])
        except NotCarriableError:
            pass
        assert "numpy" not in sys.modules
        assert codec.decode({body!r}).tolist() == [0, 1, 2]
        import numpy.ma
        assert codec.decode(*codec.encode(numpy.ma.array([1, 2], mask=[0, 1]))).tolist() == [1, None]
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


def test_masks_are_learned_only_when_somebody_uses_them(monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy.ma")
    assert arrays.masked_arrays() == ()


def test_one_codec_serves_many_threads():
    codec = Codec()
    wrong: list[Any] = []

    def work(number: int) -> None:
        value = {"n": (number, [np.full(10, number), bytearray([number])]), "big": bytes([number]) * 70_000}
        wrong.extend(arrived for _ in range(200) if not same(arrived := trip(value, codec), value))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_table_in_the_docstring_is_complete():
    documented = {int(code) for code in re.findall(r"^ +(\d+) \w", extensions.__doc__ or "", re.MULTILINE)}
    assert documented == set(reader_module._DECODERS)
