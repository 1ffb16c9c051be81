"""Whether each server answers: green, amber where it is silent but there, red."""

from __future__ import annotations

from nicegui import ui

from one_liner.gateway.rigs import Rig
from one_liner.gateway.ui.visit import Visit

_COLOURS = {"connected": "good", "unresponsive": "doubtful"}


class Connections:
    """A mark for each server, in the element that is being filled.

    Args:
        visit: whose page this is.
    """

    def __init__(self, visit: Visit) -> None:
        self._marks = {rig: _Mark(rig) for rig in visit.rigs}

    async def draw(self) -> None:
        """Show how it is now."""
        for mark in self._marks.values():
            mark.draw()

    def close(self) -> None:
        """Nothing is to be left."""


class _Mark:
    def __init__(self, rig: Rig) -> None:
        self._rig, self._state = rig, ""
        name = f"{rig.name} " if rig.name else ""
        with ui.element("span").classes("ol-server").props(f'data-server="{rig.name or rig.address}"') as self._chip:
            ui.element("i")
            ui.label(f"{name}{rig.address}")
            self._word = ui.label().classes("ol-state")
        self.draw()

    def draw(self) -> None:
        state = str(self._rig.client.state)
        if state == self._state:
            return
        self._state = state
        self._word.set_text(state)
        self._chip.classes(replace=f"ol-server ol-{_COLOURS.get(state, 'gone')}").props(f"data-state={state}")
