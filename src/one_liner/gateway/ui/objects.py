"""All objects of all servers: a card for each, with its properties and a form for each of its methods."""

from __future__ import annotations

from nicegui import ui

from one_liner.aio import NamedCallDescription, ObjectDescription
from one_liner.gateway.access import Role
from one_liner.gateway.rigs import Rig
from one_liner.gateway.ui.form import MethodForm
from one_liner.gateway.ui.properties import PropertyRow
from one_liner.gateway.ui.served import Served, served_by
from one_liner.gateway.ui.visit import Visit

_OPEN_AT_FIRST = 8


class Objects:
    """The panel, in the element that is being filled.

    Args:
        visit: whose page this is.
    """

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._shown: dict[Rig, Served] = {}
        self._cards: list[ObjectCard] = []
        self._column = ui.element("div").classes("ol-cards")

    async def draw(self) -> None:
        """Show what has changed."""
        served = {rig: served_by(rig) for rig in self._visit.rigs}
        if served != self._shown:
            self._make(served)
        for card in self._cards:
            card.draw()

    def close(self) -> None:
        """Ask nothing any more."""
        for card in self._cards:
            card.close()
        self._cards.clear()

    def _make(self, served: dict[Rig, Served]) -> None:
        self.close()
        self._shown = served
        self._column.clear()
        with self._column:
            for rig, found in served.items():
                for name, described in found.objects:
                    self._cards.append(ObjectCard(self._visit, rig, name, described, len(self._cards) < _OPEN_AT_FIRST))
                if found.named_calls:
                    _named_calls_card(self._visit, rig, found.named_calls)
            if not any(found.objects for found in served.values()):
                ui.label("No server has been seen yet.").classes("ol-empty")


class ObjectCard:
    """One object, in the element that is being filled; its properties are read while it is open.

    Args:
        visit: whose page this is.
        rig: whose object.
        name: its name there.
        described: the object.
        is_open: whether it is open at first.
    """

    def __init__(self, visit: Visit, rig: Rig, name: str, described: ObjectDescription, is_open: bool) -> None:
        full_name = visit.full_name(rig, name)
        self._rig = rig
        self._card = ui.expansion(full_name, value=is_open).classes("ol-card").props(f'data-object="{full_name}"')
        self._card.on_value_change(lambda event: self._look(event.value))
        with self._card:
            if described.doc:
                ui.label(described.doc.partition("\n")[0]).classes("ol-doc")
            self._properties = [PropertyRow(visit, rig, name, one) for one in described.properties]
            # Those without arguments share lines, and come last.
            for method in sorted(described.methods, key=lambda method: method.parameters == ()):
                MethodForm(visit, rig, name, method, method.name)
            if described.callable is not None:
                MethodForm(visit, rig, name, described.callable, "__call__")
        self._look(is_open)

    def draw(self) -> None:
        """Show what has changed."""
        away = not self._rig.connected
        self._card.classes(add="ol-away" if away else "", remove="" if away else "ol-away")
        for row in self._properties:
            row.draw()

    def close(self) -> None:
        """Ask nothing any more."""
        self._look(False)

    def _look(self, is_open: bool) -> None:
        for row in self._properties:
            row.look() if is_open else row.look_away()


def _named_calls_card(visit: Visit, rig: Rig, calls: tuple[tuple[str, NamedCallDescription], ...]) -> None:
    """The calls that have names of their own, a button for each."""
    with ui.expansion(visit.full_name(rig, "named calls"), value=True).classes("ol-card"), ui.row().classes("ol-form"):
        for name, described in calls:
            button = ui.button(name, on_click=lambda _, name=name: visit.act(lambda: rig.client.call_by_name(name)))
            button.props(f'dense no-caps unelevated data-named-call="{name}"').tooltip(str(described))
            if not visit.may(Role.CONTROL):
                button.disable()
