"""Descriptions as plain data: what a reader expects of it, and values that may be too large or too odd to travel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from one_liner.errors import MalformedError
from one_liner.rpc.signatures import repr_text

_MAX_PLAIN_ITEMS: Final = 32
_MAX_PLAIN_TEXT: Final = 500

T = TypeVar("T")


@dataclass(frozen=True)
class DefaultRepr:
    """A default value that is no plain data: what its `repr` is over there."""

    text: str

    def __repr__(self) -> str:
        return self.text


class Reading:
    """Whatever goes wrong while plain data is read was the sender's mistake."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, _traceback: Any) -> None:
        if isinstance(error, Exception):
            raise MalformedError(f"this is no {self._what}: {type(error).__name__}: {error}") from error


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise TypeError(f"text is needed, not {type(value).__name__}")
    return value


def small(value: Any) -> int:
    """A number that is none of the large ones."""
    if not isinstance(value, int) or not 0 <= value < 1 << 32:
        raise TypeError(f"a small number is needed, not {type(value).__name__}")
    return value


def text_or_none(value: Any) -> str | None:
    """A text, or None."""
    return None if value is None else text(value)


def all_of(read: Callable[[Any], T], items: Iterable[Any]) -> tuple[T, ...]:
    """What was read from each."""
    return tuple(read(item) for item in items)


def _is_plain(value: Any, depth: int = 3) -> bool:
    """Whether a value is small, and the same after a journey through msgpack or JSON."""
    kind = type(value)
    if kind is list and depth:
        return len(value) <= _MAX_PLAIN_ITEMS and all(_is_plain(item, depth - 1) for item in value)
    if kind is dict and depth:
        keys_fit = all(type(key) is str for key in value)
        return (
            len(value) <= _MAX_PLAIN_ITEMS and keys_fit and all(_is_plain(item, depth - 1) for item in value.values())
        )
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    if kind is float:
        return math.isfinite(value)
    if kind is str:
        return len(value) <= _MAX_PLAIN_TEXT
    return value is None or kind is bool


def plain_or_repr(value: Any) -> Any:
    """A value as it is where that is small and plain; otherwise what its `repr` is."""
    if isinstance(value, DefaultRepr) or _is_plain(value):
        return value
    return DefaultRepr(repr_text(value, 200))


def marked(value: Any) -> dict[str, Any]:
    """A value as plain data, and whether it is one or its `repr`."""
    plain = plain_or_repr(value)
    return {"repr": plain.text} if isinstance(plain, DefaultRepr) else {"value": plain}


def unmarked(marked: Mapping[str, Any]) -> Any:
    """The reverse of `marked`."""
    return DefaultRepr(text(marked["repr"])) if "repr" in marked else marked["value"]
