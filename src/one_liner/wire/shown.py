"""Errors and keys in a few characters, for messages that name them."""

from __future__ import annotations

import reprlib
from typing import Any, Final

from one_liner.wire.types import name_of

_SHOWN_CHARACTERS: Final = 500
_SHOW: Final = reprlib.Repr()
_SHOW.maxstring = _SHOW.maxother = 80


def short(error: BaseException) -> str:
    """Its type and message, cut off where it gets long."""
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def shown(key: Any) -> str:
    """A key, or a name that arrived; never raises."""
    try:
        text = _SHOW.repr(key)
        return f'"{text[1:-1]}"' if type(key) is str and '"' not in text else text
    except Exception:  # integers of some thousand digits
        return f"<{name_of(type(key))}>"
