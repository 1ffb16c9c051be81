"""Single values whose classes live in modules of the standard library that not everybody loads.

As `one_liner.wire.scalars`, but imported with the first such value.
"""

from __future__ import annotations

import ipaddress
import os
import pathlib
import uuid
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from one_liner.wire.scalars import dump_ints, dump_timezone, load_ints


def _dump_decimal(value: Decimal) -> bytes:
    return str(value).encode("ascii")


def _load_decimal(data: bytes) -> Decimal:
    return Decimal(data.decode("ascii"))


def _dump_fraction(value: Fraction) -> bytes:
    return dump_ints(value.numerator, value.denominator)


def _load_fraction(data: bytes) -> Fraction:
    return Fraction(*load_ints(data, 2))


def _dump_uuid(value: uuid.UUID) -> bytes:
    return value.bytes


def _load_uuid(data: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=data)


_PATHS: tuple[type[pathlib.PurePath], ...] = (
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
    pathlib.PosixPath,
    pathlib.WindowsPath,
)
# A concrete path of the other system can't be made here and arrives as its pure kind.
_PATHS_HERE: tuple[type[pathlib.PurePath], ...] = (
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
    pathlib.PurePosixPath if os.name == "nt" else pathlib.PosixPath,
    pathlib.WindowsPath if os.name == "nt" else pathlib.PureWindowsPath,
)


def _dump_path(value: pathlib.PurePath) -> bytes:
    return bytes((_PATHS.index(type(value)),)) + str(value).encode("utf-8", "surrogatepass")


def _load_path(data: bytes) -> pathlib.PurePath:
    return _PATHS_HERE[data[0]](data[1:].decode("utf-8", "surrogatepass"))


_ADDRESSES: tuple[type, ...] = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
)


def _dump_address(value: Any) -> bytes:
    return bytes((_ADDRESSES.index(type(value)),)) + str(value).encode("utf-8", "surrogatepass")


def _load_address(data: bytes) -> Any:
    return _ADDRESSES[data[0]](data[1:].decode("utf-8", "surrogatepass"))


DUMPERS: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    Decimal: (18, _dump_decimal),
    Fraction: (19, _dump_fraction),
    zoneinfo.ZoneInfo: (28, dump_timezone),
    uuid.UUID: (32, _dump_uuid),
    **dict.fromkeys(_PATHS, (33, _dump_path)),
    **dict.fromkeys(_ADDRESSES, (34, _dump_address)),
}
"""Under each type its extension code, and what makes the content."""
LOADERS: dict[int, Callable[[bytes], Any]] = {
    18: _load_decimal,
    19: _load_fraction,
    32: _load_uuid,
    33: _load_path,
    34: _load_address,
}
"""Under each extension code what makes the value out of the content."""
