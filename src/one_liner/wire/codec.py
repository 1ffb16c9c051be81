"""Values as bytes, and back.

A value becomes one msgpack object, the *body*, and some *buffers*: contents of at least `OUT_OF_BAND_BYTES` that travel
as frames of their own and are never copied here. The first buffer has number 0. Nothing that arrives is evaluated or
imported, and it is unpickled only where that was asked for; whatever the bytes are, the outcome is a value, a
`MalformedError`, a `LimitError` when it holds too much, or a `MissingExtraError` when numpy is needed and not
installed.

msgpack knows None, bool, int (64 bits), float, str (lone surrogates as CESU-8 would write them), bytes, list and dict
(any key). Everything else is an extension type. Numbers are big-endian; "msgpack" stands for one msgpack object, which
may again hold any of these; *dtype* is a u16 length, then either what numpy's `dtype.str` gives (`<f8`, `>M8[ns]`; a
long double with its mantissa bits: `<f16/63`) or msgpack: `[base, shape]` for a subarray, a map of `names`, `formats`,
`offsets`, `itemsize` and perhaps `titles` for fields.

==== ============== ====================================================================================================
code name           content
==== ============== ====================================================================================================
  -1 timestamp      msgpack's own; arrives as a datetime in UTC, never sent
   1 tuple          msgpack list; also for a named tuple that is not registered
   2 set            msgpack list
   3 frozenset      msgpack list
   4 OrderedDict    msgpack map
   5 Counter        msgpack map
   6 bytearray      the bytes
   7 bytes out      u32 number of the buffer with the bytes
   8 bytearray out  u32 number of the buffer with the bytes
   9 slice          msgpack list: start, stop, step
  16 int            two's complement, for what does not fit into 64 bits
  17 complex        two f64: real, imaginary
  18 Decimal        text
  19 Fraction       numerator, denominator; each u16 length (at most 8192), two's complement
  20 range          start, stop, step; each u16 length (at most 8192), two's complement
  21 Ellipsis       nothing
  24 datetime       u16 year, u8 month, day, hour, minute, second, u32 microsecond (top bit: fold), *zone*
  25 date           u16 year, u8 month, u8 day
  26 time           u8 hour, minute, second, u32 microsecond (top bit: fold), *zone*
  27 timedelta      i32 days, u32 seconds, u32 microseconds
  28 timezone       *zone*: nothing; or `F` i64 offset in microseconds, name; or `Z` i64 offset (least: unknown), key
  32 UUID           16 bytes
  33 path           u8 kind (PurePosixPath, PureWindowsPath, PosixPath, WindowsPath), text
  34 IP address     u8 kind (address 4, 6, network 4, 6, interface 4, 6), text
  40 enum           msgpack list: name of the class, name of the member or nil, value (missing if it can't be carried)
  41 registered     msgpack list: name of the class, what its encode function gave or a map of its fields
  42 pickle         a pickle; only where both ends allow it
  48 numpy scalar   *dtype*, memory; as *dtype* also `S` with the bytes or `U` with the text
  49 array          u8 rank (top bit: Fortran order), *dtype*, u64 for each dimension, memory
  50 array out      u32 number of the buffer with the memory, then as 49
  51 masked array   msgpack list: array, mask or nil, fill value, whether the mask is hard; nil: the value `masked`
  52 marked array   u8 marks (1 read-only, 2 record), u8 code of what it is otherwise (48, 49, 50), content of that
==== ============== ====================================================================================================
"""

from __future__ import annotations

import enum
import pickle
import reprlib
import struct
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain, islice
from types import ModuleType
from typing import Any, Final, TypeAlias

import msgpack  # type: ignore[import-untyped]

from one_liner.errors import LimitError, MalformedError, MissingExtraError, NotCarriableError
from one_liner.limits import DEFAULT_LIMITS
from one_liner.wire import scalars
from one_liner.wire.advice import advice
from one_liner.wire.types import (
    EnumValue,
    Refusal,
    find_member,
    name_of,
    parts_of,
    parts_of_member,
    registration_named,
    registration_of,
)
from one_liner.wire.types import register_type as register_type

OUT_OF_BAND_BYTES: Final = 64 * 1024
"""Contents from this size travel as frames of their own."""

Buffer: TypeAlias = bytes | bytearray | memoryview
"""What a frame is made of: anything that supports the buffer protocol."""

TUPLE, SET, FROZENSET, ORDERED_DICT, COUNTER, BYTEARRAY, BYTES_OUT, BYTEARRAY_OUT, SLICE = range(1, 10)
ENUM, REGISTERED, PICKLE = range(40, 43)
NUMPY_SCALAR, ARRAY, ARRAY_OUT, MASKED_ARRAY, MARKED_ARRAY = range(48, 53)

_NUMBER = struct.Struct(">I")

# First bytes of the msgpack formats for bytes, and all that open neither a list nor a map.
_BIN_8, _BIN_16, _BIN_32 = 0xC4, 0xC5, 0xC6
_NOT_NESTING = bytes(byte for byte in range(256) if not (0x80 <= byte <= 0x9F or 0xDC <= byte <= 0xDF))

# msgpack reserves memory for as many list items as a message claims to have, once for every nesting level. Up to this
# size the worst that can be claimed is some megabytes; from here on the claims are checked first.
_UNCHECKED_BYTES = 2048
# Each unpacking inside of an unpacking takes 40 KiB of the C stack, of which some threads have little.
_LEVELS_ON_STACK = 8

# A packer keeps the memory of the largest message that it made; one that grew beyond this is given up.
_KEPT_BYTES = 1 << 20
_PACKER_BYTES = 8192

# How many parts of a value are tried, at most, in search of the one that can't be carried.
_SEARCHED_PARTS = 200_000
_SHOWN_CHARACTERS = 500
_SHOW = reprlib.Repr()
_SHOW.maxstring = _SHOW.maxother = 80

# From this many containers on the same level, they are looked at only once each: they may contain each other.
_LARGE_LAYER = 10_000

_CONTAINERS = (list, dict, tuple, set, frozenset)
_BYTES_LIKE = frozenset((bytes, bytearray, memoryview))
_PLAIN = frozenset((list, dict, defaultdict))


class Codec:
    """Turns values into bytes and back.

    May be used by any number of threads at once.

    Args:
        allow_pickle: whether what can't be carried otherwise is pickled, and pickles that arrive are loaded. A pickle
            can make this process do anything: only where everybody who can send is trusted.
        max_depth: how many containers may sit inside each other, in what is sent and in what arrives.
        max_elements: how many items the containers of what arrives may have together.
    """

    def __init__(
        self,
        *,
        allow_pickle: bool = False,
        max_depth: int = DEFAULT_LIMITS.depth,
        max_elements: int = DEFAULT_LIMITS.elements,
    ) -> None:
        self.allow_pickle = allow_pickle
        self.max_depth = max_depth
        self.max_elements = max_elements
        self._threads = _Threads(self)

    def encode(self, value: Any, root: str = "result") -> tuple[bytes, Sequence[Buffer]]:
        """Turn a value into body and buffers.

        The buffers are views of the value's own memory wherever possible: it must not change until they were sent.

        Args:
            value: what to send.
            root: what an error calls the value.

        Returns:
            The body, and the buffers that belong to it: usually none.

        Raises:
            NotCarriableError: something in it can't travel; says what, and where it sits.
        """
        writer = self._threads.writer
        if writer.level:  # a function of the user that encodes an instance encodes something itself
            writer = Writer(self)
        try:
            body = writer.pack_whole(value)
        except Refusal as refusal:
            raise _explain(self, value, root, refusal) from refusal.__cause__
        if writer.buffers:
            return body, writer.take_buffers()
        writer.expects_bytes = False
        return body, ()

    def decode(self, body: Buffer, buffers: Sequence[Buffer] = ()) -> Any:
        """Turn body and buffers into the value again.

        Large arrays read straight from their buffer and are writable if that is; everything else is a copy.

        Raises:
            MalformedError: this is no value, or one that may not come in: too deep, a pickle, of an unknown class.
            LimitError: it has too many items.
            MissingExtraError: it holds an array and numpy is not installed.
        """
        try:
            size = len(body)
            if size > _UNCHECKED_BYTES:
                _check_claims(body)
            if size > self.max_elements:  # Each item takes a byte at least.
                return self._decode_counting(body, buffers)
            value = msgpack.unpackb(
                body,
                ext_hook=Reader(self, buffers).extension if buffers else self._extension,
                strict_map_key=False,
                timestamp=3,
                unicode_errors="surrogatepass",
            )
            if size > self.max_depth and _is_deeper(value, self.max_depth, body):
                raise MalformedError(f"nested deeper than {self.max_depth} levels")
        except (MalformedError, LimitError, MissingExtraError):
            raise
        except Exception as error:
            raise MalformedError(f"no value: {_short(error)}") from error
        return value

    def check_depth(self, value: Any) -> None:
        """Hold a value that came in another way than by `decode` to the same depth.

        Raises:
            MalformedError: it is nested deeper than that.
        """
        if _nests(value, self.max_depth):
            raise MalformedError(f"nested deeper than {self.max_depth} levels")

    def _decode_counting(self, body: Buffer, buffers: Sequence[Buffer]) -> Any:
        """Decode a body that is large enough to hold too many items: count them while they are made."""
        value = CountingReader(self, buffers).unpack(bytes(body))
        if _is_deeper(value, self.max_depth, body):
            raise MalformedError(f"nested deeper than {self.max_depth} levels")
        return value

    def _extension(self, code: int, data: bytes) -> Any:
        return Reader(self, ()).extension(code, data)


# --- writing ---------------------------------------------------------------------------------------------------------


class _Threads(threading.local):
    """Gives each thread a writer of its own."""

    def __init__(self, codec: Codec) -> None:
        self.writer = Writer(codec)


class Writer:
    """Packs one value at a time, for one thread.

    The content of an extension type is packed by a packer of its own while the outer one waits: one for each level.
    """

    __slots__ = ("_codec", "_packers", "buffers", "expects_bytes", "level")

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
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
        return _NUMBER.pack(len(self.buffers) - 1)

    def pack_whole(self, value: Any) -> bytes:
        """Pack a value and make sure that it is not nested too deep."""
        mark = len(self.buffers)
        try:
            body = self.pack(value)
            if len(body) > self._codec.max_depth and _is_deeper(value, self._codec.max_depth, body):
                raise self._too_deep(value)
        except BaseException:
            del self.buffers[mark:]
            raise
        return body

    def pack(self, value: Any) -> bytes:
        """Pack a value that is checked for its depth together with what it is part of."""
        level = self.level
        if level == len(self._packers):
            if level > self._codec.max_depth:
                raise self._too_deep(value)
            self._packers.append(self._new_packer())
        self.level = level + 1
        mark = len(self.buffers)
        try:
            # msgpack takes bytes of any kind without asking, so they are looked for afterwards, unless the value
            # before held large ones: then this one will, too, and looking first saves a copy.
            lifted = value
            if self.expects_bytes and not _nests(value, self._codec.max_depth):
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
            raise Refusal(value, _short(error)) from error
        finally:
            self.level = level
        if len(body) > _KEPT_BYTES:
            self._packers[level] = self._new_packer()
        return body

    def _pack_carefully(self, value: Any) -> bytes:
        """For what msgpack itself stumbled over: depth, lone surrogates, memory in pieces."""
        try:
            if _nests(value, self._codec.max_depth):
                raise self._too_deep(value)
            body: bytes = self._new_packer("surrogatepass").pack(self._lift(value))
        except Refusal:
            raise
        except RecursionError:
            raise self._too_deep(value) from None
        except Exception as error:
            raise Refusal(value, _short(error)) from error
        return body

    def _too_deep(self, value: Any) -> Refusal:
        return Refusal(value, f"nested deeper than {self._codec.max_depth} levels", too_deep=True)

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
            refusal = Refusal(value, _short(error))
            refusal.__cause__ = error
        if not self._codec.allow_pickle:
            raise refusal
        try:
            return _ext(PICKLE, pickle.dumps(value, protocol=5))
        except Exception as error:
            raise Refusal(value, f"not even as a pickle: {_short(error)}") from error


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


def _is_deeper(value: Any, limit: int, body: Buffer) -> bool:
    """Whether a value that is packed as `body` nests deeper than `limit`; hardly ever has to look at the value."""
    return len(bytes(body).translate(None, _NOT_NESTING)) > limit and _nests(value, limit)


def _nests(value: Any, limit: int) -> bool:
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


def _short(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


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
    arrays = _arrays()
    header, content = arrays.dump_array(value, OUT_OF_BAND_BYTES)
    if len(content) >= OUT_OF_BAND_BYTES:
        return _marked(arrays.marks_of(value), ARRAY_OUT, writer.attach(content) + header)
    return _marked(arrays.marks_of(value), ARRAY, header + content)


def _record(dump: Callable[[Any], bytes]) -> _Encoder:
    return lambda writer, value: _marked(_arrays().RECORD, NUMPY_SCALAR, dump(value))


def _marked(marks: int, code: int, content: bytes) -> msgpack.ExtType:
    return _ext(MARKED_ARRAY, bytes((marks, code)) + content) if marks else _ext(code, content)


def _masked_array(writer: Writer, value: Any) -> Any:
    return _ext(MASKED_ARRAY, writer.pack_whole(_arrays().take_mask(value)))


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
    return None


def _learn_numpy(kind: type) -> _Encoder | None:
    arrays = _arrays()
    _ENCODERS.update({cls: _scalar(NUMPY_SCALAR, dump) for cls, dump in arrays.scalar_dumpers().items()})
    _ENCODERS.update({cls: _record(dump) for cls, dump in arrays.record_dumpers().items()})
    _ENCODERS.update(dict.fromkeys(arrays.ARRAYS, _array))
    _ENCODERS.update(dict.fromkeys(arrays.masked_arrays(), _masked_array))
    return _ENCODERS.get(kind)


@cache
def _arrays() -> ModuleType:
    try:
        from one_liner.wire import arrays
    except ImportError as error:
        raise MissingExtraError("this is an array and numpy is not installed; pip install one_liner[numpy]") from error
    return arrays


# --- what can't be carried, and where it sits ------------------------------------------------------------------------


def _explain(codec: Codec, whole: Any, root: str, refusal: Refusal) -> NotCarriableError:
    """Walk down to what was refused, packing the parts one by one, and say where that is."""
    writer = Writer(codec)
    path, value, above = root, whole, {id(whole): whole}
    while (found := _refused_part(writer, value)) is not None and len(above) <= codec.max_depth:
        step, value, refusal = found
        path += step
        if id(value) in above:
            return _not_carriable(path, value, "contains itself and cannot be carried")
        above[id(value)] = value
    if refusal.too_deep:
        return _not_carriable(root, whole, f"is {refusal.reason} and cannot be carried")
    if refusal.reason:
        return _not_carriable(path, value, f"cannot be carried: {refusal.reason}")
    return _not_carriable(path, value, f"cannot be carried; {advice(type(value))}")


def _refused_part(writer: Writer, value: Any) -> tuple[str, Any, Refusal] | None:
    for step, part in islice(_parts(value), _SEARCHED_PARTS):
        try:
            writer.pack_whole(part)
        except Refusal as refusal:
            return step, part, refusal
        finally:
            writer.take_buffers()
    return None


def _not_carriable(path: str, value: Any, what: str) -> NotCarriableError:
    type_name = name_of(type(value))
    return NotCarriableError(f"{path}: <{type_name}> {what}", path=path, type_name=type_name)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a value consists of, each with the step that leads to it."""
    registration = registration_of(type(value))
    try:
        if registration is not None:
            yield from parts_of(registration, value)
        elif isinstance(value, dict):
            yield from ((".keys()", key) for key in value)
            yield from ((f"[{_shown(key)}]", item) for key, item in value.items())
        elif isinstance(value, tuple) and hasattr(value, "_fields"):
            yield from ((f".{name}", item) for name, item in zip(value._fields, value, strict=False))
        elif isinstance(value, (list, tuple)):
            yield from ((f"[{index}]", item) for index, item in enumerate(value))
        elif isinstance(value, (set, frozenset)):
            yield from (("{…}", item) for item in value)
        elif type(value) is slice:
            yield from ((f".{name}", getattr(value, name)) for name in ("start", "stop", "step"))
    except Exception:  # code of the user, or a container that changes meanwhile: then this is as far as it goes
        return


def _shown(key: Any) -> str:
    try:
        shown = _SHOW.repr(key)
        return f'"{shown[1:-1]}"' if type(key) is str and '"' not in shown else shown
    except Exception:  # integers of some thousand digits
        return f"<{name_of(type(key))}>"


# --- reading ---------------------------------------------------------------------------------------------------------


class Reader:
    """Unpacks one message."""

    __slots__ = ("_buffers", "_codec", "_level")

    def __init__(self, codec: Codec, buffers: Sequence[Buffer]) -> None:
        self._codec = codec
        self._buffers = buffers
        self._level = 0

    @property
    def allow_pickle(self) -> bool:
        """Whether a pickle may be loaded."""
        return self._codec.allow_pickle

    def extension(self, code: int, content: bytes) -> Any:
        """The value of an extension type."""
        decode = _DECODERS.get(code)
        if decode is None:
            raise MalformedError(f"unknown extension type {code}")
        return decode(self, content)

    def unpack(self, content: bytes) -> Any:
        """The msgpack object inside of an extension type, when it is checked for its depth with the whole."""
        if self._level >= self._codec.max_depth:
            raise MalformedError(f"nested deeper than {self._codec.max_depth} levels")
        if len(content) > _UNCHECKED_BYTES:
            _check_claims(content)
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
        if len(content) > self._codec.max_depth and _is_deeper(value, self._codec.max_depth, content):
            raise MalformedError(f"nested deeper than {self._codec.max_depth} levels")
        return value

    def unpack_as(self, kind: type, content: bytes) -> Any:
        """The same as `unpack`, for a content that has to be a list or a map."""
        value = self.unpack(content)
        if type(value) is not kind:
            raise MalformedError(f"a {kind.__name__} was expected, not a {type(value).__name__}")
        return value

    def buffer(self, content: bytes) -> Buffer:
        """The buffer whose number is at the start of a content."""
        number: int = _NUMBER.unpack_from(content)[0]
        if number >= len(self._buffers):
            raise MalformedError(f"buffer {number} of {len(self._buffers)}")
        return self._buffers[number]


class CountingReader(Reader):
    """Unpacks one message, and gives up when its containers have too many items."""

    __slots__ = ("_left",)

    def __init__(self, codec: Codec, buffers: Sequence[Buffer]) -> None:
        super().__init__(codec, buffers)
        self._left = codec.max_elements

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
            raise LimitError(f"a message holds more than {self._codec.max_elements} items, the limit of this side")


def _check_claims(body: Buffer) -> None:
    """Raise if a message is shorter than the sizes in it claim."""
    size = len(body)
    unpacker = msgpack.Unpacker(read_size=size, max_buffer_size=size)
    unpacker.feed(body)
    unpacker.skip()


_Decoder: TypeAlias = Callable[[Reader, bytes], Any]


def _load(load: Callable[[bytes], Any]) -> _Decoder:
    return lambda reader, content: load(content)


def _load_from(kind: type, make: Callable[[Any], Any]) -> _Decoder:
    return lambda reader, content: make(reader.unpack_as(kind, content))


def _load_slice(reader: Reader, content: bytes) -> slice:
    start, stop, step = reader.unpack_whole(content)
    return slice(start, stop, step)


def _load_bytes(reader: Reader, content: bytes) -> bytes:
    return bytes(reader.buffer(_exactly(content, _NUMBER.size)))


def _load_bytearray(reader: Reader, content: bytes) -> bytearray:
    return bytearray(reader.buffer(_exactly(content, _NUMBER.size)))


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
            f"{_shown(name)} is not registered here; register it with one_liner.register_type on both ends"
        )
    try:
        return registration.load(parts)
    except Exception as error:
        raise MalformedError(f"<{name}> does not accept what arrived: {_short(error)}") from error


def _load_pickle(reader: Reader, content: bytes) -> Any:
    if not reader.allow_pickle:
        raise MalformedError("a pickle arrived, which has to be allowed on both ends with allow_pickle=True")
    return pickle.loads(content)  # noqa: S301  # both ends were told to


def _load_numpy_scalar(reader: Reader, content: bytes) -> Any:
    return _arrays().load_scalar(content)


def _load_array(reader: Reader, content: bytes) -> Any:
    return _arrays().load_array(content)


def _load_array_out(reader: Reader, content: bytes) -> Any:
    return _arrays().load_array(content[_NUMBER.size :], memoryview(reader.buffer(content)).cast("B"))


def _load_marked_array(reader: Reader, content: bytes) -> Any:
    marks, code = content[:2]
    if code not in (NUMPY_SCALAR, ARRAY, ARRAY_OUT):
        raise MalformedError(f"extension type {code} is no array")
    return _arrays().mark(_DECODERS[code](reader, content[2:]), marks)


def _load_masked_array(reader: Reader, content: bytes) -> Any:
    return _arrays().put_mask(reader.unpack_whole(content))


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
    ENUM: _load_enum,
    REGISTERED: _load_registered,
    PICKLE: _load_pickle,
    NUMPY_SCALAR: _load_numpy_scalar,
    ARRAY: _load_array,
    ARRAY_OUT: _load_array_out,
    MASKED_ARRAY: _load_masked_array,
    MARKED_ARRAY: _load_marked_array,
}
