"""Put a laser on the network: one line serves it, a second one streams its power."""

from __future__ import annotations

import argparse
import random
from contextlib import suppress

from one_liner import RouterServer


class Laser:
    """A diode laser. Nothing in this class knows about the network."""

    wavelength_nm = 640.0

    def __init__(self) -> None:
        self._set_point_mw = 0.0

    def set_power(self, power_mw: float) -> float:
        """Set the output power in mW and return what was set."""
        self._set_point_mw = float(power_mw)
        return self._set_point_mw

    def read_power(self) -> float:
        """The measured output power in mW, noise included."""
        return random.gauss(self._set_point_mw, 0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5556", help="0 takes a free port")
    ports = parser.parse_args()

    with RouterServer(
        rpc_port=ports.rpc_port, broadcast_port=ports.broadcast_port, instances={"laser": Laser()}
    ) as server:
        server.add_stream("laser_power", 10, "laser", "read_power")
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # Ctrl-C ends it, and the `with` above closes it
        main()
