"""The heartbeat of a server as an event, for those who listen to events and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from one_liner.events.emitter import Emitter
from one_liner.events.event import Topic
from one_liner.streams.registry import Stream, StreamKind
from one_liner.streams.sources import Turn
from one_liner.wire.codec import Codec
from one_liner.wire.serializers import Serializer


class Beat:
    """What the stream of heartbeats calls: it needs no object, and so no lane.

    Args:
        emitter: numbers it.
        says: what it says.
    """

    def __init__(self, emitter: Emitter, says: Callable[[], dict[str, Any]]) -> None:
        self._emitter, self._says = emitter, says

    def turn(self) -> Turn:
        """One heartbeat."""
        return Turn(None, lambda: self._emitter.heartbeat(self._says()).as_dict())


def heartbeat_stream(beat: Beat, heartbeat_s: float, *, serializer: Serializer, codec: Codec, origin: int) -> Stream:
    """The stream of heartbeats, which runs only while somebody listens.

    Its frequency is a hair off: streams of one frequency share a thread, and no other function shall hold this one up.
    """
    return Stream(
        Topic.HEARTBEAT.stream,
        StreamKind.PERIODIC,
        serializer,
        codec,
        origin,
        source=beat,
        source_text="the server",
        frequency_hz=math.nextafter(1 / heartbeat_s, math.inf),
        on_demand=True,
    )
