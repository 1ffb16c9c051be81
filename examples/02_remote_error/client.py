"""Catch what went wrong on the other side, as if it had happened here."""

from __future__ import annotations

import argparse

from one_liner import RouterClient
from one_liner.errors import RemoteError, UnknownAttributeError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555")
    rpc_port = parser.parse_args().rpc_port

    with RouterClient(rpc_port=rpc_port, broadcast_port=None) as client:
        # A builtin exception is caught as what it is ...
        try:
            client.call("laser", "set_power", [5000])
            raise SystemExit("the laser took 5 W: get out of the room")
        except ValueError as error:
            print(f"caught a ValueError: {error}\n")

        # ... and one that only the instrument knows as a RemoteError, which carries everything as data and text.
        client.set("laser", "interlock_closed", False)
        try:
            client.call("laser", "set_power", [10])
            raise SystemExit("the laser is on with its door open: get out of the room")
        except RemoteError as error:
            print(f"{error.where} raised {error.type_name}")
            print(f"its arguments: {error.remote_args}")
            print(f"on the server:\n{error.remote_traceback}")

        # A misspelt name is our own mistake; nothing ran.
        try:
            client.call("laser", "set_pwoer", [10])
            raise SystemExit("there is no such method")
        except UnknownAttributeError as error:
            print(f"not called: {error}\n")

        # The server is none the worse for it.
        client.set("laser", "interlock_closed", True)
        print(f"power set to {client.call('laser', 'set_power', [10])} mW")
        client.call("laser", "set_power", [0])


if __name__ == "__main__":
    main()
