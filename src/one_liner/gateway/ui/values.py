"""Values in one short line."""

from __future__ import annotations

from typing import Any

import numpy as np

from one_liner.gateway.json_values import dumps

_MOST = 300
_DIGITS = 6


def text_of(value: Any) -> str:
    """A value for people: numbers with six digits, arrays by shape and range, all else as JSON."""
    if isinstance(value, str):
        return _short(value)
    if isinstance(value, bool | np.bool_) or value is None:
        return str(value)
    if isinstance(value, float | np.floating):
        return f"{value:.{_DIGITS}g}"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, complex):
        return f"{value:.{_DIGITS}g}"
    if isinstance(value, np.ndarray):
        return _array_text(value)
    if isinstance(value, list | tuple) and all(isinstance(one, float | int) for one in value):
        return _short("[" + ", ".join(text_of(one) for one in value[:_MOST]) + "]")
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return _short(dumps(value).decode())


def _array_text(array: np.ndarray[Any, Any]) -> str:
    shape = " x ".join(map(str, array.shape)) or "one value"
    if array.dtype.kind not in "biuf" or not array.size:
        return f"{shape}, {array.dtype}"
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    span = f", {finite.min():.4g} to {finite.max():.4g}" if finite.size else ""
    return f"{shape}, {array.dtype}{span}"


def _short(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"
