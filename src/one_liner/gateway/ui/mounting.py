"""How the page gets into the application: behind its gate, with NiceGUI begun and ended as the gateway is."""

from __future__ import annotations

import importlib.util
from contextlib import AsyncExitStack

from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response

from one_liner.errors import ConfigurationError
from one_liner.gateway.gateway import Gateway

PATH = "/ui"
STATIC = f"{PATH}/_nicegui/"
"""Below this are NiceGUI's own files, in folders named after its version; its WebSocket is not."""
_INSTALL = "pip install 'one_liner[ui]'"


def add_page(app: FastAPI, gateway: Gateway) -> None:
    """Serve the page at `/ui`; where NiceGUI is not installed, say there how it is.

    Args:
        app: the application.
        gateway: what is shown.
    """
    if importlib.util.find_spec("nicegui") is None:
        app.add_api_route(PATH, _missing, include_in_schema=False)
        return
    from one_liner.gateway.ui.gate import Gate
    from one_liner.gateway.ui.page import page_app
    from one_liner.gateway.ui.polls import Polls

    pages, polls, life = page_app(), Polls(), AsyncExitStack()

    async def start() -> None:
        from nicegui import app as nicegui

        if not nicegui.is_stopped:
            raise ConfigurationError("one process shows one page at a time; start this gateway without it")
        await life.enter_async_context(pages.router.lifespan_context(pages))

    async def stop() -> None:
        await polls.close()
        await life.aclose()

    gateway.on_start(start)
    gateway.on_stop(stop)
    app.mount(PATH, Gate(pages, gateway, polls))


async def _missing() -> Response:
    return HTMLResponse(
        f"<!doctype html><title>one_liner</title><p>The page needs: <code>{_INSTALL}</code>", status_code=501
    )
