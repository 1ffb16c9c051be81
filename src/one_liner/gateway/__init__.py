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
    from one_liner.gateway.numpy_client import NumpyClient as NumpyClient
    from one_liner.gateway.settings import Settings as Settings

_PLACES = {
    "NumpyClient": "numpy_client",
    "Role": "access",
    "Settings": "settings",
    "Token": "access",
    "create_app": "app",
}
_OF_THE_EXTRA = frozenset(
    (
        "PIL",
        "fastapi",
        "httpx",
        "multipart",
        "numpy",
        "prometheus_client",
        "pydantic",
        "starlette",
        "uvicorn",
        "websockets",
    )
)

__all__ = ["NumpyClient", "Role", "Settings", "Token", "create_app"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'one_liner.gateway' has no attribute {name!r}")
    try:
        return getattr(import_module(f"one_liner.gateway.{_PLACES[name]}"), name)
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in _OF_THE_EXTRA:
            raise
        raise MissingExtraError("this needs: pip install 'one_liner[gateway]'") from None
