"""`create_app`: the application, made of parts that can be used alone as routers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from one_liner.gateway.array_routes import array_router
from one_liner.gateway.docs_routes import docs_router
from one_liner.gateway.event_routes import event_router
from one_liner.gateway.faults import add_fault_handlers
from one_liner.gateway.gateway import Gateway
from one_liner.gateway.guard import Guard
from one_liner.gateway.head import Head
from one_liner.gateway.instrument_routes import add_instrument_routes
from one_liner.gateway.job_routes import job_router
from one_liner.gateway.object_routes import add_object_routes
from one_liner.gateway.overview_routes import overview_router
from one_liner.gateway.pubsub.endpoint import PubSubEndpoint
from one_liner.gateway.pubsub.router import pubsub_router
from one_liner.gateway.refusal import AcceptThenClose
from one_liner.gateway.rpc.served import rpc_router
from one_liner.gateway.settings import Servers, Settings
from one_liner.gateway.stream_routes import stream_router
from one_liner.gateway.stream_socket import stream_socket_router
from one_liner.gateway.ui.mounting import STATIC, add_page
from one_liner.version import __version__


def create_app(
    servers: Servers = "localhost:5555",
    settings: Settings | None = None,
) -> FastAPI:
    """An ASGI application that brings servers to browsers. Nothing is connected before it runs.

    To have it inside an application of one's own: `app.mount("/lab", create_app(…))`, and have the lifespan of the
    outer one run `create_app(…).state.gateway.running()`.

    Args:
        servers: one or several, as `host:port` or `name=host:port`, or a dict of addresses by name.
        settings: all else; the defaults if None.

    Raises:
        ConfigurationError: something of it cannot be.
    """
    gateway = Gateway(servers, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with gateway.running():
            yield

    app = FastAPI(
        title="one_liner", version=__version__, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None
    )
    app.state.gateway = gateway
    add_fault_handlers(app)
    add_instrument_routes(app)
    for router in (overview_router(), docs_router(app), array_router(), stream_router(), stream_socket_router()):
        app.include_router(router)
    app.include_router(job_router())
    app.include_router(event_router())
    app.state.pubsub = PubSubEndpoint(backend=gateway.settings.backend, open_outbox=gateway.outbox)
    app.include_router(rpc_router(gateway))
    app.include_router(pubsub_router(gateway, app.state.pubsub))
    add_object_routes(app, gateway)
    if gateway.settings.ui:
        add_page(app, gateway)
    app.add_middleware(AcceptThenClose)
    app.add_middleware(Head)
    app.add_middleware(Guard, settings=gateway.settings, static=STATIC if gateway.settings.ui else "")
    if gateway.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(gateway.settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Token", "X-Timeout-S"],
        )
    return app
