"""A laser that refuses: what its methods raise arrives at whoever called them."""

from __future__ import annotations

import argparse
from contextlib import suppress

from one_liner import RouterServer

MAXIMUM_MW = 100.0


class InterlockOpenError(RuntimeError):
    """The door of the laser lab is open."""


class Laser:
    """A diode laser behind an interlock."""

    def __init__(self) -> None:
        self.power_mw = 0.0
        self.interlock_closed = True

    def set_power(self, power_mw: float) -> float:
        """Set the output power in mW, at most 100."""
        if not 0 <= power_mw <= MAXIMUM_MW:
            raise ValueError(f"{power_mw} mW is outside 0 to {MAXIMUM_MW} mW")
        if not self.interlock_closed:
            raise InterlockOpenError("close the door, then reset the interlock", {"door": "north"})
        self.power_mw = float(power_mw)
        return self.power_mw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5556", help="0 takes a free port")
    ports = parser.parse_args()

    with RouterServer(
        rpc_port=ports.rpc_port, broadcast_port=ports.broadcast_port, instances={"laser": Laser()}
    ) as server:
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
