"""One browser on the page: what it may do, what it looks at, and what is to be left when it goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from nicegui import Client, ui

from one_liner.errors import OneLinerError
from one_liner.gateway.access import Role
from one_liner.gateway.faults import said_by
from one_liner.gateway.gateway import Gateway
from one_liner.gateway.rigs import Rig
from one_liner.gateway.ui.polls import Poll, Polls

T = TypeVar("T")


class Visit:
    """What the panels of one page share.

    Args:
        gateway: what is shown.
        polls: what is asked for all browsers together.
        role: what this one may do.
        client: the browser.
    """

    def __init__(self, gateway: Gateway, polls: Polls, role: Role, client: Client) -> None:
        self.gateway, self.role = gateway, role
        self._polls, self._client = polls, client

    @property
    def rigs(self) -> list[Rig]:
        """The servers."""
        return self.gateway.rigs.all()

    def full_name(self, rig: Rig, name: str) -> str:
        """How something of a server is called here."""
        return self.gateway.rigs.full_name(rig, name)

    def may(self, role: Role) -> bool:
        """Whether this browser may do what needs a role."""
        return self.role >= role

    def ask(self, key: Hashable, ask: Callable[[], Awaitable[T]], period_s: float) -> Poll[T]:
        """Look at what is asked for all; `forget` it with the same key."""
        return self._polls.join(key, ask, period_s)

    def forget(self, key: Hashable) -> None:
        """Look no longer."""
        self._polls.leave(key)

    async def attempt(self, doing: Callable[[], Awaitable[T]], needed: Role = Role.CONTROL) -> tuple[T | None, str]:
        """Do something for whoever sits at the browser.

        Args:
            doing: what.
            needed: the role that it needs.

        Returns:
            What it gave, and why it gave nothing, for people; "" if it did.
        """
        if not self.may(needed):
            return None, f"this needs the role {needed.name.lower()}, and yours is {self.role.name.lower()}"
        self.gateway.calls += 1
        try:
            return await doing(), ""
        except OneLinerError as error:
            self.gateway.failed_calls += 1
            return None, reason_of(error)

    async def act(self, doing: Callable[[], Awaitable[object]], needed: Role = Role.CONTROL) -> bool:
        """As `attempt`, and what goes wrong is shown. Gives whether nothing did."""
        _, trouble = await self.attempt(doing, needed)
        if trouble and not self._client.is_deleted:
            with self._client:
                ui.notify(trouble, type="negative", multi_line=True, close_button=True)
        return not trouble


def reason_of(error: OneLinerError) -> str:
    """An error in one line: what was raised over there, and what it says."""
    kind, message = said_by(error)
    return f"{kind}: {message.partition(chr(10))[0]}"
