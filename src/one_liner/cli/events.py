"""`one-liner events`: what happened, and what happens."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Annotated

import typer

from one_liner.cli.call import JsonOption
from one_liner.cli.connection import (
    DEFAULT_SERVER,
    KeysOption,
    ServerKeyOption,
    ServerOption,
    TimeoutOption,
    connect,
)
from one_liner.cli.values import in_one_line, to_json
from one_liner.config import check_timeout
from one_liner.events.event import Event
from one_liner.events.listening import EventStream

_WHOLE_NUMBER = re.compile("-?[0-9]{1,18}")


def events(
    server: ServerOption = DEFAULT_SERVER,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            "-t",
            help="event, emergency, property_change, command_result, job_update or heartbeat; one or several times.",
        ),
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", "-k", help="Only these; may be given several times.")
    ] = None,
    source: Annotated[str, typer.Option(metavar="ROUTER", help="The server behind this router.")] = "",
    last: Annotated[int, typer.Option(metavar="N", min=0, help="Begin with so many of the last ones.")] = 10,
    count: Annotated[int | None, typer.Option(metavar="N", min=1, help="End after so many.")] = None,
    seconds: Annotated[float | None, typer.Option(metavar="S", help="End after so many seconds.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Only those that were kept; wait for none.")] = False,
    json: JsonOption = False,
) -> None:
    """Print the last events, and then each as it comes, emergencies first. Ctrl-C ends it."""
    kinds = None if kind is None else [_kind(one) for one in kind]
    limit_s = check_timeout(seconds)
    with connect(server, timeout, keys, server_key) as client:
        client.wait_until_connected(timeout)
        if once:
            for event in client.events(topic, kinds, last, source=source):
                print(_line(event, json), flush=True)
            return
        with client.iter_events(topic, kinds, source=source, last=last) as coming, _closed_after(coming, limit_s):
            try:
                for number, event in enumerate(coming, 1):
                    print(_line(event, json), flush=True)
                    if number == count:
                        return
            except KeyboardInterrupt:
                return


@contextmanager
def _closed_after(coming: EventStream, seconds: float | None) -> Iterator[None]:
    """Have a stream of events end by itself, whether something comes or not."""
    if seconds is None:
        yield
        return
    timer = Timer(seconds, coming.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _kind(word: str) -> int | str:
    """A kind as it is written: a whole number, or text."""
    return int(word) if _WHOLE_NUMBER.fullmatch(word) else word


def _line(event: Event, json: bool) -> str:
    if json:
        return to_json(event.as_dict() | {"source": event.source})
    clock = time.strftime("%H:%M:%S", time.localtime(event.when)) + f"{event.when % 1:.3f}"[1:]
    source = f"{event.source}/" if event.source else ""
    context = "" if event.context is None else in_one_line(event.context)
    return f"{clock}  {source}{event.topic.value:<15} {event.kind}  {context}".rstrip()
