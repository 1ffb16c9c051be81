"""Two network namespaces and the line between them: a cable to pull, and a way to be slow and to lose packets.

Each namespace has a network stack of its own, as a machine has: own interfaces, own routes, own TCP. The line ends in a
TUN device on either side; a thread here carries the packets, late or not at all. So nothing of the kernel has to be
there for the delay (`netem` often is not), and whatever TCP does about a line that is cut or bad, it does for real.

Linux only, and only where namespaces may be made; `make_line` skips the test otherwise and says why. What was made ends
with this process, whatever becomes of it: the namespaces have no names that could be left behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

import pytest
import zmq

_CLONE_NEWNET: Final = 0x40000000
_TUNSETIFF: Final = 0x400454CA
_TUNSETCARRIER: Final = 0x400454E2
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_DEVICE: Final = "line0"
_MTU: Final = 1500


class NotPermitted(Exception):
    """This system does not let us make what the tests need."""


class Namespace:
    """A network stack of its own, with one interface that leads to the line.

    Attributes:
        address: of that interface.
        tun: the descriptor from which its packets come, and into which those for it go.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        # By thread, not by process: what a thread starts (processes, ZeroMQ's own threads) is born where it is.
        with _elsewhere(lambda: _libc().unshare(_CLONE_NEWNET), "make a network namespace"):
            self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            self.tun = _open_tun()
            for command in (
                "link set lo up",
                f"link set {_DEVICE} mtu {_MTU} up",
                f"addr add {address}/24 dev {_DEVICE}",
            ):
                _ip(command)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that this thread opens, and processes and threads that it starts, belong to this namespace."""
        with _elsewhere(lambda: _libc().setns(self._fd, _CLONE_NEWNET), "enter a network namespace"):
            yield

    def context(self) -> zmq.Context[zmq.Socket[bytes]]:
        """A ZeroMQ context whose connections are made here, from whatever thread it is used."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        with self.entered():
            context.socket(zmq.PAIR).close()  # The first socket starts the threads that do the connecting.
        return context

    def ip(self, command: str) -> None:
        """Have `ip` change something here: `link set line0 down`."""
        with self.entered():
            _ip(command)

    def close(self) -> None:
        """Let go of it; it is gone with the last process that is in it."""
        os.close(self.tun)
        os.close(self._fd)


class Line:
    """Two namespaces, `near` and `far`, and what joins them.

    Args:
        delay_s: how long a packet takes, from near to far and from far to near.
        loss: the share of packets that is lost, both ways.
        seed: of the dice.
    """

    def __init__(self, delay_s: tuple[float, float] = (0.0, 0.0), loss: float = 0.0, seed: int = 0) -> None:
        self.near = Namespace("10.77.0.1")
        try:
            self.far = Namespace("10.77.0.2")
        except BaseException:
            self.near.close()
            raise
        self.delay_s, self.loss = delay_s, loss
        self.lost = 0
        self._dice = random.Random(seed)
        self._carried = [0, 0]
        self._pull_at: int | None = None
        self._plugged = True
        self._lock = threading.Lock()
        self._under_way: list[tuple[float, int, int, bytes]] = []
        self._order = itertools.count()
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._carry, name="line between namespaces", daemon=True)
        self._thread.start()

    def pull(self) -> None:
        """Pull the cable: both ends lose their carrier, and what is under way is gone."""
        with self._lock:
            self._pull()

    def pull_after(self, size_bytes: int) -> None:
        """Pull the cable when so much more has come from the far end: in the middle of something large."""
        with self._lock:
            self._pull_at = self._carried[1] + size_bytes

    def plug(self) -> None:
        """Plug it in again."""
        with self._lock:
            self._plugged = True
            self._set_carrier(True)

    @property
    def plugged(self) -> bool:
        """Whether the cable is plugged in."""
        return self._plugged

    def close(self) -> None:
        """Take everything down."""
        os.close(self._waker)
        self._thread.join()
        os.close(self._wake)
        self.near.close()
        self.far.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pull(self) -> None:
        self._plugged, self._pull_at = False, None
        self._under_way.clear()
        self._set_carrier(False)

    def _set_carrier(self, there: bool) -> None:
        import fcntl

        for end in (self.near, self.far):
            with contextlib.suppress(OSError):  # EINVAL of an interface that was switched off meanwhile.
                fcntl.ioctl(end.tun, _TUNSETCARRIER, struct.pack("I", there))

    # --- the thread --------------------------------------------------------------------------------------------------

    def _carry(self) -> None:
        ends = (self.near.tun, self.far.tun)
        while True:
            due = self._under_way[0][0] if self._under_way else None
            patience_s = None if due is None else max(0.0, due - time.monotonic())
            ready, _, _ = select.select([*ends, self._wake], [], [], patience_s)
            if self._wake in ready:
                return
            with self._lock:
                for direction, end in enumerate(ends):
                    if end in ready:
                        self._take(direction, end)
                self._deliver(ends)

    def _take(self, direction: int, end: int) -> None:
        packet = os.read(end, 65536)
        if not self._plugged:
            return
        self._carried[direction] += len(packet)
        if self._pull_at is not None and self._carried[1] >= self._pull_at:
            self._pull()
        elif self._dice.random() < self.loss:
            self.lost += 1
        else:
            due = time.monotonic() + self.delay_s[direction]
            heapq.heappush(self._under_way, (due, next(self._order), direction, packet))

    def _deliver(self, ends: tuple[int, int]) -> None:
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            _, _, direction, packet = heapq.heappop(self._under_way)
            try:
                os.write(ends[1 - direction], packet)
            except OSError as error:
                if error.errno != errno.EIO:  # The interface over there is switched off.
                    raise


def make_line(**options: Any) -> Line:
    """A line; or the test is skipped, with the reason, where the system does not permit one."""
    try:
        return Line(**options)
    except NotPermitted as error:
        pytest.skip(f"no network namespaces here: {error}")


@contextmanager
def _elsewhere(go: Callable[[], int], what: str) -> Iterator[None]:
    """Go to another namespace, and come back to the one where this thread is now."""
    if not os.path.exists("/proc/thread-self/ns/net"):
        raise NotPermitted("this system has none")
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(go(), what)
        try:
            yield
        finally:
            _check(_libc().setns(home, _CLONE_NEWNET), "come home")
    finally:
        os.close(home)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise NotPermitted(f"may not {what}: {os.strerror(ctypes.get_errno())}")


def _open_tun() -> int:
    import fcntl

    try:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise NotPermitted(f"/dev/net/tun: {error.strerror}") from None
    try:
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", _DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError as error:
        os.close(tun)
        raise NotPermitted(f"may not make a TUN device: {error.strerror}") from None
    return tun


def _ip(command: str) -> None:
    try:
        subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NotPermitted("the command ip is missing (package iproute2)") from None
    except subprocess.CalledProcessError as error:
        raise NotPermitted(f"ip {command}: {error.stderr.strip()}") from None
