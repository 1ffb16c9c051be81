"""What a client may ask a server about its streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from one_liner.clock import Clock
from one_liner.errors import MalformedError
from one_liner.events.event import Topic
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.target import Target
from one_liner.streams.bookkeeper import LEDGER, Bookkeeper
from one_liner.streams.broadcast import Broadcast
from one_liner.streams.registry import StreamRegistry
from one_liner.wire.messages import MARKER

_TOPIC_STREAMS = frozenset(topic.stream for topic in Topic)


def stream_words(
    broadcast: Broadcast,
    registry: StreamRegistry,
    bookkeeper: Bookkeeper,
    exposure: Exposure,
    check_call: Callable[[Target, int, float], None],
    have_heartbeat: Callable[[], None],
    clock: Clock,
) -> dict[str, Callable[..., Any]]:
    """The words for CONTROL, each with what answers it."""

    def stream_configurations(path: str, trail: tuple[int, ...], **_: Any) -> dict[str, Any]:
        return broadcast.configurations(trail).as_dict()

    def add_stream(path: str, trail: tuple[int, ...], client: int, **arguments: Any) -> None:
        obj_name, attr_name = arguments.get("obj_name"), arguments.get("attr_name")
        if isinstance(obj_name, str) and isinstance(attr_name, str):
            target = exposure.resolve(obj_name, attr_name)
            if not target.is_property:
                check_call(target, client, clock.now())
        broadcast.add_stream(path, **arguments)

    def publish_marker(path: str, **_: Any) -> str | None:
        """A subscriber has made up a name behind that of a stream. Tells it when there is no such stream now."""
        name, separator, _token = path.partition(MARKER)
        if not separator:
            raise MalformedError("this is no marker")
        if name == Topic.HEARTBEAT.stream:
            have_heartbeat()
        stream = bookkeeper.stream if name == LEDGER else registry.find(name)
        broadcast.mark(path, stream)
        # The stream of a topic is made with its first event, and may be waited for.
        return registry.missing(name) if stream is None and name not in _TOPIC_STREAMS else None

    def report_ledger(path: str, client: int, streams: Any, **_: Any) -> None:
        if bookkeeper.followed:
            bookkeeper.readers.note(client, streams, clock.now())

    return {
        "stream_configurations": stream_configurations,
        "enable_stream": lambda path, **_: broadcast.enable_stream(path),
        "disable_stream": lambda path, **_: broadcast.disable_stream(path),
        "remove_stream": lambda path, **_: broadcast.remove_stream(path),
        "add_stream": add_stream,
        "publish_marker": publish_marker,
        "report_ledger": report_ledger,
    }
