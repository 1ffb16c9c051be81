"""The page itself: what is where, and its life in one browser."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol

from fastapi import FastAPI, Request
from nicegui import Client, background_tasks, ui

from one_liner.gateway.access import Role
from one_liner.gateway.ui.connections import Connections
from one_liner.gateway.ui.control import Control
from one_liner.gateway.ui.events import Events
from one_liner.gateway.ui.gate import PLACE
from one_liner.gateway.ui.jobs import Jobs
from one_liner.gateway.ui.objects import Objects
from one_liner.gateway.ui.pace import keep_drawing
from one_liner.gateway.ui.streams import Streams
from one_liner.gateway.ui.visit import Visit
from one_liner.version import __version__

_STYLE = Path(__file__).with_name("page.css")
_RECONNECT_S = 10.0
"""How long a browser may be away; one that answers no pings is cut off after a little longer."""
_MOST_KEPT = 50


class Panel(Protocol):
    """A part of the page."""

    async def draw(self) -> None:
        """Show what has changed since the last time."""

    def close(self) -> None:
        """Ask for nothing and watch nothing any more."""


@cache
def page_app() -> FastAPI:
    """The application that serves the page. There is one in a process, as NiceGUI has it."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    ui.page("/", title="one_liner", dark=None)(_page)
    ui.run_with(
        app,
        title="one_liner",
        favicon="🔬",
        dark=None,
        reconnect_timeout=_RECONNECT_S,
        message_history_length=_MOST_KEPT,
        show_welcome_message=False,
    )
    return app


def _page(request: Request, client: Client) -> None:
    gateway, polls, role = request.scope[PLACE]
    visit = Visit(gateway, polls, role, client)
    ui.add_css(_STYLE)
    panels: list[Panel] = []
    with ui.header().classes("ol-header"):
        ui.label("one_liner").classes("ol-brand").tooltip(f"version {__version__}")
        panels.append(Connections(visit))
        ui.space()
        if not visit.may(Role.CONTROL):
            ui.label("look only").classes("ol-role")
    with ui.element("main").classes("ol-page"):
        with ui.element("div").classes("ol-side"):
            _section("Objects", panels, lambda: Objects(visit))
        with ui.element("div").classes("ol-side"):
            _section("Streams", panels, lambda: Streams(visit))
            _section("Jobs", panels, lambda: Jobs(visit))
            _section("Control", panels, lambda: Control(visit))
            _section("Events", panels, lambda: Events(visit))

    background_tasks.create(_live(client, panels), name=f"one_liner ui {client.id}")


async def _live(client: Client, panels: list[Panel]) -> None:
    async def draw() -> None:
        for panel in panels:
            await panel.draw()

    try:
        await keep_drawing(client, draw)
    finally:
        for panel in panels:
            panel.close()


def _section(title: str, panels: list[Panel], make: Callable[[], Panel]) -> None:
    with ui.element("section").props(f'data-panel="{title}"'):
        ui.label(title).classes("ol-section")
        panels.append(make())
