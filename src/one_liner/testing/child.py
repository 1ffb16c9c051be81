"""What runs in the process of a `SubprocessServer`: makes the server, tells its ports, serves until it is told to end.

Started as `python -m one_liner.testing.child place arguments told rpc_port broadcast_port`.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from threading import Event, Thread
from typing import Any

from one_liner.errors import ConfigurationError
from one_liner.server import RouterServer


def main(arguments: Sequence[str]) -> None:
    """Serve; returns when the parent has hung up, and ends by `SystemExit` on SIGTERM."""
    place, keywords, told, rpc_port, broadcast_port = arguments
    # Ctrl-C in a terminal reaches every process of it; this one ends when its parent does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    alone = Event()
    with _make(place, rpc_port=int(rpc_port), broadcast_port=int(broadcast_port), **json.loads(keywords)) as server:
        server.run()
        _tell(Path(told), [server.rpc_port, server.broadcast_port])
        Thread(target=_watch_parent, args=(alone,), name="one_liner parent watch", daemon=True).start()
        while not alone.wait(1.0):
            pass  # In slices, because Windows does not interrupt a wait without end.


def _make(place: str, **arguments: Any) -> RouterServer:
    module, _, name = place.partition(":")
    factory = reduce(getattr, name.split("."), importlib.import_module(module))
    server = factory(**arguments)  # type: ignore[operator]
    if not isinstance(server, RouterServer):
        raise ConfigurationError(f"{place} returned {server!r}, which is no RouterServer")
    return server


def _tell(place: Path, ports: list[int | str]) -> None:
    """Write the ports so that whoever sees the file sees all of it."""
    draft = place.with_suffix(".draft")
    draft.write_text(json.dumps(ports), encoding="utf-8")
    os.replace(draft, place)


def _watch_parent(alone: Event) -> None:
    # Not `sys.stdin`: its lock, held by a thread that waits, would be in the way when the interpreter ends.
    while os.read(0, 1):
        pass
    alone.set()


def _leave(number: int, frame: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
