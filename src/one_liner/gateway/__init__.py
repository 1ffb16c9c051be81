"""What is not Python, or not on the lab network, reaches the instruments through here: HTTP, WebSockets, a page.

An application of FastAPI that is nothing but a client of one or more servers: `gateway` is the object behind it, `rigs`
the servers it is connected to, `watch` hands each stream to any number of watchers, `outbox` bounds what waits for
each of them. Each kind of routes has a file and a function that makes its router. No instrument is in here, and nothing
of the inside of a server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from one_liner.errors import MissingExtraError

if TYPE_CHECKING:
    from one_liner.gateway.access import Role as Role
    from one_liner.gateway.access import Token as Token
    from one_liner.gateway.app import create_app as create_app
    from one_liner.gateway.array_routes import array_router as array_router
    from one_liner.gateway.event_routes import event_router as event_router
    from one_liner.gateway.faults import add_fault_handlers as add_fault_handlers
    from one_liner.gateway.gateway import Gateway as Gateway
    from one_liner.gateway.instrument_routes import instrument_router as instrument_router
    from one_liner.gateway.job_routes import job_router as job_router
    from one_liner.gateway.numpy_client import NumpyClient as NumpyClient
    from one_liner.gateway.object_routes import add_object_routes as add_object_routes
    from one_liner.gateway.overview_routes import overview_router as overview_router
    from one_liner.gateway.settings import Settings as Settings
    from one_liner.gateway.stream_routes import stream_router as stream_router
    from one_liner.gateway.stream_socket import stream_socket_router as stream_socket_router

_PLACES = {
    "Gateway": "gateway",
    "NumpyClient": "numpy_client",
    "Role": "access",
    "Settings": "settings",
    "Token": "access",
    "add_fault_handlers": "faults",
    "add_object_routes": "object_routes",
    "array_router": "array_routes",
    "create_app": "app",
    "event_router": "event_routes",
    "instrument_router": "instrument_routes",
    "job_router": "job_routes",
    "overview_router": "overview_routes",
    "stream_router": "stream_routes",
    "stream_socket_router": "stream_socket",
}
_OF_THE_EXTRA = frozenset(
    (
        "PIL",
        "fastapi",
        "httpx",
        "multipart",
        "numpy",
        "orjson",
        "prometheus_client",
        "pydantic",
        "starlette",
        "uvicorn",
        "websockets",
    )
)

__all__ = [
    "Gateway",
    "NumpyClient",
    "Role",
    "Settings",
    "Token",
    "add_fault_handlers",
    "add_object_routes",
    "array_router",
    "create_app",
    "event_router",
    "instrument_router",
    "job_router",
    "overview_router",
    "stream_router",
    "stream_socket_router",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'one_liner.gateway' has no attribute {name!r}")
    try:
        return getattr(import_module(f"one_liner.gateway.{_PLACES[name]}"), name)
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in _OF_THE_EXTRA:
            raise
        raise MissingExtraError("this needs: pip install 'one_liner[gateway]'") from None
