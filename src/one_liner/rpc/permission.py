"""Who may do what, decided by the key that a client has shown.

A client has a role and, if wanted, a list of names that it may act on. What each request needs is in two tables here;
what stands in neither needs the highest role, so that what is added later is closed until somebody opens it.

Names in a list are those of objects, named calls, streams and routers: `stage` also means `stage.x`, `north` everything
behind the router `north`, and `north/laser` one object there. Reading what a server *is* and receiving its streams is
open to everybody with a key: samples are broadcast, and a broadcast cannot be told apart by reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from threading import Lock
from typing import Any, Final

from one_liner.errors import ConfigurationError, RefusedError
from one_liner.frozen import Frozen
from one_liner.wire.messages import ROUTE_SEPARATOR, Kind

NESTED: Final = "."


class Role(IntEnum):
    """What a client may do; each includes the ones before."""

    READ = 1
    """Describe, read properties, call what is declared read-only, receive streams."""
    CONTROL = 2
    """Call, set, enable and disable streams."""
    ADMIN = 3
    """Add and remove streams, take control away from others."""

    @property
    def word(self) -> str:
        """The word that users write."""
        return self.name.lower()

    @classmethod
    def of(cls, word: Any) -> Role:
        """The role of this name.

        Raises:
            ConfigurationError: there is none; names those that there are.
        """
        if isinstance(word, Role):
            return word
        for role in cls:
            if word == role.word:
                return role
        raise ConfigurationError(f"there is no role {word!r}; a role is {', '.join(role.word for role in cls)}")


ROLE_OF_KIND: Final[dict[int, Role]] = {
    Kind.CALL: Role.CONTROL,
    Kind.GET: Role.READ,
    Kind.SET: Role.CONTROL,
    Kind.CALL_NAMED: Role.CONTROL,
    Kind.HEARTBEAT: Role.READ,
    Kind.CANCEL: Role.READ,
    Kind.ASK_AGAIN: Role.READ,
}
"""By kind of request; `CONTROL` is decided by its word."""

ROLE_OF_WORD: Final[dict[str, Role]] = {
    "describe": Role.READ,
    "describe_object": Role.READ,
    "stream_configurations": Role.READ,
    "publish_marker": Role.READ,
    "report_ledger": Role.READ,
    "running_calls": Role.READ,
    "version": Role.READ,
    "trace": Role.READ,
    "leases": Role.READ,
    "jobs": Role.READ,
    "job": Role.READ,
    "job_result": Role.READ,
    "job_log": Role.READ,
    "events": Role.READ,
    "missed_emergencies": Role.READ,
    "submit": Role.CONTROL,
    "cancel_job": Role.CONTROL,
    "pause_job": Role.CONTROL,
    "resume_job": Role.CONTROL,
    "observe": Role.ADMIN,
    "unobserve": Role.ADMIN,
    "holds_lease": Role.READ,
    "take_lease": Role.CONTROL,
    "give_lease_back": Role.CONTROL,
    "take_lease_by_force": Role.ADMIN,
    "enable_stream": Role.CONTROL,
    "disable_stream": Role.CONTROL,
    "add_stream": Role.ADMIN,
    "remove_stream": Role.ADMIN,
}
"""By what a server is asked to do. To submit a job is to call, and is looked at as a call."""

JOB_WORDS: Final = frozenset({"cancel_job", "pause_job", "resume_job"})
"""Those that act on the object of a job, and name the job."""

_ACTS_ON_A_NAME: Final = frozenset((Kind.CALL, Kind.GET, Kind.SET, Kind.CALL_NAMED))


class Permission(Frozen):
    """What one client may do.

    Attributes:
        role: what kind of things.
        objects: to which names; None for all.
        name: whose key it is, for people.
    """

    role: Role = Role.CONTROL
    objects: frozenset[str] | None = None
    name: str = ""

    @classmethod
    def of(cls, role: Any, objects: Any = None, name: Any = "") -> Permission:
        """Check what a user wrote.

        Raises:
            ConfigurationError: the role does not exist, or `objects` is no list of names.
        """
        if not isinstance(name, str):
            raise ConfigurationError(f"the name of a client is text, not {name!r}")
        checked = Role.of(role)
        if objects is None:
            return cls(checked, None, name)
        if isinstance(objects, str | bytes) or not isinstance(objects, Iterable):
            raise ConfigurationError(f"objects is a list of names, not {objects!r}")
        names = tuple(objects)
        for entry in names:
            if not isinstance(entry, str) or not entry:
                raise ConfigurationError(f"objects is a list of names, and {entry!r} is none")
        return cls(checked, frozenset(names), name)

    @property
    def who(self) -> str:
        """The client, for messages."""
        return repr(self.name) if self.name else "this client"

    def check(
        self, kind: int, path: str, word: str = "", *, obj_name: str | None = None, read_only: bool = False
    ) -> None:
        """Let a request through, or refuse it.

        Args:
            kind: of the request.
            path: what it asks for.
            word: for `CONTROL`: what the server is asked to do.
            obj_name: the object that it comes down to, where that is not `path`. A named call may be reached by its own
                name or that of the object; for a new stream it takes both.
            read_only: the method it calls is declared so.

        Raises:
            RefusedError: says who, with what role, and what was needed.
        """
        need = ROLE_OF_WORD.get(word, Role.ADMIN) if kind == Kind.CONTROL else ROLE_OF_KIND.get(kind, Role.ADMIN)
        if read_only:
            need = Role.READ
        what = f"{word} {path}".strip() if kind == Kind.CONTROL else f"{_VERBS.get(kind, 'asking')} {path!r}"
        self.require(need, what)
        if self.objects is None:
            return
        acted_on: list[str | None] = []
        if kind == Kind.CONTROL and need is not Role.READ:
            acted_on = [path, obj_name]  # A new stream is a way to its object, and may replace another of its name.
        elif kind in _ACTS_ON_A_NAME:
            acted_on = [path if obj_name is None or self.reaches(path) else obj_name]
        for name in acted_on:
            if name is not None and not self.reaches(name):
                listed = ", ".join(sorted(self.objects)) or "nothing"
                meant = repr(name) if name else "the whole server"
                raise RefusedError(
                    f"refused: {self.who} may not reach {meant}; the key is restricted to {listed}",
                    who=self.name,
                    role=self.role.word,
                    path=path,
                )

    def require(self, need: Role, what: str) -> None:
        """Refuse what needs a higher role.

        Args:
            need: the role that it needs.
            what: what it is, for the message: `taking the lease of 'stage' away`.

        Raises:
            RefusedError: says who, with what role, and what was needed.
        """
        if self.role < need:
            raise RefusedError(
                f"refused: {what} needs the role {need.word}, and {self.who} has the role {self.role.word}",
                who=self.name,
                role=self.role.word,
                needed=need.word,
            )

    def reaches(self, path: str) -> bool:
        """Whether a name, or something that it is part of, is in the list."""
        if self.objects is None or path in self.objects:
            return True
        return any(
            path[index] in (NESTED, ROUTE_SEPARATOR) and path[:index] in self.objects for index in range(len(path))
        )


_VERBS: Final[dict[int, str]] = {
    Kind.CALL: "calling",
    Kind.GET: "reading",
    Kind.SET: "setting",
    Kind.CALL_NAMED: "making the call",
}


class AllowList:
    """The clients that may come in, by public key. May be used by any number of threads; changes hold at once."""

    def __init__(self, clients: Mapping[str, Permission] | None = None) -> None:
        self._lock = Lock()
        self._clients = dict(clients or {})

    def find(self, key: str | None) -> Permission | None:
        """What the holder of a key may do; None when it may not come in."""
        return None if key is None else self._clients.get(key)

    def admits(self, key: str) -> bool:
        """Whether the holder of a key may come in."""
        return key in self._clients

    def allow(self, key: str, permission: Permission) -> None:
        """Let the holder of a key in, or change what it may do."""
        with self._lock:
            self._clients[key] = permission

    def disallow(self, key: str) -> bool:
        """Let the holder of a key in no longer. False when it was not let in before."""
        with self._lock:
            return self._clients.pop(key, None) is not None

    def __len__(self) -> int:
        return len(self._clients)
