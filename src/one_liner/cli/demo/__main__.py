"""The process that serves: `python -m one_liner.cli.demo RPC_PORT BROADCAST_PORT`.

It says in one line where it is, and ends when its standard input does: whoever started it is then gone, however.
"""

from __future__ import annotations

import sys

from one_liner.cli.demo.instruments import STREAMS, Camera, Machine
from one_liner.cli.demo.serving import serve_until_left
from one_liner.server import RouterServer


def main(rpc_port: str, broadcast_port: str) -> int:
    """Serve until nobody holds the other end of standard input; gives the exit code."""
    return serve_until_left(
        lambda: RouterServer(
            rpc_port=rpc_port,
            broadcast_port=broadcast_port,
            instances={"machine": Machine(), "camera": Camera()},
            concurrent={"machine": True},  # Each reading has a state of its own, or none.
            config={
                "periodic_streams": STREAMS,
                "named_calls": {"dim": {"obj_name": "camera", "attr_name": "set_exposure", "args": [2]}},
            },
        )
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
