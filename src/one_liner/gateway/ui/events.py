"""What happens: emergencies, events of the application, changed properties, what jobs gave. The newest is on top."""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import Iterator

from nicegui import ui

from one_liner.aio import Event, Sample
from one_liner.errors import MalformedError, OneLinerError
from one_liner.gateway.rigs import Rig
from one_liner.gateway.ui.served import served_by
from one_liner.gateway.ui.values import text_of
from one_liner.gateway.ui.visit import Visit
from one_liner.gateway.watch import Watch

_MOST_WAITING = 200
_MOST_SHOWN = 60
_HISTORY = 30
_HISTORY_S = 5.0


class Events:
    """The panel, in the element that is being filled.

    Args:
        visit: whose page this is.
    """

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._watches: dict[tuple[Rig, str], Watch] = {}
        self._found: dict[tuple[object, ...], tuple[str, Event]] = {}
        self._asked: dict[Rig, tuple[int, int] | None] = {}
        self._missed = 0
        self._list = ui.html("", sanitize=False).classes("ol-events")
        self._line = ui.label("Nothing has happened yet.").classes("ol-empty")

    async def draw(self) -> None:
        """Show what has happened."""
        self._listen()
        news = [entry for entry in self._taken() if self._key(*entry) not in self._found]
        for rig in self._visit.rigs:
            if rig.connected and self._asked.get(rig) != rig.client.revision:
                self._asked[rig] = rig.client.revision
                news += await self._history(rig)
        if not news:
            return
        self._found |= {self._key(*entry): entry for entry in news}
        newest = sorted(self._found.values(), key=lambda entry: entry[1].when, reverse=True)[:_MOST_SHOWN]
        self._found = {self._key(*entry): entry for entry in newest}
        self._list.set_content("".join(_row(*entry) for entry in newest))
        self._line.set_text(f"{self._missed} more came too fast to be shown" if self._missed else "")

    def close(self) -> None:
        """Listen no longer."""
        for (rig, topic), watch in self._watches.items():
            rig.channel(topic).remove(watch)
        self._watches.clear()

    def _listen(self) -> None:
        wanted = {(rig, topic) for rig in self._visit.rigs for topic in served_by(rig).topics}
        for rig, topic in wanted - self._watches.keys():
            watch = self._watches[rig, topic] = Watch(rig.channel(topic), _MOST_WAITING)
            rig.channel(topic).add(watch)
        for rig, topic in self._watches.keys() - wanted:
            rig.channel(topic).remove(self._watches.pop((rig, topic)))

    def _taken(self) -> Iterator[tuple[str, Event]]:
        self._missed = sum(watch.missed for watch in self._watches.values())
        for (rig, topic), watch in self._watches.items():
            for item in watch.take():
                if isinstance(item, Sample):
                    source = self._visit.full_name(rig, topic.rpartition("/")[0])
                    try:
                        yield source.rstrip("/"), Event.from_dict(item.data)
                    except MalformedError:
                        continue  # A later version may have others.

    async def _history(self, rig: Rig) -> list[tuple[str, Event]]:
        try:
            async with asyncio.timeout(_HISTORY_S):
                found = await rig.client.events(last=_HISTORY)
        except (OneLinerError, TimeoutError):
            return []  # What happens from now on comes in the other way.
        return [(rig.name, one) for one in found]

    @staticmethod
    def _key(source: str, event: Event) -> tuple[object, ...]:
        return source, event.origin, event.topic, event.number


def _row(source: str, event: Event) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(event.when))
    texts = (at, event.topic.replace("_", " "), f"{source} {event.kind}".strip(), _context(event))
    cells = "".join(f"<span>{html.escape(text)}</span>" for text in texts)
    return f'<div class="ol-event ol-{event.topic}" data-event="{html.escape(str(event.kind))}">{cells}</div>'


def _context(event: Event) -> str:
    context = event.context
    if context is None:
        return ""
    if isinstance(context, dict) and "old" in context and "new" in context:
        before = f"{text_of(context['old'])} " if context.get("old_known") else ""
        return f"{before}→ {text_of(context['new'])}"
    if isinstance(context, dict) and "command" in context and "state" in context:
        result = f" → {text_of(context['result'])}" if context.get("has_result") else ""
        return f"{context['state']}{result} {context.get('reason', '')}".strip()
    return text_of(context)
