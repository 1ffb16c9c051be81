"""What travels between gateways: bytes that hold an event and its number, or the news of how far a gateway has come.

A line of JSON, `{"origin", "sequence", "topic", "notifier_id"}`, then the event's data as JSON, which nobody in between
reads. Without a topic it is a *beat*: the origin has published up to this number.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

from one_liner.errors import MalformedError
from one_liner.gateway.event import Event


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event on its way from one gateway to the others, or a beat.

    Attributes:
        origin: the gateway's random name of this run.
        sequence: the number of its event, from 1; of a beat, that of the last event published.
        event: None for a beat.
        is_question: a beat that asks the others for theirs.
    """

    origin: str
    sequence: int
    event: Event | None = None
    is_question: bool = False

    def to_bytes(self) -> bytes:
        """As it travels."""
        head = {"origin": self.origin, "sequence": self.sequence}
        if self.event is None:
            return json.dumps(head | {"question": self.is_question}).encode()
        head |= {"topic": self.event.topic, "notifier_id": self.event.notifier_id}
        return b"%s\n%s" % (json.dumps(head).encode(), self.event.data.encode())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The reverse of `to_bytes`.

        Raises:
            MalformedError: `data` is no envelope.
        """
        line, _, body = data.partition(b"\n")
        try:
            head = json.loads(line)
            origin, sequence, topic = head["origin"], head["sequence"], head.get("topic")
            notifier_id = head.get("notifier_id")
            if not isinstance(origin, str) or type(sequence) is not int:
                raise TypeError("origin or sequence")
            if topic is None:
                return cls(origin, sequence, None, bool(head.get("question")))
            if not isinstance(topic, str) or not isinstance(notifier_id, str | None):
                raise TypeError("topic or notifier_id")
            json.loads(body)  # It goes to browsers as it is; rubbish would end their connections.
            return cls(origin, sequence, Event(topic, body.decode(), notifier_id))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise MalformedError(f"no envelope of a gateway: {error!r}") from None
