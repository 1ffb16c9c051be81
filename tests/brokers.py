"""Real brokers for tests: `redis-server` and `nats-server`, killed and started again on the same port."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import poll_until

_SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


class Broker:
    """A broker's process on a port of its own.

    Args:
        scheme: `redis` or `nats`.
        folder: where it may write.
        options: more of its command line.
    """

    def __init__(self, scheme: str, folder: Path, *options: str) -> None:
        program = f"{scheme}-server"
        found = shutil.which(program) or shutil.which(program, path=_SYSTEM_FOLDERS)
        if found is None:
            pytest.skip(f"there is no {program} on this system: apt-get install {program}")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._folder = folder
        self._command = [found, *self._arguments(scheme), *options]
        self._process: subprocess.Popen[bytes] | None = None

    def _arguments(self, scheme: str) -> list[str]:
        if scheme == "redis":
            return ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        return ["-a", "127.0.0.1", "-p", str(self.port)]

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(self._command, cwd=self._folder, stdout=log, stderr=log)
        poll_until(self._answers, 20, f"{self.url} to answer: {(self._folder / 'log').read_text()[-500:]}")

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


@contextmanager
def broker(scheme: str, folder: Path, *options: str) -> Iterator[Broker]:
    """A running broker, until the block is left; skips the test where the system has none."""
    one = Broker(scheme, folder, *options)
    one.start()
    try:
        yield one
    finally:
        one.kill()
