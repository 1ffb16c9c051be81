"""Values as bytes, for those who carry bytes only: msgpack, with numpy arrays as their memory and its description."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]


def pack(value: Any) -> bytes:
    """To bytes."""
    packed: bytes = msgpack.packb(value, default=_describe)
    return packed


def unpack(content: Any) -> Any:
    """From bytes."""
    return msgpack.unpackb(content, object_hook=_restore)


def _describe(array: Any) -> dict[str, Any]:
    return {"dtype": array.dtype.str, "shape": array.shape, "memory": array.data}


def _restore(value: dict[str, Any]) -> Any:
    if "memory" not in value:
        return value
    import numpy as np

    return np.frombuffer(value["memory"], value["dtype"]).reshape(value["shape"])
