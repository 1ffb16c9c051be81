"""Names of streams: what they may be, and which are a server's own."""

from __future__ import annotations

from typing import Any, Final

from one_liner.errors import ConfigurationError
from one_liner.wire.messages import ROUTE_SEPARATOR

OWN: Final = ":"
"""In front of the names of those streams that a server publishes about itself."""
MAX_NAME: Final = 200


def is_own(name: str) -> bool:
    """Whether this is a stream that a server, perhaps one behind routers, publishes about itself."""
    return name.rpartition(ROUTE_SEPARATOR)[2].startswith(OWN)


def check_stream_name(name: Any) -> str:
    """A name that can be a topic.

    Raises:
        ConfigurationError: empty, not text, or with characters that cannot be printed (a NUL ends a topic).
    """
    if not isinstance(name, str) or not name or not name.isprintable() or name.startswith(ROUTE_SEPARATOR):
        raise ConfigurationError(f"a stream needs a name of printable characters, not {name!r}")
    if len(name) > MAX_NAME:
        raise ConfigurationError(f"the name of a stream has at most {MAX_NAME} characters, not {len(name)}")
    return name
