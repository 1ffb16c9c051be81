"""`one-liner ls`: what a server serves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from one_liner.cli.connection import (
    DEFAULT_SERVER,
    KeysOption,
    ServerKeyOption,
    ServerOption,
    TimeoutOption,
    connect,
)
from one_liner.cli.values import in_one_line, number, to_json
from one_liner.client import RouterClient

_PIPE_WIDTH = 160
"""Where nobody says how wide a line may be."""
_ROUTE_SEPARATOR = "/"

Described = Any
"""A description, or a part of one, as `RouterClient.describe` gives it."""


def ls(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One object, stream, named call or router.")
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print plain JSON, for machines.")] = False,
) -> None:
    """List what a server serves: objects, named calls, streams, routers."""
    with connect(server, timeout, keys, server_key) as client:
        found = {"server": client.describe()} if name is None else _find(client, name)
    if json:
        plain = {kind: one if kind == "stream" else one.as_dict() for kind, one in found.items()}
        print(to_json(plain["server"] if name is None else plain, indent=2))
        return
    for kind, one in found.items():
        show(_SHOWN_AS[kind](one))


def hertz(frequency: float | None) -> str:
    """A rate for a column of a table; a dash where there is none."""
    return "–" if frequency is None else number(frequency)


def show(listing: RenderableType) -> None:
    """Print it. In a pipe, lines are not cut to the width of a terminal that is not there, nor filled up to it."""
    if sys.stdout.isatty():
        Console(highlight=False).print(listing)
        return
    console = Console(width=int(os.environ.get("COLUMNS", _PIPE_WIDTH)), highlight=False)
    with console.capture() as capture:
        console.print(listing)
    for line in capture.get().splitlines():
        print(line.rstrip())


def _find(client: RouterClient, name: str) -> dict[str, Described]:
    """Everything of this name, under its kind.

    Raises:
        UnknownObjectError: there is nothing; the message has names that are close.
    """
    server: Described = client.describe()
    rest = name
    while _ROUTE_SEPARATOR in rest:
        prefix, _, rest = rest.partition(_ROUTE_SEPARATOR)
        server = server.routers.get(prefix)
        if not hasattr(server, "objects"):  # no such router, or one that is down: the server says it best
            return {"object": client.describe_object(name)}
    candidates: list[tuple[str, Described]] = [
        ("object", next((one for one in server.objects if one.name == rest), None)),
        ("named call", next((one for one in server.named_calls if one.name == rest), None)),
        ("stream", server.streams.get(rest)),
        ("router", server.routers.get(rest)),
    ]
    found = {kind: one for kind, one in candidates if one is not None}
    return found or {"object": client.describe_object(name)}


# --- for people ------------------------------------------------------------------------------------------------------


def _server_tree(server: Described, title: str | None = None) -> Tree:
    about = f"  one_liner {server.version}, protocol {server.protocol}"
    tree = Tree(Text.assemble((title or server.name, "bold"), (about, "dim")), guide_style="dim")
    if server.objects:
        branch = tree.add(Text("objects", "cyan"))
        for one in server.objects:
            branch.add(_object_tree(one))
    if server.named_calls:
        calls = (str(one).partition(" = ") for one in server.named_calls)
        tree.add(Text("named calls", "cyan")).add(_grid((name, target) for name, _, target in calls))
    if server.streams:
        tree.add(Text("streams", "cyan")).add(_stream_table(server.streams))
    if server.routers:
        branch = tree.add(Text("routers", "cyan"))
        for prefix, router in server.routers.items():
            branch.add(_router_tree(router, prefix + _ROUTE_SEPARATOR))
    return tree


def _router_tree(router: Described, title: str | None = None) -> RenderableType:
    if hasattr(router, "objects"):
        return _server_tree(router, title)
    return Text.assemble((title or "", "bold"), " " if title else "", (str(router), "red"))


def _object_tree(described: Described) -> Tree:
    title = Text.assemble((described.name, "bold"), (f"  {described.type}" if described.type else "", "dim"))
    title.append(f"  {_headline(described.doc)}" if described.doc else "", "italic")
    tree = Tree(title, guide_style="dim")
    members = [*described.properties, *described.methods]
    rows = [] if described.callable is None else [(str(described.callable), "")]
    rows += [(str(one), _note(one)) for one in members]
    if rows:
        tree.add(_grid(rows))
    for nested in described.objects:
        tree.add(_object_tree(nested))
    if described.dynamic:
        tree.add(Text("… and what it makes up when asked", "dim"))
    return tree


def _stream_table(streams: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("stream", overflow="fold")
    table.add_column("kind")
    table.add_column("Hz asked", justify="right")
    table.add_column("achieved", justify="right")
    table.add_column("made", justify="right")
    table.add_column("source", style="dim", overflow="fold")
    for name, stream in streams.items():
        kind = stream["kind"] + (", on demand" if stream.get("on_demand") else "")
        table.add_row(
            Text(name),
            Text(kind) if stream["enabled"] else Text(f"{kind}, disabled", "yellow"),
            hertz(stream.get("frequency_hz")),
            hertz(stream.get("achieved_hz")),
            str(stream.get("produced", "")),
            Text(stream.get("source", "")),
        )
    return table


def _stream_details(stream: Mapping[str, Any]) -> Table:
    return _grid((key, in_one_line(value)) for key, value in stream.items() if value is not None)


def _grid(rows: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow="fold")
    grid.add_column(style="dim", overflow="fold")
    for left, right in rows:
        grid.add_row(Text(left), Text(right))
    return grid


def _note(one: Described) -> str:
    return " ".join(part for part in (_headline(one.doc), "[concurrent]" if one.concurrent else "") if part)


def _headline(doc: str) -> str:
    return doc.partition("\n")[0].strip()


_SHOWN_AS: dict[str, Callable[[Described], RenderableType]] = {
    "server": _server_tree,
    "object": _object_tree,
    "named call": lambda one: Text(str(one)),
    "stream": _stream_details,
    "router": _router_tree,
}
