"""Whether a value came back as what it was."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import numpy as np

from one_liner.wire.types import EnumValue


def same(one: Any, other: Any) -> bool:
    """Equal in type and value, all the way down; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (np.ndarray, np.generic)):
        return _same_memory(one, other)
    if isinstance(one, float):
        return struct.pack(">d", one) == struct.pack(">d", other)
    if isinstance(one, complex):
        return same((one.real, one.imag), (other.real, other.imag))
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, b) for a, b in zip(_flat_items(one), _flat_items(other), strict=True)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, (set, frozenset)):
        return sorted(map(_described, one)) == sorted(map(_described, other))
    if isinstance(one, slice):
        return same((one.start, one.stop, one.step), (other.start, other.stop, other.step))
    if isinstance(one, Decimal):
        return str(one) == str(other)
    if isinstance(one, EnumValue):
        return same((one.type_name, one.name, one.value), (other.type_name, other.name, other.value))
    return bool(one == other)


def _same_memory(one: Any, other: Any) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.names is not None:  # copies leave out what lies between the fields
        return all(same(one[name], other[name]) for name in one.dtype.names)
    return bool(np.asarray(one).tobytes() == np.asarray(other).tobytes())


def _described(item: Any) -> str:
    """What two members of sets have in common only if they are the same."""
    if isinstance(item, tuple):
        return f"({', '.join(map(_described, item))})"
    if isinstance(item, frozenset):
        return f"{{{', '.join(sorted(map(_described, item)))}}}"
    return f"{type(item)} {item!r}"


def _flat_items(mapping: dict[Any, Any]) -> list[Any]:
    return [part for item in mapping.items() for part in item]
