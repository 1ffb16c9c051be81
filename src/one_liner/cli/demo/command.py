"""`one-liner demo`: the side that watches."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from one_liner.cli.board import Arrival, Board, configurations
from one_liner.cli.connection import connect
from one_liner.cli.demo.calls import Answer, Caller
from one_liner.cli.demo.serving import ServingProcess
from one_liner.config import check_timeout
from one_liner.credentials import CLIENTS_VARIABLE, KEYS_VARIABLE, SERVER_KEY_VARIABLE
from one_liner.errors import MissingExtraError

_SECONDS_WITHOUT_TERMINAL = 10.0
_TIMEOUT_S = 5.0
_LOOK_EVERY_S = 0.1
_TELL_EVERY_S = 1.0


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(
            metavar="S", min=0.1, help="When to end; if not given, at Ctrl-C in a terminal, after 10 s elsewhere."
        ),
    ] = None,
    rpc_port: Annotated[str, typer.Option(metavar="PORT", help="For calls; 0 takes a free one.")] = "0",
    broadcast_port: Annotated[str, typer.Option(metavar="PORT", help="For streams; 0 takes a free one.")] = "0",
) -> None:
    """Serve the sensors of this machine and an image source in one process, and watch them in another.

    Exit code 0 if samples of every stream came and all calls were answered, 1 if not.
    """
    if not all(importlib.util.find_spec(name) for name in ("numpy", "psutil")):
        raise MissingExtraError("this needs: pip install 'one_liner[demo]'")
    for variable in (KEYS_VARIABLE, SERVER_KEY_VARIABLE, CLIENTS_VARIABLE):
        os.environ.pop(variable, None)  # They are meant for a rig; the demo is open, to this machine only.
    on_terminal = sys.stdout.isatty()
    if seconds is None and not on_terminal:
        seconds = _SECONDS_WITHOUT_TERMINAL
    failures = ["it was interrupted before it began"]
    try:
        with ServingProcess(rpc_port, broadcast_port) as serving, connect(serving.address, _TIMEOUT_S) as client:
            client.wait_until_connected(_TIMEOUT_S)
            title = f"process {serving.pid} serves this machine at {serving.address}\nprocess {os.getpid()} watches it"
            with Board(client, list(configurations(client))) as board:
                run = DemoRun(board, Caller(client), title, seconds)
                try:
                    if on_terminal:
                        run.show_table()
                    else:
                        run.show_lines()
                except KeyboardInterrupt:
                    pass
            failures = run.failures()
            if not failures:
                print(run.summary())
    except KeyboardInterrupt:
        pass
    if failures:
        print(f"one-liner demo failed: {'; '.join(failures)}", file=sys.stderr)
        raise typer.Exit(1)


class DemoRun:
    """One run of the demo.

    Args:
        board: the streams of the serving process.
        caller: makes calls to it.
        title: who serves, and who watches.
        seconds: when it ends; None goes on.
    """

    def __init__(self, board: Board, caller: Caller, title: str, seconds: float | None) -> None:
        self._board, self._caller, self._title = board, caller, title
        limit_s = check_timeout(seconds)
        self._end = float("inf") if limit_s is None else time.perf_counter() + limit_s
        self._no_sensor = False

    def show_table(self) -> None:
        """Redraw the screen until the end."""
        with Live(auto_refresh=False, vertical_overflow="crop") as live:
            while not self._ended():
                self._look()
                self._caller.tend()
                live.update(self._screen(), refresh=True)
                time.sleep(_LOOK_EVERY_S)

    def show_lines(self) -> None:
        """Print each call as it is made, and all streams once per second, until the end."""
        print(self._title, flush=True)
        tell_at = time.perf_counter() + _TELL_EVERY_S
        while not self._ended():
            self._look()
            answer = self._caller.tend()
            if answer is not None:
                print(f"call {answer}", flush=True)
            if time.perf_counter() >= tell_at:
                tell_at += _TELL_EVERY_S
                print("\n".join(self._board.lines()), flush=True)
            time.sleep(_LOOK_EVERY_S)
        if self._no_sensor:
            print(_NO_SENSOR)

    def failures(self) -> list[str]:
        """Why this was no success; empty if it was one."""
        silent = [name for name, came in self._board.arrivals.items() if not came]
        failures = [f"no sample came of {', '.join(silent)}"] if silent else []
        failures += self._board.failures()
        if not self._caller.made:
            failures.append("no call was made")
        if self._caller.failed:
            failures.append(
                f"{self._caller.failed} of {self._caller.made} calls failed, first {self._caller.first_failure}"
            )
        return failures

    def summary(self) -> str:
        """What went well, in one line."""
        arrivals = self._board.arrivals
        lost = sum(self._board.lost(name) for name in arrivals)
        return (
            f"ok: {sum(arrivals.values())} samples of {len(arrivals)} streams came, {lost} were lost; "
            f"{self._caller.made} calls were answered"
        )

    def _look(self) -> None:
        for arrival in self._board.collect():
            self._no_sensor = self._no_sensor or _shows_no_sensor(arrival)

    def _ended(self) -> bool:
        return time.perf_counter() >= self._end

    def _screen(self) -> RenderableType:
        left_s = self._end - time.perf_counter()
        ends = "Ctrl-C ends it" if left_s == float("inf") else f"ends in {max(0.0, left_s):.0f} s"
        parts: list[RenderableType] = [Text(self._title, "dim"), "", self._board.table(), ""]
        parts += [_answer_text(answer) for answer in self._caller.recent]
        if self._no_sensor:
            parts.append(Text(_NO_SENSOR, "yellow"))
        return Group(*parts, Text(ends, "dim"))


_NO_SENSOR = "temperature: this system shows no sensor, so the samples are empty"


def _shows_no_sensor(arrival: Arrival) -> bool:
    return arrival.stream == "temperature" and arrival.value == {}


def _answer_text(answer: Answer) -> Text:
    style = "green" if not answer.raised else "yellow" if answer.as_expected else "red"
    return Text(str(answer), style, no_wrap=True, overflow="ellipsis")
