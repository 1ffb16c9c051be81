"""Values on the command line: read from words, shown to people in full or in one line, written as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.pretty import pretty_repr

from one_liner.json_forms.values import to_plain

_PYTHON_WORDS = {"True": True, "False": False, "None": None}
_BLOCKS = "▁▂▃▄▅▆▇█"
_SHOWN_ITEMS = 20
_SHOWN_BYTES = 32
_SPARKS = 12


# --- reading ---------------------------------------------------------------------------------------------------------


def read_word(word: str) -> Any:
    """A value: JSON where it is JSON, `True`, `False` and `None` as Python writes them, text otherwise.

    To pass text that looks like something else, quote it twice: `'"5"'`.
    """
    if word in _PYTHON_WORDS:
        return _PYTHON_WORDS[word]
    try:
        return json.loads(word)
    except ValueError:
        return word


def read_arguments(words: Iterable[str]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments by position, and those written `name=value`."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name.isidentifier():
            kwargs[name] = read_word(value)
        else:
            args.append(read_word(word))
    return args, kwargs


# --- for people ------------------------------------------------------------------------------------------------------


class _Short:
    """Stands in a nested value for what is too long to be shown, and shows what it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def in_full(value: Any, width: int = 80) -> str:
    """A value on as many lines as it needs; arrays and long bytes as what they are."""
    if isinstance(value, str):
        return value
    return pretty_repr(_shortened(value), max_width=width)


def in_one_line(value: Any) -> str:
    """A value in a few words: numbers, and for many of them their mean and a small picture."""
    if is_array(value):
        return _array_line(value)
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, str):
        return value.replace("\n", " ")
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes_text(bytes(value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {in_one_line(item)}" for key, item in value.items()) or "(empty)"
    if isinstance(value, list | tuple):
        return _sequence_line(value)
    return " ".join(repr(value).split())


def number(value: float) -> str:
    """A number in up to four significant digits, integers in all."""
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def is_array(value: Any) -> bool:
    """Whether it is a numpy array; said without numpy, which need not be here."""
    return hasattr(value, "dtype") and hasattr(value, "tolist") and bool(getattr(value, "shape", ()))


def blocks(numbers: Sequence[float]) -> str:
    """Numbers as a row of bars that begin at 0, at most twelve; neighbours are averaged."""
    finite = [float(one) if math.isfinite(one) else 0.0 for one in numbers]
    if not finite:
        return ""
    bars = min(_SPARKS, len(finite))
    edges = [index * len(finite) // bars for index in range(bars + 1)]
    means = [sum(finite[start:end]) / (end - start) for start, end in pairwise(edges)]
    low, high = min(0.0, *means), max(0.0, *means)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((mean - low) * scale)] for mean in means)


def _array_line(array: Any) -> str:
    text = f"{'x'.join(str(length) for length in array.shape)} {array.dtype}"
    if array.dtype.kind not in "biuf" or not array.size:
        return text
    # Of an image the columns are averaged: a spot shows where it is.
    profile = array.reshape(-1, array.shape[-1]).mean(axis=0)
    return f"{text} mean {number(float(profile.mean()))} {blocks(profile.tolist())}"


def _sequence_line(items: Sequence[Any]) -> str:
    if len(items) > 3 and all(isinstance(one, int | float) and not isinstance(one, bool) for one in items):
        return f"{len(items)} numbers, mean {number(sum(items) / len(items))} {blocks(items)}"
    shown = ", ".join(in_one_line(one) for one in items[:_SHOWN_ITEMS])
    return f"({shown}{', …' if len(items) > _SHOWN_ITEMS else ''})"


def _shortened(value: Any) -> Any:
    if is_array(value) and value.size > _SHOWN_ITEMS:
        return _Short(f"<array {_array_line(value)}>")
    if isinstance(value, bytes | bytearray | memoryview) and len(value) > _SHOWN_BYTES:
        return _Short(f"<{_bytes_text(bytes(value))}>")
    if type(value) is dict:
        return {key: _shortened(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_shortened(item) for item in value)
    return value


def _bytes_text(data: bytes) -> str:
    if len(data) <= _SHOWN_BYTES:
        return repr(data)
    return f"{len(data)} bytes {data[:8].hex(' ')} …"


# --- for machines ----------------------------------------------------------------------------------------------------


def to_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON, in the forms of `one_liner.json_forms`."""
    return json.dumps(to_plain(value), ensure_ascii=False, allow_nan=False, indent=indent)
