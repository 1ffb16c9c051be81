"""A gateway in a process of its own, as `one-liner gateway` runs it, and the instruments behind it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from one_liner import Job, RouterServer
from tests.conftest import poll_until

START_S = 60.0


class InterlockError(Exception):
    """An error of a driver."""


class Laser:
    """A laser that exists only here."""

    def __init__(self) -> None:
        self._power = 1.0
        self.calls = 0

    @property
    def power(self) -> float:
        """What comes out, in mW."""
        return self._power

    @power.setter
    def power(self, power: float) -> None:
        self._power = power

    @property
    def wavelength(self) -> float:
        """Its colour, in nm."""
        return 532.0

    def set_power(self, power_mw: float, ramp: bool = False) -> float:
        """Set the power, in mW.

        With a ramp if wanted.
        """
        self.calls += 1
        self._power = power_mw
        return power_mw

    def limits(self, low: float = 0.0) -> list[float]:
        """Between what it can be set."""
        return [low, 100.0]

    def echo(self, value: Any = None) -> Any:
        """The same again."""
        return value

    def fail(self) -> None:
        """Raise."""
        raise ValueError("no light")

    def trip(self) -> None:
        """Raise what only the instrument knows."""
        raise InterlockError("door open")

    def slow(self, seconds: float) -> float:
        """Take so long."""
        threading.Event().wait(seconds)
        return seconds

    def image(self) -> np.ndarray[Any, Any]:
        """An image of noise."""
        return np.random.default_rng().integers(0, 255, (48, 64), np.uint8)

    def mean(self, image: np.ndarray[Any, Any]) -> float:
        """The mean of an image."""
        return float(np.mean(image))

    def strange(self) -> dict[str, Any]:
        """What JSON does not have."""
        return {"nan": float("nan"), "complex": 1 + 2j, "bytes": b"\0\1", "array": np.array([1.0, np.inf])}


class Bench:
    """What takes long, and tells what happens."""

    def __init__(self) -> None:
        self.server: RouterServer | None = None
        self._go_on = threading.Event()

    def scan(self, job: Job, points: int) -> list[int]:
        """Scan so many points, once it may."""
        measured = []
        for index in range(points):
            measured.append(index)
            job.progress((index + 1) / points, f"point {index}")
            while index == points - 1 and not self._go_on.is_set():
                job.sleep(0.01)
        job.log("%d points measured", points)
        return measured

    def go_on(self) -> None:
        """Let a scan end."""
        self._go_on.set()

    def tell(self, what: str) -> None:
        """Have an event."""
        assert self.server is not None
        self.server.emit("told", {"what": what})


class Stage:
    """Another object."""

    def where(self) -> int:
        """Where it is."""
        return 7


def make_lab(rpc_port: int, broadcast_port: int, more: bool = False) -> RouterServer:
    server = RouterServer(rpc_port=rpc_port, broadcast_port=broadcast_port, heartbeat_s=0.3)
    server.add_instance("laser", Laser(), read_only=["limits"])
    bench = Bench()
    bench.server = server
    server.add_instance("bench", bench, urgent=["go_on"])
    if more:
        server.add_instance("stage", Stage())
    server.add_stream("power", 50, "laser", "power")
    server.add_stream("image", 20, "laser", "image")
    server.add_named_call("ten", "laser", "set_power", [10.0])
    return server


def make_lab_that_talks(rpc_port: int, broadcast_port: int) -> RouterServer:
    """The lab, with streams of words and of errors."""
    server = make_lab(rpc_port, broadcast_port)
    server.add_stream_from_callable("words", 20, lambda: "many")
    server.add_stream("failing", 20, "laser", "fail")
    return server


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class GatewayProcess:
    """`one-liner gateway` with these options; a context manager."""

    def __init__(self, *options: str, port: int = 0) -> None:
        self._options = options
        self.port = port
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it listens; on the same port as before."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "one_liner.cli", "gateway", "--port", str(self.port), *self._options],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        patience = threading.Timer(START_S, self._process.kill)
        patience.start()
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                if line.startswith("listening at"):
                    self.port = int(line.partition(";")[0].rpartition(":")[2])
                    return
        finally:
            patience.cancel()
            patience.join()
        raise AssertionError(f"it ended with {self._process.wait()}")

    def kill(self) -> None:
        """End it without warning."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), {key.lower(): value for key, value in answer.getheaders()})
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """GET, with headers."""
        return self.ask("GET", path, headers=headers)

    def upload(self, content: bytes, name: str = "file") -> Answer:
        """POST to /upload as a form does."""
        boundary = "one-liner-test"
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="a.npy"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        return self.ask("POST", "/upload", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def wait_connected(self, names: Sequence[str] = ()) -> None:
        """Until its servers answer, and their routes are there."""
        poll_until(
            lambda: (
                all(one["objects"] for one in self.get("/api/objects").json.values() if "objects" in one)
                and not any("state" in one for one in self.get("/api/objects").json.values())
            ),
            START_S,
            "the gateway to see its servers",
        )
