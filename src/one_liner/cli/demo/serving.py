"""The life of the process that serves: as seen by the one that watches, and from inside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from threading import Timer
from typing import TYPE_CHECKING

from one_liner.closing import Closing
from one_liner.errors import ConfigurationError, NoServerError, OneLinerError

if TYPE_CHECKING:
    from one_liner.server import RouterServer

_START_S = 30.0
_END_S = 5.0


class ServingProcess(Closing):
    """A module that serves, `one_liner.cli.demo`, in a process of its own; a context manager, which ends it.

    Args:
        rpc_port: for calls; 0 takes a free one.
        broadcast_port: for streams, likewise.
        module: what is run.

    Raises:
        ConfigurationError: a port cannot be, or is taken.
        NoServerError: it did not come up; the message has its last words.
    """

    def __init__(self, rpc_port: str, broadcast_port: str, module: str = "one_liner.cli.demo") -> None:
        # A file and not a pipe: nobody reads it before the end, and a full pipe would hold the process.
        self._last_words = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, rpc_port, broadcast_port],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._last_words,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(folder or os.getcwd() for folder in sys.path)},
            start_new_session=True,  # Ctrl-C in the terminal reaches the watcher alone.
        )
        try:
            self.address = self._wait_for_address()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def close(self) -> None:
        """End the process: by itself when its standard input ends, by force after 5 s."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._last_words.close()

    def _wait_for_address(self) -> str:
        assert self._process.stdout is not None
        patience = Timer(_START_S, self._process.kill)
        patience.start()
        try:
            address = self._process.stdout.readline().decode().strip()
        finally:
            patience.cancel()
            patience.join()
        if address:
            return address
        code = self._process.wait()
        self._last_words.seek(0)
        words = self._last_words.read().decode(errors="replace").strip() or f"it ended with {code}"
        if code == 2:
            raise ConfigurationError(words)
        raise NoServerError(f"the serving process did not come up: {words.splitlines()[-1]}")


def serve_until_left(make: Callable[[], RouterServer]) -> int:
    """Run a server until nobody holds the other end of standard input; gives the exit code.

    It says in one line where it is.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who watches.
    try:
        with make() as server:
            server.run()
            print(server.rpc_endpoint, flush=True)
            sys.stdin.buffer.read()
    except OneLinerError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
