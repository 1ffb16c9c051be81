"""What happened, as it is published: built, numbered and sent in order."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from threading import Lock
from typing import Any

from one_liner.clock import Clock
from one_liner.control.broadcast import Broadcast
from one_liner.control.numbers import Catalogue, EventKind, Topic, number_of
from one_liner.control.plain import plain, to_bytes
from one_liner.errors import NotCarriableError
from one_liner.events.emitter import in_words
from one_liner.events.event import Event
from one_liner.events.event import Topic as CoreTopic

_log = logging.getLogger("one_liner.control.events")


class Events:
    """Publishes; from any thread.

    Args:
        kinds: the application's.
        emergency_kinds: the numbers of those that are emergencies.
        clock: the time.
    """

    def __init__(self, kinds: Catalogue, emergency_kinds: frozenset[int], clock: Clock) -> None:
        self.kinds = kinds
        self._emergency_kinds = emergency_kinds
        self._clock = clock
        self._broadcast: Broadcast | None = None
        self._order = Lock()  # What is published in it is published in the order of its index.
        self._last_index = 0

    def open(self, broadcast: Broadcast) -> None:
        """Publish there from now on, until it is closed."""
        self._broadcast = broadcast

    def publish(self, *messages: tuple[int, bytes]) -> bool:
        """Send what is written already; False when there is nowhere to send it, yet or any more."""
        broadcast = self._broadcast
        return broadcast is not None and broadcast.publish(*messages)

    def message(self, topic: Topic, message: Mapping[str, Any]) -> bool:
        """Send an object. Raises `NotCarriableError`."""
        return self.publish((topic, to_bytes(plain(message, "message"))))

    def event(
        self,
        kind: int | str | Enum,
        context: Any,
        *,
        emergency: bool = False,
        when: float | datetime | None = None,
        index: int | None = None,
        source: str = "",
        in_any_case: bool = False,
    ) -> bool:
        """Send an event, and before it the same as an emergency if it is one.

        Args:
            kind: a number, a member of an enum, or a name.
            context: the facts.
            emergency: whether it is one whatever its kind.
            when: the instant; now if None.
            index: the same on a monotonic clock, in ns; now if None.
            source: by which route it came here.
            in_any_case: whether a context that has no form in JSON goes as text. Those of emergencies do.

        Raises:
            NotCarriableError: the context has no form in JSON; nothing was sent.
        """
        number, name = self._numbered(kind)
        emergency = emergency or number in self._emergency_kinds
        told = _or_text(context) if emergency or in_any_case else plain(context, "context")
        extra = {key: value for key, value in (("name", name), ("source", source)) if value}
        moment = None if when is None else plain(when, "when")
        with self._order:
            body = to_bytes(
                {
                    "kind": number,
                    "when": self._clock.wall() if moment is None else moment,
                    "index": self._next_index() if index is None else number_of(index),
                    "context": told,
                    **extra,
                }
            )
            first = [(Topic.EMERGENCY, body)] if emergency else []
            return self.publish(*first, (Topic.EVENT, body))

    def property_change(self, name: str, old: Any, new: Any, who: str, **extra: Any) -> bool:
        """Send a change. Raises `NotCarriableError`."""
        change = {"name": str(name), "old": plain(old, "old"), "new": plain(new, "new"), "who": str(who)}
        with self._order:
            moment = {"when": self._clock.wall(), "index": self._next_index()}
            return self.publish((Topic.PROPERTY_CHANGE, to_bytes({**change, **moment, **extra})))

    def forward(self, event: Event) -> None:
        """Send what happened at the core. What has no form in JSON goes as text: there is nobody to be told."""
        if event.topic is CoreTopic.PROPERTY_CHANGE:
            self._forward_change(event)
            return
        self.event(
            event.kind,
            event.context,
            emergency=event.topic is CoreTopic.EMERGENCY,
            when=event.when,
            index=event.index,
            source=event.source,
            in_any_case=True,
        )

    def _forward_change(self, event: Event) -> None:
        told = event.context if isinstance(event.context, Mapping) else {}
        error = told.get("error")
        extra = {"error": str(error.get("message", error))} if isinstance(error, Mapping) else {}
        if event.source:
            extra["source"] = event.source
        old, new = _or_text(told.get("old")), _or_text(told.get("new"))
        self.property_change(str(event.kind), old, new, str(told.get("who", "")), **extra)

    def _numbered(self, kind: int | str | Enum) -> tuple[int, str]:
        """The number of a kind, and its name where it has none."""
        if isinstance(kind, Enum) and not isinstance(kind.value, int):
            kind = kind.name
        if not isinstance(kind, str):
            return number_of(kind), ""
        number = self.kinds.number_of(kind)
        return (int(EventKind.USER_DEFINED), kind) if number is None else (number, "")

    def _next_index(self) -> int:
        self._last_index = max(self._last_index + 1, math.floor(self._clock.now() * 1e9))
        return self._last_index


def _or_text(value: Any) -> Any:
    try:
        return plain(value, "context")
    except NotCarriableError as error:
        _log.warning("%s: it is published as text", error)
        return in_words(value)
