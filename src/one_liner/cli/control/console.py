"""`one-liner control-console`: commands by hand, events as they come."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from threading import Condition
from typing import Any

from rich.console import Console
from rich.text import Text

from one_liner.cli.control.enums import enum_at
from one_liner.cli.control.prompt import prompting
from one_liner.cli.control.show import published_text, response_text, say
from one_liner.cli.control.words import data_of, number_meant
from one_liner.control import Command, CommandResponse, ControlPeer, EventKind, Published, Result, Topic
from one_liner.control.numbers import Catalogue
from one_liner.errors import ConfigurationError, OneLinerError

_TOPICS = {topic.name: int(topic) for topic in Topic}
_HELP = """\
NAME [name=value …]      send a command; a word of its name is enough: status, start duration_s=3
NAME {"name": value}     the same with JSON
NUMBER […]               send a command by its number; one that nobody lists is a custom command
custom NUMBER […]        send a user-defined command
commands                 which commands there are
events [TOPIC …|off]     show these topics only; all of them but heartbeats if none
help, quit               this; Ctrl-D ends it, too"""


def run_console(
    host: str, broadcast_port: str, command_port: str, commands: str | None, events: str | None, timeout_s: float
) -> bool:
    """One session from its begin to its end; whether all commands succeeded, where nobody has seen it."""
    catalogues = Catalogue(enum_at(commands, Command)), Catalogue(enum_at(events, EventKind))
    with ControlPeer(host, broadcast_port, command_port) as peer:
        # Made inside of `prompting`: there the standard output is one that can be shared.
        console = ControlConsole(peer, *catalogues, timeout_s)
        words = [*sorted(console.commands.names()), *console.words()]
        with prompting("control-console", "control> ", words, console.toolbar) as next_line:
            console.run(next_line)
            if not sys.stdin.isatty():
                console.wait_for_ends()
    return sys.stdin.isatty() or not console.failed


class ControlConsole:
    """One session.

    Args:
        peer: what is talked through.
        commands: by name and number.
        kinds: of events, likewise.
        timeout_s: for an answer.
    """

    def __init__(self, peer: ControlPeer, commands: Catalogue, kinds: Catalogue, timeout_s: float) -> None:
        self._peer, self.commands, self._kinds, self._timeout_s = peer, commands, kinds, timeout_s
        self._console = Console()
        self._shown = set(_TOPICS.values()) - {int(Topic.HEARTBEAT)}
        self._beat: dict[str, Any] | None = None
        self._beat_came = 0.0
        self._changed = Condition()
        self._pending: dict[tuple[int, int], tuple[float, str]] = {}
        self.failed = 0
        self._own: dict[str, Callable[[Sequence[str]], None]] = {
            "help": lambda _: self._say(_HELP),
            "?": lambda _: self._say(_HELP),
            "commands": lambda _: self._list_commands(),
            "custom": self._send_custom,
            "events": self._choose_events,
        }

    def words(self) -> list[str]:
        """What can be typed besides commands."""
        return [*self._own, "quit"]

    def run(self, next_line: Callable[[], str | None]) -> None:
        """Carry out line after line, until there are no more or somebody has enough."""
        self._console = Console()
        self._say("commands, help or quit; Tab completes", "dim")
        self._peer.listen(self._hear)
        while (line := next_line()) is not None:
            try:
                words = shlex.split(line, comments=True) if "{" not in line else line.split()
                if words and words[0] in ("quit", "exit", "q"):
                    return
                if words:
                    self._carry_out(words)
            except (ValueError, OneLinerError) as error:  # shlex says ValueError of a quote that is not closed.
                self.failed += 1
                self._say(str(error), "red")

    def wait_for_ends(self) -> None:
        """Wait until the commands that go on have ended, as long as for an answer."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._pending, self._timeout_s):
                self.failed += len(self._pending)
                self._say(f"{len(self._pending)} commands still go on after {self._timeout_s:g} s", "red")

    def toolbar(self) -> str:
        """The line at the bottom: who is there, and since when nothing was heard."""
        if self._beat is None:
            return "no heartbeat yet"
        told = " ".join(str(self._beat[key]) for key in ("identifier", "version", "state") if self._beat.get(key))
        return f"{told} - heartbeat {time.monotonic() - self._beat_came:.0f} s ago"

    def _carry_out(self, words: Sequence[str]) -> None:
        own = self._own.get(words[0])
        if own is not None:
            own(words[1:])
            return
        number = number_meant(words[0], self.commands.names())
        self._send(number, None, data_of(words[1:]))

    def _send_custom(self, words: Sequence[str]) -> None:
        if not words or not words[0].isdecimal():
            raise ConfigurationError("a user-defined command is a number: custom 77")
        self._send(int(Command.USER_DEFINED), int(words[0]), data_of(words[1:]))

    def _send(self, number: int, custom: int | None, data: dict[str, Any] | None) -> None:
        begun = time.monotonic()
        response = self._peer.command(number, data, custom_command=custom, timeout_s=self._timeout_s)
        name = self.commands.name_of(number) if custom is None else f"custom {custom}"
        say(self._console, response_text(response, name, time.monotonic() - begun))
        if response.result is Result.PENDING_WITH_NOTIFICATION:
            with self._changed:
                self._pending[response.command, response.nonce] = begun, name
        elif response.result not in (Result.SUCCESS, Result.PENDING):
            self.failed += 1

    def _hear(self, published: Published) -> None:
        if published.topic == Topic.HEARTBEAT and isinstance(published.content, dict):
            self._beat, self._beat_came = published.content, time.monotonic()
        elif published.topic == Topic.COMMAND_RESULT and self._hear_end(published.content):
            return
        if published.topic in self._shown:
            say(self._console, published_text(published, self._kinds))

    def _hear_end(self, content: Any) -> bool:
        """The end of a command of ours."""
        try:
            response = CommandResponse.from_dict(content)
        except (KeyError, ValueError, TypeError):
            return False
        with self._changed:
            known = self._pending.pop((response.command, response.nonce), None)
            if known is None:
                return False
            begun, name = known
            self.failed += response.result is not Result.SUCCESS
            say(self._console, response_text(response, name, time.monotonic() - begun))
            self._changed.notify_all()
        return True

    def _list_commands(self) -> None:
        for name, number in self.commands.names().items():
            self._say(f"{number:>6}  {name}")

    def _choose_events(self, words: Sequence[str]) -> None:
        if list(words) == ["off"]:
            self._shown = set()
        elif words:
            numbers = {number_meant(word, _TOPICS) for word in words}
            self._shown = set(_TOPICS.values()) if int(Topic.ANY) in numbers else numbers
        else:
            self._shown = set(_TOPICS.values()) - {int(Topic.HEARTBEAT)}
        shown = [name for name, number in _TOPICS.items() if number in self._shown and number != Topic.ANY]
        self._say(f"shown: {', '.join(shown) or 'nothing'}", "dim")

    def _say(self, text: str, style: str = "") -> None:
        say(self._console, Text(text, style))
