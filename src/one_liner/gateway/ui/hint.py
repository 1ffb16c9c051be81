"""What somebody who points at something is told: the first line of its documentation, above it."""

from __future__ import annotations

from nicegui import ui

_DELAY_MS = 500


def hint(element: ui.element, doc: str) -> None:
    """Have this element explain itself."""
    with element:
        ui.tooltip(doc.partition("\n")[0]).props(f'delay={_DELAY_MS} anchor="top middle" self="bottom middle"')
