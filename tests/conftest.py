"""What every test gets: a guard against leaks, and two ways to spend time honestly.

The guard has no way around it. A test that leaves a thread, a zmq socket or one of libzmq's file descriptors behind
fails, because the next user of the library would pay for it.
"""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import zmq
import zmq.asyncio
import zmq.utils.garbage

LEAK_GRACE_S = 3.0
POLL_INTERVAL_S = 0.005

# What a worker, or a shell, says of its terminal is not for the programs that are tested: they write into pipes.
os.environ.pop("COLUMNS", None)

default_ports = pytest.mark.xdist_group("default ports")
"""Of tests that need ports 5555 to 5557 and no others: one after the other, whatever workers there are."""

# Two shared cores: how long one example takes says nothing about the code.
hypothesis.settings.register_profile("one_liner", deadline=None, print_blob=True)
hypothesis.settings.load_profile("one_liner")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two share the whole suite, which waits more than it works; what is asked for by name stays in this process."""
    return 2 if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


def poll_until(predicate: Callable[[], Any], timeout_s: float = 10.0, what: str = "") -> Any:
    """Waits until `predicate()` is true and returns what it returned.

    Args:
        predicate: asked again every few milliseconds; it should be cheap and must not act.
        timeout_s: seconds until the test fails.
        what: what is waited for, in words, for the message of the failure.
    """
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not (result := predicate()):
        if time.monotonic() >= deadline:
            pytest.fail(f"not within {timeout_s:g} s: {what or predicate}", pytrace=True)
        pause.wait(POLL_INTERVAL_S)
    return result


def busy_for(duration_s: float) -> None:
    """Takes its time, as a slow driver does. For the doubles in tests, never to wait for something."""
    threading.Event().wait(duration_s)


class _SocketWatch:
    """Knows every zmq socket of this process that was made and not closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: dict[int, weakref.ref[zmq.Socket[Any]]] = {}
        self._original_init = zmq.Socket.__init__

    def install(self) -> None:
        watch = self

        def remembering_init(socket: zmq.Socket[Any], *args: Any, **kwargs: Any) -> None:
            watch._original_init(socket, *args, **kwargs)
            with watch._lock:
                watch._sockets[id(socket)] = weakref.ref(socket)

        zmq.Socket.__init__ = remembering_init  # type: ignore[assignment, method-assign]

    def uninstall(self) -> None:
        zmq.Socket.__init__ = self._original_init  # type: ignore[method-assign]

    def open(self) -> set[zmq.Socket[Any]]:
        with self._lock:
            known = {key: socket for key, ref in self._sockets.items() if (socket := ref()) and not socket.closed}
            self._sockets = {key: self._sockets[key] for key in known}
            return set(known.values())


def _event_descriptors() -> set[str]:
    """The open sockets, epolls and eventfds of this process (Linux only): what libzmq is made of.

    They carry kernel numbers, so one that was closed and another that got its descriptor are told apart. epoll and
    eventfd have no number of their own; there the descriptor stands for it.
    """
    found: set[str] = set()
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        return found
    for name in os.listdir(folder):
        try:
            target = os.readlink(folder / name)
        except OSError:  # the descriptor of this very listing
            continue
        if target.startswith("socket:"):
            found.add(target)
        elif target.startswith(("anon_inode:[eventpoll]", "anon_inode:[eventfd]")):
            found.add(f"{target} {name}")
    return found


def _threads() -> set[threading.Thread]:
    # A dummy thread stands for one that foreign code started (Qt, a C callback); it cannot be joined.
    return {thread for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)}


def _wake_garbage_collector() -> None:
    """pyzmq lets go of what was sent uncopied on a thread of its own, which it keeps for the life of the process."""
    sender, receiver = (zmq.Context.instance().socket(zmq.PAIR) for _ in range(2))
    sender.bind("inproc://wake-garbage-collector")
    receiver.connect("inproc://wake-garbage-collector")
    sender.send(memoryview(bytes(1 << 20)), copy=False)
    receiver.recv(copy=False)
    poll_until(lambda: not zmq.utils.garbage.gc.refs, what="pyzmq to let go of the memory")
    sender.close(0)
    receiver.close(0)


@pytest.fixture(scope="session")
def _socket_watch() -> Iterator[_SocketWatch]:
    # The process-wide contexts keep their I/O threads for ever: they belong to the first test's "before".
    zmq.Context.instance().socket(zmq.PAIR).close(0)
    zmq.Context(zmq.asyncio.Context.instance()).socket(zmq.PAIR).close(0)
    watch = _SocketWatch()
    watch.install()
    _wake_garbage_collector()
    yield watch
    watch.uninstall()


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(_socket_watch: _SocketWatch) -> Iterator[None]:
    threads = _threads()
    sockets = _socket_watch.open()
    descriptors = _event_descriptors()
    yield
    deadline = time.monotonic() + LEAK_GRACE_S
    for thread in _threads() - threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    pause = threading.Event()
    # The count decides for descriptors: libzmq may replace one that it keeps.
    while (
        _threads() - threads or _socket_watch.open() - sockets or len(_event_descriptors()) > len(descriptors)
    ) and time.monotonic() < deadline:
        pause.wait(POLL_INTERVAL_S)

    leaks = [f"thread {thread.name!r}" for thread in _threads() - threads if thread.is_alive()]
    leaks += [f"open {socket!r}" for socket in _socket_watch.open() - sockets]
    left = _event_descriptors()
    if not leaks and len(left) > len(descriptors):
        leaks.append(
            f"{len(left) - len(descriptors)} descriptor(s), a zmq.Context that was not terminated or a plain socket: "
            f"{sorted(left - descriptors)}"
        )
    if leaks:
        gc.collect()  # so that what is only unreachable is not charged to the next test
        pytest.fail(f"{LEAK_GRACE_S:g} s after its end the test has left behind: " + "; ".join(leaks), pytrace=False)
