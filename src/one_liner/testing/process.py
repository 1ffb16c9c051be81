"""A server in a process of its own, to be killed, stopped and started again by a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from one_liner.closing import Closing
from one_liner.config import check_timeout
from one_liner.errors import ConfigurationError, NoServerError
from one_liner.testing.conditions import poll_until

_GRACE_S: Final = 5.0
_TAIL_BYTES: Final = 4000


class SubprocessServer(Closing):
    """A `RouterServer` that runs in another process, with real ports and real signals.

    Args:
        factory: makes the server: a function that can be imported, or its place as text, `"package.module:function"`.
            It is called in the new process as `factory(rpc_port=…, broadcast_port=…, **arguments)` and returns a
            `RouterServer` that does not run yet.
        arguments: what else it is given; plain values that JSON can carry.
        rpc_port: the port of calls; 0 takes a free one, which a `restart` takes again.
        broadcast_port: the port of streams, likewise.
        environment: variables to set in the new process, on top of ours.
        timeout_s: how long it may take to start, in s; None without end. One that ends before is not waited for.

    The process finds modules where this one does, writes what it prints to `output`, and ends by itself when this
    process does. Methods belong to one thread at a time.

    Raises:
        ConfigurationError: the factory cannot be found by name from another process.
        NoServerError: the process ended before it served, or took too long; the message has what it printed.
    """

    def __init__(
        self,
        factory: Callable[..., Any] | str,
        arguments: Mapping[str, Any] | None = None,
        *,
        rpc_port: int = 0,
        broadcast_port: int = 0,
        environment: Mapping[str, str] | None = None,
        timeout_s: float | None = 60.0,
    ) -> None:
        self._factory = place_of(factory)
        try:
            self._arguments = json.dumps(dict(arguments or {}))
        except TypeError as error:
            raise ConfigurationError(f"arguments of a factory in another process are plain values: {error}") from None
        self._environment = dict(environment or {})
        self._timeout_s = check_timeout(timeout_s)
        self._ports = (rpc_port, broadcast_port)
        self._folder = tempfile.TemporaryDirectory(prefix="one_liner-")
        self._starts = 0
        self._stopped = False
        self._process = self._start()

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else "alive" if self.alive else "dead"
        return f"<SubprocessServer {self._factory} at {self.rpc_port}, {self.broadcast_port}, {state}>"

    # --- what it is --------------------------------------------------------------------------------------------------

    @property
    def rpc_port(self) -> int:
        """The port of calls."""
        return self._ports[0]

    @property
    def broadcast_port(self) -> int:
        """The port of streams."""
        return self._ports[1]

    @property
    def pid(self) -> int:
        """The number of the process; another one after `restart`."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is there; a stopped one is."""
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """The end of what the process printed, those before a restart included."""
        data = self._output_file.read_bytes() if self._output_file.exists() else b""
        return data[-_TAIL_BYTES:].decode(errors="replace")

    # --- what can be done to it --------------------------------------------------------------------------------------

    def kill(self) -> None:
        """End it without warning (SIGKILL): nothing is said to clients. Returns when it is gone."""
        self._process.kill()
        self._process.wait()
        self._stopped = False

    def terminate(self) -> None:
        """End it in good order (SIGTERM on POSIX): the server is closed and tells its clients. Returns when it is gone.

        After 5 s it is killed.
        """
        self._resume_if_stopped()
        if sys.platform == "win32":
            self._hang_up()
        elif self.alive:
            self._process.terminate()
        self._wait_or_kill()

    def stop(self) -> None:
        """Freeze it (SIGSTOP): not even libzmq's own threads run. Returns when it stands still.

        Raises:
            ConfigurationError: this system cannot stop a process; `FaultProxy.freeze` looks the same to a client.
            NoServerError: it is not alive.
        """
        self._signal("SIGSTOP")
        self._stopped = True

    def resume(self) -> None:
        """Undo `stop` (SIGCONT).

        Raises:
            ConfigurationError, NoServerError: as `stop`.
        """
        self._signal("SIGCONT")
        self._stopped = False

    def restart(self) -> None:
        """Start it again on the same ports; killed before if it is alive. Returns when it serves.

        Raises:
            NoServerError: it did not come up.
        """
        if self.alive:
            self.kill()
        self._hang_up()
        self._process = self._start()

    def close(self) -> None:
        """End it, in good order if it can; within about 5 s, any number of times."""
        self._resume_if_stopped()
        self._hang_up()
        self._wait_or_kill()
        self._folder.cleanup()

    # --- the process -------------------------------------------------------------------------------------------------

    @property
    def _output_file(self) -> Path:
        return Path(self._folder.name) / "output.txt"

    def _start(self) -> subprocess.Popen[bytes]:
        self._starts += 1
        told = Path(self._folder.name) / f"ports-{self._starts}.json"
        environment = {**os.environ, **self._environment}
        environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
        command = [sys.executable, "-m", "one_liner.testing.child", self._factory, self._arguments, str(told)]
        command += map(str, self._ports)
        with self._output_file.open("ab") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=environment
            )
        try:
            poll_until(lambda: told.exists() or process.poll() is not None, self._timeout_s, "the server to start")
            rpc_port, broadcast_port = json.loads(told.read_text(encoding="utf-8"))
        except (AssertionError, OSError) as error:
            process.kill()
            process.communicate()
            text = self.output
            self._folder.cleanup()
            raise NoServerError(f"{self._factory} did not become a server ({error}); it printed:\n{text}") from None
        except BaseException:  # Ctrl-C: it is nobody's server.
            process.kill()
            process.communicate()
            self._folder.cleanup()
            raise
        self._ports = (rpc_port, broadcast_port)
        return process

    def _signal(self, name: str) -> None:
        number = getattr(signal, name, None)
        if number is None:
            raise ConfigurationError(f"this system has no {name}; FaultProxy.freeze looks the same to a client")
        if not self.alive:
            raise NoServerError(f"process {self.pid} of {self._factory} is not alive")
        self._process.send_signal(number)
        if name == "SIGSTOP" and sys.platform != "win32":
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def _resume_if_stopped(self) -> None:
        if self._stopped and self.alive:
            self.resume()
        self._stopped = False

    def _hang_up(self) -> None:
        """Close the pipe that the process watches: it closes its server and ends."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _wait_or_kill(self) -> None:
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._hang_up()


def place_of(factory: Callable[..., Any] | str) -> str:
    """`package.module:function` of a function.

    Raises:
        ConfigurationError: another process cannot find it by this name.
    """
    if isinstance(factory, str):
        module, separator, name = factory.partition(":")
        if not (separator and module and name):
            raise ConfigurationError(f"a factory's place is written 'package.module:function', not {factory!r}")
        return factory
    module, name = str(factory.__module__), str(getattr(factory, "__qualname__", "<nameless>"))
    if module == "__main__" or "<" in name:
        raise ConfigurationError(
            f"{factory!r} cannot be imported by another process; write it into a module, at its top"
        )
    return f"{module}:{name}"
