"""`one-liner jobs`: what runs and what ran, and one of them more closely."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from one_liner.cli.call import JsonOption, TracebackOption
from one_liner.cli.connection import (
    DEFAULT_SERVER,
    KeysOption,
    ServerKeyOption,
    ServerOption,
    TimeoutOption,
    connect,
)
from one_liner.cli.listing import show
from one_liner.cli.run import attend
from one_liner.cli.values import in_one_line, to_json
from one_liner.client import RouterClient
from one_liner.commands.bar import note
from one_liner.commands.handle import JobHandle
from one_liner.commands.info import JobInfo
from one_liner.errors import ConfigurationError

_DRAW_EVERY_S = 0.25


def jobs(
    job_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One job; all of them if none.")] = None,
    server: ServerOption = DEFAULT_SERVER,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on: of one job, to its end.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Have it end.")] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Have it wait at its next check point.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Have it go on.")] = False,
    log: Annotated[bool, typer.Option("--log", help="Print what it has logged.")] = False,
    json: JsonOption = False,
    traceback: TracebackOption = False,
) -> None:
    """What runs, what waits and what has ended, those behind routers too; or one of them."""
    with connect(server, timeout, keys, server_key) as client:
        if job_id is None:
            if cancel or pause or resume or log:
                raise ConfigurationError("which job? one-liner jobs lists their ids")
            _all(client, follow=follow, json=json)
            return
        job = client.job(job_id)
        _steer(job, cancel=cancel, pause=pause, resume=resume)
        if log:
            print(*job.log(), sep="\n")
        elif follow:
            attend(job, json=json, traceback=traceback)
        elif json:
            print(to_json(job.info.as_dict(), indent=2))
        else:
            show(_table([job.info]))


def _steer(job: JobHandle, *, cancel: bool, pause: bool, resume: bool) -> None:
    if pause:
        job.pause()
    if resume:
        job.resume()
    if cancel and not job.cancel():
        print(f"one-liner: job {job.id} had {job.state} before", file=sys.stderr)


def _all(client: RouterClient, *, follow: bool, json: bool) -> None:
    if not follow:
        _print(client.jobs(), json=json)
        return
    try:
        if sys.stdout.isatty():
            with Live(console=Console(), auto_refresh=False, vertical_overflow="ellipsis") as live:
                while True:
                    live.update(_table(client.jobs()), refresh=True)
                    time.sleep(_DRAW_EVERY_S)
        with client.iter_events("job_update") as updates:
            for info in client.jobs():
                print(_line(info, json=json), flush=True)
            for event in updates:
                print(_line(JobInfo.from_dict(event.context), json=json), flush=True)
    except KeyboardInterrupt:
        return


def _print(known: Sequence[JobInfo], *, json: bool) -> None:
    if json:
        print(to_json([info.as_dict() for info in known], indent=2))
    elif known:
        show(_table(known))
    else:
        print("there are no jobs")


def _line(info: JobInfo, *, json: bool) -> str:
    return to_json(info.as_dict()) if json else in_one_line(str(info))


def _table(known: Sequence[JobInfo]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("id", no_wrap=True)
    table.add_column("command", overflow="fold")
    table.add_column("who", overflow="fold")
    table.add_column("state")
    table.add_column("", overflow="fold")
    for info in known:
        text = note(info).removeprefix(info.state.value).strip()
        table.add_row(Text(info.id), Text(info.command), Text(info.who), Text(info.state.value), Text(text))
    return table
