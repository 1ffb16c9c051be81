"""Relay the weather station's publisher, so that everybody finds it where the rest of the lab is."""

from __future__ import annotations

import argparse
from contextlib import suppress

from one_liner import RouterServer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5556", help="0 takes a free port")
    parser.add_argument("--station", default="tcp://127.0.0.1:5570", help="where the weather station publishes")
    arguments = parser.parse_args()

    with RouterServer(rpc_port=arguments.rpc_port, broadcast_port=arguments.broadcast_port) as server:
        # Its topic need not be our name for it. Its payload passes as the bytes it is, stamped on arrival.
        server.add_zmq_stream("weather", arguments.station, topic="station/7")
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
