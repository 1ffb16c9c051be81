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
    """One process. It ends with the `with` block that it is used in."""

    def __init__(self, role: str, contender: str, **task: Any) -> None:
        self._what = f"{role} of {contender}"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", json.dumps({"role": role, "contender": contender, **task})],
            cwd=ROOT,
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

    def _failed(self, how: str) -> FailedError:
        self._errors.seek(max(0, self._errors.seek(0, 2) - TAIL_BYTES))
        return FailedError(f"the {self._what} {how}: {self._errors.read().decode(errors='replace').strip()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass  # What was written last and never read.
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            pass
        self._kill()
        self._process.wait()
        self._listener.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()

    def _kill(self) -> None:
        """It, and what it started: a broker, for one."""
        if sys.platform == "win32":
            self._process.kill()
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # They are all gone.


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
        server = stack.enter_context(Worker("serve", contender, workload=workload.name))
        place = server.hear()
        for _ in range(workload.hops):
            router = stack.enter_context(Worker("route", contender, workload=workload.name, address=place["address"]))
            place["address"] = router.hear()["address"]
        task = {"workload": workload.name, "duration_s": duration_s, **place}
        clients = [stack.enter_context(Worker("visit", contender, **task)) for _ in range(workload.clients)]
        for client in clients:
            client.hear()
        time.sleep(SETTLE_S)  # Not everybody's library can tell when a subscription has arrived.
        for worker in (server, *clients):
            worker.tell("go")
        reports = [client.hear(PATIENCE_S + 2 * duration_s)["report"] for client in clients]
        server.tell("stop")
        return workload.combine(reports, server.hear()["report"])
