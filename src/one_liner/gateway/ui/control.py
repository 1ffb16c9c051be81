"""Who has control: leases, and what the servers are at work with."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from one_liner.gateway.rigs import Rig
from one_liner.gateway.ui.polls import Poll
from one_liner.gateway.ui.visit import Visit

_PERIOD_S = 1.0
_SHORTEST_S = 0.5


class Control:
    """The panel, in the element that is being filled.

    Args:
        visit: whose page this is.
    """

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._leases: dict[Rig, Poll[list[dict[str, Any]]]] = {}
        self._running: dict[Rig, Poll[list[dict[str, Any]]]] = {}
        for rig in visit.rigs:
            self._leases[rig] = visit.ask(("leases", id(rig)), rig.client.leases, _PERIOD_S)
            self._running[rig] = visit.ask(("running", id(rig)), rig.client.running_calls, _PERIOD_S)
        self._lines = ui.label().classes("ol-lines").props("data-leases")

    async def draw(self) -> None:
        """Show how it is now."""
        lines = [
            f"{self._whole(rig, one['object'])} is reserved by {one['who']}, for {one['for_s']:.0f} s now"
            for rig, poll in self._leases.items()
            for one in poll.answer or ()
        ] or ["Nobody has a lease."]
        lines += [
            f"{self._visit.full_name(rig, one['where'])} runs for {one['who']}, for {one['for_s']:.0f} s now"
            for rig, poll in self._running.items()
            for one in poll.answer or ()
            if one["for_s"] >= _SHORTEST_S
        ]
        self._lines.set_text("\n".join(lines))

    def close(self) -> None:
        """Ask nothing any more."""
        for rig in self._leases:
            self._visit.forget(("leases", id(rig)))
            self._visit.forget(("running", id(rig)))

    def _whole(self, rig: Rig, obj_name: str) -> str:
        return self._visit.full_name(rig, obj_name) if obj_name else f"all of {rig.name or rig.address}"
