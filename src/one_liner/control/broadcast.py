"""The publishing side: messages of two frames on an address of their own, or beside the streams of a server.

Both kinds of topic travel side by side without harm: a topic of the native protocol is text that ends in a NUL and is
followed by its message in the same frame, and a first frame here is 4 bytes of which no text begins with any. Whoever
subscribes to everything gets both, and can tell them apart by these 4 bytes.
"""

from __future__ import annotations

from collections.abc import Collection
from threading import Lock

from one_liner.control import topics
from one_liner.control.plain import to_bytes
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.fanout import Fanout, Publisher


class Broadcast:
    """Publishes; from any thread, without ever waiting.

    Args:
        publisher: the way out; closed by `close`.
        own: the address, when it is ours alone; closed by `close`.
        as_text: the topics whose object is written as a JSON string that holds it.
    """

    def __init__(self, publisher: Publisher, own: Fanout | None, as_text: Collection[int]) -> None:
        self._publisher, self._own = publisher, own
        self._as_text = frozenset(as_text)
        self._lock = Lock()

    def publish(self, *messages: tuple[int, bytes]) -> bool:
        """Send JSON, each under its topic, with none of somebody else's in between; False when it was closed."""
        with self._lock:
            return all(
                self._publisher.send([topics.frame_of(topic), self._framed(topic, body)], weighed=False)
                for topic, body in messages
            )

    @property
    def endpoint(self) -> Endpoint | None:
        """The address, when it is ours alone."""
        return None if self._own is None else self._own.endpoint

    def hear(self) -> None:
        """Take note of who listens; now and then."""
        self._publisher.hear()

    def close(self) -> None:
        """Stop, and give the address back if it is ours."""
        self._publisher.close()
        if self._own is not None:
            self._own.close()

    def _framed(self, topic: int, body: bytes) -> bytes:
        return to_bytes(body.decode()) if topic in self._as_text else body
