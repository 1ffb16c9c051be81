"""`one-liner control-demo`: a stand-in application behind a control port."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable
from threading import Event
from typing import Any

from rich.console import Console
from rich.text import Text

from one_liner.cli.control.application import DemoApplication
from one_liner.cli.control.enums import enum_at
from one_liner.cli.control.prompt import prompting
from one_liner.cli.control.show import say
from one_liner.cli.values import read_word
from one_liner.control import Command, ControlService, EventKind
from one_liner.errors import ConfigurationError, OneLinerError

_WORDS = ("event", "emergency", "property", "state", "heartbeat", "kinds", "help", "quit")
_HELP = """\
event KIND [JSON]             publish an event: event acquisitionPaused {"reason": "lunch"}
emergency KIND [JSON]         the same as an emergency
property NAME OLD NEW         publish that a property has changed
state TEXT                    what heartbeats say of the application
heartbeat                     publish one now
kinds                         which kinds of events have a number
help, quit                    this; Ctrl-D ends it, too"""


def run_demo(seconds: float | None, commands: str | None, events: str | None, **arguments: Any) -> None:
    """Stand in for an application until the end; the rest of the arguments are those of `ControlService`."""
    service = ControlService(commands=enum_at(commands, Command), event_kinds=enum_at(events, EventKind), **arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Service managers send it; it ends this as Ctrl-C does.
    with (
        service,
        contextlib.suppress(KeyboardInterrupt),
        prompting("control-demo", "demo> ", _WORDS, lambda: _toolbar(service)) as next_line,
    ):
        demo = ControlDemo(service)
        try:
            service.start()
            demo.run(next_line, seconds)
        finally:
            demo.close()


class ControlDemo:
    """One run of the demo.

    Args:
        service: not started yet.
    """

    def __init__(self, service: ControlService) -> None:
        self._service = service
        self._console = Console()
        self._application = DemoApplication(service, lambda line: say(self._console, Text(line, "green")))
        self._words: dict[str, Callable[[list[str]], None]] = {
            "event": lambda words: self._event(words, service.send_event),
            "emergency": lambda words: self._event(words, service.send_emergency),
            "property": self._property,
            "state": self._state,
            "heartbeat": lambda _: self._sent(service.send_heartbeat()),
            "kinds": lambda _: self._list_kinds(),
            "help": lambda _: self._say(_HELP),
            "?": lambda _: self._say(_HELP),
        }

    def run(self, next_line: Callable[[], str | None], seconds: float | None) -> None:
        """Publish what is typed until the end."""
        self._say(f"commands at {self._service.command_endpoint}")
        self._say(f"events at {self._service.broadcast_endpoint}")
        self._say("help says what to type, quit ends it")
        if seconds is not None:
            Event().wait(seconds)
            return
        while (line := next_line()) is not None:
            words = line.split(maxsplit=2)
            if words and words[0] in ("quit", "exit", "q"):
                return
            if words:
                self._carry_out(words)
        if not sys.stdin.isatty():
            while True:  # Nobody types: in the background.
                time.sleep(1.0)

    def close(self) -> None:
        """End what is under way."""
        self._application.close()

    def _carry_out(self, words: list[str]) -> None:
        try:
            if words[0] not in self._words:
                raise ConfigurationError(f"there is no {words[0]!r}; help says what there is")
            self._words[words[0]](words[1:])
        except OneLinerError as error:
            self._say(str(error), "red")

    def _event(self, words: list[str], send: Callable[..., bool]) -> None:
        if not words:
            raise ConfigurationError('an event is written: event KIND {"name": value}')
        kind = int(words[0]) if words[0].isdecimal() else words[0]
        self._sent(send(kind, read_word(words[1]) if len(words) > 1 else None))

    def _property(self, words: list[str]) -> None:
        values = words[1].split() if len(words) > 1 else []
        if len(values) != 2:
            raise ConfigurationError("a change is written: property laser.power 1.5 2.0")
        old, new = map(read_word, values)
        self._sent(self._service.send_property_change(words[0], old, new, "control-demo"))

    def _state(self, words: list[str]) -> None:
        self._service.state = " ".join(words)
        self._sent(self._service.send_heartbeat())

    def _list_kinds(self) -> None:
        for name, number in self._service.event_kinds.items():
            self._say(f"{number:>6}  {name}")

    def _sent(self, sent: bool) -> None:
        self._say("sent" if sent else "not sent: the service does not run", "dim" if sent else "red")

    def _say(self, text: str, style: str = "") -> None:
        say(self._console, Text(text, style))


def _toolbar(service: ControlService) -> str:
    return f"{service.identifier} {service.state} - commands at {service.command_endpoint}"
