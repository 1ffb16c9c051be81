"""An oven with a heater and a thermometer."""

from __future__ import annotations

import argparse
import math
import random
import time
from contextlib import suppress

from one_liner import RouterServer

ROOM_C = 22.0
HOT_C = 80.0
TIME_CONSTANT_S = 5.0


class Oven:
    """A small oven that warms up and cools down exponentially."""

    def __init__(self) -> None:
        self._heating = False
        self._temperature_c = ROOM_C
        self._then = time.perf_counter()

    def switch_heater(self, on: bool) -> str:
        """Turn the heater on or off; tells what it did."""
        self.temperature()
        self._heating = on
        return f"heater {'on' if on else 'off'}"

    def temperature(self) -> float:
        """The temperature in °C."""
        now = time.perf_counter()
        goal_c = HOT_C if self._heating else ROOM_C
        self._temperature_c = goal_c + (self._temperature_c - goal_c) * math.exp((self._then - now) / TIME_CONSTANT_S)
        self._then = now
        return self._temperature_c + random.gauss(0, 0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5556", help="0 takes a free port")
    ports = parser.parse_args()

    with RouterServer(
        rpc_port=ports.rpc_port, broadcast_port=ports.broadcast_port, instances={"oven": Oven()}
    ) as server:
        server.add_stream("oven_temperature", 10, "oven", "temperature")
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
