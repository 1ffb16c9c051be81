"""What a Python value is in JSON.

What JSON cannot say is written as its peers do: an instant as seconds since 1970, a UUID, a path and a decimal number
as text, an enum member as its value, a dataclass or pydantic model as its fields, numpy as numbers, lists and objects,
and a number that is not finite as null. Everything else cannot be carried, and is named with the way to it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from one_liner.control.letter_case import Verbatim, camel_case, recased
from one_liner.errors import NotCarriableError
from one_liner.wire.types import EnumValue

_AS_TEXT = (UUID, PurePath, Decimal)
_MOST_DEEP = 100


def to_bytes(value: Any) -> bytes:
    """JSON of what `plain` gave."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def plain(value: Any, path: str) -> Any:
    """The value in JSON's own types, its keys in camelCase.

    Args:
        value: the user's; not changed.
        path: what it is called, for the error: `context`.

    Raises:
        NotCarriableError: something in it has no form in JSON; the message has the way to it.
    """
    return _plain(value, path, _camel_names, 0)


def _plain(value: Any, path: str, names_of: Callable[[list[str]], dict[str, str]], depth: int) -> Any:
    if value is None or value is True or value is False or type(value) is str:
        return value
    if depth > _MOST_DEEP:
        raise NotCarriableError(f"{path} is nested more than {_MOST_DEEP} deep", path=path)
    try:
        simple = _simple(value)
    except (ValueError, OverflowError, OSError) as error:  # `datetime.min`; on Windows, what is before 1970.
        raise NotCarriableError(
            f"{path}: {value} is no instant that this system can count to: {error}", path=path
        ) from None
    if simple is not _NOT_SIMPLE:
        return _plain(simple, path, names_of, depth + 1) if isinstance(value, Enum) else simple
    inside = _fields_of(value)
    if _simple(inside) is not _NOT_SIMPLE:
        return _plain(inside, path, names_of, depth + 1)
    if isinstance(inside, Mapping):
        if isinstance(inside, Verbatim):
            names_of = _same_names
        items = {_key(key, path): (key, item) for key, item in inside.items()}
        if len(items) < len(inside):
            raise NotCarriableError(f"{path} has different keys that are the same text in JSON", path=path)
        names = names_of(list(items))
        return {names[k]: _plain(item, f"{path}[{key!r}]", names_of, depth + 1) for k, (key, item) in items.items()}
    if isinstance(inside, Sequence | Set) and not isinstance(inside, bytes | bytearray | memoryview):
        return [_plain(item, f"{path}[{index}]", names_of, depth + 1) for index, item in enumerate(inside)]
    kind = type(value)
    type_name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    raise NotCarriableError(f"{path}: <{type_name}> has no form in JSON", path=path, type_name=type_name)


_NOT_SIMPLE = object()


def _simple(value: Any) -> Any:
    """What is no container."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, _AS_TEXT):
        return str(value)
    return _NOT_SIMPLE


def _fields_of(value: Any) -> Any:
    """A container in place of what holds fields or numbers; anything else as it is."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, EnumValue):  # Of an enum that is not known here.
        return value.name if value.value is None else value.value
    if callable(getattr(value, "model_dump", None)) and not isinstance(value, type):  # pydantic's
        return value.model_dump()
    if hasattr(value, "dtype") and callable(getattr(value, "tolist", None)):  # numpy's
        from one_liner.control.numpy_values import contents

        return contents(value)
    return value


def _key(key: Any, path: str) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return str(key)
    if key is None or isinstance(key, bool | int | float):
        return str(json.dumps(key))
    if isinstance(key, _AS_TEXT):
        return str(key)
    raise NotCarriableError(f"{path}: the key {key!r} has no form in JSON", path=path, type_name=type(key).__name__)


def _camel_names(keys: list[str]) -> dict[str, str]:
    return recased(keys, camel_case)


def _same_names(keys: list[str]) -> dict[str, str]:
    return dict(zip(keys, keys, strict=True))
