"""`one-liner run`: a command as a job, with a bar that moves."""

from __future__ import annotations

import shutil
import sys
from enum import StrEnum
from typing import Annotated

import typer

from one_liner.cli.call import JsonOption, TracebackOption, remote_error_text
from one_liner.cli.connection import (
    DEFAULT_SERVER,
    KeysOption,
    ServerKeyOption,
    ServerOption,
    TimeoutOption,
    connect,
)
from one_liner.cli.values import in_full, read_arguments, to_json
from one_liner.commands.bar import note, show_in_terminal
from one_liner.commands.handle import JobHandle
from one_liner.errors import RemoteError

_INTERRUPTED = 130


class OnDeath(StrEnum):
    """What becomes of a job whose client dies."""

    keep = "keep"
    cancel = "cancel"


def run(
    obj_name: Annotated[str, typer.Argument(metavar="OBJECT", help="`rig.stage` or `north/stage` lead further.")],
    attr_name: Annotated[str, typer.Argument(metavar="METHOD")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[VALUE | NAME=VALUE]...", help="Arguments: JSON where they are JSON, text otherwise."),
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
    limit: Annotated[
        float | None, typer.Option("--limit", metavar="SECONDS", help="How long the job may take; then it is ended.")
    ] = None,
    on_death: Annotated[
        OnDeath, typer.Option("--on-death", help="What becomes of it if this program dies.")
    ] = OnDeath.keep,
    detach: Annotated[bool, typer.Option("--detach", help="Print its id and leave it running.")] = False,
    json: JsonOption = False,
    traceback: TracebackOption = False,
) -> None:
    """Run a command as a job, watch it, and print what it gives.

    Ctrl-C asks whether to cancel it. `one-liner run stage scan 0 10 points=5`
    """
    args, kwargs = read_arguments(words or [])
    with connect(server, timeout, keys, server_key) as client:
        job = client.submit(obj_name, attr_name, args, kwargs, timeout_s=limit, on_death=on_death.value)
        if detach:
            print(job.id)
            return
        attend(job, json=json, traceback=traceback)


def attend(job: JobHandle, *, json: bool = False, traceback: bool = False) -> None:
    """Show a job until it has ended, and print what it gave. The bar and its log go to standard error."""
    while not job.done:
        try:
            (_show_bar if sys.stderr.isatty() else _show_lines)(job)
        except KeyboardInterrupt:
            _interrupted(job)
    try:
        result = job.result()
    except RemoteError as error:
        print(remote_error_text(error, traceback), file=sys.stderr)
        raise typer.Exit(1) from None
    print(to_json(result) if json else in_full(result, shutil.get_terminal_size().columns))


def _show_bar(job: JobHandle) -> None:
    show_in_terminal(job, on_stderr=True)


def _show_lines(job: JobHandle) -> None:
    """A line whenever something has become of it, for those who read it later."""
    said, lines = "", 0
    for info in job.updates():
        if info.lines > lines:
            for line in job.log()[lines - info.lines :]:
                _say(job, line)
            lines = info.lines
        text = note(info) or info.state.value
        if text != said:
            _say(job, text)
            said = text


def _interrupted(job: JobHandle) -> None:
    """Ask what to do; where nobody can answer, cancel."""
    answer = "c"
    if sys.stdin.isatty():
        print(f"job {job.id} runs: [c]ancel it, [l]eave it running, or go [o]n watching? ", end="", file=sys.stderr)
        sys.stderr.flush()
        try:
            answer = sys.stdin.readline().strip().lower()[:1] or "o"
        except KeyboardInterrupt:
            answer = "l"
    if answer == "l":
        _say(job, f"goes on; one-liner jobs {job.id} --follow finds it again")
        raise typer.Exit(_INTERRUPTED)
    if answer == "c":
        job.cancel()


def _say(job: JobHandle, text: str) -> None:
    print(f"{job.command}: {text}", file=sys.stderr, flush=True)
