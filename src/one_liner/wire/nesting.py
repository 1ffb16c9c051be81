"""How deep containers sit inside each other, found without recursion: a value may be hostile, or contain itself."""

from __future__ import annotations

from itertools import chain
from typing import Any, Final

from one_liner.wire.extensions import Buffer

# First bytes of msgpack that open neither a list nor a map.
_NOT_NESTING: Final = bytes(byte for byte in range(256) if not (0x80 <= byte <= 0x9F or 0xDC <= byte <= 0xDF))
# From this many containers on the same level, they are looked at only once each: they may contain each other.
_LARGE_LAYER: Final = 10_000
_CONTAINERS: Final = (list, dict, tuple, set, frozenset)


def is_deeper(value: Any, limit: int, body: Buffer) -> bool:
    """Whether a value that is packed as `body` nests deeper than `limit`; hardly ever has to look at the value."""
    return len(bytes(body).translate(None, _NOT_NESTING)) > limit and nests(value, limit)


def nests(value: Any, limit: int) -> bool:
    """Whether containers sit inside each other deeper than `limit`; copes with one that contains itself."""
    layer: list[Any] = [[value]]
    for _ in range(limit + 1):
        items = [*layer, *(item.values() for item in layer if isinstance(item, dict))]
        kinds = {kind for kind in set(map(type, chain.from_iterable(items))) if issubclass(kind, _CONTAINERS)}
        if not kinds:
            return False
        layer = [item for item in chain.from_iterable(items) if type(item) in kinds]
        if len(layer) > _LARGE_LAYER:
            layer = list({id(item): item for item in layer}.values())
    return True
