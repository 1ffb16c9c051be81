"""The application decides when there is a sample: a spectrometer scan sends each point as it is measured.

Nothing here runs at a frequency. `get_stream_fn` gives a function; whoever calls it, from any thread, sends a sample.
"""

from __future__ import annotations

import argparse
import math
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from one_liner import RouterServer

LINES_NM = (404.7, 435.8, 546.1, 577.0)  # of a mercury lamp


class Spectrometer:
    """A scanning monochromator with a photon counter."""

    def __init__(self, send_point: Callable[[tuple[float, int]], object]) -> None:
        self._send_point = send_point
        self._scan = threading.Thread()

    def start_scan(self, start_nm: float, stop_nm: float, points: int, seconds_per_point: float = 0.01) -> None:
        """Begin a scan and return at once; its points are sent on the stream `spectrum`."""
        if self._scan.is_alive():
            raise RuntimeError("a scan is already running")
        step_nm = (stop_nm - start_nm) / (points - 1)
        wavelengths = [start_nm + step_nm * point for point in range(points)]
        self._scan = threading.Thread(target=self._run, args=(wavelengths, seconds_per_point), daemon=True)
        self._scan.start()

    def _run(self, wavelengths: list[float], seconds_per_point: float) -> None:
        for wavelength in wavelengths:
            time.sleep(seconds_per_point)  # the counter's gate is open
            rate = 40 + sum(4000 * math.exp(-(((wavelength - line) / 1.5) ** 2)) for line in LINES_NM)
            self._send_point((wavelength, round(random.gauss(rate, math.sqrt(rate)))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5556", help="0 takes a free port")
    ports = parser.parse_args()

    with RouterServer(rpc_port=ports.rpc_port, broadcast_port=ports.broadcast_port) as server:
        send_point = server.get_stream_fn("spectrum")
        server.add_instance("spectrometer", Spectrometer(send_point))
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
