"""What a server serves, as one list: objects in objects, and those behind its routers, each with its full name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from one_liner.aio import NamedCallDescription, ObjectDescription, ServerDescription
from one_liner.gateway.rigs import Rig, streams_of

TOPICS = (":event", ":emergency", ":property_change", ":command_result")
"""The streams on which a server tells what happens."""


class Served(NamedTuple):
    """One look at what a server serves; two are equal if nothing has changed.

    Attributes:
        objects: by name, in the order in which they are served.
        named_calls: likewise.
        streams: their names.
        topics: the streams of events.
    """

    objects: tuple[tuple[str, ObjectDescription], ...] = ()
    named_calls: tuple[tuple[str, NamedCallDescription], ...] = ()
    streams: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


def served_by(rig: Rig) -> Served:
    """What a server served when it was last seen; nothing before that."""
    found = rig.description
    if found is None:
        return Served()
    return Served(tuple(_objects(found)), tuple(_named_calls(found)), tuple(streams_of(found)), tuple(_topics(found)))


def _objects(server: ServerDescription, prefix: str = "") -> Iterator[tuple[str, ObjectDescription]]:
    for one in server.objects:
        yield from _with_nested(one, f"{prefix}{one.name}")
    for name, behind in server.routers.items():
        if isinstance(behind, ServerDescription):
            yield from _objects(behind, f"{prefix}{name}/")


def _with_nested(described: ObjectDescription, name: str) -> Iterator[tuple[str, ObjectDescription]]:
    if described.methods or described.properties or described.callable is not None:
        yield name, described
    for nested in described.objects:
        yield from _with_nested(nested, f"{name}.{nested.name}")


def _named_calls(server: ServerDescription, prefix: str = "") -> Iterator[tuple[str, NamedCallDescription]]:
    for call in server.named_calls:
        yield f"{prefix}{call.name}", call
    for name, behind in server.routers.items():
        if isinstance(behind, ServerDescription):
            yield from _named_calls(behind, f"{prefix}{name}/")


def _topics(server: ServerDescription, prefix: str = "") -> Iterator[str]:
    for topic in TOPICS:
        yield f"{prefix}{topic}"
    for name, behind in server.routers.items():
        if isinstance(behind, ServerDescription):
            yield from _topics(behind, f"{prefix}{name}/")
