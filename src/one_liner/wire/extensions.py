"""How values look on the wire: msgpack, and the extension types for what msgpack does not know.

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

import struct
from functools import cache
from types import ModuleType
from typing import Final, TypeAlias

from one_liner.errors import MissingExtraError

OUT_OF_BAND_BYTES: Final = 64 * 1024
"""Contents from this size travel as frames of their own."""

Buffer: TypeAlias = bytes | bytearray | memoryview
"""What a frame is made of: anything that supports the buffer protocol."""

TUPLE, SET, FROZENSET, ORDERED_DICT, COUNTER, BYTEARRAY, BYTES_OUT, BYTEARRAY_OUT, SLICE = range(1, 10)
ENUM, REGISTERED, PICKLE = range(40, 43)
NUMPY_SCALAR, ARRAY, ARRAY_OUT, MASKED_ARRAY, MARKED_ARRAY = range(48, 53)

NUMBER: Final = struct.Struct(">I")
"""Of a buffer."""


@cache
def numpy_arrays() -> ModuleType:
    """What reads and writes arrays.

    Raises:
        MissingExtraError: numpy is not installed.
    """
    try:
        from one_liner.wire import arrays
    except ImportError as error:
        raise MissingExtraError("this is an array and numpy is not installed; pip install one_liner[numpy]") from error
    return arrays
