"""A server, a client and everything that can be done to them, at random, against a model.

Objects, named calls and streams are added, replaced and removed, streams pushed, paused and subscribed to, and the
server is closed and made anew on its ports. After each step what both ends report has to be what the model says. A
subscription that only pushed samples can reach is known to the sample: what waits, what was dropped, what was
conflated. One that ticks reach, too, has to come in order, without a gap, and with books that balance.

`ONE_LINER_WALKS=500 pytest tests/test_state_machine.py --timeout=0` walks further, and makes a failing walk shorter.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from one_liner import RouterClient, RouterServer
from one_liner.errors import (
    ConfigurationError,
    NoDataError,
    NotExposedError,
    OneLinerError,
    SourceFailedError,
    UnknownAttributeError,
    UnknownObjectError,
    UnknownStreamError,
)
from one_liner.streams.ledger import ReaderStatistics
from one_liner.streams.sample import Sample
from tests.conftest import poll_until

WALKS: Final = int(os.environ.get("ONE_LINER_WALKS", "0"))
STEPS: Final = 40
PATIENCE_S: Final = 30.0
SMALL: Final = 3

OBJECTS = st.sampled_from(["stage", "laser"])
NAMES: Final = ("a", "a_2", "a/ä")
STREAMS = st.sampled_from(NAMES)
NAMED_CALLS = st.sampled_from(["home", "park"])
FREQUENCIES = st.sampled_from([50.0, 200.0, 333.3])
ENCODINGS = st.sampled_from(["msgpack", "msgpack", "msgpack", "json"])
WHICH = st.integers(0, 11)  # one of those that there are
SIDES = st.sampled_from(["server", "client"])


class Way(NamedTuple):
    """How a subscription keeps its samples."""

    storage_type: Literal["queue", "cache"]
    max_samples: int = 100_000
    drop: Literal["oldest", "newest"] = "oldest"


EVERYTHING: Final = Way("queue")
ALL_WAYS: Final = [EVERYTHING, Way("queue", SMALL), Way("queue", SMALL, "newest"), Way("cache")]
WAYS = st.sampled_from(ALL_WAYS)


class Totaliser:
    """A served object that remembers what was done to it."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, number: int) -> int:
        self.total += number
        return self.total

    def fail(self, number: int) -> None:
        raise ValueError(f"no {number}")


@dataclass
class StreamModel:
    """One stream as it should be; `number` tells it from all others that had its name."""

    number: int
    kind: str
    frequency_hz: float | None
    enabled: bool
    on_demand: bool = False
    encoding: str = "msgpack"
    push: Callable[[Any], bool] | None = None
    last: Any = None


@dataclass
class Reading:
    """A subscription as it should be, from a moment on at which nothing waited."""

    way: Way
    base: ReaderStatistics
    exact: bool  # only pushes reach it
    waiting: deque[Any] = field(default_factory=deque)  # what `get_stream` has still to give, if exact
    unseen: deque[Any] = field(default_factory=deque)  # pushed and not yet read; of a reading that keeps everything
    made: int = 0
    delivered: int = 0
    dropped: int = 0
    conflated: int = 0
    last: Sample | None = None

    def put(self, value: Any) -> None:
        self.made += 1
        if self.way == EVERYTHING:
            self.unseen.append(value)
        if self.way.storage_type == "cache":
            self.conflated += len(self.waiting)
            self.waiting = deque([value])
        elif len(self.waiting) < self.way.max_samples:
            self.waiting.append(value)
        else:
            self.dropped += 1
            if self.way.drop == "oldest":
                self.waiting.popleft()
                self.waiting.append(value)


class Lab(RuleBasedStateMachine):
    """One server after another on the same ports, and one client that stays."""

    @initialize(ways=st.lists(WAYS, min_size=3, max_size=3))
    def begin(self, ways: list[Way]) -> None:
        self.numbers = itertools.count(1)
        self.objects: dict[str, Totaliser] = {}
        self.totals: dict[str, int] = {}
        self.named: dict[str, tuple[str, int]] = {}
        self.streams: dict[str, StreamModel] = {}
        self.stale: list[Callable[[Any], bool]] = []
        self.readings: dict[str, Reading] = {}
        self.life = 0
        self.ports: tuple[Any, Any] = (0, 0)
        self.server = self._serve()
        self.ports = (self.server.rpc_port, self.server.broadcast_port)
        self.client = RouterClient(
            "tcp", "127.0.0.1", *self.ports, heartbeat_s=0.5, timeout_s=PATIENCE_S, name="the client"
        )
        self._meet()
        self.add_object("stage", own_thread=False)
        for name, way in zip(NAMES, ways, strict=True):
            self.subscribe(name, way)

    def _serve(self) -> RouterServer:
        life = self.life
        server = RouterServer("tcp", "127.0.0.1", *self.ports, heartbeat_s=0.5)
        server.add_instance("life", lambda: life)
        for name, obj in self.objects.items():
            server.add_instance(name, obj)
        server.run()
        return server

    def _meet(self) -> None:
        """Wait until the client talks to this server and to no earlier one."""

        def met() -> bool:
            try:
                answers = self.client.call("life", "", timeout_s=5) == self.life
            except OneLinerError:
                return False
            # A connection may be back before the client has heard that it is to another server.
            return answers and self.client._link.session == self.server._id

        poll_until(met, PATIENCE_S, what="the client to find the server")

    def teardown(self) -> None:
        if not hasattr(self, "client"):
            return
        self.client.close()
        self.server.close()
        assert self.client.state == "closed"

    # --- objects and calls -------------------------------------------------------------------------------------------

    @rule(name=OBJECTS, own_thread=st.booleans())
    def add_object(self, name: str, own_thread: bool) -> None:
        if name in self.objects:
            with pytest.raises(ConfigurationError):
                self.server.add_instance(name, Totaliser())
            return
        self.objects[name], self.totals[name] = Totaliser(), 0
        self.server.add_instance(name, self.objects[name], own_thread=own_thread)

    @rule(name=OBJECTS)
    def remove_object(self, name: str) -> None:
        if name not in self.objects:
            with pytest.raises(UnknownObjectError):
                self.server.remove_instance(name)
            return
        self.server.remove_instance(name)
        del self.objects[name], self.totals[name]

    @rule(name=OBJECTS, number=st.integers(-5, 5))
    def call(self, name: str, number: int) -> None:
        if name not in self.objects:
            with pytest.raises(UnknownObjectError):
                self.client.call(name, "add", [number])
            return
        self.totals[name] += number
        assert self.client.call(name, "add", [number]) == self.totals[name]
        with pytest.raises(ValueError, match="no 5"):
            self.client.call(name, "fail", [5])
        with pytest.raises(UnknownAttributeError):
            self.client.call(name, "subtract", [5])
        with pytest.raises(NotExposedError):
            self.client.call(name, "__init__")
        assert self.client.get(name, "total") == self.totals[name] == self.objects[name].total

    @rule(name=NAMED_CALLS, obj_name=OBJECTS, number=st.integers(1, 9), removes=st.booleans())
    def change_named_call(self, name: str, obj_name: str, number: int, removes: bool) -> None:
        if not removes:
            self.server.add_named_call(name, obj_name, "add", [number])
            self.named[name] = (obj_name, number)
            return
        if name not in self.named:
            with pytest.raises(UnknownObjectError):
                self.server.remove_named_call(name)
            return
        self.server.remove_named_call(name)
        del self.named[name]

    @rule(name=NAMED_CALLS, instead=st.none() | st.integers(1, 9))
    def call_by_name(self, name: str, instead: int | None) -> None:
        obj_name, number = self.named.get(name, ("", 0))
        if obj_name not in self.objects:
            with pytest.raises(UnknownObjectError):
                self.client.call_by_name(name)
            return
        self.totals[obj_name] += number if instead is None else instead
        arguments = None if instead is None else [instead]
        assert self.client.call_by_name(name, arguments) == self.totals[obj_name]

    # --- streams at the server ----------------------------------------------------------------------------------------

    def _replace(self, name: str, model: StreamModel | None) -> None:
        """Another stream, or none, has this name now."""
        before = self.streams.pop(name, None)
        if before is not None and before.push is not None:
            self.stale.append(before.push)
        if model is not None:
            self.streams[name] = model
            if model.kind == "periodic" and name in self.readings:
                self.readings[name].exact = False

    @rule(name=STREAMS, frequency_hz=FREQUENCIES, enabled=st.booleans(), on_demand=st.booleans())
    def add_ticking(self, name: str, frequency_hz: float, enabled: bool, on_demand: bool) -> None:
        with pytest.raises(ConfigurationError):
            self.server.add_stream_from_callable(name, -frequency_hz, lambda: 1)
        number, ticks = next(self.numbers), itertools.count()
        self.server.add_stream_from_callable(
            name, frequency_hz, lambda: [number, next(ticks)], enabled=enabled, on_demand=on_demand
        )
        self._replace(name, StreamModel(number, "periodic", frequency_hz, enabled, on_demand))

    @rule(name=STREAMS, frequency_hz=FREQUENCIES, obj_name=OBJECTS, side=SIDES)
    def add_reading_an_object(self, name: str, frequency_hz: float, obj_name: str, side: str) -> None:
        add = getattr(self, side).add_stream
        if obj_name not in self.objects:
            with pytest.raises(UnknownObjectError):
                add(name, frequency_hz, obj_name, "total")
            return
        add(name, frequency_hz, obj_name, "total")
        self._replace(name, StreamModel(next(self.numbers), "periodic", frequency_hz, True))

    def _get_stream_fn(self, name: str, encoding: str) -> StreamModel:
        push = self.server.get_stream_fn(name, serializer=encoding)
        present = self.streams.get(name)
        if present is not None and (present.kind, present.encoding) == ("manual", encoding):
            present.push = push
            return present
        made = StreamModel(next(self.numbers), "manual", None, True, encoding=encoding, push=push)
        self._replace(name, made)
        return made

    @rule(name=STREAMS, encoding=ENCODINGS, times=st.integers(1, 2 * SMALL))
    def push(self, name: str, encoding: str, times: int) -> None:
        stream = self._get_stream_fn(name, encoding)
        for _ in range(times):
            self._push(name, stream)
        self._arrived(name)

    @precondition(lambda self: self._pushed())
    @rule(which=WHICH, times=st.integers(1, 2 * SMALL))
    def push_again(self, which: int, times: int) -> None:
        names = self._pushed()
        name = names[which % len(names)]
        for _ in range(times):
            self._push(name, self.streams[name])
        self._arrived(name)

    def _pushed(self) -> list[str]:
        return [name for name, stream in self.streams.items() if stream.push is not None]

    def _push(self, name: str, stream: StreamModel) -> None:
        assert stream.push is not None
        value = [stream.number, next(self.numbers)]
        assert stream.push(value) is stream.enabled
        if stream.enabled:
            stream.last = value
            if name in self.readings:
                self.readings[name].put(value)

    @precondition(lambda self: self.stale)
    @rule(which=WHICH)
    def push_what_was_replaced(self, which: int) -> None:
        assert self.stale[which % len(self.stale)]([0, 0]) is False

    @rule(name=STREAMS, side=SIDES, enabled=st.booleans())
    def switch(self, name: str, side: str, enabled: bool) -> None:
        switch = getattr(self, side).enable_stream if enabled else getattr(self, side).disable_stream
        if name not in self.streams:
            with pytest.raises(UnknownStreamError):
                switch(name)
            return
        switch(name)
        self.streams[name].enabled = enabled

    @rule(name=STREAMS, side=SIDES)
    def remove_stream(self, name: str, side: str) -> None:
        if name not in self.streams:
            with pytest.raises(UnknownStreamError):
                getattr(self, side).remove_stream(name)
            return
        getattr(self, side).remove_stream(name)
        self._replace(name, None)

    # --- streams at the client ----------------------------------------------------------------------------------------

    @rule(name=STREAMS, way=WAYS)
    def subscribe(self, name: str, way: Way) -> None:
        known = self.readings.get(name)
        self.client.configure_stream(
            name, way.storage_type, max_samples=way.max_samples, drop=way.drop, wait=True, timeout_s=PATIENCE_S
        )
        if known is not None and known.way == way:
            return  # Nothing was forgotten.
        found = self._drain(name)
        stream = self.streams.get(name)
        if way.storage_type == "cache" and stream is not None and stream.last is not None:
            assert found[-1].data == stream.last, "a cache begins with the last sample"
        ticking = stream is not None and stream.kind == "periodic"
        self.readings[name] = Reading(way, self.client.stream_statistics(name), exact=not ticking)

    @precondition(lambda self: self.readings)
    @rule(which=WHICH)
    def subscribe_in_another_way(self, which: int) -> None:
        names = list(self.readings)
        name = names[which % len(names)]
        self.subscribe(name, ALL_WAYS[(ALL_WAYS.index(self.readings[name].way) + which) % len(ALL_WAYS)])

    @rule(name=STREAMS)
    def unsubscribe(self, name: str) -> None:
        if name not in self.readings:
            with pytest.raises(UnknownStreamError):
                self.client.unconfigure_stream(name)
            with pytest.raises(UnknownStreamError):
                self.client.get_stream(name)
            return
        self.client.unconfigure_stream(name)
        del self.readings[name]

    def _drain(self, name: str) -> list[Sample]:
        """What waits, without the samples that are an error: those of a stream that reads an object which is gone."""
        found: list[Sample] = []
        failures: set[str] = set()
        while True:
            try:
                found.append(self.client.get_stream(name))
            except SourceFailedError as error:
                failures.add(error.type_name)
            except NoDataError:
                assert failures <= {"UnknownObjectError"}
                return found

    @precondition(lambda self: self.readings)
    @rule(which=WHICH)
    def read(self, which: int) -> None:
        name, reading = list(self.readings.items())[which % len(self.readings)]
        self._arrived(name)
        found = self._drain(name)
        if reading.exact:
            assert [sample.data for sample in found] == list(reading.waiting)
            reading.delivered += len(found)
            reading.waiting.clear()
        self._see(reading, found)
        poll_until(
            lambda: not reading.unseen or self._see(reading, self._drain(name)),
            PATIENCE_S,
            what=f"what was pushed to {name}",
        )
        self._arrived(name)

    def _see(self, reading: Reading, found: list[Sample]) -> bool:
        """Every sample that was pushed comes once, in its turn, among those of ticks before and after it."""
        self._check_order(reading, found)
        for sample in found:
            if reading.unseen and sample.data == reading.unseen[0]:
                reading.unseen.popleft()
        return not reading.unseen

    def _check_order(self, reading: Reading, found: list[Sample]) -> None:
        for sample in found:
            if reading.last is not None:
                assert sample.sequence > reading.last.sequence
                assert sample.origin == reading.last.origin
                assert sample.timestamp >= reading.last.timestamp
            reading.last = sample

    def _arrived(self, name: str) -> None:
        """What was made for a reading is in its books, and nowhere else."""
        reading = self.readings.get(name)
        if reading is None:
            return
        base = reading.base
        if reading.exact:
            poll_until(
                lambda: self.client.stream_statistics(name).expected - base.expected >= reading.made,
                PATIENCE_S,
                what=f"{reading.made} samples of {name}",
            )
        now = self.client.stream_statistics(name)
        assert now.accounted, now
        losses = (now.dropped_upstream, now.lost_on_the_way, now.stale, now.restarts)
        assert losses == (base.dropped_upstream, base.lost_on_the_way, base.stale, base.restarts), now
        if reading.exact:
            assert now.expected - base.expected == reading.made, now
            assert now.waiting == len(reading.waiting), now
            assert now.delivered - base.delivered == reading.delivered, now
            assert now.dropped - base.dropped == reading.dropped, now
            assert now.conflated - base.conflated == reading.conflated, now

    # --- restarts -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.life < 1 + WALKS)
    @rule()
    def restart(self) -> None:
        self.server.close()
        self.life += 1
        self.server = self._serve()
        self.named.clear()
        for name in tuple(self.streams):
            self._replace(name, None)
        self._meet()
        for name in self.readings:
            self._resume(name)

    def _resume(self, name: str) -> None:
        """A subscription goes on by itself; what was pushed before it was there again is lost on the way, counted."""
        stream = self.streams[name] = StreamModel(
            next(self.numbers), "manual", None, True, push=self.server.get_stream_fn(name)
        )
        reading = self.readings[name]
        self._drain(name)
        before, pushed = self.client.stream_statistics(name), 0
        heard = before.received > 0  # Whoever has heard nothing yet begins to count with the first sample.

        def back() -> bool:
            nonlocal pushed
            self._push(name, stream)
            pushed += 1
            newest = self._newest(name)  # It may still be one of the old server's.
            return isinstance(newest, list) and newest[0] == stream.number

        poll_until(back, PATIENCE_S, what=f"samples of {name} after the restart")
        poll_until(
            lambda: self._newest(name) == stream.last, PATIENCE_S, what=f"the last of {pushed} samples of {name}"
        )
        now = self.client.stream_statistics(name)
        assert now.accounted
        assert now.dropped_upstream == before.dropped_upstream
        assert now.restarts == before.restarts + heard
        if reading.exact and heard:
            assert now.expected - before.expected == pushed, now
        found = self._drain(name)
        assert reading.way.drop == "newest" or found[-1].data == stream.last
        self.readings[name] = Reading(reading.way, self.client.stream_statistics(name), exact=True)

    def _newest(self, name: str) -> Any:
        try:
            return self.client.last_sample(name).data
        except (NoDataError, SourceFailedError):
            return None

    # --- what is always true ------------------------------------------------------------------------------------------

    @invariant()
    def reported(self) -> None:
        if not hasattr(self, "client"):
            return
        wanted = {
            name: (stream.kind, stream.frequency_hz, stream.enabled, stream.on_demand, stream.encoding)
            for name, stream in self.streams.items()
        }
        for side in (self.server, self.client):
            told: Any = side.get_stream_configurations()
            assert {
                name: (entry.kind, entry.frequency_hz, entry.enabled, entry.on_demand, entry.encoding)
                for name, entry in told.items()
            } == wanted
            description = side.describe()
            assert {described.name for described in description.objects} == {"life", *self.objects}
            assert {described.name for described in description.named_calls} == set(self.named)
            assert set(description.streams) == set(self.streams)
        assert self.client.state == "connected"


@pytest.mark.timeout(300)
def test_any_walk_is_the_one_that_the_model_takes() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Lab,
        settings=settings(
            max_examples=WALKS or 40,
            stateful_step_count=STEPS,
            derandomize=not WALKS,
            deadline=None,
            phases=(Phase.generate, Phase.shrink) if WALKS else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
        _min_steps=STEPS,  # Left alone, most walks end after a dozen steps, and meet nothing.
    )
