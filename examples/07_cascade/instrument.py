"""First of three servers: the PC beside the instrument. It knows nobody."""

from __future__ import annotations

import argparse
import random
from contextlib import suppress

from one_liner import RouterServer


class Laser:
    """A diode laser on the optical table."""

    def __init__(self) -> None:
        self.power_mw = 0.0

    def set_power(self, power_mw: float) -> float:
        """Set the output power in mW, at most 100, and return what was set."""
        if power_mw > 100:
            raise ValueError(f"{power_mw} mW is more than this diode survives")
        self.power_mw = float(power_mw)
        return self.power_mw

    def read_power(self) -> float:
        """The measured output power in mW."""
        return random.gauss(self.power_mw, 0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5556", help="0 takes a free port")
    ports = parser.parse_args()

    with RouterServer(
        rpc_port=ports.rpc_port, broadcast_port=ports.broadcast_port, instances={"laser": Laser()}
    ) as server:
        server.add_stream("power", 20, "laser", "read_power")
        server.add_named_call("laser_off", "laser", "set_power", [0])
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
