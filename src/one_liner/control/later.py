"""The answer that a handler will have later."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

from one_liner.control.response import CommandResponse


class Later:
    """What a handler returns whose work goes on when it has returned: `return Later()`.

    The peer is answered PENDING_WITH_NOTIFICATION at once. Whoever does the work calls `finish` at its end, once, from
    any thread; the peers get that as a COMMAND_RESULT with the command and nonce of the request.

    Args:
        data: what the peer is told in the meantime.
    """

    def __init__(self, data: Any = None) -> None:
        self.data = data
        self._lock = Lock()
        self._response: CommandResponse | None = None
        self._then: Callable[[CommandResponse], None] | None = None

    @property
    def response(self) -> CommandResponse | None:
        """How it ended; None while it goes on."""
        return self._response

    def finish(self, value: Any = None) -> bool:
        """It has ended.

        Args:
            value: a `CommandResponse`, an exception, or the data of a success.

        Returns:
            False when it had ended before; that stays.
        """
        response = CommandResponse.of_error(value) if isinstance(value, BaseException) else CommandResponse.of(value)
        with self._lock:
            if self._response is not None:
                return False
            self._response, then = response, self._then
        if then is not None:
            then(response)
        return True

    def when_finished(self, then: Callable[[CommandResponse], None]) -> None:
        """Have a function called at the end, at once if it has ended already. For the service."""
        with self._lock:
            self._then, response = then, self._response
        if response is not None:
            then(response)
