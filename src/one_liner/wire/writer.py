"""Values to bytes: one msgpack object, and the large contents that travel beside it."""

from __future__ import annotations

import enum
import pickle
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from itertools import chain
from typing import Any, Final, TypeAlias

import msgpack  # type: ignore[import-untyped]

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
    OUT_OF_BAND_BYTES,
    PICKLE,
    REGISTERED,
    SET,
    SLICE,
    TUPLE,
    Buffer,
    numpy_arrays,
)
from one_liner.wire.nesting import is_deeper, nests
from one_liner.wire.shown import short
from one_liner.wire.terms import Terms
from one_liner.wire.types import EnumValue, Refusal, library_dumpers, parts_of_member, registration_of

# First bytes of the msgpack formats for bytes.
_BIN_8, _BIN_16, _BIN_32 = 0xC4, 0xC5, 0xC6

# A packer keeps the memory of the largest message that it made; one that grew beyond this is given up.
_KEPT_BYTES: Final = 1 << 20
_PACKER_BYTES: Final = 8192

_BYTES_LIKE: Final = frozenset((bytes, bytearray, memoryview))
_PLAIN: Final = frozenset((list, dict, defaultdict))


class Writer:
    """Packs one value at a time, for one thread.

    The content of an extension type is packed by a packer of its own while the outer one waits: one for each level.
    """

    __slots__ = ("_max_depth", "_packers", "_terms", "buffers", "expects_bytes", "level")

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._max_depth = terms.max_depth
        self._packers: list[msgpack.Packer] = []
        self.expects_bytes = False
        self.level = 0
        self.buffers: list[Buffer] = []

    def _new_packer(self, unicode_errors: str | None = None) -> msgpack.Packer:
        return msgpack.Packer(
            default=self._extension, strict_types=True, unicode_errors=unicode_errors, buf_size=_PACKER_BYTES
        )

    def take_buffers(self) -> list[Buffer]:
        """The buffers of the value that was packed last; they are forgotten here."""
        buffers, self.buffers = self.buffers, []
        return buffers

    def attach(self, content: Buffer) -> bytes:
        """Let a content travel as a buffer; gives the number to find it by."""
        self.buffers.append(content)
        return NUMBER.pack(len(self.buffers) - 1)

    def pack_whole(self, value: Any) -> bytes:
        """Pack a value and make sure that it is not nested too deep."""
        mark = len(self.buffers)
        try:
            body = self.pack(value)
            if len(body) > self._max_depth and is_deeper(value, self._max_depth, body):
                raise self._too_deep(value)
        except BaseException:
            del self.buffers[mark:]
            raise
        return body

    def pack(self, value: Any) -> bytes:
        """Pack a value that is checked for its depth together with what it is part of."""
        level = self.level
        if level == len(self._packers):
            if level > self._max_depth:
                raise self._too_deep(value)
            self._packers.append(self._new_packer())
        self.level = level + 1
        mark = len(self.buffers)
        try:
            # msgpack takes bytes of any kind without asking, so they are looked for afterwards, unless the value
            # before held large ones: then this one will, too, and looking first saves a copy.
            lifted = value
            if self.expects_bytes and not nests(value, self._max_depth):
                lifted = self._lift(value)
            body: bytes = self._packers[level].pack(lifted)
            if lifted is value and (_BIN_8 in body or _BIN_16 in body or _BIN_32 in body) and _holds_bytes(value):
                del self.buffers[mark:]
                body = self._packers[level].pack(self._lift(value))
        except Refusal:
            raise
        except (ValueError, BufferError, RecursionError):
            del self.buffers[mark:]
            body = self._pack_carefully(value)
        except Exception as error:  # such as a dict that another thread changes meanwhile
            raise Refusal(value, short(error)) from error
        finally:
            self.level = level
        if len(body) > _KEPT_BYTES:
            self._packers[level] = self._new_packer()
        return body

    def _pack_carefully(self, value: Any) -> bytes:
        """For what msgpack itself stumbled over: depth, lone surrogates, memory in pieces."""
        try:
            if nests(value, self._max_depth):
                raise self._too_deep(value)
            body: bytes = self._new_packer("surrogatepass").pack(self._lift(value))
        except Refusal:
            raise
        except RecursionError:
            raise self._too_deep(value) from None
        except Exception as error:
            raise Refusal(value, short(error)) from error
        return body

    def _too_deep(self, value: Any) -> Refusal:
        return Refusal(value, f"nested deeper than {self._max_depth} levels", too_deep=True)

    def _lift(self, value: Any) -> Any:
        """The value with everything bytes-like replaced that msgpack would copy or turn into plain bytes."""
        if not _holds_bytes(value):
            return value
        kind = type(value)
        if kind is list:
            return [self._lift(item) for item in value]
        if kind is dict or kind is defaultdict:
            return {key: self._lift(item) for key, item in value.items()}
        content = memoryview(value)
        if content.nbytes >= OUT_OF_BAND_BYTES:
            self.expects_bytes = True
            code = BYTEARRAY_OUT if kind is bytearray else BYTES_OUT
            return _ext(code, self.attach(value if kind is not memoryview else _flat(value)))
        return _ext(BYTEARRAY, bytes(value)) if kind is bytearray else content.tobytes()

    def _extension(self, value: Any) -> Any:
        """What msgpack packs in place of something that it does not know."""
        kind = type(value)
        try:
            encode = _ENCODERS.get(kind) or _encoder_of(kind)
            if encode is not None:
                return encode(self, value)
            refusal = Refusal(value)
        except RecursionError:
            raise
        except Refusal as error:
            if error.value is not value or error.too_deep:
                raise
            refusal = error
        except Exception as error:
            refusal = Refusal(value, short(error))
            refusal.__cause__ = error
        if not self._terms.allow_pickle:
            raise refusal
        try:
            return _ext(PICKLE, pickle.dumps(value, protocol=5))
        except Exception as error:
            raise Refusal(value, f"not even as a pickle: {short(error)}") from error


def _ext(code: int, content: bytes) -> msgpack.ExtType:
    # Past the checks of ExtType, which cost more than packing it.
    return tuple.__new__(msgpack.ExtType, (code, content))


def _flat(view: memoryview) -> Buffer:
    try:
        return view.cast("B")
    except (TypeError, ValueError):  # in pieces, or of a format that is foreign to memoryview
        return view.tobytes()


def _holds_bytes(value: Any) -> bool:
    """Whether something in the plain containers of a value, which end somewhere, has to be lifted out of them."""
    layer: list[Any] = [[value]]
    while True:
        items = [item if type(item) is list else item.values() for item in layer]
        kinds = set(map(type, chain.from_iterable(items)))
        if not _BYTES_LIKE.isdisjoint(kinds) and any(map(_is_lifted, chain.from_iterable(items))):
            return True
        if _PLAIN.isdisjoint(kinds):
            return False
        layer = [item for item in chain.from_iterable(items) if type(item) in _PLAIN]


def _is_lifted(item: Any) -> bool:
    kind = type(item)
    return (kind is bytes and len(item) >= OUT_OF_BAND_BYTES) or kind is bytearray or kind is memoryview


# --- how each type is written ----------------------------------------------------------------------------------------

_Encoder: TypeAlias = Callable[[Writer, Any], Any]


def _scalar(code: int, dump: Callable[[Any], bytes]) -> _Encoder:
    return lambda writer, value: _ext(code, dump(value))


def _items(code: int) -> _Encoder:
    return lambda writer, value: _ext(code, writer.pack(list(value)))


def _mapping(code: int) -> _Encoder:
    return lambda writer, value: _ext(code, writer.pack(dict(value)))


def _slice(writer: Writer, value: slice) -> Any:
    return _ext(SLICE, writer.pack_whole([value.start, value.stop, value.step]))


def _enum(writer: Writer, value: enum.Enum | EnumValue) -> Any:
    if isinstance(value, EnumValue):
        type_name, name, content = value.type_name, value.name, value.value
    else:
        type_name, name, content = parts_of_member(value)
    try:
        return _ext(ENUM, writer.pack_whole([type_name, name, content]))
    except Refusal:
        return _ext(ENUM, writer.pack([type_name, name]))


def _registered(writer: Writer, value: Any) -> Any:
    registration = registration_of(type(value))
    if registration is None or registration.dump is None:
        raise Refusal(value, "its registration was changed meanwhile")
    return _ext(REGISTERED, writer.pack_whole([registration.name, registration.dump(value)]))


def _array(writer: Writer, value: Any) -> Any:
    arrays = numpy_arrays()
    header, content = arrays.dump_array(value, OUT_OF_BAND_BYTES)
    if len(content) >= OUT_OF_BAND_BYTES:
        return _marked(arrays.marks_of(value), ARRAY_OUT, writer.attach(content) + header)
    return _marked(arrays.marks_of(value), ARRAY, header + content)


def _record(dump: Callable[[Any], bytes]) -> _Encoder:
    return lambda writer, value: _marked(numpy_arrays().RECORD, NUMPY_SCALAR, dump(value))


def _marked(marks: int, code: int, content: bytes) -> msgpack.ExtType:
    return _ext(MARKED_ARRAY, bytes((marks, code)) + content) if marks else _ext(code, content)


def _masked_array(writer: Writer, value: Any) -> Any:
    return _ext(MASKED_ARRAY, writer.pack_whole(numpy_arrays().take_mask(value)))


_ENCODERS: dict[type, _Encoder] = {
    tuple: _items(TUPLE),
    set: _items(SET),
    frozenset: _items(FROZENSET),
    OrderedDict: _mapping(ORDERED_DICT),
    Counter: _mapping(COUNTER),
    defaultdict: lambda writer, value: dict(value),
    slice: _slice,
    EnumValue: _enum,
    **{cls: _scalar(code, dump) for cls, (code, dump) in scalars.DUMPERS.items()},
}


def _encoder_of(kind: type) -> _Encoder | None:
    """What writes instances of a class that is not in the table; None if nothing does."""
    registration = registration_of(kind)
    if registration is not None and registration.dump is not None:
        return _registered
    if issubclass(kind, enum.Enum):
        return _enum
    if issubclass(kind, tuple) and (hasattr(kind, "_fields") or hasattr(kind, "n_sequence_fields")):
        return _ENCODERS[tuple]
    module = kind.__module__
    if module == "numpy" or module.startswith("numpy."):
        return _learn_numpy(kind)
    _ENCODERS.update({cls: _scalar(code, dump) for cls, (code, dump) in library_dumpers(kind).items()})
    return _ENCODERS.get(kind)


def _learn_numpy(kind: type) -> _Encoder | None:
    arrays = numpy_arrays()
    _ENCODERS.update({cls: _scalar(NUMPY_SCALAR, dump) for cls, dump in arrays.scalar_dumpers().items()})
    _ENCODERS.update({cls: _record(dump) for cls, dump in arrays.record_dumpers().items()})
    _ENCODERS.update(dict.fromkeys(arrays.ARRAYS, _array))
    _ENCODERS.update(dict.fromkeys(arrays.masked_arrays(), _masked_array))
    return _ENCODERS.get(kind)
