"""A rotary encoder, read a hundred times a second: for a log that needs every sample and a display that needs one."""

from __future__ import annotations

import argparse
import time
from contextlib import suppress

from one_liner import RouterServer


class Encoder:
    """The angle of a turntable."""

    speed_deg_s = 36.0

    def angle(self) -> float:
        """The angle in degrees."""
        return (self.speed_deg_s * time.perf_counter()) % 360


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5556", help="0 takes a free port")
    ports = parser.parse_args()

    with RouterServer(
        rpc_port=ports.rpc_port, broadcast_port=ports.broadcast_port, instances={"encoder": Encoder()}
    ) as server:
        server.add_stream("angle", 100, "encoder", "angle")
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
