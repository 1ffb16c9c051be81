"""Arrays, and single values of numpy's types, as JSON. Importing this imports numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Others = Callable[[Any], Any]
"""Makes JSON's own of what is not numpy's: `values.to_plain`."""


def numpy_to_plain(value: Any, others: Others) -> Any:
    """An array as nested lists, a single value as what it is."""
    if isinstance(value, np.timedelta64) and np.datetime_data(value.dtype)[0] not in _OF_NO_LENGTH:
        # Nothing else would say of which unit it is.
        return None if np.isnat(value) else float(value / np.timedelta64(1, "s"))
    return array_to_plain(np.asarray(value), others)[0]


def array_to_plain(array: np.ndarray[Any, Any], others: Others) -> tuple[Any, bool]:
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
        return array_to_plain(parts, others)
    if kind in "Mm":
        missing = np.isnat(array)
        # numpy writes instants of another byte order as if they were of its own.
        native = array.astype(array.dtype.newbyteorder("="))
        texts = np.datetime_as_string(native) if kind == "M" else native.astype(np.int64)
        return _with_nulls(np.asarray(texts), missing), bool(missing.any())
    if kind == "V" and array.dtype.names:
        return _records(array, others)
    return others(array.tolist()), False


_OF_NO_LENGTH = ("Y", "M", "generic")
"""Units of time that are no number of seconds."""


def _records(array: np.ndarray[Any, Any], others: Others) -> tuple[Any, bool]:
    """A structured array as nested lists of dicts."""
    flagged = False
    columns = {}
    for name in array.dtype.names or ():
        columns[name], unclean = array_to_plain(array[name], others)
        flagged = flagged or unclean
    return _rows(columns, array.shape), flagged


def _rows(columns: Mapping[str, Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return dict(columns)
    return [_rows({name: column[i] for name, column in columns.items()}, shape[1:]) for i in range(shape[0])]


def _with_nulls(array: np.ndarray[Any, Any], missing: Any) -> Any:
    plain = array.astype(object)
    plain[missing] = None
    return plain.tolist()
