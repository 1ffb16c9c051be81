"""Values as JSON: everything has a form, and nothing that JSON does not have gets out.

NaN and infinity are null, complex numbers a pair, bytes base64, instants ISO 8601, arrays nested lists.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import json
import math
from collections.abc import Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any

from one_liner.wire.types import EnumValue

_DEEPEST = 200


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
    if isinstance(value, list | tuple):
        return [to_plain(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {key_text(key): to_plain(item, depth + 1) for key, item in value.items()}
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        # numpy is there already if one of its values is; others need not wait for it.
        from one_liner.json_forms.arrays import numpy_to_plain

        return numpy_to_plain(value, to_plain)
    return _plain_object(value, depth)


def key_text(key: Any) -> str:
    """A key of a dict as the text that JSON wants."""
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, str):
        return str(key)
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key)
    return str(key)


def _plain_object(value: Any, depth: int) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, Sequence | Set):
        return [to_plain(item, depth + 1) for item in value]
    if isinstance(value, complex):
        return [to_plain(value.real), to_plain(value.imag)]
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: to_plain(getattr(value, field.name), depth + 1) for field in fields}
    if isinstance(value, EnumValue):
        return to_plain(value.name if value.value is None else value.value, depth + 1)
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return to_plain(value.model_dump(), depth + 1)
    return str(value) if _is_text(value) else repr(value)


def _is_text(value: Any) -> bool:
    # Not at the top: a command that shows none of them need not wait for these.
    from decimal import Decimal
    from uuid import UUID

    return isinstance(value, Decimal | UUID | PurePath)
