"""numpy arrays and scalars, each as a header and its bare memory.

Importing this module imports numpy, so the codec does it only when an array is there to be sent or has arrived.
The table in `one_liner.wire.extensions` shows the layouts. No element is ever an object: what a stranger sends is
memory and a description of it, and the two have to agree to the byte.
"""

from __future__ import annotations

import math
import re
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np

from one_liner.wire.types import Refusal

_FORTRAN = 0x80
_LENGTH = struct.Struct(">H")
_MAX_DTYPE_DEPTH = 32
_CACHED = 512

# What dtype.str gives for everything that holds no objects; a platform's own float carries the bits of its mantissa,
# because 16 bytes are an 80-bit number on one processor and a 128-bit number on another.
_SIMPLE = re.compile(
    r"([<>|](?:[biufcSUV]\d{1,9}|[mM]8(?:\[(?:[1-9]\d{0,8})?[A-Za-z]{1,3}\])?))(?:/(\d{1,3}))?", re.ASCII
)
_LONG_BITS = int(np.finfo(np.longdouble).nmant)
_LONG_BYTES = {"f": 8, "c": 16}

ARRAYS = (np.ndarray, np.recarray, np.memmap)
"""The classes that travel as arrays; any other subclass means more than its memory says."""

READ_ONLY, RECORD = 1, 2
"""What else may be said of an array; a record is one whose fields are attributes, too."""

_headers: dict[np.dtype[Any], bytes] = {}
_dtypes: dict[bytes, np.dtype[Any]] = {}


# --- dtypes ----------------------------------------------------------------------------------------------------------


def _describe(dtype: np.dtype[Any]) -> Any:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [_describe(base), list(shape)]
    if dtype.names is not None:
        fields = [dtype.fields[name] for name in dtype.names]  # type: ignore[index]  # a dtype with names has fields
        description = {
            "names": list(dtype.names),
            "formats": [_describe(field[0]) for field in fields],
            "offsets": [field[1] for field in fields],
            "itemsize": dtype.itemsize,
        }
        titles = [(*field, None)[2] for field in fields]
        if any(type(title) is str for title in titles):
            description["titles"] = [title if type(title) is str else None for title in titles]
        return description
    if dtype.kind not in "biufcmMSUV" or np.dtype(dtype.str) != dtype:
        raise TypeError(f"numpy does not say how the memory of dtype {dtype} is laid out")
    if dtype.itemsize > _LONG_BYTES.get(dtype.kind, dtype.itemsize):
        return f"{dtype.str}/{_LONG_BITS}"
    return dtype.str


def _dump_dtype(dtype: np.dtype[Any], value: Any) -> bytes:
    blob = _headers.get(dtype)
    if blob is None:
        if dtype.kind == "T":
            raise Refusal(
                value, f"numpy keeps the texts of a {dtype} outside of the array; send numpy.array(….tolist())"
            )
        if dtype.hasobject:
            raise Refusal(value, f"its dtype {dtype} holds Python objects; convert it to one that does not")
        try:
            description = _describe(dtype)
        except TypeError as error:
            raise Refusal(value, str(error)) from None
        packed: bytes = (
            description.encode("ascii")
            if isinstance(description, str)
            else msgpack.packb(description, unicode_errors="surrogatepass")
        )
        if len(packed) > 0xFFFF:
            raise Refusal(value, "its dtype has too many fields")
        blob = _LENGTH.pack(len(packed)) + packed
        if len(_headers) >= _CACHED:
            _headers.clear()
        _headers[dtype] = blob
    return blob


def _build(description: Any, depth: int = 0) -> np.dtype[Any]:
    if depth > _MAX_DTYPE_DEPTH:
        raise ValueError("a dtype nested too deep")
    if type(description) is str:
        match = _SIMPLE.fullmatch(description)
        if match is None:
            raise ValueError("not a dtype that travels")
        if match[2] is not None and int(match[2]) != _LONG_BITS:
            raise ValueError("long floating point numbers of another kind of machine; send them as float64")
        return np.dtype(match[1])
    if type(description) is list:
        base, shape = description
        return np.dtype((_build(base, depth + 1), tuple(map(_size, shape))))
    fields = dict(description)
    fields["formats"] = [_build(field, depth + 1) for field in fields["formats"]]
    if not fields.keys() <= {"names", "formats", "offsets", "itemsize", "titles"}:
        raise ValueError("not a dtype that travels")
    return np.dtype(fields)  # type: ignore[call-overload, no-any-return]  # any of these may be missing or wrong


def _size(item: Any) -> int:
    if type(item) is not int or item < 0:
        raise ValueError("a shape of something that is no number")
    return item


def _load_dtype(data: bytes) -> tuple[np.dtype[Any], int]:
    """The dtype at the start of `data`, and where it ends."""
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    blob = data[_LENGTH.size : end]
    dtype = _dtypes.get(blob)
    if dtype is None:
        if blob[:1] in (b"<", b">", b"|"):
            dtype = _build(blob.decode("ascii"))
        else:
            dtype = _build(msgpack.unpackb(blob, unicode_errors="surrogatepass"))
        if dtype.hasobject or dtype.subdtype is not None:
            raise ValueError("not a dtype that travels")
        if len(_dtypes) >= _CACHED:
            _dtypes.clear()
        _dtypes[blob] = dtype
    return dtype, end


# --- arrays ----------------------------------------------------------------------------------------------------------


def dump_array(array: np.ndarray[Any, Any], in_place_from: int) -> tuple[bytes, bytes | memoryview]:
    """Header and content of an array.

    From `in_place_from` bytes on, the content is a view of the array's own memory when that is contiguous, in either
    order; it must not change until it was sent.

    Raises:
        Refusal: the array holds objects, or numbers of a kind that numpy itself can't describe.
    """
    plain = np.asarray(array)
    order = 0
    if not plain.flags.c_contiguous:
        if plain.flags.f_contiguous:
            plain, order = plain.T, _FORTRAN
        elif plain.nbytes >= in_place_from:
            plain = plain.copy(order="C")
    header = b"".join(
        (bytes((array.ndim | order,)), _dump_dtype(plain.dtype, array), struct.pack(f">{array.ndim}Q", *array.shape))
    )
    if plain.nbytes < in_place_from:
        return header, plain.tobytes()
    return header, memoryview(plain.reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # arrays are buffers


def load_array(data: bytes, content: Any = None) -> np.ndarray[Any, Any]:
    """The array that `data` describes.

    Without `content`, `data` holds it too and the array owns a writable copy. With it, the array reads straight from
    that buffer, and is writable if the buffer is.
    """
    order, rank = data[0] & _FORTRAN, data[0] & ~_FORTRAN
    dtype, end = _load_dtype(data[1:])
    end += 1
    shape: Sequence[int] = struct.unpack_from(f">{rank}Q", data, end)
    end += 8 * rank
    if content is None:
        content = bytearray(memoryview(data)[end:])
    elif end != len(data):
        raise ValueError("bytes behind the header of an array")
    if dtype.itemsize * math.prod(shape) != len(content):
        raise ValueError(f"an array of {dtype} and shape {shape} does not fill {len(content)} bytes")
    return np.ndarray(shape, dtype, buffer=content, order="F" if order else "C")


def marks_of(array: np.ndarray[Any, Any]) -> int:
    """What has to be said of an array beside its contents; hardly ever anything."""
    return (0 if array.flags.writeable else READ_ONLY) | (RECORD if type(array) is np.recarray else 0)


def mark(value: Any, marks: int) -> Any:
    """An array, or scalar, of which something is said: read-only, or a record."""
    if marks & ~(READ_ONLY | RECORD):
        raise ValueError(f"unknown marks {marks} of an array")
    if marks & RECORD:
        # A view of the class gives the fields of a structured array as attributes; a scalar is one element of that.
        value = value.view(np.recarray) if isinstance(value, np.ndarray) else np.asarray(value).view(np.recarray)[()]
    if marks & READ_ONLY:
        if not isinstance(value, np.ndarray):
            raise ValueError("a scalar that is read-only")
        value.flags.writeable = False
    return value


# --- scalars ---------------------------------------------------------------------------------------------------------


def scalar_dumpers() -> dict[type, Callable[[Any], bytes]]:
    """Under each scalar class of numpy what makes the content of an instance."""
    dumpers: dict[type, Callable[[Any], bytes]] = {
        cls: _dump_flexible if issubclass(cls, (np.datetime64, np.timedelta64)) else _dumper_of(cls)
        for cls in set(np.sctypeDict.values()) - {np.object_, np.void, np.str_, np.bytes_}
    }
    # The dtypes of these two would drop the zeros at their end.
    dumpers[np.str_] = lambda value: b"\0\1U" + value.encode("utf-8", "surrogatepass")
    dumpers[np.bytes_] = lambda value: b"\0\1S" + bytes(value)
    dumpers[np.void] = _dump_flexible
    return dumpers


def record_dumpers() -> dict[type, Callable[[Any], bytes]]:
    """The same for scalars that are marked as records."""
    return {np.record: _dump_flexible}


def _dumper_of(cls: type) -> Callable[[Any], bytes]:
    header = _dump_dtype(np.dtype(cls), cls)
    return lambda value: header + value.tobytes()


def _dump_flexible(value: Any) -> bytes:
    content: bytes = value.tobytes()
    return _dump_dtype(value.dtype, value) + content


def load_scalar(data: bytes) -> Any:
    """The numpy scalar in `data`."""
    kind = data[:3]
    if kind == b"\0\1U":
        return np.str_(data[3:].decode("utf-8", "surrogatepass"))
    if kind == b"\0\1S":
        return np.bytes_(data[3:])
    dtype, end = _load_dtype(data)
    if dtype.itemsize != len(data) - end:
        raise ValueError(f"a {dtype} does not fill {len(data) - end} bytes")
    return np.ndarray((), dtype, buffer=bytearray(memoryview(data)[end:]))[()]


# --- masked arrays ---------------------------------------------------------------------------------------------------


def masked_arrays() -> tuple[type, ...]:
    """The classes that `take_mask` knows; none while nobody has loaded them."""
    ma = sys.modules.get("numpy.ma")
    return () if ma is None else (ma.MaskedArray, type(ma.masked))


def take_mask(array: Any) -> list[Any] | None:
    """A masked array as data, mask (None when nothing is masked), fill value and whether its mask is hard.

    None for the one value `numpy.ma.masked`.
    """
    if array is np.ma.masked:
        return None
    mask = None if array.mask is np.ma.nomask else array.mask
    return [np.asarray(array.data), mask, array.fill_value, bool(array.hardmask)]


def put_mask(parts: Any) -> Any:
    """The masked array of these parts."""
    if parts is None:
        return np.ma.masked
    data, mask, fill_value, hard = parts
    if not isinstance(data, np.ndarray) or type(hard) is not bool:
        raise ValueError("no masked array")
    if mask is None:
        mask = np.ma.nomask
    elif (
        not isinstance(mask, np.ndarray) or mask.shape != data.shape or mask.dtype != np.ma.make_mask_descr(data.dtype)
    ):
        raise ValueError("a mask that does not fit its array")
    return np.ma.MaskedArray(data, mask=mask, fill_value=fill_value, hard_mask=hard, copy=False)
