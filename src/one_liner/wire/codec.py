"""Values as bytes, and back.

A value becomes one msgpack object, the *body*, and some *buffers*: contents of at least `OUT_OF_BAND_BYTES` that travel
as frames of their own and are never copied here. The first buffer has number 0. Nothing that arrives is evaluated or
imported, and it is unpickled only where that was asked for; whatever the bytes are, the outcome is a value, a
`MalformedError`, a `LimitError` when it holds too much, or a `MissingExtraError` when numpy is needed and not
installed.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped]

from one_liner.errors import LimitError, MalformedError, MissingExtraError
from one_liner.limits import DEFAULT_LIMITS
from one_liner.wire.extensions import Buffer
from one_liner.wire.nesting import is_deeper, nests
from one_liner.wire.reader import UNCHECKED_BYTES, CountingReader, Reader, check_claims
from one_liner.wire.shown import short
from one_liner.wire.terms import Terms
from one_liner.wire.types import Refusal
from one_liner.wire.writer import Writer

_FLOAT, _FLOAT_64 = struct.Struct(">Bd"), 0xCB  # one byte of msgpack, and the number


class _Threads(threading.local):
    """Gives each thread a writer of its own."""

    def __init__(self, terms: Terms) -> None:
        self.writer = Writer(terms)


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
        self.terms = Terms(allow_pickle, max_depth, max_elements)
        self.max_depth, self.max_elements = max_depth, max_elements
        self._threads = _Threads(self.terms)

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
        if type(value) is float:  # Most samples are; the way of everything else takes five times as long.
            return _FLOAT.pack(_FLOAT_64, value), ()
        writer = self._threads.writer
        if writer.level:  # a function of the user that encodes an instance encodes something itself
            writer = Writer(self.terms)
        try:
            body = writer.pack_whole(value)
        except Refusal as refusal:
            from one_liner.wire.explanation import explain  # For this message only.

            raise explain(self.terms, value, root, refusal) from refusal.__cause__
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
            if size == _FLOAT.size and body[0] == _FLOAT_64:
                number: float = _FLOAT.unpack(body)[1]
                return number
            if size > UNCHECKED_BYTES:
                check_claims(body)
            if size > self.max_elements:  # Each item takes a byte at least.
                return self._decode_counting(body, buffers)
            value = msgpack.unpackb(
                body,
                ext_hook=Reader(self.terms, buffers).extension if buffers else self._extension,
                strict_map_key=False,
                timestamp=3,
                unicode_errors="surrogatepass",
            )
            if size > self.max_depth and is_deeper(value, self.max_depth, body):
                raise MalformedError(f"nested deeper than {self.max_depth} levels")
        except (MalformedError, LimitError, MissingExtraError):
            raise
        except Exception as error:
            raise MalformedError(f"no value: {short(error)}") from error
        return value

    def check_depth(self, value: Any) -> None:
        """Hold a value that came in another way than by `decode` to the same depth.

        Raises:
            MalformedError: it is nested deeper than that.
        """
        if nests(value, self.max_depth):
            raise MalformedError(f"nested deeper than {self.max_depth} levels")

    def _decode_counting(self, body: Buffer, buffers: Sequence[Buffer]) -> Any:
        """Decode a body that is large enough to hold too many items: count them while they are made."""
        value = CountingReader(self.terms, buffers).unpack(bytes(body))
        if is_deeper(value, self.max_depth, body):
            raise MalformedError(f"nested deeper than {self.max_depth} levels")
        return value

    def _extension(self, code: int, data: bytes) -> Any:
        return Reader(self.terms, ()).extension(code, data)
