"""The framing of ZMTP 3 (RFC 23), which is all that a proxy has to know of ZeroMQ. Pure: no sockets, no time.

A connection begins with a greeting of 64 bytes in each direction and goes on in frames: one byte of flags, a length of
one or eight bytes, a body. Frames with the command flag belong to the protocol; the others are parts of messages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

GREETING_BYTES: Final = 64
_MORE, _LONG, _COMMAND = 1, 2, 4
_LENGTH = struct.Struct(">Q")
_SEALING = (b"CURVE", b"GSSAPI")


class Unit(NamedTuple):
    """What is passed on as a whole.

    Attributes:
        parts: bodies of a message's frames, or of one command.
        is_command: it belongs to ZeroMQ and not to its user.
    """

    parts: tuple[bytes, ...]
    is_command: bool

    def encode(self) -> bytes:
        """The bytes on the wire."""
        last = len(self.parts) - 1
        pieces: list[bytes] = []
        for index, body in enumerate(self.parts):
            flags = (_COMMAND if self.is_command else 0) | (_MORE if index < last else 0)
            if len(body) > 255:
                pieces += (bytes((flags | _LONG,)), _LENGTH.pack(len(body)), body)
            else:
                pieces += (bytes((flags, len(body))), body)
        return b"".join(pieces)


class Splitter:
    """Cuts the bytes of one direction of one connection into what they consist of.

    Attributes:
        sealed: the mechanism encrypts, so that parts, messages and PINGs cannot be told apart: each frame counts as
            a message.
        opaque: this is not ZMTP 3; the bytes are passed on as they come.
    """

    __slots__ = ("_buffer", "_greeted", "_parts", "opaque", "sealed")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._greeted = 0
        self._parts: list[bytes] = []
        self.sealed = False
        self.opaque = False

    def feed(self, data: bytes) -> Iterator[bytes | Unit]:
        """Take bytes in and give out what is complete: raw bytes of the greeting at once, units when they are whole."""
        if self.opaque:
            yield data
            return
        self._buffer += data
        if self._greeted < GREETING_BYTES:
            yield from self._greeting()
            if self._greeted < GREETING_BYTES:
                return
        yield from self._units()

    def _greeting(self) -> Iterator[bytes]:
        buffer, before = self._buffer, self._greeted
        greeting = bytes(buffer[:GREETING_BYTES])
        if greeting[0] != 0xFF or (len(greeting) > 10 and (greeting[9] != 0x7F or greeting[10] < 3)):
            self.opaque = True
            self._greeted = GREETING_BYTES
            yield bytes(buffer[before:])
            buffer.clear()
            return
        self._greeted = len(greeting)
        yield greeting[before:]
        if self._greeted == GREETING_BYTES:
            self.sealed = greeting[12:32].rstrip(b"\0") in _SEALING
            del buffer[:GREETING_BYTES]

    def _units(self) -> Iterator[Unit]:
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            flags = buffer[at]
            if flags & _LONG:
                if len(buffer) - at < 9:
                    break
                start = at + 9
                end = start + _LENGTH.unpack_from(buffer, at + 1)[0]
            else:
                start = at + 2
                end = start + buffer[at + 1]
            if len(buffer) < end:
                break
            body = bytes(memoryview(buffer)[start:end])
            at = end
            if flags & _COMMAND:
                yield Unit((body,), True)
                continue
            self._parts.append(body)
            if not flags & _MORE:
                yield Unit(tuple(self._parts), False)
                self._parts.clear()
        del buffer[:at]
