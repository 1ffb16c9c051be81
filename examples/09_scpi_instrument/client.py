"""Set a voltage on one instrument, measure it with the other."""

from __future__ import annotations

import argparse

from one_liner import RouterClient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555")
    rpc_port = parser.parse_args().rpc_port

    with RouterClient(rpc_port=rpc_port, broadcast_port=None) as client:
        supply = client.proxy("supply")
        multimeter = client.proxy("multimeter")
        print(f"supply: {supply.identity}")
        print(f"multimeter: {multimeter.query('*IDN?')}")  # a method of PyVISA's own object

        supply.voltage = 5.0  # a property, set over the wire
        supply.output = True
        print(f"set to {supply.voltage} V, output {'on' if supply.output else 'off'}")

        try:
            supply.voltage = 400
        except ValueError as error:
            print(f"refused: {error}")

        client.configure_stream("voltage", "queue")
        for _ in range(5):
            timestamp, answer = client.get_stream("voltage", block=True, timeout_s=5)
            print(f"{timestamp:.3f} s: {float(answer):.5f} V")

        supply.output = False


if __name__ == "__main__":
    main()
