"""What is large, written piece by piece on a thread, so that the event loop has its turn between two of them.

A thread alone does not help: whoever writes JSON keeps the interpreter to itself for as long as one step takes, and
50 MB in one step are a second. A piece takes some milliseconds, and is sent as a piece, too.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from one_liner.gateway.json_values import JsonValueResponse, dumps
from one_liner.json_forms.arrays import array_to_plain
from one_liner.json_forms.values import key_text, to_plain

LARGE_BYTES: Final = 65_536
_PIECE_BYTES: Final = 262_144
_SENT_BYTES: Final = 1_048_576
_ITEM_BYTES: Final = 8  # about what a number takes
_DEEPEST: Final = 100

_CONTAINERS = (Mapping, list, tuple, set, frozenset)


def is_large(value: Any) -> bool:
    """Whether to write it takes so long that it is done on a thread: in the event loop everybody would wait."""
    return _left(value, LARGE_BYTES, 0) <= 0


def json_pieces(value: Any) -> Iterator[bytes]:
    """A value as JSON in UTF-8, as `dumps` writes it, piece by piece."""
    return _pieces(value, 0)


def json_text(value: Any) -> str:
    """The same in one text; for a thread."""
    return "".join([piece.decode() for piece in json_pieces(value)])


async def json_response(content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer whose content may be anything that an instrument returns, of any size."""
    if not is_large(content):
        return JsonValueResponse(content, status_code, headers)
    pieces = await asyncio.to_thread(lambda: list(json_pieces(content)))
    return PiecesResponse(pieces, "application/json", status_code, headers)


class PiecesResponse(Response):
    """An answer that is sent piece by piece, as fast as it is read.

    Args:
        pieces: the content; a single one that is large is sent in several.
        media_type: what it is.
        status_code: of HTTP.
        headers: further ones.
    """

    def __init__(
        self,
        pieces: Sequence[bytes],
        media_type: str,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        size = {"Content-Length": str(sum(map(len, pieces)))}
        super().__init__(None, status_code, {**(headers or {}), **size}, media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            for start in range(0, len(piece), _SENT_BYTES):
                body = piece[start : start + _SENT_BYTES]
                await send({"type": "http.response.body", "body": body, "more_body": True})
                await asyncio.sleep(0)  # Who reads fast has everything at once: others have their turn nevertheless.
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _left(value: Any, budget: int, depth: int) -> int:
    """What is left of so many bytes; looks no further than that."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return budget - size
    if isinstance(value, bytes | bytearray | str):
        return budget - len(value)
    if not isinstance(value, _CONTAINERS) or depth > _DEEPEST:
        return budget
    budget -= _ITEM_BYTES * len(value)
    for item in value.values() if isinstance(value, Mapping) else value:
        if budget <= 0:
            break
        if not isinstance(item, int | float):
            budget = _left(item, budget, depth + 1)
    return budget


def _pieces(value: Any, depth: int) -> Iterator[bytes]:
    if depth > _DEEPEST or not is_large(value):
        yield dumps(value)
    elif isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray):
        yield from array_pieces(np.asarray(value))
    elif isinstance(value, Mapping):
        yield from _of_mapping(value, depth)
    elif isinstance(value, list | tuple | set | frozenset):
        yield from _of_items(value, depth)
    elif type(value) is str:
        yield from _of_text(value)
    elif isinstance(value, bytes | bytearray):
        yield from _of_bytes(value)
    else:
        yield dumps(value)


def array_pieces(array: np.ndarray[Any, Any], noted: Callable[[bool], object] = bool) -> Iterator[bytes]:
    """An array as nested lists.

    Args:
        array: of any dtype.
        noted: told of each piece whether something in it is not finite and therefore null.
    """
    if array.nbytes <= _PIECE_BYTES or not array.ndim:
        plain, has_null = array_to_plain(array, to_plain)
        noted(has_null)
        yield dumps(plain)
        return
    rows = max(1, _PIECE_BYTES * len(array) // array.nbytes)
    for start in range(0, len(array), rows):
        yield b"," if start else b"["
        some = array[start : start + rows]
        if some.nbytes > _PIECE_BYTES and array.ndim > 1:
            yield from array_pieces(some[0], noted)
        else:
            plain, has_null = array_to_plain(some, to_plain)
            noted(has_null)
            yield dumps(plain)[1:-1]
    yield b"]"


def _of_items(items: Iterable[Any], depth: int) -> Iterator[bytes]:
    """A list: what is large by itself, and what is small some at a time."""
    before = b"["
    some: list[Any] = []
    room = _PIECE_BYTES
    for item in items:
        left = _left(item, LARGE_BYTES, 0)
        if left > 0:
            some.append(item)
            room -= _ITEM_BYTES + LARGE_BYTES - left
        if some and (left <= 0 or room <= 0):
            yield before + dumps(some)[1:-1]
            before, some, room = b",", [], _PIECE_BYTES
        if left <= 0:
            yield before
            yield from _pieces(item, depth + 1)
            before = b","
    if some:
        yield before + dumps(some)[1:-1]
    yield b"]"


def _of_mapping(mapping: Mapping[Any, Any], depth: int) -> Iterator[bytes]:
    before = b"{"
    some: dict[str, Any] = {}
    room = _PIECE_BYTES
    for key, item in mapping.items():
        left = _left(item, LARGE_BYTES, 0)
        if left > 0:
            some[key_text(key)] = item
            room -= _ITEM_BYTES + LARGE_BYTES - left
        if some and (left <= 0 or room <= 0):
            yield before + dumps(some)[1:-1]
            before, some, room = b",", {}, _PIECE_BYTES
        if left <= 0:
            yield before + dumps(key_text(key)) + b":"
            yield from _pieces(item, depth + 1)
            before = b","
    if some:
        yield before + dumps(some)[1:-1]
    yield b"}"


def _of_text(text: str) -> Iterator[bytes]:
    yield b'"'
    for start in range(0, len(text), _PIECE_BYTES):
        yield dumps(text[start : start + _PIECE_BYTES])[1:-1]
    yield b'"'


def _of_bytes(content: bytes | bytearray) -> Iterator[bytes]:
    yield b'"'
    step = _PIECE_BYTES // 3 * 3  # Three bytes are four letters.
    for start in range(0, len(content), step):
        yield base64.b64encode(content[start : start + step])
    yield b'"'
