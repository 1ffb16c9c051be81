"""A stage that scans for seconds: an ordinary method, which asks for its job to tell how far it has come."""

from __future__ import annotations

import argparse
import math
from contextlib import suppress

from one_liner import Job, RouterServer


class Stage:
    """A stage with a detector on it."""

    def __init__(self, server: RouterServer) -> None:
        self.position_mm = 0.0
        self._server = server

    def scan(self, job: Job, to_mm: float, points: int = 20) -> list[tuple[float, float]]:
        """Measure at so many points from 0 on, and return them."""
        measured = []
        try:
            for index in range(points):
                self.position_mm = to_mm * index / max(1, points - 1)
                job.sleep(0.05)  # the stage moves; here the job may be paused, or cancelled
                signal = math.exp(-((self.position_mm - 5) ** 2))
                measured.append((self.position_mm, signal))
                job.progress((index + 1) / points, f"at {self.position_mm:.1f} mm", signal)
            job.log("the signal is best at %.1f mm", max(measured, key=lambda one: one[1])[0])
        finally:
            self.position_mm = 0.0  # also when it was cancelled
            self._server.emit("parked")
        return measured

    def touch(self, force_mn: float) -> None:
        """The stage was touched."""
        if force_mn > 10:
            self._server.emergency("crash", {"force_mn": force_mn})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5556", help="0 takes a free port")
    ports = parser.parse_args()

    with RouterServer(rpc_port=ports.rpc_port, broadcast_port=ports.broadcast_port) as server:
        server.add_instance("stage", Stage(server), urgent=["touch"])
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
