"""What a published message looks like: exactly two frames, the topic's number and one JSON object."""

from __future__ import annotations

import json
import struct
from typing import Any

from one_liner.control.numbers import Topic
from one_liner.errors import MalformedError

_NUMBER = struct.Struct("<I")


def frame_of(topic: int) -> bytes:
    """The first frame."""
    return _NUMBER.pack(topic)


def subscription_of(topic: int) -> bytes:
    """What to subscribe to: the first frame, and for ANY everything."""
    return b"" if topic == Topic.ANY else frame_of(topic)


def read(frames: list[bytes]) -> tuple[int, Any]:
    """Number and object of a message, also of one whose object is written as a string that holds it.

    Raises:
        MalformedError: it is no such message; one of the native protocol beside it, perhaps.
    """
    if len(frames) != 2 or len(frames[0]) != _NUMBER.size:
        raise MalformedError(f"{len(frames)} frames are no message of this port")
    try:
        content = json.loads(frames[1])
        if isinstance(content, str):
            content = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"the second frame is no JSON: {error}") from None
    return int(_NUMBER.unpack(frames[0])[0]), content
