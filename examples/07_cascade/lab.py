"""Second of three servers: the lab's PC. It shows the optical table as `table`, beside its own thermometer."""

from __future__ import annotations

import argparse
import random
from contextlib import suppress

from one_liner import RouterServer


def read_temperature() -> float:
    """The lab's temperature in °C."""
    return random.gauss(21.5, 0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5565", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5566", help="0 takes a free port")
    parser.add_argument("--table-port", default="5555", help="the RPC port of instrument.py")
    ports = parser.parse_args()

    with RouterServer(
        rpc_port=ports.rpc_port, broadcast_port=ports.broadcast_port, instances={"thermometer": read_temperature}
    ) as server:
        server.add_router("table", rpc_port=ports.table_port)
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
