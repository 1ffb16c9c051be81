"""What instruments return, as JSON: everything has a form, and nothing that JSON does not have gets out.

NaN and infinity are null, complex numbers a pair, bytes base64, instants ISO 8601, arrays nested lists.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import json
import math
import uuid
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import orjson
from starlette.responses import JSONResponse

from one_liner.wire.types import EnumValue

_DEEPEST = 200
_LARGE_BYTES = 65_536
# orjson has its own form for these; ours is `to_plain`.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


class JsonValueResponse(JSONResponse):
    """An answer whose content may be anything that an instrument returns."""

    def render(self, content: Any) -> bytes:
        """The content as JSON."""
        return dumps(content)


def dumps(value: Any) -> bytes:
    """A value as JSON in UTF-8."""
    try:
        return orjson.dumps(value, to_plain, _OPTIONS)
    except orjson.JSONEncodeError:  # A number of more than 64 bits, a key that is no text, a lone surrogate.
        plain = to_plain(value)
        return json.dumps(plain, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


def is_large(value: Any) -> bool:
    """Whether to write it takes so long that it is done on a thread: in the event loop everybody would wait."""
    size = getattr(value, "nbytes", None)
    if size is None:
        size = len(value) if isinstance(value, bytes | str | list | dict) else 0
    return bool(size >= _LARGE_BYTES)


def to_plain(value: Any, depth: int = 0) -> Any:
    """A value made of what JSON has."""
    if value is None or isinstance(value, bool | str):
        return value if not isinstance(value, enum.Enum) else to_plain(value.value, depth + 1)
    if depth > _DEEPEST:
        return repr(type(value))
    if isinstance(value, enum.Enum):
        return to_plain(value.value, depth + 1)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): to_plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item, depth + 1) for item in value]
    if isinstance(value, np.ndarray):
        return array_to_plain(value)[0]
    if isinstance(value, np.generic):
        return array_to_plain(np.asarray(value))[0]
    return _plain_object(value, depth)


def array_to_plain(array: np.ndarray[Any, Any]) -> tuple[Any, bool]:
    """An array as nested lists, and whether something in it is not finite and therefore null."""
    kind = array.dtype.kind
    if kind in "iub":
        return array.tolist(), False
    if kind == "f":
        array = array.astype(np.float64) if array.dtype.itemsize > 8 else array  # JSON has no longer ones.
        finite = np.isfinite(array)
        if bool(finite.all()):
            return array.tolist(), False
        return _with_nulls(array, ~finite), True
    if kind == "c":
        parts = np.stack([array.real, array.imag], axis=-1)
        return array_to_plain(parts)
    if kind in "Mm":
        missing = np.isnat(array)
        # numpy writes instants of another byte order as if they were of its own.
        native = array.astype(array.dtype.newbyteorder("="))
        texts = np.datetime_as_string(native) if kind == "M" else native.astype(np.int64)
        return _with_nulls(np.asarray(texts), missing), bool(missing.any())
    if kind == "V" and array.dtype.names:
        flagged = False
        columns = {}
        for name in array.dtype.names:
            columns[name], unclean = array_to_plain(array[name])
            flagged = flagged or unclean
        if array.ndim == 0:
            return columns, flagged
        return _rows(columns, array.shape), flagged
    return to_plain(array.tolist()), False


def _with_nulls(array: np.ndarray[Any, Any], missing: Any) -> Any:
    plain = array.astype(object)
    plain[missing] = None
    return plain.tolist()


def _rows(columns: Mapping[str, Any], shape: tuple[int, ...]) -> Any:
    """A structured array as nested lists of dicts."""
    if not shape:
        return dict(columns)
    return [_rows({name: column[i] for name, column in columns.items()}, shape[1:]) for i in range(shape[0])]


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool) or key is None:
        return json.dumps(key)
    return str(key)


def _plain_object(value: Any, depth: int) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, complex):
        return [to_plain(value.real), to_plain(value.imag)]
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal | uuid.UUID | PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: to_plain(getattr(value, field.name), depth + 1) for field in fields}
    if isinstance(value, EnumValue):
        return to_plain(value.name if value.value is None else value.value, depth + 1)
    if hasattr(value, "model_dump"):
        return to_plain(value.model_dump(), depth + 1)
    return repr(value)
