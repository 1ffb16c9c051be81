"""A word from the reader back to the publisher, beside what is measured: a datagram for each sample that arrived.

It keeps a publisher that is faster than the wire from measuring how fast samples can be thrown away.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from threading import Event
from typing import Final

LOST_S: Final = 0.5
"""A sample that has not arrived by then is taken for lost."""


class Credit:
    """Where a reader says that a sample came, or where a publisher hears of it."""

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(LOST_S)
        if port:
            self._socket.connect(("127.0.0.1", port))
        else:
            self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def give(self) -> None:
        """One sample arrived."""
        self._socket.send(b"1")

    def turns(self, window: int, stop: Event) -> Iterator[None]:
        """One turn to publish for each sample that arrived, with at most `window` under way."""
        for _ in range(window):
            yield
        while not stop.is_set():
            try:
                self._socket.recv(1)
            except TimeoutError:
                pass  # It was lost: send another one.
            yield

    def heard(self, stop: Event) -> Iterator[None]:
        """Every word, when it comes, until `stop`."""
        while not stop.is_set():
            try:
                self._socket.recv(1)
            except TimeoutError:
                continue
            yield

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()
