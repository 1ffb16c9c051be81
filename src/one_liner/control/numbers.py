"""The numbers on the wire: topics, results, kinds of errors, and the commands and event kinds that everybody knows.

Commands and event kinds are what an application makes them. It hands in enums of its own, in which each member's value
is its number; the two here serve where it does not, and are the ones that existing peers send.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

from one_liner.errors import ConfigurationError


class Topic(IntEnum):
    """What a published message is about; its first frame is this number, in 4 bytes, little-endian."""

    ANY = 0
    """To subscribe to everything. A message that is published under it reaches those alone."""
    HEARTBEAT = 1001
    EMERGENCY = 2001
    EVENT = 4001
    PROPERTY_CHANGE = 5001
    COMMAND_RESULT = 6001

    @classmethod
    def of(cls, number: int) -> Topic:
        """The topic of this number.

        Raises:
            ConfigurationError: there is none; names those that there are.
        """
        try:
            return cls(number)
        except ValueError:
            known = ", ".join(f"{topic.name} ({topic.value})" for topic in cls)
            raise ConfigurationError(f"there is no topic {number!r}; there are {known}") from None


class Result(IntEnum):
    """How a command ended, or that it has not."""

    UNRECOGNIZED = 0
    """What came could not be read."""
    SUCCESS = 100
    PENDING = 200
    """It goes on, and nobody will say when it ends."""
    PENDING_WITH_NOTIFICATION = 201
    """It goes on; a `COMMAND_RESULT` with the same command and nonce tells the end."""
    FAILED = 400
    """The handler says that it did not work."""
    EXCEPTION = 500
    """The handler raised."""
    UNAVAILABLE = 9999
    """Nobody is there to do it."""


class ErrorKind(IntEnum):
    """Whose error it is, if there is one."""

    NONE = 0
    SYSTEM_ERROR = 1
    """The service's: the data could not be written, or it was stopped."""
    COMMAND_ERROR = 2
    """The command's: it failed, raised, or was asked for in a way that cannot be."""


class Command(IntEnum):
    """The commands that every peer knows."""

    NONE = 0
    START_ACQUISITION = 100
    STOP_ACQUISITION = 110
    EMERGENCY_STOP = 200
    EMERGENCY_RESUME = 210
    GET_CONFIGURATION = 300
    GET_STATUS = 400
    USER_DEFINED = 99999
    """Any other; which one is the request's `custom_command`."""


class EventKind(IntEnum):
    """The kinds of events that every peer knows."""

    EMERGENCY_STOP = 101
    EMERGENCY_RESUME = 102
    USER_DEFINED = 99999
    """Any that has a name and no number; the name goes with it."""


URGENT_COMMANDS: Final = frozenset({int(Command.EMERGENCY_STOP), int(Command.EMERGENCY_RESUME)})
"""They wait for no other command."""

EMERGENCY_KINDS: Final = frozenset({int(EventKind.EMERGENCY_STOP), int(EventKind.EMERGENCY_RESUME)})
"""They are published as emergencies, too."""


class Catalogue:
    """The members of an enum by number and by name.

    Args:
        members: the enum.

    Raises:
        ConfigurationError: a value is not a whole number.
    """

    def __init__(self, members: type[Enum]) -> None:
        if not (isinstance(members, type) and issubclass(members, Enum)):
            raise ConfigurationError(f"commands and event kinds are an enum with numbers, not {members!r}")
        self._by_number: dict[int, Enum] = {}
        for member in members:
            if isinstance(member.value, bool) or not isinstance(member.value, int):
                raise ConfigurationError(f"{members.__name__}.{member.name} is {member.value!r} and no whole number")
            self._by_number[int(member.value)] = member
        self._by_name = dict(members.__members__)

    def find(self, number: int) -> Enum | None:
        """The member of this number."""
        return self._by_number.get(number)

    def number_of(self, name: str) -> int | None:
        """The number of this name, written as the enum has it, in any case; None when it has none."""
        member = self._by_name.get(name)
        if member is None:
            wanted = name.replace("_", "").casefold()
            member = next((m for n, m in self._by_name.items() if n.replace("_", "").casefold() == wanted), None)
        return None if member is None else int(member.value)

    def name_of(self, number: int) -> str:
        """For people: `GET_STATUS`, or the number where there is no name."""
        member = self._by_number.get(number)
        return str(number) if member is None else member.name

    def names(self) -> dict[str, int]:
        """Every name with its number, in the order of the enum."""
        return {name: int(member.value) for name, member in self._by_name.items()}


def number_of(value: int | Enum) -> int:
    """The number of a member, or the number itself.

    Raises:
        ConfigurationError: it is neither.
    """
    number = value.value if isinstance(value, Enum) else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise ConfigurationError(f"{value!r} is neither a whole number nor a member of an enum with numbers")
    return int(number)
