"""The process that serves: `python -m one_liner.cli.demo RPC_PORT BROADCAST_PORT`.

It says in one line where it is, and ends when its standard input does: whoever started it is then gone, however.
"""

from __future__ import annotations

import signal
import sys

from one_liner.cli.demo.instruments import STREAMS, Camera, Machine
from one_liner.errors import OneLinerError
from one_liner.server import RouterServer


def main(rpc_port: str, broadcast_port: str) -> int:
    """Serve until nobody holds the other end of standard input; gives the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who watches.
    instances = {"machine": Machine(), "camera": Camera()}
    try:
        with RouterServer(
            rpc_port=rpc_port,
            broadcast_port=broadcast_port,
            instances=instances,
            concurrent={"machine": True},  # Each reading has a state of its own, or none.
            config={
                "periodic_streams": STREAMS,
                "named_calls": {"dim": {"obj_name": "camera", "attr_name": "set_exposure", "args": [2]}},
            },
        ) as server:
            server.run()
            print(server.rpc_endpoint, flush=True)
            sys.stdin.buffer.read()
    except OneLinerError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
