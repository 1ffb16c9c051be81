"""A cryostat whose parts want to be read at very different rates: each stream has its own frequency.

Streams of one frequency share a thread, so a slow gauge never disturbs a fast accelerometer.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from contextlib import suppress

from one_liner import RouterServer


class Cryostat:
    """A closed-cycle cryostat: slow temperatures, and a cold head that shakes."""

    def temperature(self) -> dict[str, float]:
        """Temperatures in K."""
        return {"cold_head": random.gauss(4.2, 0.005), "shield": random.gauss(38.0, 0.1)}

    def pressure(self) -> float:
        """Pressure of the insulating vacuum in mbar."""
        return random.gauss(3.0e-6, 1.0e-8)


class Accelerometer:
    """Vibration of the cold head. A device of its own: it does not wait for the cryostat."""

    def acceleration(self) -> float:
        """Acceleration in m/s²; the compressor beats at 1.4 Hz."""
        return 0.3 * math.sin(2 * math.pi * 1.4 * time.perf_counter()) + random.gauss(0, 0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5556", help="0 takes a free port")
    ports = parser.parse_args()

    instances = {"cryostat": Cryostat(), "accelerometer": Accelerometer()}
    with RouterServer(rpc_port=ports.rpc_port, broadcast_port=ports.broadcast_port, instances=instances) as server:
        server.add_stream("temperature", 2, "cryostat", "temperature")
        server.add_stream("pressure", 20, "cryostat", "pressure")
        server.add_stream("vibration", 200, "accelerometer", "acceleration")
        server.add_stream_from_callable("uptime", 1, time.perf_counter)  # anything that can be called is a source
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
