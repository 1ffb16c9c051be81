"""`one-liner watch`: streams as they come."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from one_liner.cli.board import Board, configurations, existing
from one_liner.cli.connection import (
    DEFAULT_SERVER,
    KeysOption,
    ServerKeyOption,
    ServerOption,
    TimeoutOption,
    connect,
)
from one_liner.client import RouterClient
from one_liner.config import check_timeout
from one_liner.errors import OneLinerError, UnknownStreamError

_LOOK_EVERY_S = 0.01
_DRAW_EVERY_S = 0.1


def watch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[STREAM]...", help="Names of streams; all of them if none.")
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
    seconds: Annotated[float | None, typer.Option(metavar="S", help="End after so many seconds.")] = None,
    count: Annotated[int | None, typer.Option(metavar="N", min=1, help="End after N samples of each.")] = None,
    cache: Annotated[bool, typer.Option("--cache", help="Only the newest of each; the others are counted.")] = False,
) -> None:
    """Watch streams: a live table in a terminal, a line per sample elsewhere. Ctrl-C ends it.

    At the end it says where the samples went. Exit code 1 if nothing came.
    """
    with connect(server, timeout, keys, server_key) as client:
        client.wait_until_connected(timeout)
        known = existing(configurations(client), names or [])
        if not known:
            raise UnknownStreamError("this server has no streams")
        with Board(client, known, "cache" if cache else "queue") as board:
            watching = Watching(client, board, seconds, count)
            try:
                if sys.stdout.isatty():
                    watching.show_table()
                else:
                    watching.show_lines()
            except KeyboardInterrupt:
                pass
        for line in board.ledger():
            print(f"# {line}")
        if not any(board.arrivals.values()):
            print(f"one-liner: nothing came; {_why_nothing(client, board.names)}", file=sys.stderr)
            raise typer.Exit(1)


class Watching:
    """One run of `watch`.

    Args:
        client: whose server is watched.
        board: what is shown.
        seconds: when it ends; None goes on.
        count: after how many samples of each stream it ends; None goes on.
    """

    def __init__(self, client: RouterClient, board: Board, seconds: float | None, count: int | None) -> None:
        self._client, self._board, self._count = client, board, count
        limit_s = check_timeout(seconds)
        self._end = float("inf") if limit_s is None else time.perf_counter() + limit_s
        self._state = client.state

    def show_table(self) -> None:
        """Redraw the table until the end."""
        console = Console()
        with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
            while not self._ended():
                self._board.collect()
                # A short last line: the terminal writes ^C behind it, and must not wrap.
                live.update(Group(self._board.table(), Text("Ctrl-C ends it", "dim")), refresh=True)
                time.sleep(_DRAW_EVERY_S)

    def show_lines(self) -> None:
        """Print a line per sample until the end; of each stream as many as were asked for."""
        printed = dict.fromkeys(self._board.names, 0)
        while not self._ended():
            for arrival in self._board.collect():
                printed[arrival.stream] += 1
                if self._count is None or printed[arrival.stream] <= self._count:
                    print(arrival.line(), flush=True)
            self._tell_state()
            time.sleep(_LOOK_EVERY_S)

    def _ended(self) -> bool:
        enough = self._count is not None and all(came >= self._count for came in self._board.arrivals.values())
        return enough or time.perf_counter() >= self._end

    def _tell_state(self) -> None:
        if self._client.state != self._state:
            self._state = self._client.state
            print(f"one-liner: the server is {self._state}", file=sys.stderr, flush=True)


def _why_nothing(client: RouterClient, names: Sequence[str]) -> str:
    try:
        known = configurations(client)
    except OneLinerError as error:
        return str(error)
    disabled = [name for name in names if name in known and not known[name]["enabled"]]
    return f"disabled: {', '.join(disabled)}" if disabled else "the server is there and sent no sample"
