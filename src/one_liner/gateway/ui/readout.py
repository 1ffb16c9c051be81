"""All that is neither a curve nor an image, as text."""

from __future__ import annotations

from nicegui import ui

from one_liner.aio import Sample
from one_liner.gateway.ui.values import text_of


class Readout:
    """The newest value as text, in the element that is being filled."""

    most_waiting = 1

    def __init__(self) -> None:
        self._label = ui.label().classes("ol-readout").props("data-readout")

    def show(self, samples: list[Sample]) -> None:
        """Show the newest."""
        self._label.set_text(text_of(samples[-1].data))
