"""A command that a peer sent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from one_liner.control.letter_case import with_snake_keys
from one_liner.control.numbers import Catalogue, Command
from one_liner.errors import MalformedError

MAX_BYTES: Final = 1 << 20
"""Reading JSON holds everybody up: a megabyte of it some ten milliseconds."""

_NO_CUSTOM_COMMAND: Final = -1
_SHOWN: Final = 40
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """What a handler is given.

    Attributes:
        command: the member of the application's enum; `USER_DEFINED` for every number that is not in it.
        custom_command: which one of the user-defined commands; -1 when nothing was said.
        nonce: the peer's number for this request; 0 when it gave none.
        data: what came with it, its keys in snake_case; None when nothing did.
        peer: the connection, as text that tells one from the other.
        digest: the same for two requests that ask for the same thing.
    """

    command: Enum
    custom_command: int = _NO_CUSTOM_COMMAND
    nonce: int = 0
    data: dict[str, Any] | None = None
    peer: str = ""
    digest: bytes = field(default=b"", repr=False)

    @property
    def number(self) -> int:
        """The number of the command, as it is answered."""
        return int(self.command.value)

    @property
    def name(self) -> str:
        """For people: `GET_STATUS`, `USER_DEFINED 77`."""
        user_defined = self.number == Command.USER_DEFINED and self.custom_command != _NO_CUSTOM_COMMAND
        return f"{self.command.name} {self.custom_command}" if user_defined else self.command.name

    @classmethod
    def read(cls, payload: bytes, commands: Catalogue, peer: str = "") -> CommandRequest:
        """Read what came.

        Keys may be written in camelCase or in snake_case; what is not known is ignored.

        Raises:
            MalformedError: it is no JSON object with a command; the message says what is wrong.
        """
        if len(payload) > MAX_BYTES:
            raise MalformedError(f"a command of {len(payload)} bytes is longer than {MAX_BYTES}")
        try:
            told = json.loads(payload)
            if not isinstance(told, Mapping):
                raise MalformedError(f"a command is a JSON object, not {_shown(told)}")
            data = _field(told, "data")
            if data is not None and not isinstance(data, Mapping):
                raise MalformedError(f"data is a JSON object, not {_shown(data)}")
            number = _whole(told, "command", _MISSING)
            custom = _whole(told, "customCommand", _field(told, "custom_command"))
            nonce = _whole(told, "nonce", 0)
            canonical = json.dumps([number, custom, data], sort_keys=True)
            data = None if data is None else with_snake_keys(data)
        except UnicodeDecodeError as error:
            raise MalformedError(f"a command is JSON in UTF-8: {error.reason} at byte {error.start}") from None
        except ValueError as error:
            if isinstance(error, MalformedError):
                raise
            raise MalformedError(f"a command is JSON: {error}") from None
        except RecursionError:
            raise MalformedError("the command is nested too deeply") from None
        command = commands.find(number)
        if command is None:
            command = commands.find(int(Command.USER_DEFINED)) or Command.USER_DEFINED
            if number != command.value:
                custom = number
        digest = hashlib.blake2b(canonical.encode(), digest_size=16).digest()
        return cls(command, _NO_CUSTOM_COMMAND if custom is None else custom, nonce, data, peer, digest)


def _field(told: Mapping[str, Any], name: str, default: Any = None) -> Any:
    return told.get(name, default)


def _whole(told: Mapping[str, Any], name: str, default: Any) -> Any:
    """A whole number; languages that have no such type write it as 5.0."""
    value = _field(told, name)
    if value is None:
        value = default
    if value is None:
        return None
    if value is _MISSING:
        raise MalformedError(f"{name} is missing")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise MalformedError(f"{name} is a whole number, not {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
