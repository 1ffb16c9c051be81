"""`one-liner ledger`: where the samples of streams went at their producers, once or for as long as one likes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from one_liner.cli.board import configurations, existing
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
from one_liner.client import RouterClient
from one_liner.config import check_timeout
from one_liner.errors import NoDataError

_COUNTERS = ("produced", "published", "failed", "skipped_late", "skipped_busy", "overruns")
_AT_READERS = ("expected", "delivered", "waiting", "dropped", "conflated", "dropped_upstream", "lost_on_the_way")
_BAD_COUNTERS = frozenset((*_COUNTERS[2:], "dropped", "dropped_upstream", "lost_on_the_way"))
_HOLDER = "last_holder"
_STREAM = ":ledger"
_LOOK_EVERY_S = 0.05

Counters = Mapping[str, Mapping[str, Any]]


def ledger(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Names of streams; all of them if none.")
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
    json: JsonOption = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on, once per second, until Ctrl-C.")] = False,
    seconds: Annotated[float | None, typer.Option(metavar="S", help="With --follow: end after so many.")] = None,
) -> None:
    """Where the samples of streams went at their producers: made, published, failed, skipped."""
    with connect(server, timeout, keys, server_key) as client:
        known = configurations(client)
        chosen = existing(known, names or [])
        if follow:
            _follow(client, chosen if names else None, seconds, json)
            return
    counters = {name: _row(known[name]) for name in chosen}
    if json:
        print(to_json(counters, indent=2))
    elif counters:
        show(_table(counters))
    else:
        print("this server has no streams")


def _follow(client: RouterClient, names: Sequence[str] | None, seconds: float | None, json: bool) -> None:
    limit_s = check_timeout(seconds)
    end = float("inf") if limit_s is None else time.perf_counter() + limit_s
    ledgers = _ledgers(client, names, end)
    try:
        if json:
            for counters in ledgers:
                print(to_json(counters), flush=True)
        elif sys.stdout.isatty():
            with Live(console=Console(), auto_refresh=False, vertical_overflow="ellipsis") as live:
                for counters in ledgers:
                    live.update(_tables(counters), refresh=True)
        else:
            for counters in ledgers:
                show(_tables(counters))
                sys.stdout.flush()
    except KeyboardInterrupt:
        pass


def _ledgers(client: RouterClient, names: Sequence[str] | None, end: float) -> Iterator[Counters]:
    """The counters of all that was chosen, each time that a server has published them anew."""
    prefixes = list(_prefixes(client.describe()))
    for prefix in prefixes:
        client.configure_stream(prefix + _STREAM, "cache")
    newest: dict[str, dict[str, Any]] = {}
    state = client.state
    while time.perf_counter() < end:
        if client.state != state:
            state = client.state
            print(f"one-liner: the server is {state}", file=sys.stderr, flush=True)
        news = False
        for prefix in prefixes:
            with contextlib.suppress(NoDataError):
                newest[prefix] = client.get_stream(prefix + _STREAM).data
                news = True
        if news:
            yield {name: row for name, row in _joined(newest).items() if names is None or name in names}
        time.sleep(_LOOK_EVERY_S)


def _joined(ledgers: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those of several servers as one, by the names that the streams have here, each with its readers."""
    rows = {
        prefix + name: {**_row(row), "readers": []}
        for prefix, ledger in ledgers.items()
        for name, row in ledger["streams"].items()
    }
    for prefix, ledger in ledgers.items():
        for name, readers in ledger["readers"].items():
            if prefix + name in rows:
                rows[prefix + name]["readers"] += readers
    return dict(sorted(rows.items()))


def _prefixes(server: Any, prefix: str = "") -> Iterator[str]:
    """Of every server that can be reached: of this one none, and those of its routers."""
    yield prefix
    for name, router in server.routers.items():
        if hasattr(router, "routers"):  # One that is down is not described.
            yield from _prefixes(router, f"{prefix}{name}/")


def _row(counted: Mapping[str, Any]) -> dict[str, Any]:
    return {key: counted[key] for key in (*_COUNTERS, _HOLDER)}


def _tables(counters: Counters) -> Group:
    """What was made, and below it what became of that at the readers, if there are any."""
    readers = _new_table("stream", "reader", *_AT_READERS)
    for name, row in counters.items():
        for reader in row["readers"]:
            readers.add_row(Text(name), Text(reader["who"]), *_cells(reader, _AT_READERS))
    return Group(_table(counters), "", readers) if readers.row_count else Group(_table(counters))


def _cells(counted: Mapping[str, Any], counters: Sequence[str]) -> list[Text]:
    return [Text(str(counted[one]), "yellow" if counted[one] and one in _BAD_COUNTERS else "") for one in counters]


def _new_table(*titles: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles:
        counted = title in (*_COUNTERS, *_AT_READERS)
        table.add_column(title.replace("_", " "), justify="right" if counted else "left", overflow="fold")
    return table


def _table(counters: Counters) -> Table:
    table = _new_table("stream", *_COUNTERS, _HOLDER)
    for name, row in counters.items():
        table.add_row(Text(name), *_cells(row, _COUNTERS), Text(row[_HOLDER] or "–"))
    return table
