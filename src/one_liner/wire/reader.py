"""Bytes to values. Whatever they are, the outcome is a value or an error; nothing is evaluated or imported."""

from __future__ import annotations

import enum
import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import msgpack  # type: ignore[import-untyped]

from one_liner.errors import LimitError, MalformedError
from one_liner.wire import scalars
from one_liner.wire.extensions import (
    ARRAY,
    ARRAY_OUT,
    BYTEARRAY,
    BYTEARRAY_OUT,
    BYTES_OUT,
    COUNTER,
    ENUM,
    FROZENSET,
    MARKED_ARRAY,
    MASKED_ARRAY,
    NUMBER,
    NUMPY_SCALAR,
    ORDERED_DICT,
    PICKLE,
    REGISTERED,
    SET,
    SLICE,
    TUPLE,
    Buffer,
    numpy_arrays,
)
from one_liner.wire.nesting import is_deeper
from one_liner.wire.shown import short, shown
from one_liner.wire.terms import Terms
from one_liner.wire.types import EnumValue, find_member, registration_named

# msgpack reserves memory for as many list items as a message claims to have, once for every nesting level. Up to this
# size the worst that can be claimed is some megabytes; from here on the claims are checked first.
UNCHECKED_BYTES: Final = 2048
# Each unpacking inside of an unpacking takes 40 KiB of the C stack, of which some threads have little.
_LEVELS_ON_STACK: Final = 8


class Reader:
    """Unpacks one message."""

    __slots__ = ("_buffers", "_level", "_terms")

    def __init__(self, terms: Terms, buffers: Sequence[Buffer]) -> None:
        self._terms = terms
        self._buffers = buffers
        self._level = 0

    @property
    def allow_pickle(self) -> bool:
        """Whether a pickle may be loaded."""
        return self._terms.allow_pickle

    def extension(self, code: int, content: bytes) -> Any:
        """The value of an extension type."""
        decode = _DECODERS.get(code)
        if decode is None:
            raise MalformedError(f"unknown extension type {code}")
        return decode(self, content)

    def unpack(self, content: bytes) -> Any:
        """The msgpack object inside of an extension type, when it is checked for its depth with the whole."""
        if self._level >= self._terms.max_depth:
            raise MalformedError(f"nested deeper than {self._terms.max_depth} levels")
        if len(content) > UNCHECKED_BYTES:
            check_claims(content)
        self._level += 1
        try:
            if self._level > _LEVELS_ON_STACK:
                return self._unpack_on_heap(content)
            return msgpack.unpackb(
                content,
                ext_hook=self.extension,
                strict_map_key=False,
                timestamp=3,
                unicode_errors="surrogatepass",
                **self._hooks(),
            )
        finally:
            self._level -= 1

    def _hooks(self) -> dict[str, Any]:
        """What msgpack is to call while it unpacks."""
        return {}

    def _unpack_on_heap(self, content: bytes) -> Any:
        size = max(len(content), 1)
        unpacker = msgpack.Unpacker(
            read_size=size,
            max_buffer_size=size,
            ext_hook=self.extension,
            strict_map_key=False,
            timestamp=3,
            unicode_errors="surrogatepass",
            **self._hooks(),
        )
        unpacker.feed(content)
        value = unpacker.unpack()
        if unpacker.tell() != len(content):
            raise MalformedError("bytes behind the end of a value")
        return value

    def unpack_whole(self, content: bytes) -> Any:
        """The msgpack object inside of an extension type, checked for its depth."""
        value = self.unpack(content)
        if len(content) > self._terms.max_depth and is_deeper(value, self._terms.max_depth, content):
            raise MalformedError(f"nested deeper than {self._terms.max_depth} levels")
        return value

    def unpack_as(self, kind: type, content: bytes) -> Any:
        """The same as `unpack`, for a content that has to be a list or a map."""
        value = self.unpack(content)
        if type(value) is not kind:
            raise MalformedError(f"a {kind.__name__} was expected, not a {type(value).__name__}")
        return value

    def buffer(self, content: bytes) -> Buffer:
        """The buffer whose number is at the start of a content."""
        number: int = NUMBER.unpack_from(content)[0]
        if number >= len(self._buffers):
            raise MalformedError(f"buffer {number} of {len(self._buffers)}")
        return self._buffers[number]


class CountingReader(Reader):
    """Unpacks one message, and gives up when its containers have too many items."""

    __slots__ = ("_left",)

    def __init__(self, terms: Terms, buffers: Sequence[Buffer]) -> None:
        super().__init__(terms, buffers)
        self._left = terms.max_elements

    def _hooks(self) -> dict[str, Any]:
        return {"list_hook": self._count_list, "object_hook": self._count_map}

    def _count_list(self, items: list[Any]) -> list[Any]:
        self._count(len(items))
        return items

    def _count_map(self, items: dict[Any, Any]) -> dict[Any, Any]:
        self._count(2 * len(items))
        return items

    def _count(self, items: int) -> None:
        self._left -= items
        if self._left < 0:
            raise LimitError(f"a message holds more than {self._terms.max_elements} items, the limit of this side")


def check_claims(body: Buffer) -> None:
    """Raise if a message is shorter than the sizes in it claim."""
    size = len(body)
    unpacker = msgpack.Unpacker(read_size=size, max_buffer_size=size)
    unpacker.feed(body)
    unpacker.skip()


_Decoder: TypeAlias = Callable[[Reader, bytes], Any]


def _load(load: Callable[[bytes], Any]) -> _Decoder:
    return lambda reader, content: load(content)


def _load_of_library(code: int) -> _Decoder:
    def load(reader: Reader, content: bytes) -> Any:
        from one_liner.wire import library

        return library.LOADERS[code](content)

    return load


def _load_from(kind: type, make: Callable[[Any], Any]) -> _Decoder:
    return lambda reader, content: make(reader.unpack_as(kind, content))


def _load_slice(reader: Reader, content: bytes) -> slice:
    start, stop, step = reader.unpack_whole(content)
    return slice(start, stop, step)


def _load_bytes(reader: Reader, content: bytes) -> bytes:
    return bytes(reader.buffer(_exactly(content, NUMBER.size)))


def _load_bytearray(reader: Reader, content: bytes) -> bytearray:
    return bytearray(reader.buffer(_exactly(content, NUMBER.size)))


def _exactly(content: bytes, size: int) -> bytes:
    if len(content) != size:
        raise MalformedError(f"{len(content)} bytes in place of {size}")
    return content


def _load_enum(reader: Reader, content: bytes) -> enum.Enum | EnumValue:
    type_name, name, *values = reader.unpack_whole(content)
    if type(type_name) is not str or not (name is None or type(name) is str) or len(values) > 1:
        raise MalformedError("no member of an enumeration")
    return find_member(type_name, name, values[0] if values else None)


def _load_registered(reader: Reader, content: bytes) -> Any:
    name, parts = reader.unpack_whole(content)
    registration = registration_named(name)
    if registration is None or registration.load is None:
        raise MalformedError(
            f"{shown(name)} is not registered here; register it with one_liner.register_type on both ends"
        )
    try:
        return registration.load(parts)
    except Exception as error:
        raise MalformedError(f"<{name}> does not accept what arrived: {short(error)}") from error


def _load_pickle(reader: Reader, content: bytes) -> Any:
    if not reader.allow_pickle:
        raise MalformedError("a pickle arrived, which has to be allowed on both ends with allow_pickle=True")
    return pickle.loads(content)  # noqa: S301  # both ends were told to


def _load_numpy_scalar(reader: Reader, content: bytes) -> Any:
    return numpy_arrays().load_scalar(content)


def _load_array(reader: Reader, content: bytes) -> Any:
    return numpy_arrays().load_array(content)


def _load_array_out(reader: Reader, content: bytes) -> Any:
    return numpy_arrays().load_array(content[NUMBER.size :], memoryview(reader.buffer(content)).cast("B"))


def _load_marked_array(reader: Reader, content: bytes) -> Any:
    marks, code = content[:2]
    if code not in (NUMPY_SCALAR, ARRAY, ARRAY_OUT):
        raise MalformedError(f"extension type {code} is no array")
    return numpy_arrays().mark(_DECODERS[code](reader, content[2:]), marks)


def _load_masked_array(reader: Reader, content: bytes) -> Any:
    return numpy_arrays().put_mask(reader.unpack_whole(content))


_DECODERS: dict[int, _Decoder] = {
    TUPLE: _load_from(list, tuple),
    SET: _load_from(list, set),
    FROZENSET: _load_from(list, frozenset),
    ORDERED_DICT: _load_from(dict, OrderedDict),
    COUNTER: _load_from(dict, Counter),
    BYTEARRAY: _load(bytearray),
    BYTES_OUT: _load_bytes,
    BYTEARRAY_OUT: _load_bytearray,
    SLICE: _load_slice,
    **{code: _load(load) for code, load in scalars.LOADERS.items()},
    **{code: _load_of_library(code) for code in scalars.LIBRARY_CODES},
    ENUM: _load_enum,
    REGISTERED: _load_registered,
    PICKLE: _load_pickle,
    NUMPY_SCALAR: _load_numpy_scalar,
    ARRAY: _load_array,
    ARRAY_OUT: _load_array_out,
    MASKED_ARRAY: _load_masked_array,
    MARKED_ARRAY: _load_marked_array,
}
