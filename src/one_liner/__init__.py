"""Any Python object on the network in one line, and a window on it, anywhere, in another.

    server = RouterServer(instances={"laser": laser}); server.run()
    client = RouterClient(); client.proxy("laser").set_power(5)

The names below are the public face; they are imported when they are first used, so that `import one_liner` costs
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from one_liner import errors as errors
    from one_liner.client import RouterClient as RouterClient
    from one_liner.commands.job import Job as Job
    from one_liner.commands.job import JobCancelled as JobCancelled
    from one_liner.events.event import Event as Event
    from one_liner.server import RouterServer as RouterServer
    from one_liner.version import __version__ as __version__
    from one_liner.wire.types import EnumValue as EnumValue
    from one_liner.wire.types import register_type as register_type

_PLACES = {
    "EnumValue": "one_liner.wire.types",
    "Event": "one_liner.events.event",
    "Job": "one_liner.commands.job",
    "JobCancelled": "one_liner.commands.job",
    "RouterClient": "one_liner.client",
    "RouterServer": "one_liner.server",
    "__version__": "one_liner.version",
    "register_type": "one_liner.wire.types",
}

__all__ = [
    "EnumValue",
    "Event",
    "Job",
    "JobCancelled",
    "RouterClient",
    "RouterServer",
    "__version__",
    "errors",
    "register_type",
]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("one_liner.errors")
    if name not in _PLACES:
        raise AttributeError(f"module 'one_liner' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
