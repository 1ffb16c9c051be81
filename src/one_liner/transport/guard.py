"""The one who is asked at the door of a secured server.

libzmq asks whether a key may come in at one fixed address inside each context (ZAP, `inproc://zeromq.zap.01`). So there
is one doorkeeper per context, for all secured servers in it: it starts with the first, ends with the last, and tells
them apart by their ZAP domain.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Final

import zmq
from zmq.utils import z85

from one_liner.background import PAUSE_S, BackgroundThread
from one_liner.errors import ConfigurationError
from one_liner.keys import KeyPair, read_public
from one_liner.rpc.permission import AllowList, Permission
from one_liner.transport.security import ServerCurve
from one_liner.transport.sockets import Context, Doorbell, open_socket

_ADDRESS: Final = "inproc://zeromq.zap.01"
_DOMAIN_PREFIX: Final = "one_liner:"
_QUESTION_PARTS: Final = 8
_MAX_TOLD: Final = 1000
_log = logging.getLogger("one_liner.transport.guard")


class Guard:
    """What secures a server: its keys, who may come in, and its entry with the doorkeeper of its context.

    Made before the server's sockets, which it would keep everybody out of otherwise.

    Args:
        context: the server's.
        server: random number of the server.
        keys: the server's.
        clients: who may come in, by public key.

    Attributes:
        curve: for the server's sockets.
        clients: who may come in; changes hold at once.
    """

    def __init__(self, context: Context, server: int, keys: KeyPair, clients: Mapping[str, Permission]) -> None:
        self.curve = ServerCurve(keys, f"{_DOMAIN_PREFIX}{server:x}")
        self.clients = AllowList(clients)
        self._domain = self.curve.domain.encode()
        self._context = context
        self._number = context.underlying
        self._doorkeeper: _Doorkeeper | None = None

    def open(self) -> None:
        """Let those in who may come. Before the server's sockets are bound; by whoever closes it if it is interrupted.

        Raises:
            ConfigurationError: somebody else has the only place for a doorkeeper in this context.
        """
        with _doorkeepers_lock:
            self._doorkeeper = _doorkeepers.get(self._number)
            if self._doorkeeper is None or not self._doorkeeper.alive:
                self._doorkeeper = _Doorkeeper(self._context)
            self._doorkeeper.servers[self._domain] = self.clients.admits
            _doorkeepers[self._number] = self._doorkeeper
            if not self._doorkeeper.alive:
                self._doorkeeper.start()

    def allow(self, public_key: str | os.PathLike[str], role: Any, objects: Any, name: Any) -> None:
        """Let a client in, or change what it may do.

        Raises:
            ConfigurationError: the key is none, or there is no such role.
        """
        self.clients.allow(read_public(public_key), Permission.of(role, objects, name))

    def disallow(self, public_key: str | os.PathLike[str]) -> None:
        """Let a client in no longer.

        Raises:
            ConfigurationError: the key is none, or was not allowed.
        """
        key = read_public(public_key)
        if not self.clients.disallow(key):
            raise ConfigurationError(f"the key {key} was not allowed before")

    def close(self) -> None:
        """Let nobody in any more. After the server's sockets were closed; any number of times."""
        with _doorkeepers_lock:
            doorkeeper, self._doorkeeper = self._doorkeeper, None
            if doorkeeper is None:
                return
            doorkeeper.servers.pop(self._domain, None)
            if not doorkeeper.servers:
                if _doorkeepers.get(self._number) is doorkeeper:
                    del _doorkeepers[self._number]
                doorkeeper.close()


class _Doorkeeper:
    """Answers libzmq's questions whether a key may come in, on a thread of its own."""

    def __init__(self, context: Context) -> None:
        self.servers: dict[bytes, Callable[[str], bool]] = {}
        self._told: set[bytes] = set()
        self._socket = open_socket(context, zmq.ROUTER)
        try:
            self._socket.bind(_ADDRESS)
        except zmq.ZMQError as error:
            self._socket.close()
            if error.errno != zmq.EADDRINUSE:
                raise
            raise ConfigurationError(
                "another authenticator (such as zmq.auth's) runs in this ZeroMQ context, and there can be one only; "
                "give the server a context of its own: RouterServer(…, context=zmq.Context())"
            ) from None
        self._doorbell = Doorbell(context, "doorkeeper")
        self._stopping = False
        self._thread = BackgroundThread(self._run, "doorkeeper", pause_s=PAUSE_S)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still answers: not when its context was terminated."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread, which closes its sockets."""
        self._stopping = True
        if not self.alive:  # Not started, or so newly that it will find itself closed.
            self._release()
            return
        self._doorbell.ring()
        self._thread.join()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._doorbell.socket, zmq.POLLIN)
        try:
            while not self._stopping:
                if self._socket in dict(poller.poll()):
                    self._answer(self._socket.recv_multipart())
        except zmq.ContextTerminated:
            _log.debug("context terminated under the doorkeeper")
        self._release()

    def _release(self) -> None:
        with contextlib.suppress(zmq.ZMQError):
            # `close` frees an inproc address some time later, and the next doorkeeper may come at once.
            self._socket.unbind(_ADDRESS)
        self._socket.close()
        self._doorbell.close()

    def _answer(self, question: list[bytes]) -> None:
        if len(question) < _QUESTION_PARTS:
            return  # Somebody in this process plays with the address; libzmq always sends all parts.
        asker, _, version, number, domain, address, _, mechanism, *credentials = question
        key = z85.encode(credentials[0]) if mechanism == b"CURVE" and len(credentials) == 1 else b""
        admitted = bool(key) and self._admits(domain, key.decode())
        if not admitted:
            self._tell(address, key)
        code, text, user = (b"200", b"OK", key) if admitted else (b"400", b"not allowed", b"")
        self._socket.send_multipart([asker, b"", version, number, code, text, user, b""])

    def _admits(self, domain: bytes, key: str) -> bool:
        admits = self.servers.get(domain)
        if admits is not None:
            return admits(key)
        # A secured socket of somebody else in this context, who has no authenticator: without us it would let
        # everybody in, so with us it does. One that asks for an authenticator, or was ours, lets nobody in.
        return not domain

    def _tell(self, address: bytes, key: bytes) -> None:
        """Say once who was refused: they knock again and again."""
        if key not in self._told:
            if len(self._told) >= _MAX_TOLD:
                self._told.clear()
            self._told.add(key)
            _log.warning("refused a client at %s: its key %s is not allowed", address.decode(), key.decode() or "none")


_doorkeepers: dict[int, _Doorkeeper] = {}
_doorkeepers_lock = Lock()
