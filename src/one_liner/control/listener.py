"""A function that is called with what a control service publishes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from threading import current_thread
from typing import Any, Final, NamedTuple

import zmq

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.closing import Closing
from one_liner.control.numbers import Topic
from one_liner.control.topics import read, subscription_of
from one_liner.errors import MalformedError
from one_liner.transport.sockets import Context, Doorbell, closing_on_error, open_socket

_HEARTBEAT_S: Final = 1.0
_CLOSE_TIMEOUT_S: Final = 0.5
_NAMED: Final[dict[int, Topic]] = {int(topic): topic for topic in Topic}
_log = logging.getLogger("one_liner.control.listener")


class Published(NamedTuple):
    """One message.

    Attributes:
        topic: its number; a `Topic` where it is one.
        content: the object, its keys as they came.
    """

    topic: int
    content: Any


class Listener(Closing):
    """Calls a function for every message, on a thread of its own, until it is closed.

    An exception that it raises is logged, and the next message comes nevertheless. One that is too slow loses messages,
    as every subscriber does.

    Args:
        context: of its sockets.
        address: where the service publishes; it may come later.
        function: the user's.
        topics: what to listen to.
    """

    def __init__(
        self, context: Context, address: str, function: Callable[[Published], Any], topics: Iterable[int]
    ) -> None:
        self._function = function
        self._closed = False
        self._socket = open_socket(context, zmq.SUB, heartbeat_s=_HEARTBEAT_S, ipv6="[" in address)
        with closing_on_error(self._socket):
            for topic in topics:
                self._socket.subscribe(subscription_of(topic))
            self._socket.connect(address)
            self._doorbell = Doorbell(context, "control-listener")
        self._thread = BackgroundThread(self._run, f"control listener {address}", pause_s=PAUSE_S)
        self._thread.start()

    def close(self) -> None:
        """Call it no longer; a call that is under way is waited for half a second. Any number of times."""
        self._closed = True
        self._doorbell.ring()
        if self._thread is not current_thread():
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._doorbell.socket, zmq.POLLIN)
        try:
            while not self._closed:
                if self._socket in dict(poller.poll()):
                    self._hand_out(self._socket.recv_multipart())
        except zmq.ContextTerminated:
            _log.debug("context terminated under a listener")
        self._socket.close()
        self._doorbell.close()

    def _hand_out(self, frames: list[bytes]) -> None:
        try:
            topic, content = read(frames)
        except MalformedError as error:
            _log.debug("passed over: %s", error)
            return
        try:
            self._function(Published(_NAMED.get(topic, topic), content))
        except Exception:
            _log.exception("a listener raised; it will be called again")
