"""How one input, which is all that a fuzzer knows, stands for the frames of a message.

The number of further frames, the length of each as u16, those frames, and then the first frame, which is whatever is
left: so a byte more or less in there changes nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

MOST_FURTHER = 4
_LENGTH = struct.Struct("<H")


def joined(frames: Sequence[bytes]) -> bytes:
    """The input that stands for these frames: at least one, and not more than five."""
    first, *further = frames
    assert len(further) <= MOST_FURTHER
    return bytes([len(further)]) + b"".join(_LENGTH.pack(len(frame)) for frame in further) + b"".join(further) + first


def split(data: bytes) -> tuple[bytes, list[bytes]]:
    """First frame and further ones; any input stands for some."""
    count = data[0] % (MOST_FURTHER + 1) if data else 0
    at = 1 + count * _LENGTH.size
    lengths = [_LENGTH.unpack_from(data, 1 + index * _LENGTH.size)[0] for index in range(count) if len(data) >= at]
    further: list[bytes] = []
    for length in lengths:
        further.append(data[at : at + length])
        at += length
    return data[at:], further
