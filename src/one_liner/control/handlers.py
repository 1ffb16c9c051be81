"""Who carries out which command, and who waits for whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from threading import Lock
from typing import Any

from one_liner.control.numbers import URGENT_COMMANDS, Catalogue, Command, number_of
from one_liner.control.request import CommandRequest
from one_liner.errors import ConfigurationError, RefusedError
from one_liner.rpc.lanes import Lane
from one_liner.rpc.permission import Permission, Role

Function = Callable[[CommandRequest], Any]


@dataclass(frozen=True, slots=True)
class Handler:
    """One handler.

    Attributes:
        function: the user's.
        lane: whose turn it has to wait for; None when it runs beside everything.
        urgent: whether it gets a thread even when all of them are busy.
        role: what a peer with a key has to have.
        path: the served object that it comes down to; None when it is the application's own.
        patience_s: how long its answer is waited for; None as long as for any other.
    """

    function: Function
    lane: Lane | None
    urgent: bool
    role: Role = Role.CONTROL
    path: str | None = None
    patience_s: float | None = None

    def permit(self, permission: Permission | None, what: str) -> None:
        """Let a peer of a secured service through, or refuse it.

        Args:
            permission: of its key; None when that is not allowed any more.
            what: it asks for.

        Raises:
            RefusedError: the role is not enough, or the key is restricted to other objects.
        """
        if permission is None:
            raise RefusedError("refused: this key is not allowed any more")
        permission.require(self.role, what)
        if permission.objects is not None and (self.path is None or not permission.reaches(self.path)):
            listed = ", ".join(sorted(permission.objects)) or "nothing"
            raise RefusedError(f"refused: {what} is not for {permission.who}; the key is restricted to {listed}")


class Handlers:
    """The handlers of one service. All methods may be called from any thread.

    Args:
        commands: the application's.
    """

    def __init__(self, commands: Catalogue) -> None:
        self._commands = commands
        self._lock = Lock()
        self._listed: dict[int, Handler] = {}
        self._custom: dict[int, Handler] = {}
        self._other: Handler | None = None
        self._lanes: dict[Any, Lane] = {}

    def add(
        self,
        command: int | Enum | None,
        function: Function,
        lane: Any,
        urgent: bool | None,
        role: Role = Role.CONTROL,
        path: str | None = None,
        patience_s: float | None = None,
    ) -> None:
        """Replace the handler of a command, of a number that is in no enum, or of all that have none (None)."""
        if not callable(function):
            raise ConfigurationError(f"a handler is a function of the request, not {function!r}")
        number = None if command is None else number_of(command)
        if urgent is None:
            urgent = number in URGENT_COMMANDS
        with self._lock:
            own_lane = None if urgent or lane is None else self._lane(lane, function)
            handler = Handler(function, own_lane, urgent, role, path, patience_s)
            if number is None:
                self._other = handler
            else:
                self._shelf(number)[number] = handler

    def remove(self, command: int | Enum | None) -> bool:
        """Forget a handler; False when there was none."""
        with self._lock:
            if command is None:
                known, self._other = self._other is not None, None
                return known
            number = number_of(command)
            return self._shelf(number).pop(number, None) is not None

    def find(self, request: CommandRequest) -> Handler | None:
        """Who carries it out."""
        with self._lock:
            if request.number == Command.USER_DEFINED and request.custom_command in self._custom:
                return self._custom[request.custom_command]
            handler = self._listed.get(request.number, self._other)
        if handler is self._other and handler is not None and request.number in URGENT_COMMANDS:
            return replace(handler, lane=None, urgent=True)
        return handler

    def _shelf(self, number: int) -> dict[int, Handler]:
        listed = self._commands.find(number) is not None or number == Command.USER_DEFINED
        return self._listed if listed else self._custom

    def _lane(self, lane: Any, function: Function) -> Lane:
        """The lane of that name, or of the object whose method it is."""
        if lane is OWN:
            lane = getattr(function, "__self__", function)
        key = lane if isinstance(lane, str) else id(lane)
        if key not in self._lanes:
            self._lanes[key] = Lane(str(lane))
        return self._lanes[key]


OWN = object()
"""The lane of the object whose method a handler is, or of the function."""
