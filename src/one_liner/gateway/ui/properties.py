"""The properties of one object: their values as they are now, and a field for those that can be set."""

from __future__ import annotations

import json
from typing import Any

from nicegui import ui

from one_liner.aio import PropertyDescription
from one_liner.gateway.access import Role
from one_liner.gateway.rigs import Rig
from one_liner.gateway.ui.field import kind_of
from one_liner.gateway.ui.hint import hint
from one_liner.gateway.ui.values import text_of
from one_liner.gateway.ui.visit import Visit, reason_of
from one_liner.gateway.words import read_word

_PERIOD_S = 1.0


class PropertyRow:
    """One property, in the element that is being filled.

    It is read once a second for all browsers together, and only while one of them shows it.

    Args:
        visit: whose page this is.
        rig: whose property.
        obj_name: its object.
        described: the property.
    """

    def __init__(self, visit: Visit, rig: Rig, obj_name: str, described: PropertyDescription) -> None:
        self._visit, self._rig = visit, rig
        self._obj_name, self._attr_name = obj_name, described.name
        self._kind, choices, _ = kind_of(described.type)
        self._key = ("property", id(rig), obj_name, described.name)
        self._poll: Any = None
        self._readable = described.readable
        with ui.element("div").classes("ol-property").props(f'data-property="{described.name}"'):
            name = ui.label(described.name).classes("ol-name")
            if described.doc:
                hint(name, described.doc)
            self._value = ui.label("" if described.readable else "write-only").classes("ol-value").props("data-value")
            if described.writable:
                self._entry = self._make_entry(choices)

    def _make_entry(self, choices: tuple[Any, ...]) -> Any:
        style, may = "dense outlined data-set", self._visit.may(Role.CONTROL)
        options = [True, False] if self._kind == "bool" else list(choices)
        entry: Any
        if options:
            entry = ui.select({json.dumps(one): str(one) for one in options}, label="set").props(style)
            entry.on_value_change(self._set)
        else:
            entry = ui.input(placeholder="set").props(style)
            entry.on("keydown.enter", self._set)
        entry.classes("ol-set")
        return entry if may else entry.disable() or entry

    def look(self) -> None:
        """Begin to read it."""
        if self._readable and self._poll is None:
            client, obj_name, attr_name = self._rig.client, self._obj_name, self._attr_name
            self._poll = self._visit.ask(self._key, lambda: client.get(obj_name, attr_name), _PERIOD_S)

    def look_away(self) -> None:
        """Read it no longer."""
        if self._poll is not None:
            self._poll = None
            self._visit.forget(self._key)

    def draw(self) -> None:
        """Show what it is now."""
        poll = self._poll
        if poll is None:
            return
        stale = poll.error is not None or not self._rig.connected
        if poll.answered:
            self._value.set_text(text_of(poll.answer))
        elif poll.error is not None:
            self._value.set_text(reason_of(poll.error))
        self._value.classes(add="ol-stale" if stale else "", remove="" if stale else "ol-stale")

    async def _set(self) -> None:
        entered = self._entry.value
        if entered in (None, ""):
            return
        value = entered if self._kind == "str" else read_word(entered)
        client = self._rig.client
        if await self._visit.act(lambda: client.set(self._obj_name, self._attr_name, value)):
            self._entry.set_value(None)
            if self._poll is not None:
                self._poll.hurry()
