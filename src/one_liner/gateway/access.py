"""Who may do what: tokens with the roles that the core has, `read`, `control` and `admin`.

A token is shown as `Authorization: Bearer …`, as `X-Token: …`, or as `?token=…` where a browser cannot send headers.
Where there are no tokens everybody who can reach the port may do everything, as at a `RouterServer` without keys.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from fastapi import HTTPException, status
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from one_liner.errors import ConfigurationError

_SHORTEST = 8


class Role(IntEnum):
    """What somebody may do; each includes the ones before."""

    READ = 1
    """Look: read properties, call what is declared read-only, receive streams, get arrays."""
    CONTROL = 2
    """Act: call, set, start and stop, store arrays, publish."""
    ADMIN = 3
    """All else."""

    @classmethod
    def of(cls, word: object) -> Role:
        """The role of this name.

        Raises:
            ConfigurationError: there is none.
        """
        for role in cls:
            if word == role or word == role.name.lower():
                return role
        raise ConfigurationError(f"there is no role {word!r}; a role is {', '.join(role.name.lower() for role in cls)}")


@dataclass(frozen=True, slots=True)
class Token:
    """A secret, and what whoever knows it may do.

    Attributes:
        secret: at least eight characters.
        role: what for.
        name: whose it is, for people.
    """

    secret: str
    role: Role = Role.CONTROL
    name: str = ""

    def __post_init__(self) -> None:
        """Check the secret.

        Raises:
            ConfigurationError: it is too short.
        """
        if len(self.secret) < _SHORTEST:
            raise ConfigurationError(f"the token of {self.name or 'somebody'} has less than {_SHORTEST} characters")

    def __repr__(self) -> str:
        return f"Token({self.name!r}, {self.role.name.lower()})"


def read_tokens(path: Path) -> tuple[Token, ...]:
    """Tokens from a TOML file: for each person a table `[name]` with `token` and `role`.

    Raises:
        ConfigurationError: the file cannot be read, or is none of these.
    """
    import tomllib

    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    tokens = []
    for name, entry in data.items():
        if not isinstance(entry, dict) or set(entry) - {"token", "role"} or not isinstance(entry.get("token"), str):
            raise ConfigurationError(
                f'{path}: [{name}] has to have token = "…" and role = "read", "control" or "admin"'
            )
        tokens.append(Token(entry["token"], Role.of(entry.get("role", "control")), name))
    if not tokens:
        raise ConfigurationError(f"{path}: there is no token in it, and nobody could come in")
    return tuple(tokens)


class Access:
    """Decides by the token that a connection shows.

    Args:
        tokens: all there are.
    """

    def __init__(self, tokens: Iterable[Token]) -> None:
        # By their digests: how long it takes to look one up says nothing about the others.
        self._roles = {_digest(token.secret): token for token in tokens}

    @property
    def open(self) -> bool:
        """Whether everybody may come in."""
        return not self._roles

    def role_of(self, connection: HTTPConnection) -> Role | None:
        """What this connection may do; None for nothing."""
        if not self._roles:
            return Role.ADMIN
        secret = _shown(connection)
        if secret is None:
            return None
        digest = _digest(secret)
        token = self._roles.get(digest)
        known = token is not None and hmac.compare_digest(_digest(token.secret), digest)
        return token.role if token is not None and known else None


def access_of(connection: HTTPConnection) -> Access:
    """What decides about a connection: that of the application's gateway."""
    access: Access = connection.app.state.gateway.access
    return access


def needs(role: Role) -> Callable[[HTTPConnection], Awaitable[Role]]:
    """A dependency for routes: refuses with 401 who shows no token that is known, with 403 whose role is too small."""

    async def check(connection: HTTPConnection) -> Role:
        return check_role(connection, role)

    return check


def check_role(connection: HTTPConnection, role: Role) -> Role:
    """The role of a request, if it is enough.

    Raises:
        HTTPException: 401 for who shows no token that is known, 403 for whose role is too small.
    """
    own = access_of(connection).role_of(connection)
    if own is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "a token is needed", {"WWW-Authenticate": "Bearer"})
    if own < role:
        raise HTTPException(
            status.HTTP_403_FORBIDDEN, f"this needs the role {role.name.lower()}, and yours is {own.name.lower()}"
        )
    return own


async def admitted(websocket: WebSocket, role: Role) -> Role | None:
    """Accept a WebSocket, and close it at once where the role is not enough; None then.

    Refusing by 403 would have stock clients knock again, thousands of times.
    """
    own = access_of(websocket).role_of(websocket)
    await websocket.accept()
    if own is not None and own >= role:
        return own
    reason = "a token is needed" if own is None else f"this needs the role {role.name.lower()}"
    await websocket.close(status.WS_1008_POLICY_VIOLATION, reason)
    return None


def _shown(connection: HTTPConnection) -> str | None:
    scheme, _, secret = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret:
        return secret.strip()
    shown: Any = connection.headers.get("x-token") or connection.query_params.get("token")
    return shown or None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
