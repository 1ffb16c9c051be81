"""Properties that are watched: what is set through the library is told at once, what changes by itself is polled."""

from __future__ import annotations

import logging
from threading import Lock
from typing import Any

from one_liner.clock import Clock
from one_liner.errors import OneLinerError, UnknownObjectError
from one_liner.events.emitter import Emitter
from one_liner.events.event import Topic
from one_liner.events.values import KnownValues
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.target import Target
from one_liner.streams.names import OWN
from one_liner.streams.registry import Send, Stream, StreamKind
from one_liner.streams.sources import AttributeSource
from one_liner.wire.codec import Codec
from one_liner.wire.faults import fault_of
from one_liner.wire.serializers import Serializer

_log = logging.getLogger("one_liner.events.observer")


class Observer:
    """Tells of changed properties. May be used from any thread.

    Args:
        emitter: tells.
        exposure: reads.
        codec: tells one value from another.
    """

    def __init__(self, emitter: Emitter, exposure: Exposure, codec: Codec) -> None:
        self._emitter, self._exposure, self._codec = emitter, exposure, codec
        self._lock = Lock()
        self._known = KnownValues()
        self._failing: dict[str, str] = {}
        self._observed: frozenset[str] = frozenset()

    def observe(self, obj_name: str, attr_name: str) -> str:
        """From now on, read a property back whenever it was set, because its object may round. Its whole name."""
        name = self._exposure.resolve(obj_name, attr_name).where
        with self._lock:
            self._observed |= {name}
        return name

    def unobserve(self, obj_name: str, attr_name: str) -> str:
        """Undo `observe`.

        Raises:
            UnknownObjectError: it was not observed.
        """
        name = f"{obj_name}.{attr_name}"
        with self._lock:
            if name not in self._observed:
                known = ", ".join(sorted(self._observed)) or "none"
                raise UnknownObjectError(f"{name} is not observed; there are: {known}")
            self._observed -= {name}
            self._failing.pop(name, None)
            self._known.forget(name)
        return name

    def was_set(self, target: Target, value: Any, who: str) -> None:
        """Somebody has set a property; in its lane. Never raises: that it cannot be told is no trouble of theirs."""
        try:
            if target.where in self._observed:
                value = self._exposure.read(target)
        except BaseException as error:
            self.saw(target.where, error, who)
            return
        self.saw(target.where, value, who, told=True)

    def saw(self, name: str, value: Any, who: str = "", *, told: bool = False) -> bool:
        """A property has this value, or raised this.

        Args:
            name: of the property: `laser.power`.
            value: what it has, or the exception.
            who: who has set it; "" when it has changed by itself.
            told: whether to tell also what is no change.

        Returns:
            Whether it was read.
        """
        try:
            if not isinstance(value, BaseException):
                self._saw_value(name, value, who, told)
                return True
        except OneLinerError as error:
            value = error
        try:
            self._saw_failure(name, value, who)
        except OneLinerError as error:
            _log.warning("a change of %s could not be told: %s", name, error)
        return False

    def _saw_value(self, name: str, value: Any, who: str, told: bool) -> None:
        body, buffers = self._codec.encode(value, "value")
        with self._lock:
            changed, before = self._known.replace(name, bytes(body), [bytes(buffer) for buffer in buffers])
            recovered = self._failing.pop(name, None) is not None
        if changed or recovered or told:
            known = before is not None and before.body is not None
            old = self._codec.decode(before.body, ()) if before is not None and before.body is not None else None
            self._tell(name, who, new=value, old=old, old_known=known)

    def _saw_failure(self, name: str, error: BaseException, who: str) -> None:
        fault = fault_of(error, self._codec, name)
        text = f"{fault['type']}: {fault['message']}"
        with self._lock:
            if self._failing.get(name) == text:
                return  # A failing instrument is told of once, not at every poll.
            self._failing[name] = text
        self._tell(name, who, error=dict(fault))

    def _tell(
        self, name: str, who: str, *, new: Any = None, old: Any = None, old_known: bool = False, error: Any = None
    ) -> None:
        obj_name, _, attr_name = name.rpartition(".")
        context = {
            "object": obj_name,
            "name": attr_name,
            "old": old,
            "new": new,
            "old_known": old_known,
            "who": who,
            "error": error,
        }
        self._emitter.emit(Topic.PROPERTY_CHANGE, name, context)


class Observation(Stream):
    """A property that is read at a rate, in its object's lane, as a stream is. Only its changes are sent, as events."""

    def __init__(
        self,
        observer: Observer,
        exposure: Exposure,
        obj_name: str,
        attr_name: str,
        frequency_hz: float,
        *,
        serializer: Serializer,
        codec: Codec,
        origin: int,
    ) -> None:
        super().__init__(
            observation_name(obj_name, attr_name),
            StreamKind.PERIODIC,
            serializer,
            codec,
            origin,
            source=AttributeSource(exposure, obj_name, attr_name, (), {}),
            source_text=f"{obj_name}.{attr_name}",
            frequency_hz=frequency_hz,
        )
        self._observer = observer
        self._property = f"{obj_name}.{attr_name}"

    def publish(self, value: Any, time: float, clock: Clock, send: Send) -> bool:
        """Tell if it is another value than before. False when it could not be read."""
        read = self._observer.saw(self._property, value)
        with self._lock:
            self.ledger.produced(failed=not read)
        return read


def observation_name(obj_name: str, attr_name: str) -> str:
    """What the stream of an observed property is called."""
    return f"{OWN}{obj_name}.{attr_name}"
