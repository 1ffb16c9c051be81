"""Which events somebody wants: by topic and by kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from one_liner.errors import ConfigurationError
from one_liner.events.event import Event, Topic, kind_of
from one_liner.frozen import Frozen

DEFAULT_TOPICS = frozenset({Topic.EMERGENCY, Topic.EVENT, Topic.PROPERTY_CHANGE, Topic.COMMAND_RESULT})
"""All but those that come at all times."""


class Selection(Frozen):
    """Some topics, and some or all kinds.

    Attributes:
        topics: the wanted ones; with events come emergencies, which are events that cannot wait.
        kinds: the wanted ones; None for all.
    """

    topics: frozenset[Topic]
    kinds: frozenset[str | int] | None = None

    @classmethod
    def of(cls, topic: Any = None, kind: Any = None) -> Selection:
        """Check what a user wants.

        Args:
            topic: one, several, or None for all but heartbeats and updates of jobs.
            kind: one, several, or None for all.

        Raises:
            ConfigurationError: there is no such topic, a kind cannot be, or a list is empty.
        """
        topics = DEFAULT_TOPICS if topic is None else frozenset(Topic.of(one) for one in _several("topic", topic))
        if Topic.EVENT in topics:
            topics |= {Topic.EMERGENCY}
        return cls(topics, None if kind is None else frozenset(kind_of(one) for one in _several("kind", kind)))

    def as_arguments(self) -> dict[str, Any]:
        """As a server is asked for it."""
        return {
            "topics": [topic.value for topic in self.topics],
            "kinds": None if self.kinds is None else list(self.kinds),
        }

    def wants(self, event: Event) -> bool:
        """Whether it is one of them."""
        return event.topic in self.topics and (self.kinds is None or event.kind in self.kinds)


def _several(what: str, wanted: Any) -> list[Any]:
    if isinstance(wanted, str | bytes) or not isinstance(wanted, Iterable):
        return [wanted]
    several = list(wanted)
    if not several:
        raise ConfigurationError(f"an empty list of {what}s wants nothing; None wants all")
    return several
