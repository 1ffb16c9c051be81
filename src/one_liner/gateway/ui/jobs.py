"""Jobs: how far each has come, and buttons to pause and to cancel it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from one_liner.aio import JobInfo, JobState
from one_liner.gateway.access import Role
from one_liner.gateway.rigs import Rig
from one_liner.gateway.ui.polls import Poll
from one_liner.gateway.ui.values import text_of
from one_liner.gateway.ui.visit import Visit

_PERIOD_S = 0.4
_ENDED_SHOWN = 6
_SIGNS = {
    JobState.PENDING: "hourglass_empty",
    JobState.RUNNING: "play_circle",
    JobState.PAUSED: "pause_circle",
    JobState.SUCCEEDED: "check_circle",
    JobState.FAILED: "error",
    JobState.CANCELLED: "cancel",
}


class Jobs:
    """The panel, in the element that is being filled: all that have not ended, and the last that have.

    Args:
        visit: whose page this is.
    """

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._rows: dict[tuple[Rig, str], JobRow] = {}
        self._polls: dict[Rig, Poll[list[JobInfo]]] = {
            rig: visit.ask(("jobs", id(rig)), rig.client.jobs, _PERIOD_S) for rig in visit.rigs
        }
        self._column = ui.element("div").classes("ol-list")
        self._empty = ui.label("No job has been started.").classes("ol-empty")

    async def draw(self) -> None:
        """Show what has changed."""
        wanted = {(rig, info.id): info for rig, poll in self._polls.items() for info in _chosen(poll.answer or [])}
        for key in self._rows.keys() - wanted.keys():
            self._rows.pop(key).remove()
        for key, info in sorted(wanted.items(), key=lambda entry: entry[1].submitted):
            if key not in self._rows:
                with self._column:
                    self._rows[key] = JobRow(self._visit, key[0], info, self._polls[key[0]])
            self._rows[key].draw(info)
        self._empty.set_visibility(not wanted)

    def close(self) -> None:
        """Ask nothing any more."""
        for rig in self._polls:
            self._visit.forget(("jobs", id(rig)))


class JobRow:
    """One job, in the element that is being filled.

    Args:
        visit: whose page this is.
        rig: whose job.
        info: the job.
        poll: what asks for all of them.
    """

    def __init__(self, visit: Visit, rig: Rig, info: JobInfo, poll: Poll[Any]) -> None:
        self._visit, self._rig, self._poll = visit, rig, poll
        self._info = info
        self._revision = -1
        self._row = ui.element("div").classes("ol-job").props(f'data-job="{info.command}"')
        with self._row:
            with ui.row().classes("ol-head"):
                self._sign = ui.icon("hourglass_empty", size="sm")
                ui.label(visit.full_name(rig, info.command)).classes("ol-title")
                self._state = ui.label().classes("ol-state").props("data-state")
                ui.space()
                self._pause = self._button("pause", self._toggle)
                self._cancel = self._button("cancel", self._stop).props("data-cancel")
                self._result = self._button("result", self._show_result, Role.READ).props("data-get-result")
            self._bar = ui.linear_progress(0, show_value=False, size="8px").props("rounded instant-feedback data-bar")
            self._line = ui.label().classes("ol-ledger").props("data-line")

    def draw(self, info: JobInfo) -> None:
        """Show how it stands now."""
        self._info = info
        if info.revision == self._revision:
            return
        self._revision = info.revision
        state = "cancelling" if info.cancelling and not info.state.ended else str(info.state)
        self._state.set_text(state)
        self._sign.set_name(_SIGNS[info.state])
        self._row.props(f"data-state={info.state}").classes(replace=f"ol-job ol-job-{info.state}")
        done = info.state is JobState.SUCCEEDED
        fraction = 1.0 if done else info.progress.fraction
        self._bar.set_value(fraction or 0.0)
        unknown = fraction is None and info.state is JobState.RUNNING
        self._bar.props("indeterminate" if unknown else "", remove="" if unknown else "indeterminate")
        self._line.set_text(_line_of(info))
        self._pause.set_visibility(not info.state.ended)
        self._pause.set_text("resume" if info.state is JobState.PAUSED or info.pausing else "pause")
        self._cancel.set_visibility(not info.state.ended)
        self._result.set_visibility(done)

    def remove(self) -> None:
        """It is one of those that are no longer shown."""
        self._row.delete()

    def _button(self, text: str, doing: Callable[[], Awaitable[Any]], needed: Role = Role.CONTROL) -> ui.button:
        async def act() -> None:
            await self._visit.act(doing, needed)
            self._poll.hurry()

        button = ui.button(text, on_click=act).props("dense flat no-caps")
        if not self._visit.may(needed):
            button.disable()
        return button

    async def _toggle(self) -> None:
        job = await self._rig.client.job(self._info.id)
        if job.info.state is JobState.PAUSED or job.info.pausing:
            await job.resume()
        else:
            await job.pause()

    async def _stop(self) -> None:
        await (await self._rig.client.job(self._info.id)).cancel()

    async def _show_result(self) -> None:
        job = await self._rig.client.job(self._info.id)
        self._line.set_text(f"→ {text_of(await job.result())}")


def _chosen(jobs: list[JobInfo]) -> list[JobInfo]:
    ended = sorted((info for info in jobs if info.state.ended), key=lambda info: info.ended or 0.0)
    return [*(info for info in jobs if not info.state.ended), *ended[-_ENDED_SHOWN:]]


def _line_of(info: JobInfo) -> str:
    began = time.strftime("%H:%M:%S", time.localtime(info.submitted))
    took = "" if info.started is None or info.ended is None else f"{info.ended - info.started:.1f} s"
    parts = [str(info.progress), info.reason, f"for {info.who}" if info.who else "", f"from {began}", took]
    return " · ".join(part for part in parts if part)
