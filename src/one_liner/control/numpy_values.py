"""Arrays, and single values of numpy's types, as Python's own, for JSON. Importing this imports numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

_DATES = ("Y", "M", "W", "D")
_EPOCH, _SECOND = np.datetime64(0, "s"), np.timedelta64(1, "s")


def contents(value: Any) -> Any:
    """Lists and numbers; instants as seconds since 1970 (numpy has no other zone than UTC), records as dicts."""
    array = np.asarray(value)
    kind, names = array.dtype.kind, array.dtype.names
    if names:
        return list(array) if array.ndim else {name: array[name] for name in names}
    if kind == "f":
        return array.astype(np.float64).tolist()
    if kind in "mM":
        unit = np.datetime_data(array.dtype)[0]
        if kind == "M" and unit not in (*_DATES, "generic"):
            return ((array - _EPOCH) / _SECOND).tolist()
        if kind == "m" and unit not in ("Y", "M", "generic"):
            return (array / _SECOND).tolist()
        return np.where(np.isnat(array), np.nan, array.astype(object)).tolist()
    return array.tolist()
