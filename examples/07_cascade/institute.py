"""Third of three servers: the institute's. One address that shows every lab, here one, under the prefix `lab`."""

from __future__ import annotations

import argparse
from contextlib import suppress

from one_liner import RouterServer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5575", help="0 takes a free port")
    parser.add_argument("--broadcast-port", default="5576", help="0 takes a free port")
    parser.add_argument("--lab-port", default="5565", help="the RPC port of lab.py")
    ports = parser.parse_args()

    with RouterServer(rpc_port=ports.rpc_port, broadcast_port=ports.broadcast_port) as server:
        server.add_router("lab", rpc_port=ports.lab_port)
        print(f"serving at {server.rpc_endpoint}", flush=True)
        server.run(block=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
