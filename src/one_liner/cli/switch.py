"""`one-liner enable` and `one-liner disable`: streams on and off, for everybody."""

from __future__ import annotations

from typing import Annotated

import typer

from one_liner.cli.connection import (
    DEFAULT_SERVER,
    KeysOption,
    ServerKeyOption,
    ServerOption,
    TimeoutOption,
    connect,
)

StreamNames = Annotated[list[str], typer.Argument(metavar="STREAM...", help="Names of streams.")]


def enable(
    names: StreamNames,
    server: ServerOption = DEFAULT_SERVER,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
) -> None:
    """Have the server run streams, for everybody."""
    with connect(server, timeout, keys, server_key) as client:
        for name in names:
            client.enable_stream(name)


def disable(
    names: StreamNames,
    server: ServerOption = DEFAULT_SERVER,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
) -> None:
    """Have the server pause streams, for everybody."""
    with connect(server, timeout, keys, server_key) as client:
        for name in names:
            client.disable_stream(name)
