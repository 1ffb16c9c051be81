"""An instrument in a process of its own that leaves traces: a test sees what it did also when nobody can reach it.

To be served by `one_liner.testing.SubprocessServer`, alone or as one server of a cascade.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from threading import Event
from typing import Any

from one_liner import RouterServer
from one_liner.clock import SYSTEM_CLOCK
from one_liner.testing import ShiftedClock, poll_until

_PATIENCE_S = 30.0


class Instrument:
    """Writes down everything that it is told to do, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ticks = 0

    def act(self) -> int:
        """Do something; how often it was done so far, by this process and those before it."""
        return self._note("act")

    def slow(self) -> str:
        """Begin, and end when the test lets it."""
        self._note("slow began")
        poll_until((self._folder / "go").exists, _PATIENCE_S, "the test to let go")
        self._note("slow ended")
        return "done"

    def pause(self, seconds: float) -> float:
        """Take so long."""
        self._note("pause")
        Event().wait(seconds)
        return seconds

    def hold(self, seconds: float) -> str:
        """Take so long, with the interpreter's lock: as a badly wrapped driver does."""
        import ctypes

        self._note("hold")
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))
        return "held"

    def picture(self, size_bytes: int) -> bytes:
        """Something large."""
        self._note("picture")
        return bytes(range(256)) * (size_bytes // 256)

    def slow_picture(self, size_bytes: int) -> bytes:
        """Something large, when the test lets it."""
        self.slow()
        return self.picture(size_bytes)

    def park(self) -> None:
        """Make safe."""
        self._note("park")

    def tick(self) -> int:
        """For a stream; leaves no trace."""
        self._ticks += 1
        return self._ticks

    def _note(self, word: str) -> int:
        with (self._folder / "traces").open("a", encoding="utf-8") as traces:
            traces.write(f"{word}\n")
        return Traces(self._folder)[word]


class Traces:
    """What instruments that share a folder did, by word; for the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, word: str) -> int:
        file = self._folder / "traces"
        return Counter(file.read_text(encoding="utf-8").splitlines())[word] if file.exists() else 0

    def let_go(self) -> None:
        """Have `slow` end."""
        (self._folder / "go").touch()

    def clear(self) -> None:
        """Begin anew; nothing runs."""
        for name in ("go", "traces"):
            (self._folder / name).unlink(missing_ok=True)


def serve(
    rpc_port: int,
    broadcast_port: int,
    folder: str,
    interface: str = "127.0.0.1",
    name: str = "instrument",
    heartbeat_s: float = 0.3,
    upstream: dict[str, Any] | None = None,
    shift_s: float = 0.0,
) -> RouterServer:
    """A server with an `instrument`, a `second` one, and the streams below, among them `silent`."""
    server = RouterServer(
        interface=interface,
        rpc_port=rpc_port,
        broadcast_port=broadcast_port,
        name=name,
        heartbeat_s=heartbeat_s,
        clock=ShiftedClock(shift_s) if shift_s else SYSTEM_CLOCK,
    )
    instrument = Instrument(Path(folder))
    server.add_instance("instrument", instrument, safe_call="park", urgent=["park"])
    server.add_instance("second", Instrument(Path(folder)))
    server.add_stream("ticks", 100, "instrument", "tick")
    server.add_stream_from_callable("now", 50, time.perf_counter, on_demand=True)
    server.add_stream_from_callable("pictures", 5, lambda: bytes(4_000_000), on_demand=True)
    server.get_stream_fn("silent")
    if upstream is not None:
        server.add_router("up", **upstream)
    return server
