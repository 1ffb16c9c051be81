"""A resonator that rings down and is kicked again: something worth watching."""

from __future__ import annotations

import argparse
import math
import random
import time
from contextlib import suppress

from one_liner import RouterServer

FREQUENCY_HZ = 2.0
DECAY_S = 1.5


class Resonator:
    """A mechanical resonator with a position sensor."""

    def __init__(self) -> None:
        self._kicked_at = time.perf_counter()

    def kick(self) -> None:
        """Set it ringing."""
        self._kicked_at = time.perf_counter()

    def displacement(self) -> float:
        """The displacement in µm."""
        elapsed = time.perf_counter() - self._kicked_at
        ringing = math.exp(-elapsed / DECAY_S) * math.cos(2 * math.pi * FREQUENCY_HZ * elapsed)
        return ringing + random.gauss(0, 0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5556", help="0 takes a free port")
    ports = parser.parse_args()

    with RouterServer(
        rpc_port=ports.rpc_port, broadcast_port=ports.broadcast_port, instances={"resonator": Resonator()}
    ) as server:
        server.add_stream("displacement", 50, "resonator", "displacement")
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
