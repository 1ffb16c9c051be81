"""Streams and events of the servers behind a gateway, as topics: received while somebody subscribes, once for all.

The topic is the name of the stream, and what is delivered `{"timestamp", "sequence", "data"}`: the wall-clock time in
s, the number of the sample, its value. What came instead of a value is `{"timestamp": null, …, "error"}`. Events are
the topics `:event`, `:emergency`, …, their value is the event as data; none comes from before somebody subscribed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from one_liner.aio import Sample, ServerDescription, anew, in_background
from one_liner.errors import NotExposedError, SourceFailedError
from one_liner.gateway.event import ALL_TOPICS
from one_liner.gateway.faults import fault_json
from one_liner.gateway.pieces import is_large, json_text
from one_liner.gateway.pubsub.endpoint import PubSubEndpoint
from one_liner.gateway.rigs import Rig, Rigs, streams_of

EVENTS = (":event", ":emergency", ":property_change", ":command_result", ":heartbeat", ":job_update")
"""The topics of each server's events."""

_LOOK_EVERY_S = 0.25
_MOST_WAITING = 256


class StreamTopics:
    """Has an endpoint deliver the streams of servers.

    Args:
        rigs: the servers.
        endpoint: who delivers. Nobody may publish there under the name of a stream.
    """

    def __init__(self, rigs: Rigs, endpoint: PubSubEndpoint) -> None:
        self._rigs = rigs
        self._endpoint = endpoint
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._look_now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        endpoint.notifier.listen(lambda topic, wanted: self._look_now.set())
        endpoint.notifier.add_topic_restriction(self._refuse)

    async def start(self) -> None:
        """Begin to look what is wanted and what there is."""
        self._task = in_background(anew(self._look), "one_liner stream topics")

    async def close(self) -> None:
        """Receive nothing any more."""
        tasks = [*self._watches.values(), *([] if self._task is None else [self._task])]
        self._watches.clear()
        self._task = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _known(self) -> dict[str, tuple[Rig, str]]:
        """Every stream that there is: its topic, and where it comes from."""
        return {
            self._rigs.full_name(rig, name): (rig, name)
            for rig in self._rigs.all()
            if rig.description is not None
            for name in (*streams_of(rig.description), *_events_of(rig.description))
        }

    def _refuse(self, topics: list[str]) -> None:
        for topic in self._known().keys() & set(topics):
            raise NotExposedError(f"{topic!r} is a stream: it is published by its server alone")

    async def _look(self) -> None:
        while True:
            wanted = self._endpoint.notifier.topics
            known = self._known()
            want_all = ALL_TOPICS in wanted
            chosen = {topic: place for topic, place in known.items() if want_all or topic in wanted}
            for topic in self._watches.keys() - chosen.keys():
                self._watches.pop(topic).cancel()
            for topic in chosen.keys() - self._watches.keys():
                self._watches[topic] = in_background(
                    anew(partial(self._deliver, topic, *chosen[topic])), f"one_liner topic {topic}"
                )
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._look_now.wait()
            except TimeoutError:
                pass  # Servers come, go, and serve something else.
            self._look_now.clear()

    async def _deliver(self, topic: str, rig: Rig, name: str) -> None:
        is_event, began = name.rpartition("/")[2] in EVENTS, time.perf_counter()
        async with rig.watch(name, _MOST_WAITING) as watch:
            async for item in watch:
                if is_event and isinstance(item, Sample) and item.timestamp < began:
                    continue
                if isinstance(item, Sample) and is_large(item.data):
                    # The newest: writing it may take longer than the next one needs to come.
                    text = await asyncio.to_thread(_as_json, watch.newest() or item)
                else:
                    text = _as_json(item)
                self._endpoint.publish_sample(topic, text)


def _events_of(description: ServerDescription) -> Iterator[str]:
    """The topics of a server's events, those behind its routers too."""
    yield from EVENTS
    for prefix, behind in description.routers.items():
        if isinstance(behind, ServerDescription):
            yield from (f"{prefix}/{name}" for name in _events_of(behind))


def _as_json(item: Sample | SourceFailedError) -> str:
    content: dict[str, Any]
    if isinstance(item, Sample):
        content = {"timestamp": item.wall_time, "sequence": item.sequence, "data": item.data}
    else:
        content = {"timestamp": None, "sequence": None, "data": None, "error": fault_json(item)}
    return json_text(content)
