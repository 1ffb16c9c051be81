"""All streams of all servers: a card for each, with a plot or an image, its rate and where its samples went."""

from __future__ import annotations

import inspect
from typing import Any

from nicegui import ui

from one_liner.aio import Sample, StreamConfigurations
from one_liner.errors import OneLinerError, SourceFailedError
from one_liner.gateway.access import Role
from one_liner.gateway.rigs import Rig
from one_liner.gateway.ui.pictures import Picture, is_picture
from one_liner.gateway.ui.plots import CurvePlot, TracePlot, is_curve, is_trace
from one_liner.gateway.ui.polls import Poll
from one_liner.gateway.ui.readout import Readout
from one_liner.gateway.ui.served import served_by
from one_liner.gateway.ui.visit import Visit, reason_of
from one_liner.gateway.watch import Watch

_SHOWN_AT_FIRST = 6
_PERIOD_S = 1.0

View = TracePlot | CurvePlot | Picture | Readout


class Streams:
    """The panel, in the element that is being filled.

    Args:
        visit: whose page this is.
    """

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._shown: dict[Rig, tuple[str, ...]] = {}
        self._ledgers: dict[Rig, Poll[Any]] = {}
        self._cards: list[StreamCard] = []
        self._column = ui.element("div").classes("ol-cards")

    async def draw(self) -> None:
        """Show what has changed."""
        served = {rig: served_by(rig).streams for rig in self._visit.rigs}
        if served != self._shown:
            self._make(served)
        for card in self._cards:
            await card.draw()

    def close(self) -> None:
        """Watch nothing any more."""
        for card in self._cards:
            card.pause()
        for rig in self._ledgers:
            self._visit.forget(("streams", id(rig)))
        self._cards.clear()
        self._ledgers.clear()

    def _make(self, served: dict[Rig, tuple[str, ...]]) -> None:
        self.close()
        self._shown = served
        self._column.clear()
        with self._column:
            for rig, names in served.items():
                ask = rig.client.get_stream_configurations
                ledger = self._ledgers[rig] = self._visit.ask(("streams", id(rig)), ask, _PERIOD_S)
                for name in names:
                    self._cards.append(StreamCard(self._visit, rig, name, ledger, len(self._cards) < _SHOWN_AT_FIRST))
            if not self._cards:
                ui.label("Nothing is streamed.").classes("ol-empty")


class StreamCard:
    """One stream, in the element that is being filled.

    What a sample is decides how it is shown. While it is paused here nothing of it is received for this page.

    Args:
        visit: whose page this is.
        rig: whose stream.
        name: its name there.
        ledger: how all streams of its server go.
        shown: whether it is shown at first.
    """

    def __init__(self, visit: Visit, rig: Rig, name: str, ledger: Poll[StreamConfigurations], shown: bool) -> None:
        self._visit, self._rig, self._name, self._ledger = visit, rig, name, ledger
        self._watch: Watch | None = None
        self._view: View | None = None
        self._missed = 0
        full_name = visit.full_name(rig, name)
        self._card = ui.element("div").classes("ol-card ol-stream").props(f'data-stream="{full_name}"')
        with self._card:
            with ui.row().classes("ol-head"):
                ui.label(full_name).classes("ol-title")
                ui.space()
                self._enabled = ui.switch("run", value=True, on_change=self._enable).props("dense data-enabled")
                self._enabled.tooltip("Have the server run it, for everybody")
                self._pause = ui.button(on_click=self._toggle).props("dense flat round data-pause")
            self._body = ui.element("div").classes("ol-body")
            self._trouble = ui.label().classes("ol-bad ol-result").props("data-trouble")
            self._line = ui.label().classes("ol-ledger").props("data-ledger")
        self._trouble.set_visibility(False)
        self._is_enabled = True
        if not visit.may(Role.CONTROL):
            self._enabled.disable()
        self.resume() if shown else self.pause()

    def resume(self) -> None:
        """Receive it."""
        if self._watch is None:
            self._begin(1 if self._view is None else self._view.most_waiting)
        self._pause.props("icon=pause")

    def pause(self) -> None:
        """Receive it no longer; what is shown stays."""
        if self._watch is not None:
            self._rig.channel(self._name).remove(self._watch)
            self._missed += self._watch.missed
            self._watch = None
        self._pause.props("icon=play_arrow")

    async def draw(self) -> None:
        """Show what has come."""
        away = not self._rig.connected
        self._card.classes(add="ol-away" if away else "", remove="" if away else "ol-away")
        self._draw_ledger()
        items = [] if self._watch is None else self._watch.take()
        failed = [item for item in items if isinstance(item, SourceFailedError)]
        samples = [item for item in items if isinstance(item, Sample)]
        if items:
            self._trouble.set_text(reason_of(failed[-1]) if failed else "")
            self._trouble.set_visibility(bool(failed))
        if samples:
            await self._show(samples)

    async def _show(self, samples: list[Sample]) -> None:
        wanted = _view_of(samples[-1].data)
        if not isinstance(self._view, wanted):
            self._body.clear()
            with self._body:
                self._view = wanted()
            if self._view.most_waiting > 1:
                self.pause()
                self._missed = 0  # Until now, only the newest were wanted.
                self.resume()
        samples = [sample for sample in samples if _view_of(sample.data) is wanted]
        shown = self._view.show(samples)
        if inspect.isawaitable(shown):
            await shown

    def _begin(self, most: int) -> None:
        self._watch = Watch(self._rig.channel(self._name), most)
        self._rig.channel(self._name).add(self._watch)

    def _toggle(self) -> None:
        self.resume() if self._watch is None else self.pause()

    async def _enable(self, event: Any) -> None:
        if event.value == self._is_enabled:
            return  # It only follows what the server says.
        client, name = self._rig.client, self._name
        if await self._visit.act(lambda: client.enable_stream(name) if event.value else client.disable_stream(name)):
            self._ledger.hurry()
        else:
            self._enabled.set_value(self._is_enabled)

    def _draw_ledger(self) -> None:
        found = None if self._ledger.answer is None else self._ledger.answer.get(self._name)
        if found is None:
            return
        if found.enabled != self._is_enabled:
            self._is_enabled = found.enabled
            self._enabled.set_value(found.enabled)
        rate = "" if found.achieved_hz is None else f"{found.achieved_hz:.1f}"
        wanted = "" if found.frequency_hz is None else f" of {found.frequency_hz:g}"
        parts = [f"{rate}{wanted} Hz" if rate or wanted else found.kind, f"{found.produced} made"]
        skipped = found.skipped_late + found.skipped_busy
        counts = {"failed": found.failed, "skipped": skipped, "overruns": found.overruns, **self._losses()}
        parts += [f"{count} {what}" for what, count in counts.items() if count]
        self._line.set_text(" · ".join(parts))

    def _losses(self) -> dict[str, int]:
        """What was lost on the way to the gateway; and to this page, where every sample counts."""
        losses: dict[str, int] = {}
        if self._watch is None:
            return {}
        try:
            statistics = self._rig.client.stream_statistics(self._name)
        except OneLinerError:
            return {}  # It is being begun.
        losses["lost on the way"] = statistics.lost_on_the_way
        losses["dropped"] = statistics.dropped + statistics.dropped_upstream
        if self._view is not None and self._view.most_waiting > 1:
            losses["missed here"] = self._missed + self._watch.missed
        return losses


def _view_of(data: Any) -> type[View]:
    if is_trace(data):
        return TracePlot
    if is_picture(data):
        return Picture
    return CurvePlot if is_curve(data) else Readout
