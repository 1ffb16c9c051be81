"""One thing that happened: what an event is, here and on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Any, Final

from one_liner.errors import ConfigurationError, MalformedError
from one_liner.frozen import Frozen
from one_liner.streams.names import OWN


class Topic(StrEnum):
    """What sort of thing happened. Each topic is a stream of its own."""

    EMERGENCY = "emergency"
    """Something that cannot wait: delivered before everything else, and never lost without an alarm."""
    JOB_UPDATE = "job_update"
    """A job began, came further, or ended."""
    COMMAND_RESULT = "command_result"
    """A job has ended, with what it gave."""
    EVENT = "event"
    """What the application tells."""
    PROPERTY_CHANGE = "property_change"
    """A property has another value."""
    HEARTBEAT = "heartbeat"
    """The server lives; only while somebody listens."""

    @property
    def stream(self) -> str:
        """The name of the stream that it travels on."""
        return OWN + self.value

    @classmethod
    def of(cls, word: Any) -> Topic:
        """The topic of this name.

        Raises:
            ConfigurationError: there is none; names those that there are.
        """
        try:
            return cls(word)
        except ValueError:
            raise ConfigurationError(f"there is no topic {word!r}; there are {', '.join(cls)}") from None


class Event(Frozen):
    """One thing that happened.

    Attributes:
        topic: what sort of thing.
        kind: which, as the application calls it: text or a whole number.
        context: the facts, as data.
        when: in s since 1970, on the clock of the machine where it happened.
        index: the same instant in ns on that machine's monotonic clock; grows strictly with every event of a server.
        number: from 0, one more for every event of this topic in the life of its server.
        origin: random number of the server that emitted it; another one after a restart.
        source: the route to that server, as the reader sees it: "" for its own, `north/table`.
    """

    topic: Topic
    kind: str | int
    context: Any
    when: float
    index: int
    number: int
    origin: int
    source: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data; what travels."""
        return {name: getattr(self, name) for name in _FIELDS} | {"topic": self.topic.value}

    @classmethod
    def from_dict(cls, data: Any, source: str = "") -> Event:
        """Read it back; fields that a later version adds are passed over.

        Args:
            data: as `as_dict` gave it.
            source: by which route it came.

        Raises:
            MalformedError: it is something else.
        """
        try:
            found = {name: data[name] for name in _FIELDS}
            topic = Topic(found.pop("topic"))
        except (TypeError, KeyError, ValueError):
            raise MalformedError("an event cannot be read") from None
        for name, kinds in _KINDS.items():
            if isinstance(found[name], bool) or not isinstance(found[name], kinds):
                raise MalformedError(f"the {name} of an event cannot be {type(found[name]).__name__}")
        return cls(topic=topic, source=source, **found)

    def __str__(self) -> str:
        source = f"{self.source}: " if self.source else ""
        return f"{source}{self.topic} {self.kind}" + ("" if self.context is None else f" {self.context!r}")


_FIELDS: Final = ("topic", "kind", "context", "when", "index", "number", "origin")
_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "kind": (str, int),
    "when": (int, float),
    "index": int,
    "number": int,
    "origin": int,
}


def kind_of(kind: Any) -> str | int:
    """What a user says a kind is, as it travels: text, a whole number, and of an enum's member its name.

    Raises:
        ConfigurationError: it is something else, or empty.
    """
    if isinstance(kind, Enum):
        return kind.name
    if isinstance(kind, str) and kind:
        return str(kind)
    if isinstance(kind, int) and not isinstance(kind, bool):
        return int(kind)
    raise ConfigurationError(f"the kind of an event is text, a whole number or a member of an enum, not {kind!r}")
