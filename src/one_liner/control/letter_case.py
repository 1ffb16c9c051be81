"""Keys change their case on the way, values never do.

Python writes `data_location`, the wire `dataLocation`. A key changes only if it changes back into itself: `some_key` is
a name, but `a path`, `/data/a_b`, `x_1`, `_x` and `UPPER_KEY` are the user's data and stay. So whatever goes there and
back comes out as it went in. Two keys of one object that would become the same stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_SNAKE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z][a-z0-9]*)+")
_CAMEL = re.compile(r"[a-z][a-z0-9]*(?:[A-Z][a-z0-9]*)+")
_BEHIND_UNDERSCORE = re.compile(r"_([a-z])")
_CAPITAL = re.compile(r"[A-Z]")


class Verbatim(dict[Any, Any]):
    """A dict whose keys are data and keep their case, at every depth: `Verbatim({"stage_x": 1.5})`."""


def camel_case(key: str) -> str:
    """`some_key` as `someKey`; anything that is not written so stays."""
    if not _SNAKE.fullmatch(key):
        return key
    return _BEHIND_UNDERSCORE.sub(lambda found: found[1].upper(), key)


def snake_case(key: str) -> str:
    """`someKey` as `some_key`; anything that is not written so stays."""
    if not _CAMEL.fullmatch(key):
        return key
    return _CAPITAL.sub(lambda found: "_" + found[0].lower(), key)


def recased(keys: Iterable[str], change: Any) -> dict[str, str]:
    """What each key of one object becomes."""
    old = list(keys)
    new = {key: change(key) for key in old}
    taken: dict[str, int] = {}
    for name in new.values():
        taken[name] = taken.get(name, 0) + 1
    return {key: name if taken[name] == 1 else key for key, name in new.items()}


def with_snake_keys(value: Any) -> Any:
    """JSON that came, with its keys as Python writes them, at every depth."""
    if isinstance(value, Mapping):
        names = recased(value, snake_case)
        return {names[key]: with_snake_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_snake_keys(item) for item in value]
    return value
