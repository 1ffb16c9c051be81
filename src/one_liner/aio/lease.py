"""`AsyncLease`: exclusive control for the time of an `async with`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Lock
from types import TracebackType
from typing import Any, Self

from one_liner.aio.background import in_background
from one_liner.aio.callback import called
from one_liner.client import RouterClient
from one_liner.errors import ConfigurationError, OneLinerError
from one_liner.rpc.held import HeldLease


class AsyncLease:
    """Exclusive control for the time of an `async with`; see `HeldLease` for what it is.

    Args:
        client: whose lease it is.
        obj_name: the object; "" for the whole server.
        force: take it from whoever has it.
        on_lost: called in the event loop, as an `AsyncCallback` is, with the reason when the lease is lost.
    """

    def __init__(
        self, client: RouterClient, obj_name: str, force: bool, on_lost: Callable[[OneLinerError], Any] | None
    ) -> None:
        self._client, self._obj_name, self._force, self._on_lost = client, obj_name, force, on_lost
        self._held: HeldLease | None = None

    async def __aenter__(self) -> Self:
        loop, on_lost = asyncio.get_running_loop(), self._on_lost
        lock, unwanted = Lock(), False

        def tell(on_lost: Callable[[OneLinerError], Any], reason: OneLinerError) -> None:
            in_background(called(on_lost, reason), f"one_liner callback lease of {self._obj_name or 'the server'}")

        def lost(reason: OneLinerError) -> None:
            if on_lost is not None:
                try:
                    loop.call_soon_threadsafe(tell, on_lost, reason)
                except RuntimeError:
                    return  # The loop is closed: nobody is there to be told.

        def take() -> HeldLease:
            held = self._client.lease(self._obj_name, force=self._force, on_lost=lost)
            with lock:
                if not unwanted:
                    self._held = held
                    return held
            held.release()
            return held

        try:
            await asyncio.to_thread(take)
        except asyncio.CancelledError:
            # The thread cannot be cancelled: what it gets, nobody would ever give back.
            with lock:
                unwanted, held = True, self._held
            if held is not None:
                await asyncio.to_thread(held.release)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held is not None:
            await asyncio.to_thread(self._held.release)

    @property
    def held(self) -> bool:
        """Whether it is still ours, as far as is known here."""
        return self._held is not None and self._held.held

    def check(self) -> None:
        """Raise `LeaseLostError` if it is ours no longer."""
        if self._held is None:
            raise ConfigurationError("a lease is taken by `async with`")
        self._held.check()
