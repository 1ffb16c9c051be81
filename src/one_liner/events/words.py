"""What a client may ask a server about its events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from one_liner.errors import MalformedError
from one_liner.events.emitter import Emitter
from one_liner.events.inbox import check_last
from one_liner.events.selection import Selection


def event_words(
    emitter: Emitter, observe: Callable[[str, Any, Any], None], unobserve: Callable[[str, Any], None]
) -> dict[str, Callable[..., Any]]:
    """The words for CONTROL, each with what answers it."""

    def events(path: str, topics: Any = None, kinds: Any = None, last: Any = 100, **_: Any) -> list[dict[str, Any]]:
        return [event.as_dict() for event in emitter.recent(Selection.of(topics, kinds), check_last(last))]

    def missed_emergencies(path: str, origin: Any = None, since: Any = None, **_: Any) -> dict[str, Any]:
        if since is not None and type(since) is not int:
            raise MalformedError("emergencies are missed from a whole number on")
        return emitter.missed_emergencies(origin, since)

    return {
        "events": events,
        "missed_emergencies": missed_emergencies,
        "observe": lambda path, attr_name, frequency_hz=None, **_: observe(path, attr_name, frequency_hz),
        "unobserve": lambda path, attr_name, **_: unobserve(path, attr_name),
    }
