"""What an exchange asks of a carrier: bytes from each gateway to all others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Connection(Protocol):
    """A carrier while it can be reached. Both methods raise `BrokerLostError` when it cannot any more."""

    async def send(self, messages: Sequence[bytes]) -> None:
        """Hand messages over; returns when the carrier has them."""

    def messages(self) -> AsyncIterator[bytes]:
        """What the gateways send, in the order of each; our own may be among it. Ends never but by an error."""


class Carrier(Protocol):
    """Takes bytes from each gateway to all others."""

    @property
    def name(self) -> str:
        """For people: what it is and where, without passwords."""

    def connect(self) -> AbstractAsyncContextManager[Connection]:
        """Reach it. Inside the block everything that the others send from now on is received.

        Raises:
            BrokerLostError: it cannot be reached.
        """
