"""One contender doing one workload, once: the processes, and the words between them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.workloads.workload import Report, Workload

ROOT: Final = Path(__file__).parent.parent
PATIENCE_S: Final = 30.0
END_S: Final = 3.0
SETTLE_S: Final = 0.2
TAIL_BYTES: Final = 2000


class FailedError(Exception):
    """A process of a measurement ended, or said nothing, in place of what was waited for."""


class Worker:
    """One process, at work as soon as it is made. It ends with the `with` block that it is used in."""

    def __init__(self, role: str, contender: str, workload: str = "") -> None:
        self._what = f"{role} of {contender}"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", role, contender, workload],
            cwd=ROOT,
            # What pip installed is compiled; what lies in a folder of sources is to be, too.
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        self._said: SimpleQueue[str] = SimpleQueue()
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line)
        self._said.put("")

    def tell(self, word: str) -> None:
        """Have it go on."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except OSError:
            raise self._failed("ended") from None

    def hear(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """What it says next.

        Raises:
            FailedError: it ended, or was silent for too long.
        """
        try:
            line = self._said.get(timeout=patience_s)
        except Empty:
            raise self._failed(f"said nothing for {patience_s:g} s") from None
        if not line:
            raise self._failed("ended")
        said: dict[str, Any] = json.loads(line)
        return said

    def errors(self) -> str:
        """The end of what it wrote to stderr."""
        self._errors.seek(max(0, self._errors.seek(0, 2) - TAIL_BYTES))
        return self._errors.read().decode(errors="replace").strip()

    def _failed(self, how: str) -> FailedError:
        return FailedError(f"the {self._what} {how}: {self.errors()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass  # What was written last and never read.
        self._end()
        self._listener.join()
        self._process.stdout.close()
        self._errors.close()

    def _end(self) -> None:
        """It, and what it started: a broker, for one."""
        if sys.platform == "win32":  # Where it has to do that itself; stdin has ended.
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        else:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # They are all gone.
        self._process.wait()


def introduce(contender: str) -> dict[str, Any]:
    """Its `title`, `version` and what it `can`; or why it is `absent`."""
    with Worker("introduce", contender) as worker:
        return worker.hear()


def measure(workload: Workload, contender: str, share: float = 1.0) -> Report:
    """Do it once, for a share of its usual duration.

    Raises:
        FailedError: it could not be done.
    """
    duration_s = workload.duration_s * share
    with ExitStack() as stack:

        def start(role: str, count: int) -> list[Worker]:
            return [stack.enter_context(Worker(role, contender, workload.name)) for _ in range(count)]

        (server,), routers, clients = start("serve", 1), start("route", workload.hops), start("visit", workload.clients)
        place = server.hear() | {"duration_s": duration_s}
        for router in routers:
            router.tell(json.dumps(place))
            place |= router.hear()
        for client in clients:
            client.tell(json.dumps(place))
        for client in clients:
            client.hear()
        time.sleep(SETTLE_S)  # Not everybody's library can tell when a subscription has arrived.
        for worker in (server, *clients):
            worker.tell("go")
        try:
            reports = [client.hear(PATIENCE_S + 2 * duration_s)["report"] for client in clients]
        except FailedError as error:
            raise FailedError(f"{error}\n{server.errors()}".strip()) from None
        server.tell("stop")
        return workload.combine(reports, server.hear()["report"])
