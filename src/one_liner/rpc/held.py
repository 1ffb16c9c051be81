"""A lease, as the client has it: exclusive control that is given back at the end of a `with`."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from threading import Event, Lock
from types import TracebackType
from typing import Any, Final, Self

from one_liner.background import BackgroundThread
from one_liner.clock import SYSTEM_CLOCK
from one_liner.errors import (
    CallTimeoutError,
    ClosedError,
    LeaseLostError,
    LimitError,
    OneLinerError,
    TransportError,
    UnknownObjectError,
)
from one_liner.uninterrupted import uninterrupted

Control = Callable[..., Any]
_SLICE_S: Final = 1.0  # Windows does not interrupt a wait without end.
_log = logging.getLogger("one_liner.rpc.held")


class HeldLease:
    """Exclusive control of an object, or of a whole server, while this client lives.

    All others may read, and nothing else. Another thread looks once per heartbeat whether it is still ours.

    Args:
        name: the object; "" for the whole server.
        control: asks the server.
        heartbeat_s: how often to look.

    Attributes:
        name: the object.
    """

    def __init__(self, name: str, control: Control, heartbeat_s: float) -> None:
        self.name = name
        self._control = control
        self._heartbeat_s = heartbeat_s
        self._title = repr(name) if name else "the whole server"
        self._lock = Lock()
        self._answered = Event()
        self._ended = Event()
        self._taken = self._returned = False
        self._reason: OneLinerError | None = None

    @property
    def held(self) -> bool:
        """Whether it is still ours, as far as is known here."""
        return not self._ended.is_set()

    def take(self, ask: Callable[[], Any], limit_s: float | None) -> None:
        """Have it taken by another thread, and wait for that. What ends the waiting does not tell whether it was taken.

        Args:
            ask: asks the server for it, and waits as long as that lives.
            limit_s: how long to wait here.

        Raises:
            CallTimeoutError: no answer in time.
            OneLinerError: what was raised there.
        """
        raised: list[BaseException] = []
        BackgroundThread(partial(self._take, ask, raised), "lease").start()
        deadline = math.inf if limit_s is None else SYSTEM_CLOCK.now() + limit_s
        while not self._answered.wait(max(0.0, min(_SLICE_S, deadline - SYSTEM_CLOCK.now()))):
            if SYSTEM_CLOCK.now() >= deadline:
                message = f"exclusive control of {self._title}: no answer within {limit_s:g} s; it will be given back"
                raise CallTimeoutError(message, path=self.name, timeout_s=limit_s)
        if raised:
            raise raised.pop()

    def give_up(self) -> None:
        """Nobody will have it: have it given back as soon as it is ours, if it ever is. Does not wait for that."""
        with self._lock:
            taken = self._taken and not self._returned
            self._returned = True
            self._ended.set()
        if taken:
            BackgroundThread(self._give_back, "lease").start()

    def check(self) -> None:
        """Raise if it is ours no longer.

        Raises:
            LeaseLostError: an operator took it, or our heartbeats did not arrive.
            ServerLostError, …: the server is gone, and the lease with it.
        """
        if self._reason is not None:
            raise self._reason
        if self._returned:
            raise LeaseLostError(f"exclusive control of {self._title} was given back")

    def release(self) -> None:
        """Give it back. Any number of times; nothing is raised when it was lost before."""
        with self._lock:
            if self._returned or isinstance(self._reason, LeaseLostError):
                return
            self._returned = True
            self._ended.set()
        self._give_back()

    def wait_lost(self) -> OneLinerError:
        """Look until it is lost or given back. Gives the reason; StopIteration when it was given back, or we closed."""
        while not self._ended.wait(self._heartbeat_s):
            try:
                if self._control(self.name, "holds_lease"):
                    continue
                reason: OneLinerError = LeaseLostError(f"exclusive control of {self._title} was lost")
            except (CallTimeoutError, LimitError):
                continue  # The server is busy, and says nothing about the lease.
            except OneLinerError as error:
                reason = error
            with self._lock:
                if self._ended.is_set():
                    break
                self._reason = reason
                self._ended.set()
            if isinstance(reason, ClosedError):
                break  # By ourselves: that is no news.
            return reason
        raise StopIteration

    def stop(self) -> None:
        """Look no longer; the server ends the lease when our heartbeats stop."""
        self._ended.set()

    def _take(self, ask: Callable[[], Any], raised: list[BaseException]) -> None:
        try:
            ask()
        except BaseException as error:  # Raised again on the thread that waits.
            raised.append(error)
            self._answered.set()
            return
        with self._lock:
            self._taken, unwanted = True, self._returned
        self._answered.set()
        if unwanted:
            _log.info("exclusive control of %s is given back: nobody waits for it any more", self._title)
            self._give_back()

    @uninterrupted
    def _give_back(self) -> None:
        try:
            # Also when the server was lost meanwhile: it may be there again, and hold it for us.
            self._control(self.name, "give_lease_back")
        except (TransportError, UnknownObjectError):
            return  # It ends with our heartbeats, or ended with the server.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
