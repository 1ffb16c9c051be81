"""Single values of the standard library that msgpack does not know, each as a few bytes.

Here lives what turns one complex number, datetime … into the content of its extension type and back; the table in
`one_liner.wire.extensions` says how each looks. Those whose modules hardly any program loads live in
`one_liner.wire.library`, which is imported with the first of them; containers, arrays and registered classes elsewhere.
Numbers are big-endian. The loaders are given bytes by strangers: they may raise any ordinary exception, which the codec
turns into a `MalformedError`, but they take neither memory nor time beyond the size of what they are given.
"""

from __future__ import annotations

import datetime as dt
import re
import struct
from collections.abc import Callable
from types import EllipsisType
from typing import Any

from one_liner.errors import MissingExtraError

# Divisions and greatest common divisors take a time that grows with the square of the size: 8 KiB are 7 ms.
MAX_INT_BYTES = 8192

_MICROSECOND = dt.timedelta(microseconds=1)
_COMPLEX = struct.Struct(">dd")
_DATE = struct.Struct(">HBB")
_DATETIME = struct.Struct(">HBBBBBI")
_TIME = struct.Struct(">BBBI")
_TIMEDELTA = struct.Struct(">iII")
_OFFSET = struct.Struct(">q")
_LENGTH = struct.Struct(">H")
_FOLD = 1 << 31
_UNKNOWN_OFFSET = -(1 << 63)
# What a key of the time zone database looks like; anything else never reaches the file system.
_ZONE_KEY = r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,3}"


def _dump_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _load_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def dump_ints(*values: int) -> bytes:
    """Integers, each behind its length."""
    parts: list[bytes] = []
    for value in values:
        content = _dump_int(value)
        if len(content) > MAX_INT_BYTES:
            raise ValueError(f"it holds an integer of more than {MAX_INT_BYTES} bytes")
        parts += (_LENGTH.pack(len(content)), content)
    return b"".join(parts)


def load_ints(data: bytes, count: int) -> list[int]:
    """Read them back."""
    values, position = [], 0
    for _ in range(count):
        (size,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        content = data[position : position + size]
        if len(content) != size or size > MAX_INT_BYTES:
            raise ValueError("an integer that is cut off or too large")
        values.append(_load_int(content))
        position += size
    if position != len(data):
        raise ValueError("bytes behind the last integer")
    return values


def _dump_complex(value: complex) -> bytes:
    return _COMPLEX.pack(value.real, value.imag)


def _load_complex(data: bytes) -> complex:
    return complex(*_COMPLEX.unpack(data))


def _dump_range(value: range) -> bytes:
    return dump_ints(value.start, value.stop, value.step)


def _load_range(data: bytes) -> range:
    return range(*load_ints(data, 3))


def _dump_ellipsis(value: EllipsisType) -> bytes:
    return b""


def _load_ellipsis(data: bytes) -> EllipsisType:
    if data:
        raise ValueError("an Ellipsis has no content")
    return ...


# --- time ------------------------------------------------------------------------------------------------------------


def _dump_zone(zone: dt.tzinfo | None, offset: dt.timedelta | None) -> bytes:
    """Nothing when naive; `F` offset name for a fixed offset; `Z` offset key for a zone of the time zone database.

    A zone of any other library travels as the fixed offset that it has at this very moment.
    """
    if zone is None:
        return b""
    if type(zone) is dt.timezone:
        fixed, name = zone.utcoffset(None), zone.tzname(None)
        shown = "" if name == dt.timezone(fixed).tzname(None) else name
        return b"F" + _OFFSET.pack(fixed // _MICROSECOND) + shown.encode("utf-8", "surrogatepass")
    import zoneinfo  # Costs two milliseconds, and most zones are UTC.

    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        microseconds = _UNKNOWN_OFFSET if offset is None else offset // _MICROSECOND
        return b"Z" + _OFFSET.pack(microseconds) + zone.key.encode()
    if offset is None:
        raise ValueError(f"its time zone {type(zone).__qualname__} has no fixed offset and no name")
    return b"F" + _OFFSET.pack(offset // _MICROSECOND)


def _load_zone(data: bytes) -> dt.tzinfo | None:
    if not data:
        return None
    kind, (microseconds,), text = data[:1], _OFFSET.unpack_from(data, 1), data[9:].decode("utf-8", "surrogatepass")
    if kind == b"F":
        offset = dt.timedelta(microseconds=microseconds)
        return dt.timezone(offset, text) if text else dt.timezone(offset)
    if kind != b"Z" or not re.fullmatch(_ZONE_KEY, text):
        raise ValueError("no time zone")
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, OSError):
        # This machine does not know the zone (Windows has no database): keep the instant, and the name.
        if microseconds == _UNKNOWN_OFFSET:
            raise MissingExtraError(f"the time zone {text!r} is not known here; pip install tzdata") from None
        return dt.timezone(dt.timedelta(microseconds=microseconds), text)


def dump_timezone(value: dt.tzinfo) -> bytes:
    """A time zone of its own."""
    return _dump_zone(value, value.utcoffset(None))


def _load_timezone(data: bytes) -> dt.tzinfo:
    zone = _load_zone(data)
    if zone is None:
        raise ValueError("no time zone")
    return zone


def _dump_datetime(value: dt.datetime) -> bytes:
    clock = _DATETIME.pack(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond | (_FOLD if value.fold else 0),
    )
    return clock + _dump_zone(value.tzinfo, value.utcoffset())


def _load_datetime(data: bytes) -> dt.datetime:
    year, month, day, hour, minute, second, last = _DATETIME.unpack_from(data)
    zone = _load_zone(data[_DATETIME.size :])
    return dt.datetime(year, month, day, hour, minute, second, last & ~_FOLD, zone, fold=int(last >= _FOLD))


def _dump_date(value: dt.date) -> bytes:
    return _DATE.pack(value.year, value.month, value.day)


def _load_date(data: bytes) -> dt.date:
    return dt.date(*_DATE.unpack(data))


def _dump_time(value: dt.time) -> bytes:
    clock = _TIME.pack(value.hour, value.minute, value.second, value.microsecond | (_FOLD if value.fold else 0))
    return clock + _dump_zone(value.tzinfo, value.utcoffset())


def _load_time(data: bytes) -> dt.time:
    hour, minute, second, last = _TIME.unpack_from(data)
    return dt.time(hour, minute, second, last & ~_FOLD, _load_zone(data[_TIME.size :]), fold=int(last >= _FOLD))


def _dump_timedelta(value: dt.timedelta) -> bytes:
    return _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)


def _load_timedelta(data: bytes) -> dt.timedelta:
    return dt.timedelta(*_TIMEDELTA.unpack(data))


# --- the table -------------------------------------------------------------------------------------------------------

_TABLE: tuple[tuple[int, tuple[Any, ...], Callable[[Any], bytes], Callable[[bytes], Any]], ...] = (
    (16, (int,), _dump_int, _load_int),
    (17, (complex,), _dump_complex, _load_complex),
    (20, (range,), _dump_range, _load_range),
    (21, (EllipsisType,), _dump_ellipsis, _load_ellipsis),
    (24, (dt.datetime,), _dump_datetime, _load_datetime),
    (25, (dt.date,), _dump_date, _load_date),
    (26, (dt.time,), _dump_time, _load_time),
    (27, (dt.timedelta,), _dump_timedelta, _load_timedelta),
    (28, (dt.timezone,), dump_timezone, _load_timezone),
)
DUMPERS: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    cls: (code, dump) for code, classes, dump, _ in _TABLE for cls in classes
}
"""Under each type its extension code, and what makes the content."""
LOADERS: dict[int, Callable[[bytes], Any]] = {code: load for code, _, _, load in _TABLE}
"""Under each extension code what makes the value out of the content."""

LIBRARY_MODULES = frozenset(("decimal", "fractions", "ipaddress", "pathlib", "uuid", "zoneinfo"))
"""Where the classes come from that `one_liner.wire.library` knows."""
LIBRARY_CODES = (18, 19, 32, 33, 34)
"""The extension codes of their values; a zone has that of any time zone."""
