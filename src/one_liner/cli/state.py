"""`one-liner running` and `leases`: what a server is doing, and who has control."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from one_liner.cli.call import JsonOption
from one_liner.cli.connection import (
    DEFAULT_SERVER,
    KeysOption,
    ServerKeyOption,
    ServerOption,
    TimeoutOption,
    connect,
)
from one_liner.cli.listing import show
from one_liner.cli.values import to_json


def running(
    server: ServerOption = DEFAULT_SERVER,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
    json: JsonOption = False,
) -> None:
    """What the server is doing now, for whom, and since when."""
    with connect(server, timeout, keys, server_key) as client:
        calls = client.running_calls()
    if json:
        print(to_json(calls, indent=2))
    elif calls:
        show(_times_table("call", ((one["where"], one["who"], one["for_s"]) for one in calls)))
    else:
        print("nothing is running")


def leases(
    server: ServerOption = DEFAULT_SERVER,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
    json: JsonOption = False,
) -> None:
    """Who has exclusive control of what, and since when."""
    with connect(server, timeout, keys, server_key) as client:
        held = client.leases()
    if json:
        print(to_json(held, indent=2))
    elif held:
        rows = ((one["object"] or "(the whole server)", one["who"], one["for_s"]) for one in held)
        show(_times_table("object", rows))
    else:
        print("nobody has exclusive control of anything")


def _times_table(what: str, rows: Iterable[tuple[str, str, float]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(what, overflow="fold")
    table.add_column("who", overflow="fold")
    table.add_column("for", justify="right")
    for name, who, for_s in rows:
        table.add_row(Text(name), Text(who), f"{for_s:.1f} s")
    return table
